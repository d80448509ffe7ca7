//! The keyring: every key that signs here, by name, and which of them sign
//! for a product.
//!
//! It is made once, when the service starts, and cannot hold a mistake that
//! its entries show: one name for two keys, two names, purposes or
//! environments for one key, a stand-in of another kind.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use firmseal_fleet::product::Environment;
use firmseal_manifest::{KeyAlgorithm, KeyId, KeyName, ProductId};

use crate::key_rules::{KeyPurpose, KeyRefusal, family};
use crate::keys::Keys;
use crate::signing_key::SigningKey;

/// Why keys do not make a keyring. Whoever wrote them down can fix it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyringError {
    /// The key is of another algorithm than was demanded.
    #[error("key `{name}` is {got}, and its entry demands {want}")]
    Algorithm {
        /// The key.
        name: KeyName,
        /// What the entry demands.
        want: KeyAlgorithm,
        /// What the key is.
        got: KeyAlgorithm,
    },
    /// Devices verify no releases with such a key.
    #[error("key `{name}` is for releases, and devices verify none with {algorithm}")]
    NotForDevices {
        /// The key.
        name: KeyName,
        /// Its algorithm.
        algorithm: KeyAlgorithm,
    },
    /// Nothing could ever be signed with it.
    #[error(transparent)]
    Refused(#[from] KeyRefusal),
    /// Two keys have one name.
    #[error("two keys are called `{0}`; a name is one key's, for good")]
    NameTwice(KeyName),
    /// One key has two names, purposes or environments.
    #[error("{one} and {other} are one key; a key has one name, one purpose and one environment")]
    OneKey {
        /// What it is by one entry.
        one: String,
        /// What it is by the other.
        other: String,
    },
    /// There is no such key.
    #[error("key `{name}` names `{other}` as its {what}, and there is no such key")]
    Unknown {
        /// The key.
        name: KeyName,
        /// What the other one would be to it.
        what: &'static str,
        /// The other one.
        other: KeyName,
    },
    /// The stand-in is of another kind.
    #[error("key `{fallback}` cannot stand in for `{name}`: {why}")]
    Fallback {
        /// The key.
        name: KeyName,
        /// The stand-in.
        fallback: KeyName,
        /// What differs.
        why: &'static str,
    },
    /// A set names a key for what it is not.
    #[error("key `{name}` signs for the purpose `{own}`, and it stands where one for `{place}` belongs")]
    Misplaced {
        /// The key.
        name: KeyName,
        /// Its purpose.
        own: KeyPurpose,
        /// The purpose of the place where it stands.
        place: KeyPurpose,
    },
    /// A key is of another environment than the root document.
    #[error("key `{name}` is for {}, and the root document is for {}", own.name(), root.name())]
    Environment {
        /// The key.
        name: KeyName,
        /// Its environment.
        own: Environment,
        /// The root document's.
        root: Environment,
    },
}

/// Every key that signs here.
#[derive(Clone, Default, Debug)]
pub struct Keyring {
    keys: BTreeMap<KeyName, Arc<SigningKey>>,
    default: Keys,
    products: HashMap<ProductId, Keys>,
}

impl Keyring {
    /// Puts keys on a ring, for a service whose root document is of this
    /// environment. Which of them sign for products is said afterwards.
    pub fn new(
        environment: Environment,
        keys: impl IntoIterator<Item = Arc<SigningKey>>,
    ) -> Result<Keyring, KeyringError> {
        let mut ring = Keyring::default();
        let mut known: BTreeMap<KeyId, Arc<SigningKey>> = BTreeMap::new();
        for key in keys {
            let name = key.name().clone();
            let own = key.rules().environment;
            if own != environment {
                return Err(KeyringError::Environment { name, own, root: environment });
            }
            let id = key.id();
            if let Some(one) = known.get(&id).filter(|one| !is_same(one, &key)) {
                return Err(KeyringError::OneKey { one: what_it_is(one), other: what_it_is(&key) });
            }
            if ring.keys.get(&name).is_some_and(|there| there.id() != id) {
                return Err(KeyringError::NameTwice(name));
            }
            known.entry(id).or_insert_with(|| key.clone());
            ring.keys.entry(name).or_insert(key);
        }
        ring.keys.values().try_for_each(|key| ring.check_relatives(key))?;
        Ok(ring)
    }

    /// A key names others on the same ring, and its stand-in is of its kind.
    fn check_relatives(&self, key: &SigningKey) -> Result<(), KeyringError> {
        let rules = key.rules();
        let find = |what, other: &KeyName| {
            let unknown = || KeyringError::Unknown { name: rules.name.clone(), what, other: other.clone() };
            self.keys.get(other).ok_or_else(unknown)
        };
        let Some(fallback) = &rules.fallback else { return Ok(()) };
        let other = find("fallback", fallback)?;
        let theirs = other.rules();
        let covers = match (rules.products.is_empty(), theirs.products.is_empty()) {
            (_, true) => true,
            (true, false) => false,
            (false, false) => rules.products.is_subset(&theirs.products),
        };
        let why = if other.id() == key.id() {
            "it is the same key"
        } else if theirs.purpose != rules.purpose {
            "it has another purpose"
        } else if theirs.environment != rules.environment {
            "it is of another environment"
        } else if family(other.public_key().algorithm()) != family(key.public_key().algorithm()) {
            "its algorithm is of another family"
        } else if theirs.blind && !rules.blind {
            "it is marked `blind`"
        } else if !covers {
            "it does not sign for every product of the other"
        } else {
            return Ok(());
        };
        Err(KeyringError::Fallback { name: rules.name.clone(), fallback: fallback.clone(), why })
    }

    /// Says which keys sign for every product without keys of its own.
    pub fn with_default(mut self, keys: Keys) -> Result<Keyring, KeyringError> {
        keys.check_places()?;
        self.take_in(&keys);
        self.default = keys;
        Ok(self)
    }

    /// Says which keys sign for a product.
    pub fn with_product(mut self, product: ProductId, keys: Keys) -> Result<Keyring, KeyringError> {
        keys.check_places()?;
        self.set(product, keys);
        Ok(self)
    }

    pub(crate) fn set(&mut self, product: ProductId, keys: Keys) {
        self.take_in(&keys);
        self.products.insert(product, keys);
    }

    fn take_in(&mut self, keys: &Keys) {
        for key in keys.signers() {
            self.keys.entry(key.name().clone()).or_insert_with(|| key.clone());
        }
    }

    /// The key of a name.
    pub fn key(&self, name: &KeyName) -> Option<&Arc<SigningKey>> {
        self.keys.get(name)
    }

    /// Every key, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.keys.values()
    }

    /// The keys that sign for a product.
    pub fn keys(&self, product: &ProductId) -> &Keys {
        self.products.get(product).unwrap_or(&self.default)
    }

    /// Every key that may sign this for a product, whether or not it does
    /// unless asked for by name.
    pub fn fit(&self, product: &ProductId, purpose: KeyPurpose) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.all().filter(move |key| key.rules().purpose == purpose && key.rules().takes_product(product))
    }

    /// Whether a key signs for some product without being asked for.
    pub fn is_in_a_set(&self, key: &SigningKey) -> bool {
        let sets = std::iter::once(&self.default).chain(self.products.values());
        sets.flat_map(Keys::signers).any(|own| own.id() == key.id())
    }

    /// The key that may stand in for another, where policy permits it.
    pub fn fallback(&self, key: &SigningKey) -> Option<&Arc<SigningKey>> {
        self.key(key.rules().fallback.as_ref()?)
    }
}

/// One set of keys for every product.
impl From<Keys> for Keyring {
    fn from(default: Keys) -> Keyring {
        let mut ring = Keyring::default();
        ring.take_in(&default);
        ring.default = default;
        ring
    }
}

fn is_same(one: &SigningKey, other: &SigningKey) -> bool {
    let (one, other) = (one.rules(), other.rules());
    (&one.name, one.purpose, one.environment) == (&other.name, other.purpose, other.environment)
}

fn what_it_is(key: &SigningKey) -> String {
    let rules = key.rules();
    format!("`{}` ({}, {})", rules.name, rules.purpose, rules.environment.name())
}

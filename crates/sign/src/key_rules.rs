//! Rules of signing keys: what a key may sign, for whom, and until when.
//!
//! Pure: whoever asks passes the time in.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use firmseal_fleet::product::Environment;
use firmseal_fleet::{Product, Time};
use firmseal_manifest::{KeyAlgorithm, KeyName, ProductId};
use serde::{Deserialize, Serialize};

/// What a key signs. A key has one purpose for as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPurpose {
    /// Releases: manifests that devices of this system verify.
    Release,
    /// Artifacts: files in formats with a signature of their own.
    Artifact,
}

impl KeyPurpose {
    /// The name in records and messages.
    pub const fn name(self) -> &'static str {
        match self {
            KeyPurpose::Release => "release",
            KeyPurpose::Artifact => "artifact",
        }
    }
}

impl fmt::Display for KeyPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When a key should have a successor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// The day by which it is rotated.
    pub by: Time,
    /// How long before that it is warned of.
    pub warn: Duration,
    /// How long after that the key still signs; `None` leaves that to
    /// policy, which is told that the key is overdue.
    pub grace: Option<Duration>,
}

/// How a key stands to its rotation date.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Age {
    /// It has time, or no date.
    Fresh,
    /// The date is near.
    Due,
    /// The date has passed. Policy decides.
    Overdue,
    /// So has the time of grace: it signs nothing.
    Expired,
}

/// What holds for a key, as an administrator wrote it down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRules {
    /// Its name, for good.
    pub name: KeyName,
    /// What it signs.
    pub purpose: KeyPurpose,
    /// Test or production, never both.
    pub environment: Environment,
    /// The products that it signs for; all of them if empty.
    pub products: BTreeSet<ProductId>,
    /// What its algorithm has to be.
    pub algorithm: Option<KeyAlgorithm>,
    /// Who answers for it; empty for keys that nobody wrote down.
    pub owner: String,
    /// When it should have a successor.
    pub rotation: Option<Rotation>,
    /// The key that may stand in where this one is out of reach and policy
    /// permits it.
    pub fallback: Option<KeyName>,
    /// The key that this one succeeds.
    pub replaces: Option<KeyName>,
    /// Whether it signs digests that nobody here derived. Never in
    /// production.
    pub blind: bool,
}

impl KeyRules {
    /// Rules that say no more than they must.
    pub fn new(name: KeyName, purpose: KeyPurpose, environment: Environment) -> KeyRules {
        KeyRules {
            name,
            purpose,
            environment,
            products: BTreeSet::new(),
            algorithm: None,
            owner: String::new(),
            rotation: None,
            fallback: None,
            replaces: None,
            blind: false,
        }
    }

    /// Whether it signs for a product.
    pub fn takes_product(&self, product: &ProductId) -> bool {
        self.products.is_empty() || self.products.contains(product)
    }

    /// How it stands to its rotation date.
    pub fn age(&self, now: Time) -> Age {
        let Some(Rotation { by, warn, grace }) = self.rotation else { return Age::Fresh };
        if now.plus(warn) < by {
            Age::Fresh
        } else if now < by {
            Age::Due
        } else if grace.is_some_and(|grace| by.plus(grace) <= now) {
            Age::Expired
        } else {
            Age::Overdue
        }
    }

    /// Whole days until it should have been rotated, negative afterwards.
    pub fn days_left(&self, now: Time) -> Option<i64> {
        const DAY: i64 = 86_400_000;
        let by = self.rotation?.by;
        // Both are below 2^48.
        Some((by.millis().cast_signed() - now.millis().cast_signed()).div_euclid(DAY))
    }

    /// Whether it may sign this for this product at all, by what is written
    /// down.
    pub fn permit(&self, purpose: KeyPurpose, product: &Product, now: Time) -> Result<(), KeyRefusal> {
        let key = self.name.clone();
        if self.purpose != purpose {
            return Err(KeyRefusal::Purpose { key, own: self.purpose, asked: purpose });
        }
        if self.environment != product.environment {
            let (own, product) = (self.environment, product.id.clone());
            return Err(KeyRefusal::Environment { key, own, product });
        }
        if !self.takes_product(&product.id) {
            return Err(KeyRefusal::Product { key, product: product.id.clone() });
        }
        if self.blind && product.environment == Environment::Production {
            return Err(KeyRefusal::Blind { key });
        }
        match (self.age(now), self.rotation) {
            (Age::Expired, Some(rotation)) => Err(KeyRefusal::Expired { key, by: rotation.by }),
            _ => Ok(()),
        }
    }
}

/// Why a key is not used. Whatever was asked for was not signed with it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyRefusal {
    /// It has another purpose.
    #[error("key `{key}` signs for the purpose `{own}` and nothing for `{asked}`")]
    Purpose {
        /// The key.
        key: KeyName,
        /// What it is for.
        own: KeyPurpose,
        /// What was asked of it.
        asked: KeyPurpose,
    },
    /// The product is of the other environment.
    #[error("key `{key}` is for {} and product `{product}` is not; the two never mix", own.name())]
    Environment {
        /// The key.
        key: KeyName,
        /// Its environment.
        own: Environment,
        /// The product.
        product: ProductId,
    },
    /// It is not for this product.
    #[error("key `{key}` does not sign for product `{product}`")]
    Product {
        /// The key.
        key: KeyName,
        /// The product.
        product: ProductId,
    },
    /// It signs whatever it is given, and this is production.
    #[error("key `{key}` is marked `blind`, and such keys never sign for production")]
    Blind {
        /// The key.
        key: KeyName,
    },
    /// Everybody has its private half, and this is production.
    #[error("key `{key}` is a published development key ({published}); it never signs for production")]
    Development {
        /// The key.
        key: KeyName,
        /// Where it is published.
        published: &'static str,
    },
    /// Nobody rotated it in time.
    #[error("key `{key}` should have been rotated by {by}, and the time of grace is over")]
    Expired {
        /// The key.
        key: KeyName,
        /// The date.
        by: Time,
    },
}

/// Which algorithms can stand in for each other: what verifies one of a
/// family verifies the others, given their keys.
pub(crate) fn family(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::P256 => "p256",
        KeyAlgorithm::P384 => "p384",
        KeyAlgorithm::Ed25519 => "ed25519",
        KeyAlgorithm::Rsa(_) => "rsa",
        KeyAlgorithm::MlDsa(_) => "ml-dsa",
        KeyAlgorithm::Lms(_) => "lms",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_key_grows_old_day_by_day() {
        let by = Time::EPOCH.plus(100 * DAY);
        let mut rules = KeyRules::new("a".parse().unwrap(), KeyPurpose::Release, Environment::Test);
        assert_eq!((rules.age(by), rules.days_left(by)), (Age::Fresh, None), "no date");
        rules.rotation = Some(Rotation { by, warn: 30 * DAY, grace: Some(10 * DAY) });
        let on =
            |day: u32| (rules.age(Time::EPOCH.plus(day * DAY)), rules.days_left(Time::EPOCH.plus(day * DAY)));
        assert_eq!(on(0), (Age::Fresh, Some(100)));
        assert_eq!(on(69), (Age::Fresh, Some(31)));
        assert_eq!(on(70), (Age::Due, Some(30)));
        assert_eq!(on(99), (Age::Due, Some(1)));
        assert_eq!(on(100), (Age::Overdue, Some(0)));
        assert_eq!(on(109), (Age::Overdue, Some(-9)));
        assert_eq!(on(110), (Age::Expired, Some(-10)));
        rules.rotation = Some(Rotation { by, warn: 30 * DAY, grace: None });
        assert_eq!(rules.age(Time::EPOCH.plus(5000 * DAY)), Age::Overdue, "policy decides alone");
    }
}

//! Rules of signing keys: what a key may sign, for whom, and until when.
//!
//! Pure: whoever asks passes the time in.

use std::collections::BTreeSet;
use std::time::Duration;

pub use firmseal_fleet::{KeyLimits, KeyPurpose};

use firmseal_fleet::product::Environment;
use firmseal_fleet::{KeyPhase, KeyState, Product, Time};
use firmseal_manifest::{KeyAlgorithm, KeyName, ProductId};

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
    /// How often it may be used.
    pub limits: KeyLimits,
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
            limits: KeyLimits::default(),
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
    /// Nobody here derived what is to be signed.
    #[error(
        "key `{key}` signs what is derived from a file here; digests that are handed in are for keys marked `blind`"
    )]
    NotBlind {
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
    /// Somebody disabled it.
    #[error("key `{key}` was disabled by {by} at {since}: {why}")]
    Disabled {
        /// The key.
        key: KeyName,
        /// Who.
        by: String,
        /// When.
        since: Time,
        /// Why.
        why: String,
    },
    /// Its private half is gone, or will be.
    #[error("key `{key}` is {word} since {since}", word = phase.word())]
    Ended {
        /// The key.
        key: KeyName,
        /// Which of the two.
        phase: KeyPhase,
        /// When.
        since: Time,
    },
    /// It was used as often as it may be in an hour.
    #[error("key `{key}` has made the {limit} signatures of this hour; the next begins at {until}")]
    HourlyLimit {
        /// The key.
        key: KeyName,
        /// The limit.
        limit: u64,
        /// When the next hour begins.
        until: Time,
        /// In how many seconds that is.
        seconds: u64,
    },
    /// It was used as often as it ever may be.
    #[error("key `{key}` has made the {limit} signatures that it may make in all; rotate it")]
    Spent {
        /// The key.
        key: KeyName,
        /// The limit.
        limit: u64,
    },
}

impl KeyRefusal {
    /// Why a key does not sign in a state, if it does not.
    pub(crate) fn of(key: &KeyName, state: &KeyState, now: Time) -> Option<KeyRefusal> {
        let key = key.clone();
        match state.at(now) {
            KeyPhase::Enabled | KeyPhase::Ending => None,
            KeyPhase::Disabled => {
                let since = state.due.unwrap_or(state.since);
                Some(KeyRefusal::Disabled { key, by: state.by.clone(), since, why: state.why.clone() })
            }
            phase => Some(KeyRefusal::Ended { key, phase, since: state.since }),
        }
    }
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

//! When keys are fetched, and how long they are believed.
//!
//! Keys that are in date answer by themselves. A token with an unknown key
//! may be signed with one that is new, and asks for them again, but not more
//! often than twice a minute: strangers can make up unknown keys. While the
//! provider is out of reach the old keys serve up to a limit: shorter than
//! that, an outage there would be one here; longer, a key that was taken away
//! would still sign.

use std::sync::Arc;
use std::time::Duration;

use firmseal_fleet::Time;

use crate::jwks::Jwks;
use crate::settings::IdentitySettings;
use crate::token::Unverified;

/// Between two attempts to fetch.
const RETRY: Duration = Duration::from_secs(30);

/// An issuer's keys, as far as they are known.
#[derive(Clone, Debug, Default)]
pub struct KeyCache {
    keys: Option<(Arc<Jwks>, Time)>,
    tried: Option<Time>,
}

/// What to do for a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look {
    /// Check it with these.
    Keys(Arc<Jwks>),
    /// Fetch, and look again.
    Fetch,
    /// There are none that may be believed, and it is too early to try again.
    OutOfReach,
}

impl KeyCache {
    /// Looks for the keys for a token. Whoever is told to fetch has the only
    /// leave to do so until [`KeyCache::fetched`] or half a minute later.
    pub fn look(&mut self, token: &Unverified, settings: &IdentitySettings, now: Time) -> Look {
        let span = Duration::from_secs;
        let due = self.tried.is_none_or(|tried| tried.plus(RETRY) <= now || now < tried);
        let usable = self.keys.as_ref().filter(|(_, since)| now < since.plus(span(settings.stale_seconds)));
        let fresh = usable.is_some_and(|(keys, since)| {
            keys.knows(token.kid()) && now < since.plus(span(settings.refresh_seconds))
        });
        match usable {
            Some((keys, _)) if fresh || !due => Look::Keys(keys.clone()),
            None if !due => Look::OutOfReach,
            _ => {
                self.tried = Some(now);
                Look::Fetch
            }
        }
    }

    /// Keeps what was fetched. What the provider no longer publishes is gone
    /// from here on.
    pub fn fetched(&mut self, keys: Jwks, now: Time) {
        self.keys = Some((Arc::new(keys), now));
    }
}

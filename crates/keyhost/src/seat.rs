//! One host as one key sees it: whether it is there, and with this very key.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use firmseal_fleet::Environment;
use firmseal_keys::{Covered, KeyPlace, SignError};
use firmseal_manifest::{KeyName, PublicKey, Signature};
use firmseal_store_local::IntentLog;

use crate::member::{Failed, Member};

/// How a host stands with a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It holds this very key, and was well when last heard of.
    There,
    /// It is asked whether it is there before anything else.
    Away(String),
    /// It knows another history of the log. Nobody else is asked until it
    /// has taken the log again: whoever forges a history would want just
    /// that.
    Forked(String),
}

impl Standing {
    fn trouble(&self) -> Option<&str> {
        match self {
            Standing::There => None,
            Standing::Away(why) | Standing::Forked(why) => Some(why),
        }
    }
}

/// A key, wherever it is held.
pub(crate) struct Wanted {
    pub(crate) key: KeyName,
    pub(crate) public_key: PublicKey,
    pub(crate) environment: Environment,
    /// The log in which its intents stand.
    pub(crate) log: IntentLog,
}

/// One host as one key sees it.
pub(crate) struct Seat {
    wanted: Arc<Wanted>,
    member: Arc<Member>,
    standing: Mutex<Standing>,
}

impl Seat {
    pub(crate) fn new(wanted: Arc<Wanted>, member: Arc<Member>, standing: Standing) -> Seat {
        let seat = Seat { wanted, member, standing: Mutex::new(Standing::There) };
        seat.stands(standing);
        seat
    }

    /// How it stands, as far as is known.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For people.
    pub(crate) fn place(&self) -> KeyPlace {
        let away = self.standing().trouble().map(str::to_owned);
        KeyPlace { address: self.member.address().to_owned(), away }
    }

    /// Writes down how it stands; a change is said once.
    fn stands(&self, now: Standing) {
        let (key, host) = (&self.wanted.key, self.member.address());
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*standing, &now) {
            (Standing::Away(_) | Standing::Forked(_), Standing::There) => {
                tracing::info!(%key, host, "a key host is back");
            }
            (Standing::There, Standing::Away(why)) => tracing::warn!(%key, host, why, "a key host is away"),
            (Standing::There | Standing::Away(_), Standing::Forked(why)) => {
                tracing::error!(%key, host, why, "the key signs nothing until somebody has seen to it");
            }
            // Gone for a while, it still knows what it knows.
            (Standing::Forked(_), Standing::Away(_)) => return,
            _ => {}
        }
        *standing = now;
    }

    /// Writes down what became of asking it. One that refuses is there, and
    /// says no.
    fn failed(&self, failed: &Failed) {
        match failed {
            Failed::Forked(why) => self.stands(Standing::Forked(why.clone())),
            Failed::Asked(SignError::Refused(_)) | Failed::Log(_) => {}
            Failed::Unasked(error) | Failed::Asked(error) => self.stands(Standing::Away(error.to_string())),
        }
    }

    /// Has the key sign there. A host that was away is asked first whether it
    /// is back.
    pub(crate) async fn sign(&self, covered: &Covered) -> Result<Signature, Failed> {
        let there = match self.standing() {
            Standing::There => Ok(()),
            Standing::Away(_) | Standing::Forked(_) => self.look().await.map_err(Failed::Unasked),
        };
        let signed = match there {
            Ok(()) => self.member.sign(&self.wanted.log, &self.wanted.key, covered).await,
            Err(failed) => Err(failed),
        };
        match &signed {
            Ok(_) => self.stands(Standing::There),
            Err(failed) => self.failed(failed),
        }
        signed
    }

    /// Whether the key could sign there now.
    pub(crate) async fn ready(&self) -> Result<(), SignError> {
        if let Standing::Forked(why) = self.standing() {
            return Err(SignError::Unfit(why));
        }
        let there = self.look().await;
        self.stands(match &there {
            Ok(()) => Standing::There,
            Err(error) => Standing::Away(error.to_string()),
        });
        there
    }

    /// Asks it whether it is there, with this very key: a host may have been
    /// made anew, and one with another key would refuse for good what this
    /// key signs.
    async fn look(&self) -> Result<(), SignError> {
        let Wanted { key, public_key, environment, .. } = &*self.wanted;
        let found = self.member.key(key, *environment).await;
        let found = found.map_err(|error| SignError::Unavailable(error.to_string()))?;
        if found != *public_key {
            let host = self.member.address();
            return Err(SignError::Unavailable(format!(
                "the key host {host} holds another key called `{key}` by now"
            )));
        }
        self.member.ready(key).await
    }

    async fn keep_up(&self) -> Result<(), Failed> {
        self.look().await.map_err(Failed::Unasked)?;
        self.member.keep_up(&self.wanted.log).await
    }
}

/// Looks at a host as long as its key is open: so that one that nobody needs
/// today is known to be there when it is needed, has seen the log by then,
/// and comes back by itself.
pub(crate) async fn watch(seat: Weak<Seat>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(seat) = seat.upgrade() else { return };
        match seat.keep_up().await {
            Ok(()) => seat.stands(Standing::There),
            Err(failed) => seat.failed(&failed),
        }
    }
}

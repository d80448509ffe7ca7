//! Attempts: what became of each use of a key for one request.
//!
//! Every use goes through here, from its entry in the log to the signature,
//! so that none is forgotten where the way in between is cut short. How a
//! key did is said at once, before anybody hears how the request ended: a
//! request that is queued again must not come back to a key that has just
//! refused its PIN.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use firmseal_keys::{Log, Logged, SignError};
use firmseal_manifest::{Digest, Event, Intent, Outcome, RequestId, Signature, Tbs};

use crate::dispatch::Health;
use crate::error::PipelineError;
use crate::signing_key::KeyUse;

/// How keys stand, for whoever is about to use one.
pub trait KeyHealth: Send + Sync {
    /// Whether a use of this key may begin.
    fn takes(&self, key: &str) -> bool;

    /// What became of a use of this key.
    fn heard(&self, key: &str, health: Health);
}

/// Every key takes what comes, and nobody hears of it.
struct Anything;

impl KeyHealth for Anything {
    fn takes(&self, _: &str) -> bool {
        true
    }

    fn heard(&self, _: &str, _: Health) {}
}

/// What is known of one use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// It is announced.
    Logged,
    /// There is a signature.
    Signed,
    /// There is none.
    Not(Outcome),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Attempt {
    intent: u64,
    key: String,
    health: Health,
    known: Known,
}

/// The uses of keys for one request.
pub(crate) struct Attempts {
    /// Nothing where nobody keeps a job.
    request: Option<RequestId>,
    keys: Arc<dyn KeyHealth>,
    limit: Duration,
    made: Mutex<Vec<Attempt>>,
}

impl Attempts {
    /// None so far. A key has until `limit` for each.
    pub(crate) fn new(request: RequestId, keys: Arc<dyn KeyHealth>, limit: Duration) -> Attempts {
        Attempts { request: Some(request), keys, limit, made: Mutex::default() }
    }

    /// Those for an order that is no job: whoever waits for it hears of
    /// everything.
    pub(crate) fn unwatched(limit: Duration) -> Attempts {
        Attempts { request: None, keys: Arc::new(Anything), limit, made: Mutex::default() }
    }

    fn made(&self) -> MutexGuard<'_, Vec<Attempt>> {
        // Nothing that runs under this lock leaves a value half changed.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What marks its intents.
    pub(crate) fn mark(&self) -> Option<Digest> {
        self.request.as_ref().map(Intent::mark)
    }

    /// Announces a use, if the key may be used.
    pub(crate) async fn log(
        &self,
        log: &(impl Log + ?Sized),
        used: &KeyUse,
        intent: Intent,
    ) -> Result<Logged<Intent>, PipelineError> {
        let key = used.key().name().to_string();
        if !self.keys.takes(&key) {
            let why = format!("key `{key}` went out of reach meanwhile");
            return Err(SignError::Unavailable(why).into());
        }
        let logged = Logged::append_for(log, intent, used.key().public_key()).await?;
        let (intent, health) = (logged.index(), Health::Untouched);
        self.made().push(Attempt { intent, key, health, known: Known::Logged });
        Ok(logged)
    }

    /// Signs as it was announced.
    pub(crate) async fn sign(
        &self,
        used: KeyUse,
        logged: Logged<Intent>,
        tbs: Tbs,
    ) -> Result<Signature, PipelineError> {
        let (intent, key) = (logged.index(), used.key().name().to_string());
        let answer = match tokio::time::timeout(self.limit, used.sign(logged, tbs)).await {
            Ok(answer) => answer,
            Err(_) => Err(SignError::Unavailable(format!("no answer within {} s", self.limit.as_secs_f32()))),
        };
        let (known, health) = match &answer {
            Ok(_) => (Known::Signed, Health::Signed),
            // Whether it has signed is not known: the answer was lost, not made.
            Err(SignError::Unavailable(_)) => (Known::Not(Outcome::Unknown), Health::Trouble),
            Err(SignError::BadSignature | SignError::Denied(_) | SignError::Unfit(_)) => {
                (Known::Not(Outcome::Failed), Health::Trouble)
            }
            Err(SignError::WrongPin) => (Known::Not(Outcome::Failed), Health::WrongPin),
            Err(_) => (Known::Not(Outcome::Failed), Health::Untouched),
        };
        for attempt in self.made().iter_mut().filter(|attempt| attempt.intent == intent) {
            (attempt.known, attempt.health) = (known, health);
        }
        self.keys.heard(&key, health);
        Ok(answer?)
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.made().len()).unwrap_or(u32::MAX)
    }

    /// How each key did.
    pub(crate) fn healths(&self) -> Vec<(String, Health)> {
        self.made().iter().map(|attempt| (attempt.key.clone(), attempt.health)).collect()
    }

    /// What the log is to tell of them. `kept` says that what was signed went
    /// on record; otherwise it leaves nowhere.
    pub(crate) fn events(&self, kept: bool) -> Vec<Event> {
        let Some(request) = self.request else { return Vec::new() };
        let told = |attempt: &Attempt| {
            let outcome = match attempt.known {
                Known::Signed if kept => return None,
                Known::Signed | Known::Logged => Outcome::Failed,
                Known::Not(outcome) => outcome,
            };
            Some(Event::Attempt { request, intent: attempt.intent, outcome })
        };
        self.made().iter().filter_map(told).collect()
    }
}

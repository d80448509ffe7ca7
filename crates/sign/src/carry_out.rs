//! Carrying a job out, and telling the store how it ended.
//!
//! Whatever happens, the claim ends with a word to the store, in one step
//! with what the log is to tell; if even that fails, the claim runs out and
//! whoever has the job next accounts for what this one did.

use std::time::Duration;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::{Job, JobKind, Reason, Signature, Time};
use firmseal_manifest::{Digest, Event, Outcome, Ruling};
use firmseal_store::{Claim, ClaimedJob, Ending, JobOutcome, StoreError};
use tokio::sync::OwnedMutexGuard;

use crate::dispatch::Health;
use crate::error::PipelineError;
use crate::key_rules::KeyRefusal;
use crate::pipeline::Pipeline;

/// How often a store that fails is told how a claim ended, and the first
/// wait between two times, which doubles.
const TELLING: u32 = 8;
const TELLING_WAIT: Duration = Duration::from_millis(20);
/// How long a job waits after store or log have failed.
const LATER: Duration = Duration::from_secs(2);
/// Digest in events about what no policy decided.
const NOBODY: Digest = Digest([0; 32]);

/// Tells the time.
pub type Clock = dyn Fn() -> Time + Send + Sync;

/// What carrying a job out came to.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The job, as far as it is now.
    pub job: Job,
    /// Its signature, if it has one: perhaps that of an earlier request.
    pub signature: Option<Signature>,
    /// The key that was to sign.
    pub key: String,
    /// What became of the key.
    pub health: Health,
    /// What went wrong, in words for the operator's own log.
    pub trouble: Option<String>,
}

/// What is gathered on the way, for the store and the caller.
pub(crate) struct Course {
    pub(crate) job: Job,
    pub(crate) key: String,
    pub(crate) health: Health,
    pub(crate) trouble: Option<String>,
    failures: u32,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) decision: Option<Vec<u8>>,
    events: Vec<Event>,
    /// Held until the store knows: nobody signs the same bytes meanwhile.
    pub(crate) turn: Option<OwnedMutexGuard<()>>,
    pub(crate) known: Option<Signature>,
}

impl Course {
    /// Uses of a key that brought nothing, so far.
    pub(crate) fn attempts(&self) -> u32 {
        self.job.progress.failures.saturating_add(self.failures)
    }

    /// A use of a key brought nothing.
    pub(crate) fn failed(&mut self, intent: u64, outcome: Outcome) {
        self.failures += 1;
        self.events.push(Event::Attempt { request: self.job.id, intent, outcome });
    }

    /// Something was decided that is not a permit.
    pub(crate) fn ruled(&mut self, ruling: Ruling) {
        let decision = self.decision.as_deref().map_or(NOBODY, |record| RustCrypto.digest(record));
        self.events.push(Event::Decided { request: self.job.id, decision, ruling });
    }

    /// The job is refused.
    pub(crate) fn refuse(&mut self, reasons: Vec<Reason>) -> JobOutcome {
        self.reasons = reasons;
        self.ruled(Ruling::Refused);
        JobOutcome::Refused
    }

    /// The job waits a while, and says why.
    pub(crate) fn again(&mut self, now: Time, wait: Duration, rule: &str, why: &str) -> JobOutcome {
        self.reasons = vec![Reason::new(rule, why)];
        JobOutcome::Again(now.plus(wait))
    }
}

impl Pipeline {
    /// Carries a claimed job out and ends the claim. `stand_in` names the key
    /// that may sign in place of its own, which is out of reach; policy has
    /// to permit that.
    pub async fn carry_out_job(&self, claimed: ClaimedJob, stand_in: Option<&str>, clock: &Clock) -> Carried {
        let ClaimedJob { job, claim, unseen_since } = claimed;
        let mut course = Course {
            key: stand_in.unwrap_or(&job.asked.signing_key).to_owned(),
            job,
            health: Health::Untouched,
            trouble: None,
            failures: 0,
            reasons: Vec::new(),
            decision: None,
            events: Vec::new(),
            turn: None,
            known: None,
        };
        let order = match &course.job.asked.kind {
            JobKind::Artifact(order) => Some(order.clone()),
            JobKind::Release(_) => None,
        };
        let outcome = match order {
            Some(order) => self.sign_artifact(&mut course, &order, stand_in, unseen_since, clock).await,
            None => Err(PipelineError::Superseded("releases are ordered by themselves".to_owned())),
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => stopped(&mut course, error, clock()),
        };
        let ending = Ending {
            outcome,
            reasons: course.reasons.clone(),
            decision: course.decision.clone(),
            failures: course.failures,
            events: course.events.clone(),
        };
        let told = self.tell(&claim, &ending).await;
        let Course { mut job, key, health, mut trouble, known, turn, .. } = course;
        drop(turn);
        let mut signature = None;
        match told {
            Ok(()) => {
                let decision = ending.decision.as_deref().map(|record| RustCrypto.digest(record));
                job.progress = ending.applied(&job.progress, decision);
                signature = match ending.outcome {
                    JobOutcome::Signed(own) => Some(*own),
                    _ => known,
                };
            }
            // What was signed, if anything was, goes nowhere.
            Err(error) => trouble = Some(format!("the outcome is not stored: {error}")),
        }
        Carried { job, signature, key, health, trouble }
    }

    /// Tells the store, and tells it again where it may have been deaf.
    async fn tell(&self, claim: &Claim, ending: &Ending) -> Result<(), StoreError> {
        let mut wait = TELLING_WAIT;
        for _ in 1..TELLING {
            match self.store().end_claim(claim, ending.clone()).await {
                Err(StoreError::Busy { .. } | StoreError::Unavailable { .. } | StoreError::Full { .. }) => {}
                done => return done,
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        self.store().end_claim(claim, ending.clone()).await
    }
}

/// What becomes of a job that could not be carried out.
fn stopped(course: &mut Course, error: PipelineError, now: Time) -> JobOutcome {
    let why = error.to_string();
    match error {
        // Somebody can do something about these, and the job is done first
        // when they have.
        PipelineError::Store(StoreError::NotFound { .. } | StoreError::Conflict { .. }) => {
            course.refuse(vec![Reason::new("order", why)])
        }
        PipelineError::Store(_) | PipelineError::Spool(_) => {
            course.trouble = Some(why);
            course.again(now, LATER, "store", "the store is out of reach")
        }
        PipelineError::Log(_) | PipelineError::Proof(_) => {
            course.trouble = Some(why);
            course.again(now, LATER, "log", "the log takes no entries, so nothing is signed")
        }
        PipelineError::Gate(_) => course.refuse(vec![Reason::new("gate", why)]),
        PipelineError::Evidence(..) => course.refuse(vec![Reason::new("evidence", why)]),
        PipelineError::Format { .. } => course.refuse(vec![Reason::new("format", why)]),
        // The next hour brings more; until then others' jobs go on.
        PipelineError::KeyRefused(KeyRefusal::HourlyLimit { seconds, .. }) => {
            course.again(now, Duration::from_secs(seconds), "key", &why)
        }
        PipelineError::NoArtifactKey { .. }
        | PipelineError::KeyRefused(_)
        | PipelineError::KeyRevoked { .. } => course.refuse(vec![Reason::new("key", why)]),
        _ => {
            course.trouble = Some(why.clone());
            course.refuse(vec![Reason::new("service", why)])
        }
    }
}

//! Carrying a job out, and telling the store how it ended.
//!
//! Whatever happens, the claim ends with a word to the store, in one step
//! with what the log is to tell; if even that fails, the claim runs out and
//! whoever has the job next accounts for what this one did.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::{Deviation, Job, JobKind, Reason, Release, Signature, Time};
use firmseal_keys::{LogError, SignError};
use firmseal_manifest::{ArtifactId, Event, KeyId, Outcome, Ruling};
use firmseal_store::{Claim, ClaimedJob, Ending, JobOutcome, StoreError};
use tokio::sync::OwnedMutexGuard;

use crate::artifact::Examined;
use crate::attempts::{Attempts, KeyHealth};
use crate::dispatch::Health;
use crate::error::PipelineError;
use crate::evidence::Covered;
use crate::key_rules::KeyRefusal;
use crate::pipeline::Pipeline;
use crate::timestamps::StampAnswer;

/// How often a store that fails is told how a claim ended, and the first
/// wait between two times, which doubles.
const TELLING: u32 = 8;
const TELLING_WAIT: Duration = Duration::from_millis(20);
/// How long a job waits after store or log have failed.
const LATER: Duration = Duration::from_secs(2);
/// How long a job waits after its key has failed, at first and at most.
const AGAIN: Duration = Duration::from_millis(250);
pub(crate) const AGAIN_MAX: Duration = Duration::from_secs(30);

/// Tells the time.
pub type Clock = dyn Fn() -> Time + Send + Sync;

/// What carrying a job out came to.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The job, as far as it is now.
    pub job: Job,
    /// Its signature, if it has one: perhaps that of an earlier request.
    pub signature: Option<Signature>,
    /// The release that was made for it.
    pub release: Option<Release>,
    /// Why it came to nothing, where something stood in the way.
    pub error: Option<Arc<PipelineError>>,
    /// The key that was to sign.
    pub key: String,
    /// The keys that were used, and what became of each.
    pub uses: Vec<(String, Health)>,
    /// What went wrong, in words for the operator's own log.
    pub trouble: Option<String>,
    /// What authorities that were asked for a timestamp did.
    pub stamps: Vec<StampAnswer>,
    /// What there was of evidence, where something was looked at.
    pub covered: Option<Covered>,
    /// Whether the store has heard of it.
    pub stored: bool,
    /// When the store had heard, or was given up.
    pub finished: Time,
}

impl Carried {
    /// Whether whoever asked should hear of it, although it is queued again:
    /// it waits for the log, or for the next hour of its key.
    pub fn is_news(&self) -> bool {
        let error = self.error.as_deref();
        matches!(error, Some(PipelineError::Log(_) | PipelineError::Proof(_) | PipelineError::KeyRefused(_)))
    }
}

/// What was decided that is not a permit, and by whom.
#[derive(Clone, Copy)]
enum Ruled {
    /// By a policy, whose record is at hand.
    ByPolicy(Ruling),
    /// By something else, which refuses: the record is made in the end.
    Refused,
}

/// What is gathered on the way, for the store and the caller.
pub(crate) struct Course {
    pub(crate) job: Job,
    pub(crate) key: String,
    pub(crate) trouble: Option<String>,
    pub(crate) attempts: Arc<Attempts>,
    /// Of earlier claims.
    unseen: u32,
    accounted: bool,
    /// Whether what was signed may be on record all the same.
    pub(crate) unsure: bool,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) decision: Option<Vec<u8>>,
    ruled: Option<Ruled>,
    /// The file, once it was read.
    pub(crate) examined: Option<(ArtifactId, Arc<Examined>)>,
    pub(crate) stamps: Vec<StampAnswer>,
    pub(crate) covered: Option<Covered>,
    events: Vec<Event>,
    /// Held until the store knows: nobody signs the same bytes meanwhile.
    pub(crate) turn: Option<OwnedMutexGuard<()>>,
    pub(crate) known: Option<Signature>,
    /// The release, if it is new.
    pub(crate) release: Option<Release>,
}

impl Course {
    /// Uses of a key so far, this claim's included.
    pub(crate) fn tries(&self) -> u32 {
        self.job.progress.failures.saturating_add(self.unseen).saturating_add(self.attempts.count())
    }

    /// The use that is asked for departs from the usual.
    pub(crate) fn unusual(&mut self, key: KeyId, how: &BTreeSet<Deviation>) {
        self.events.push(Event::Unusual { request: self.job.id, key, how: Deviation::bits(how) });
    }

    /// A policy decided something that is not a permit.
    pub(crate) fn ruled(&mut self, ruling: Ruling, reasons: Vec<Reason>) {
        self.reasons = reasons;
        self.ruled = Some(Ruled::ByPolicy(ruling));
    }

    /// A policy refuses the job.
    pub(crate) fn refused_by_policy(&mut self, reasons: Vec<Reason>) -> JobOutcome {
        self.ruled(Ruling::Refused, reasons);
        JobOutcome::Refused
    }

    /// Something else than a policy refuses the job.
    pub(crate) fn refuse(&mut self, reasons: Vec<Reason>) -> JobOutcome {
        self.reasons = reasons;
        self.ruled = Some(Ruled::Refused);
        JobOutcome::Refused
    }

    /// The job waits a while, and says why.
    pub(crate) fn again(&mut self, now: Time, wait: Duration, rule: &str, why: &str) -> JobOutcome {
        self.reasons = vec![Reason::new(rule, why)];
        JobOutcome::Again(now.plus(wait))
    }

    /// The job waits as long as befits how often it was tried.
    fn backs_off(&mut self, now: Time, rule: &str, why: &str) -> JobOutcome {
        let wait = AGAIN.saturating_mul(1 << self.tries().saturating_sub(1).min(10)).min(AGAIN_MAX);
        self.again(now, wait, rule, why)
    }
}

impl Pipeline {
    /// Carries a claimed job out and ends the claim. `stand_in` names the key
    /// that may sign in place of its own, which is out of reach; policy has
    /// to permit that. `keys` says whether a key may be used, and hears what
    /// became of it before the store hears what became of the job.
    pub async fn carry_out_job(
        &self,
        claimed: ClaimedJob,
        stand_in: Option<&str>,
        keys: Arc<dyn KeyHealth>,
        clock: &Clock,
    ) -> Carried {
        let ClaimedJob { job, claim, unseen_since } = claimed;
        let mut course = Course {
            key: stand_in.unwrap_or(&job.asked.signing_key).to_owned(),
            trouble: None,
            attempts: Arc::new(Attempts::new(job.id, keys, self.attempt_limit())),
            job,
            unseen: 0,
            accounted: unseen_since.is_none(),
            unsure: false,
            reasons: Vec::new(),
            decision: None,
            ruled: None,
            examined: None,
            stamps: Vec::new(),
            covered: None,
            events: Vec::new(),
            turn: None,
            known: None,
            release: None,
        };
        let (outcome, error) = match self.carry(&mut course, stand_in, unseen_since, clock).await {
            Ok(outcome) => (outcome, None),
            Err(error) => (stopped(&mut course, &error, clock()), Some(Arc::new(error))),
        };
        let kept =
            matches!(outcome, JobOutcome::Signed(_) | JobOutcome::Released(_) | JobOutcome::Waiting(_));
        // Of what may be on record the next claim tells, which looks.
        let attempts = if course.unsure { Vec::new() } else { course.attempts.events(kept) };
        let failures = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        // What became of keys comes before what was decided about it.
        course.events.extend(attempts);
        if let Some(ruled) = course.ruled {
            let ruling = match ruled {
                Ruled::ByPolicy(ruling) => ruling,
                Ruled::Refused => {
                    course.decision = Some(self.refused(&course, clock()).encode());
                    Ruling::Refused
                }
            };
            let (request, record) = (course.job.id, course.decision.as_deref().unwrap_or_default());
            let decision = RustCrypto.digest(record);
            course.events.push(Event::Decided { request, decision, ruling });
        }
        let ending = Ending {
            outcome,
            reasons: course.reasons.clone(),
            decision: course.decision.clone(),
            accounted: course.accounted && !course.unsure,
            failures: course.unseen.saturating_add(failures),
            events: course.events.clone(),
        };
        let told = self.tell(&claim, &ending, &course.job).await;
        let Course { mut job, key, attempts, mut trouble, known, turn, release, stamps, covered, .. } =
            course;
        let (mut signature, stored) = (None, told.is_ok());
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
            Err(error) => {
                if let StoreError::Conflict { .. } = error {
                    let released = matches!(ending.outcome, JobOutcome::Released(_));
                    self.tell_of_lost(&attempts, released).await;
                }
                trouble = Some(format!("the outcome is not stored: {error}"));
            }
        }
        drop(turn);
        let (uses, finished) = (attempts.healths(), clock());
        Carried { job, signature, release, error, key, uses, trouble, stamps, covered, stored, finished }
    }

    async fn carry(
        &self,
        course: &mut Course,
        stand_in: Option<&str>,
        unseen_since: Option<u64>,
        clock: &Clock,
    ) -> Result<JobOutcome, PipelineError> {
        // First of all: from here on the log gets entries of this claim, and
        // whatever stops it must not end what has to be told of another.
        if let Some(since) = unseen_since {
            let request = course.job.id;
            for intent in self.unseen(request, since).await? {
                course.unseen = course.unseen.saturating_add(1);
                course.events.push(Event::Attempt { request, intent, outcome: Outcome::Unknown });
            }
            course.accounted = true;
        }
        match course.job.asked.kind.clone() {
            JobKind::Artifact(order) => self.sign_artifact(course, &order, stand_in, clock).await,
            JobKind::Release(order) => self.carry_release(course, &order, stand_in, clock).await,
        }
    }

    /// Tells the store, and tells it again where it may have been deaf.
    async fn tell(&self, claim: &Claim, ending: &Ending, job: &Job) -> Result<(), StoreError> {
        let (mut wait, mut deaf) = (TELLING_WAIT, false);
        for left in (0..TELLING).rev() {
            match self.store().end_claim(claim, ending.clone()).await {
                Err(StoreError::Busy { .. } | StoreError::Unavailable { .. } | StoreError::Full { .. })
                    if left > 0 => {}
                // It may have heard the first time, and its answer was lost:
                // then the job is as this ending makes it.
                Err(conflict @ StoreError::Conflict { .. }) if deaf => {
                    let decision = ending.decision.as_deref().map(|record| RustCrypto.digest(record));
                    let meant = ending.applied(&job.progress, decision);
                    let found = self.store().job(job.id).await?;
                    return match found.is_some_and(|found| found.progress == meant) {
                        true => Ok(()),
                        false => Err(conflict),
                    };
                }
                done => return done,
            }
            deaf = true;
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        self.store().end_claim(claim, ending.clone()).await
    }

    /// Tells of the uses of an overtaken claim. Whoever overtook it may have
    /// looked at the log before they were entered: rather twice than never.
    async fn tell_of_lost(&self, attempts: &Attempts, kept: bool) {
        for event in attempts.events(kept) {
            // A store that fails now has the job's next claim to tell it.
            let _ = self.store().note(event, None).await;
        }
    }
}

/// What becomes of a job that could not be carried out.
fn stopped(course: &mut Course, error: &PipelineError, now: Time) -> JobOutcome {
    let (why, reasons) = (error.to_string(), error.reasons());
    match error {
        // Somebody can do something about these, and the job is done first
        // when they have.
        PipelineError::Store(StoreError::NotFound { .. } | StoreError::Conflict { .. }) => {
            course.refuse(vec![Reason::new("order", why)])
        }
        // Asking again brings nothing else. What may be on record all the same
        // is looked at by the next claim, as after any other trouble.
        PipelineError::Store(StoreError::Corrupt { .. }) if !course.unsure => {
            course.trouble = Some(why);
            let why = "what the store has of this is damaged; whoever runs the service sees what";
            course.refuse(vec![Reason::new("service", why)])
        }
        PipelineError::Store(_) | PipelineError::Spool(_) => {
            course.trouble = Some(why);
            course.again(now, LATER, "store", "the store is out of reach")
        }
        // Who has to come back, whoever waits may know.
        PipelineError::Log(LogError::Unwitnessed(_)) | PipelineError::Proof(_) => {
            course.trouble = Some(why.clone());
            course.again(now, LATER, "log", &why)
        }
        PipelineError::Log(_) => {
            course.trouble = Some(why);
            course.again(now, LATER, "log", "the log takes no entries, so nothing is signed")
        }
        PipelineError::Gate(_) => course.refuse(reasons),
        PipelineError::Policy { .. } => course.refused_by_policy(reasons),
        PipelineError::NoVerdict(_) | PipelineError::TooFewApprovers { .. } => {
            course.refuse(vec![Reason::new("policy", why)])
        }
        PipelineError::Evidence(..) | PipelineError::Sbom(..) => {
            course.refuse(vec![Reason::new("evidence", why)])
        }
        PipelineError::Format { .. } => course.refuse(vec![Reason::new("format", why)]),
        // Required, and nobody gave one: the signature leaves nowhere, and is
        // made again when there is an authority.
        PipelineError::Stamp(_) => course.backs_off(now, "timestamp", &why),
        PipelineError::Key(error) => {
            course.trouble = Some(why);
            key_failed(course, error, now)
        }
        PipelineError::Held { rules, .. } => {
            course.ruled(Ruling::Held, reasons);
            JobOutcome::Held(*rules)
        }
        PipelineError::InFlight(_) => course.again(now, LATER, "order", &why),
        PipelineError::Superseded(_) => course.refuse(vec![Reason::new("superseded", why)]),
        PipelineError::TooManyWait(_) => course.refuse(vec![Reason::new("waiting", why)]),
        PipelineError::NoWitnesses(_) | PipelineError::TooFewWitnesses { .. } => {
            course.refuse(vec![Reason::new("witnesses", why)])
        }
        // The next hour brings more; until then others' jobs go on.
        PipelineError::KeyRefused(KeyRefusal::HourlyLimit { seconds, .. }) => {
            course.again(now, Duration::from_secs(*seconds), "key", &why)
        }
        PipelineError::OutOfScope(_) => course.refuse(vec![Reason::new("scope", why)]),
        PipelineError::NoArtifactKey { .. }
        | PipelineError::NoSuchKey(_)
        | PipelineError::NoReleaseKey(_)
        | PipelineError::NotEntitled { .. }
        | PipelineError::BothKinds { .. }
        | PipelineError::KeyUnfit(_)
        | PipelineError::KeyRefused(_)
        | PipelineError::KeyRevoked { .. } => course.refuse(vec![Reason::new("key", why)]),
        _ => {
            course.trouble = Some(why.clone());
            course.refuse(vec![Reason::new("service", why)])
        }
    }
}

/// What becomes of a job whose key did not sign. The backend's own words
/// name modules and tokens: they are for the operator.
fn key_failed(course: &mut Course, error: &SignError, now: Time) -> JobOutcome {
    match error {
        SignError::Unavailable(_) => course.backs_off(now, "key", "the key is out of reach"),
        SignError::BadSignature => course.backs_off(now, "key", "what the key answered does not verify"),
        SignError::Denied(_) => {
            course.backs_off(now, "key", "the key service refuses the credential of this one")
        }
        SignError::Unfit(_) => {
            course.backs_off(now, "key", "the key is not there as it was; whoever runs the service sees why")
        }
        SignError::WrongPin => {
            let why = "the key refused its PIN; somebody has to see to it";
            course.again(now, Duration::ZERO, "key", why)
        }
        SignError::NotCovered
        | SignError::NoLeaf(_)
        | SignError::Unsupported { .. }
        | SignError::Refused(_) => course.refuse(vec![Reason::new("key", "the key refused to sign this")]),
    }
}

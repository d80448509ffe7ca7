//! A log that anybody may read, and that witnesses watch.
//!
//! With witnesses, an entry counts only once a quorum has cosigned a
//! checkpoint that covers it: [`PublicLog::append`] returns then, and no key
//! opens before. So neither a restored backup nor a copy of the directory on
//! another machine can use a key: the witnesses know more, or something
//! else. Before the log grows at all, a quorum must have agreed, within the
//! last minutes, that it is the log they know.
//!
//! What is published is the newest checkpoint with a quorum, never one that
//! the log alone has signed. Without witnesses, all of this is the log
//! itself.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use firmseal_keys::{Log, LogError, Reserved};
use firmseal_manifest::{BirthProof, Digest, KeyId};
use firmseal_sign::{ProofError, Proofs, Proving};
use firmseal_store::StoreError;
use firmseal_store_local::{IntentLog, Proven};
use firmseal_tlog::{Note, VerifierKey};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::asking::Asking;
use crate::cosigned::Cosigned;
use crate::files;
use crate::gathering::Gathering;
use crate::quorum::Quorum;

/// How often witnesses are asked about a log that does not grow: their
/// times are what freshness is made of.
const AGAIN: Duration = Duration::from_secs(2 * 60);
/// Pause before a round that follows one without a quorum.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest pause of one witness after it failed. Shorter than an order
/// waits, so that each order has every witness asked.
const BACK_OFF: Duration = Duration::from_secs(10);

/// That an entry stands in the log, as it is published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Included {
    /// The checkpoint, with its signatures.
    pub checkpoint: String,
    /// How many entries it covers.
    pub size: u64,
    /// Hashes from the entry to its root.
    pub path: Vec<Digest>,
}

/// How the log stands, for people and metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Durable entries.
    pub size: u64,
    /// Entries that a quorum has seen; all of them without witnesses.
    pub witnessed: u64,
    /// Whether keys may be used, and why not.
    pub stands: Result<(), String>,
    /// Each witness's name, and what is wrong with it.
    pub witnesses: Vec<(String, Option<String>)>,
}

/// The log. Clones are the same one.
#[derive(Clone)]
pub struct PublicLog {
    log: IntentLog,
    watched: Option<Arc<Watched>>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

struct Watched {
    log: IntentLog,
    quorum: Quorum,
    state: Mutex<Gathering>,
    /// Counts changes of the state, for whoever waits for one.
    changed: watch::Sender<u64>,
    /// What the witnesses are to cosign.
    target: watch::Sender<Option<(u64, Arc<Cosigned>)>>,
    /// Somebody waits for a checkpoint that is larger.
    wanted: Notify,
}

impl PublicLog {
    /// A log without witnesses.
    pub fn alone(log: IntentLog) -> PublicLog {
        PublicLog { log, watched: None, tasks: Arc::default() }
    }

    /// A log with witnesses, which are asked from now on. Needs a runtime.
    pub fn watched(log: IntentLog, quorum: Quorum) -> PublicLog {
        let newest = kept(&log, &quorum);
        let keys = quorum.members.iter().map(|member| member.key.clone());
        let state = Mutex::new(Gathering::new(quorum.needed, keys, newest));
        let watched = Arc::new(Watched {
            log: log.clone(),
            quorum,
            state,
            changed: watch::Sender::new(0),
            target: watch::Sender::new(None),
            wanted: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        for index in 0..watched.quorum.members.len() {
            tasks.spawn(watched.clone().ask(index));
        }
        tasks.spawn(watched.clone().gather());
        PublicLog { log, watched: Some(watched), tasks: Arc::new(Mutex::new(tasks)) }
    }

    /// The key that checkpoints verify with.
    pub fn verifier(&self) -> &VerifierKey {
        self.log.verifier()
    }

    /// Where tiles lie.
    pub fn tiles(&self) -> PathBuf {
        self.log.tiles().to_owned()
    }

    /// Whether there are witnesses.
    pub fn is_watched(&self) -> bool {
        self.watched.is_some()
    }

    /// Whether a quorum is more than half of the witnesses, so that any two
    /// have one in common. Else two copies of the log could both find one,
    /// and both give away the same leaf of an LMS key: for such keys the log
    /// is then as good as alone.
    pub fn has_majority(&self) -> bool {
        let quorum = self.watched.as_ref().map(|watched| &watched.quorum);
        quorum.is_some_and(|quorum| quorum.needed * 2 > quorum.members.len())
    }

    /// The newest checkpoint with a quorum; `None` before the first, and
    /// without witnesses.
    pub fn newest(&self) -> Option<Arc<Cosigned>> {
        self.watched.as_ref().and_then(|watched| watched.state().newest())
    }

    /// Publishes what is durable; with witnesses, when it is published is
    /// theirs to decide.
    pub async fn renew(&self) -> Result<(), StoreError> {
        match self.is_watched() {
            true => Ok(()),
            false => self.log.checkpoint().await.map(drop),
        }
    }

    /// A published checkpoint, and the path to it from an entry; `None` while
    /// none covers the entry. Without witnesses that is soon: the call waits
    /// for it.
    pub async fn inclusion(&self, index: u64) -> Result<Option<Included>, StoreError> {
        if !self.is_watched() {
            let Some(Proven { checkpoint, size, path }) = self.log.prove(index).await? else {
                return Ok(None);
            };
            let note = String::from_utf8(checkpoint);
            let checkpoint = note.map_err(|_| StoreError::corrupt("the checkpoint of the log"))?;
            return Ok(Some(Included { checkpoint, size, path }));
        }
        let Some(cosigned) = self.newest() else { return Ok(None) };
        let (checkpoint, size) = (cosigned.note().to_string(), cosigned.size());
        if index >= size {
            return Ok(None);
        }
        Ok(Some(Included { checkpoint, size, path: self.log.proof(index, size).await? }))
    }

    /// Hashes that prove entries in the tree of an earlier size; nothing else
    /// is published of them.
    pub async fn proof(&self, index: u64, size: u64) -> Result<Vec<Digest>, StoreError> {
        self.log.proof(index, size).await
    }

    /// A freshness document: the newest checkpoint with a quorum, and the
    /// number of the newest revocation, signed by the log.
    pub async fn freshness(&self, cosigned: &Cosigned, revocation: u64) -> Result<Vec<u8>, StoreError> {
        let checkpoint = cosigned.evidence().ok_or_else(|| StoreError::corrupt("a cosigned checkpoint"))?;
        self.log.vouch(checkpoint, revocation).await
    }

    /// Waits until a quorum stands behind the log as it is, which
    /// [`Log::append`] does before the log grows.
    pub async fn stand(&self) -> Result<(), ProofError> {
        match &self.watched {
            Some(watched) => watched.stands().await,
            None => Ok(()),
        }
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let size = self.log.len();
        let Some(watched) = &self.watched else {
            return Status { size, witnessed: size, stands: Ok(()), witnesses: Vec::new() };
        };
        let state = watched.state();
        let stands = state.stands(Instant::now()).unwrap_or_else(|| Err(state.missing()));
        Status {
            size,
            witnessed: state.newest().map_or(0, |newest| newest.size()),
            stands: stands.map_err(|error| error.to_string()),
            witnesses: state.members().map(|(name, trouble)| (name.to_owned(), trouble)).collect(),
        }
    }

    /// Lets go of the log: nothing is asked any more.
    pub async fn close(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        if let Some(watched) = &self.watched {
            watched.keep().await;
        }
    }
}

impl Log for PublicLog {
    async fn append(&self, leaf: &[u8]) -> Result<u64, LogError> {
        let failed = |error: ProofError| LogError::Unwitnessed(error.to_string());
        let Some(watched) = &self.watched else { return self.log.append(leaf).await };
        // The log does not grow where it would be a fork.
        self.stand().await.map_err(failed)?;
        let index = self.log.append(leaf).await?;
        watched.covering(index).await.map_err(failed)?;
        Ok(index)
    }

    fn name(&self) -> Option<String> {
        self.log.name()
    }

    /// A leaf of an LMS key counts as any entry does: once a quorum has seen
    /// it.
    async fn reserve(&self, leaf: &[u8], key: KeyId) -> Result<Reserved, LogError> {
        let failed = |error: ProofError| LogError::Unwitnessed(error.to_string());
        self.stand().await.map_err(failed)?;
        let reserved = self.log.reserve_under(leaf, key, self.has_majority()).await?;
        if reserved.is_late() {
            tracing::warn!(key = %key, left = reserved.left(), "an LMS key is nearly used up: make the next one");
        }
        if let Some(watched) = &self.watched {
            watched.covering(reserved.index).await.map_err(failed)?;
        }
        Ok(reserved)
    }

    fn size(&self) -> u64 {
        Log::size(&self.log)
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, LogError> {
        Log::read(&self.log, from, limit).await
    }
}

impl Proofs for PublicLog {
    fn prove(&self, index: u64) -> Proving<'_> {
        Box::pin(async move {
            let watched = self.watched.as_ref();
            let watched = watched.ok_or_else(|| ProofError::Log("no witnesses are configured".to_owned()))?;
            let cosigned = watched.covering(index).await?;
            let path = self.log.proof(index, cosigned.size()).await;
            let path = path.map_err(|error| ProofError::Log(error.to_string()))?;
            let checkpoint = cosigned.evidence();
            let checkpoint =
                checkpoint.ok_or_else(|| ProofError::Log("a signature is missing".to_owned()))?;
            Ok(BirthProof { checkpoint, index, path })
        })
    }
}

impl Watched {
    fn state(&self) -> MutexGuard<'_, Gathering> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Gathering)) {
        change(&mut self.state());
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits until `look` has an answer; asks the witnesses meanwhile.
    async fn until<T>(
        &self,
        look: impl Fn(&Gathering) -> Option<Result<T, ProofError>>,
    ) -> Result<T, ProofError> {
        let mut changed = self.changed.subscribe();
        if let Some(answer) = look(&self.state()) {
            return answer;
        }
        self.wanted.notify_one();
        let waiting = async {
            loop {
                // The sender is `self`: it does not go away.
                let _ = changed.changed().await;
                if let Some(answer) = look(&self.state()) {
                    return answer;
                }
            }
        };
        match tokio::time::timeout(self.quorum.patience, waiting).await {
            Ok(answer) => answer,
            Err(_) => Err(self.state().missing()),
        }
    }

    async fn stands(&self) -> Result<(), ProofError> {
        self.until(|state| state.stands(Instant::now())).await
    }

    async fn covering(&self, index: u64) -> Result<Arc<Cosigned>, ProofError> {
        let look = |state: &Gathering| {
            let forked = || state.forked().map(Err);
            state.covering(index).map(Ok).or_else(forked)
        };
        self.until(look).await
    }

    /// Puts one checkpoint after the other before the witnesses. The next
    /// one waits until the one before has its quorum or everybody has
    /// answered: else two witnesses of different speed might never cosign
    /// the same.
    async fn gather(self: Arc<Self>) {
        loop {
            let quorum = self.round().await;
            match quorum {
                true => {
                    let wanted = self.wanted.notified();
                    let _ = tokio::time::timeout(AGAIN, wanted).await;
                }
                false => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn round(&self) -> bool {
        let published = self.log.checkpoint().await;
        let target = published.map_err(|error| error.to_string()).and_then(|bytes| {
            Cosigned::open(&bytes, self.log.verifier(), self.log.verifiers())
                .map_err(|error| error.to_string())
        });
        let target = match target {
            Ok(target) => target,
            Err(error) => {
                tracing::error!(error, "the log has no checkpoint to be cosigned");
                return false;
            }
        };
        let mut round = 0;
        self.change(|state| round = state.begin(target.clone()));
        self.target.send_replace(Some((round, Arc::new(target))));
        let mut changed = self.changed.subscribe();
        let began = Instant::now();
        // Time for a witness in its pause, and for its answer.
        let most = BACK_OFF + 2 * self.quorum.timeout;
        loop {
            {
                let mut state = self.state();
                // The first time, everybody is heard: a quorum may agree on
                // what one of the others knows to be old.
                let heard = state.has_stood() || state.is_answered() || began.elapsed() > self.quorum.timeout;
                if state.has_quorum() && heard && state.forked().is_none() {
                    state.stand_at(Instant::now());
                    break;
                }
                if state.is_answered() || began.elapsed() > most {
                    tracing::warn!(why = %state.forked().unwrap_or_else(|| state.missing()), "the log is not witnessed");
                    return false;
                }
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), changed.changed()).await;
        }
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        self.keep().await;
        true
    }

    /// Keeps the newest cosigned checkpoint for the next start. It decides
    /// nothing there, so losing it costs nothing.
    async fn keep(&self) {
        let Some(newest) = self.state().newest() else { return };
        let path = self.log.tiles().with_extension("cosigned");
        let text = newest.note().to_string();
        let written = tokio::task::spawn_blocking(move || files::replace(&path, text.as_bytes())).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "the cosigned checkpoint is not kept");
        }
    }

    /// Asks one witness, about the newest target each time.
    async fn ask(self: Arc<Self>, index: usize) {
        let Some(member) = self.quorum.members.get(index) else { return };
        let mut asking = Asking::new(member.clone());
        let mut targets = self.target.subscribe();
        let mut failures = 0u32;
        while targets.changed().await.is_ok() {
            if failures > 0 {
                let pause = Duration::from_millis(250).saturating_mul(1 << failures.min(6));
                tokio::time::sleep(pause.min(BACK_OFF)).await;
            }
            let Some((round, target)) = targets.borrow_and_update().clone() else { continue };
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let answer = asking.cosign(&self.log, &target, now).await;
            failures = if answer.is_ok() { 0 } else { failures.saturating_add(1) };
            if let Err(why) = &answer {
                tracing::warn!(witness = member.key.name(), %why, "a witness does not cosign");
            }
            self.change(|state| state.answer(index, round, answer));
        }
    }
}

/// The checkpoint that an earlier process kept, if it still has its quorum.
fn kept(log: &IntentLog, quorum: &Quorum) -> Option<Cosigned> {
    let bytes = std::fs::read(log.tiles().with_extension("cosigned")).ok()?;
    let mut cosigned = Cosigned::open(&bytes, log.verifier(), log.verifiers()).ok()?;
    for line in Note::parse(&bytes).ok()?.signatures() {
        for member in &quorum.members {
            // Lines of others, and of witnesses that are none any more.
            let _ = cosigned.add(&member.key, line.clone());
        }
    }
    (cosigned.witnesses() >= quorum.needed && cosigned.size() <= log.len()).then_some(cosigned)
}

//! Asking one witness to cosign a checkpoint of ours.
//!
//! A witness that says it knows more than we do is believed only where it
//! shows a checkpoint with the log's own signature: nobody else can make
//! one, so a witness cannot stop a log by lying.

use bytes::Bytes;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_outbound::OutboundError;
use firmseal_store::StoreError;
use firmseal_store_local::IntentLog;
use firmseal_tlog::{Answer, Checkpoint, NOTE_MAX, Note, NoteSignature, Request, verify_consistency};

use crate::cosigned::Cosigned;
use crate::quorum::Member;

/// How far a witness's clock may be behind ours. A cosignature older than
/// this is not an answer but a recording of one.
const SKEW: u64 = 10 * 60;

/// Longest conversation: the size it has, told twice.
const TURNS: usize = 3;

/// Why a witness did not cosign.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// It has, under the log's own signature, a log that ours is not a
    /// continuation of.
    #[error("it has seen a log of {0} entries that this one does not continue")]
    Forked(u64),
    /// It is out of reach.
    #[error("{0}")]
    Unreachable(#[from] OutboundError),
    /// It says no.
    #[error("it answered {0}")]
    Refused(u16),
    /// It says something else.
    #[error("its answer cannot be used: {0}")]
    Answer(String),
    /// Its cosignature is from another time.
    #[error("it cosigned as of {0}, long before it was asked; look at its clock and ours")]
    Old(u64),
    /// Our own log.
    #[error("the log: {0}")]
    Log(String),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Log(error.to_string())
    }
}

/// What we know of one witness.
pub(crate) struct Asking {
    member: Member,
    /// The size that it has; `None` until it was asked.
    known: Option<u64>,
}

impl Asking {
    pub(crate) fn new(member: Member) -> Asking {
        Asking { member, known: None }
    }

    /// Has it cosign. `now` is in seconds since 1970.
    pub(crate) async fn cosign(
        &mut self,
        log: &IntentLog,
        target: &Cosigned,
        now: u64,
    ) -> Result<NoteSignature, Trouble> {
        // After a start nobody knows what it has seen of us: a restored
        // backup asks here first, before anything new is shown to it.
        let mut known = match self.known {
            Some(known) => known,
            None => self.compare(log, target).await?.unwrap_or(0),
        };
        for _ in 0..TURNS {
            if known > target.size() {
                // It says so. Whether it is so, it has to show.
                return match self.compare(log, target).await? {
                    Some(seen) if seen > target.size() => Err(Trouble::Forked(seen)),
                    _ => Err(Trouble::Refused(409)),
                };
            }
            let proof = log.consistency(known, target.size()).await?;
            let request = Request { old: known, proof, checkpoint: target.note().clone() };
            let body = Bytes::from(request.to_string());
            let fetched = self.member.endpoint.post("add-checkpoint", body, NOTE_MAX).await?;
            let kind = fetched.content_type();
            let answer = Answer::read(fetched.status, kind, &fetched.body);
            match answer.map_err(|error| Trouble::Answer(error.to_string()))? {
                Answer::Cosigned(lines) => {
                    let line = self.own(target, lines, now)?;
                    self.known = Some(target.size());
                    return Ok(line);
                }
                Answer::Conflict(seen) => known = seen,
                // A proof that we have checked is not accepted, or the size
                // is right and the root is not (version 1.0.0 said 409): it
                // may have seen another history.
                Answer::Refused(status @ (409 | 422)) => {
                    self.compare(log, target).await?;
                    return Err(Trouble::Refused(status));
                }
                Answer::Refused(status) => return Err(Trouble::Refused(status)),
            }
        }
        Err(Trouble::Answer("it keeps changing its size".to_owned()))
    }

    /// Finds its line, and checks that it was made just now.
    fn own(&self, target: &Cosigned, lines: Vec<NoteSignature>, now: u64) -> Result<NoteSignature, Trouble> {
        let key = &self.member.key;
        let mut line = lines.into_iter().filter(|line| line.id() == key.id() && line.name() == key.name());
        let line = line.next().ok_or_else(|| Trouble::Answer("it cosigned with another key".to_owned()))?;
        let time =
            target.clone().add(key, line.clone()).map_err(|error| Trouble::Answer(error.to_string()))?;
        match time.saturating_add(SKEW) < now {
            true => Err(Trouble::Old(time)),
            false => Ok(line),
        }
    }

    /// Fetches the last checkpoint that it cosigned and compares it with
    /// ours. Returns its size; `None` where it has none, or has none that
    /// proves anything.
    async fn compare(&mut self, log: &IntentLog, target: &Cosigned) -> Result<Option<u64>, Trouble> {
        let origin = RustCrypto.digest(target.checkpoint().origin.as_bytes());
        let fetched = self.member.endpoint.get(&format!("{origin}/checkpoint"), NOTE_MAX).await?;
        // It need not serve this; what it has seen is then told by its 409.
        if fetched.status != 200 {
            return Ok(None);
        }
        let Ok(seen) = last(&fetched.body, log, &self.member) else { return Ok(None) };
        self.known = Some(seen.size);
        if seen.size > target.size() {
            return Err(Trouble::Forked(seen.size));
        }
        let proof = log.consistency(seen.size, target.size()).await?;
        let ours = target.checkpoint();
        match verify_consistency(seen.size, ours.size, &proof, &seen.root, &ours.root) {
            Ok(()) => Ok(Some(seen.size)),
            Err(_) => Err(Trouble::Forked(seen.size)),
        }
    }
}

/// A checkpoint that the log and this witness have signed.
fn last(body: &[u8], log: &IntentLog, member: &Member) -> Result<Checkpoint, firmseal_tlog::Error> {
    let verifier = log.verifier();
    let (checkpoint, note): (Checkpoint, Note) = Checkpoint::open(body, verifier, verifier.name())?;
    note.verify(std::slice::from_ref(&member.key))?;
    Ok(checkpoint)
}

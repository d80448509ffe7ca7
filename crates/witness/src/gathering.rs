//! What has been gathered: which checkpoint is before the witnesses, who has
//! answered, and which checkpoints have the quorum. Pure; the caller has the
//! lock and the clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firmseal_sign::ProofError;
use firmseal_tlog::{NoteSignature, VerifierKey};

use crate::asking::Trouble;
use crate::cosigned::Cosigned;

/// For how long a quorum stands behind the log after it has answered. It is
/// asked every few minutes.
pub(crate) const FRESH: Duration = Duration::from_secs(10 * 60);

/// Checkpoints with a quorum that are kept for proofs.
const KEPT: usize = 1024;

/// How one witness stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    pub(crate) key: VerifierKey,
    /// The round that it has answered.
    answered: u64,
    /// Why it did not cosign; `None` once it has.
    trouble: Option<Trouble>,
}

/// The state of the gathering.
#[derive(Debug)]
pub(crate) struct Gathering {
    needed: usize,
    members: Vec<Standing>,
    round: u64,
    /// What is before the witnesses, with what came in for it.
    current: Option<Cosigned>,
    /// Checkpoints with the quorum, by size.
    kept: BTreeMap<u64, Arc<Cosigned>>,
    newest: Option<Arc<Cosigned>>,
    /// When a quorum last answered this process.
    stood: Option<Instant>,
}

impl Gathering {
    /// Nothing gathered yet. `newest` is what an earlier process gathered:
    /// it may be shown, and says nothing about now.
    pub(crate) fn new(
        needed: usize,
        keys: impl Iterator<Item = VerifierKey>,
        newest: Option<Cosigned>,
    ) -> Self {
        let members = keys.map(|key| Standing { key, answered: 0, trouble: None }).collect();
        let newest = newest.map(Arc::new);
        Gathering { needed, members, round: 0, current: None, kept: BTreeMap::new(), newest, stood: None }
    }

    /// Puts a checkpoint before the witnesses; returns the round.
    pub(crate) fn begin(&mut self, target: Cosigned) -> u64 {
        self.round += 1;
        self.current = Some(target);
        self.round
    }

    /// Takes in a witness's answer of a round.
    pub(crate) fn answer(&mut self, index: usize, round: u64, answer: Result<NoteSignature, Trouble>) {
        let (Some(member), Some(current)) = (self.members.get_mut(index), &mut self.current) else { return };
        member.answered = round;
        let added = answer.and_then(|line| match round == self.round {
            true => current.add(&member.key, line).map(|_| ()).map_err(|e| Trouble::Answer(e.to_string())),
            // Of a round that is over: the next one is under way.
            false => Ok(()),
        });
        member.trouble = added.err();
        if current.witnesses() >= self.needed && round == self.round {
            let cosigned = Arc::new(current.clone());
            self.kept.insert(cosigned.size(), cosigned.clone());
            while self.kept.len() > KEPT {
                self.kept.pop_first();
            }
            self.newest = Some(cosigned);
        }
    }

    /// Whether every witness has answered the round.
    pub(crate) fn is_answered(&self) -> bool {
        self.members.iter().all(|member| member.answered == self.round)
    }

    /// Whether the round has its quorum.
    pub(crate) fn has_quorum(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.witnesses() >= self.needed)
    }

    /// Notes that a quorum stands behind the log now.
    pub(crate) fn stand_at(&mut self, now: Instant) {
        self.stood = Some(now);
    }

    /// Whether it has done so since this process began.
    pub(crate) fn has_stood(&self) -> bool {
        self.stood.is_some()
    }

    /// Whether keys may be used now; `None` means that it is not known yet.
    pub(crate) fn stands(&self, now: Instant) -> Option<Result<(), ProofError>> {
        if let Some(forked) = self.forked() {
            return Some(Err(forked));
        }
        let fresh = self.stood.is_some_and(|stood| now.saturating_duration_since(stood) < FRESH);
        fresh.then_some(Ok(()))
    }

    /// The witness that knows another log, and what it knows.
    pub(crate) fn forked(&self) -> Option<ProofError> {
        self.members.iter().find_map(|member| match member.trouble {
            Some(Trouble::Forked(seen)) => {
                Some(ProofError::Forked { witness: member.key.name().to_owned(), seen })
            }
            _ => None,
        })
    }

    /// Why there is no quorum, naming those who did not help.
    pub(crate) fn missing(&self) -> ProofError {
        let have = self.current.as_ref().map_or(0, Cosigned::witnesses);
        let open = self.members.iter().filter_map(|member| {
            let why = match &member.trouble {
                Some(trouble) => trouble.to_string(),
                None if member.answered < self.round => "no answer yet".to_owned(),
                None => return None,
            };
            Some(format!("{}: {why}", member.key.name()))
        });
        let why = open.collect::<Vec<_>>().join("; ");
        ProofError::NoQuorum { have, need: self.needed, why }
    }

    /// The first checkpoint with a quorum that covers an entry, of those
    /// that are kept.
    pub(crate) fn covering(&self, index: u64) -> Option<Arc<Cosigned>> {
        let first = self.kept.range(index.saturating_add(1)..).next();
        first.map(|(_, cosigned)| cosigned.clone())
    }

    /// The newest checkpoint with a quorum.
    pub(crate) fn newest(&self) -> Option<Arc<Cosigned>> {
        self.newest.clone()
    }

    /// Each witness's name, and what is wrong with it.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, Option<String>)> {
        self.members.iter().map(|member| {
            let waiting = (member.answered == 0).then(|| "no answer yet".to_owned());
            (member.key.name(), member.trouble.as_ref().map(Trouble::to_string).or(waiting))
        })
    }
}

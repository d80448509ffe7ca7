//! One of the hosts of a connection: its address, and how far it has seen
//! the log.
//!
//! Each is a witness with a memory of its own, so each is shown the log by
//! itself.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use firmseal_api::Base64;
use firmseal_fleet::Environment;
use firmseal_keys::{Covered, SignError};
use firmseal_manifest::{KeyName, PublicKey, Signature};
use firmseal_outbound::{Endpoint, Fetched, OutboundError};
use firmseal_store::StoreError;
use firmseal_store_local::IntentLog;
use firmseal_tlog::{Answer, Checkpoint, NOTE_MAX, Note, Request};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::error::{ConnectError, HostFault};
use crate::wire::{ANSWER_MAX, Problem, ProblemKind, Shown, SignRequest, Signed, WireTbs};

/// How often a request is repeated because the host had seen another size:
/// after a restart it knows the newest tree alone.
const TURNS: usize = 4;

/// Why a host gave no signature.
pub(crate) enum Failed {
    /// It was not asked for one, or nothing of that left: another host may
    /// be, under the same entry of the log.
    Unasked(SignError),
    /// The same, because the host knows another history of this log. That is
    /// no outage, and nobody else is asked.
    Forked(String),
    /// Our own log does not say what a host wants to see: no other one would
    /// help.
    Log(SignError),
    /// It was asked, and may have used the key.
    Asked(SignError),
}

/// One host.
pub(crate) struct Member {
    address: String,
    endpoint: Endpoint,
    /// The size that the host has cosigned, as far as we know.
    seen: AtomicU64,
    /// Held by whoever shows it more.
    showing: Mutex<()>,
    /// How often that failed.
    failed: AtomicU64,
}

impl Member {
    /// The host at `https://...`; each request gets so much time.
    pub(crate) fn new(
        address: &str,
        authorities: &[u8],
        identity: (&[u8], &[u8]),
        patience: Duration,
    ) -> Result<Member, ConnectError> {
        let endpoint = Endpoint::with_identity(address, Some(authorities), Some(identity), patience)?;
        if !endpoint.is_private() {
            return Err(ConnectError::NotPrivate);
        }
        Ok(Member {
            address: address.to_owned(),
            endpoint,
            seen: AtomicU64::new(0),
            showing: Mutex::default(),
            failed: AtomicU64::new(0),
        })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The public half of a key there, if the host is for this environment.
    pub(crate) async fn key(
        &self,
        key: &KeyName,
        environment: Environment,
    ) -> Result<PublicKey, ConnectError> {
        let fault = |fault| ConnectError::Host { address: self.address.clone(), fault };
        let fetched = self.endpoint.get(&format!("keys/{key}"), ANSWER_MAX).await;
        let fetched = fetched.map_err(|error| self.no_answer(error))?;
        match fetched.status {
            200 => {}
            // Itself, or whatever stands before it, has no time for us.
            429 | 500.. => return Err(self.no_answer(format_args!("it answered {}", fetched.status))),
            _ => return Err(fault(HostFault::Refused(problem(&fetched).why))),
        }
        let shown: Shown = json(&fetched).map_err(|why| fault(HostFault::Answer(why)))?;
        if shown.environment != environment {
            return Err(fault(HostFault::Environment(shown.environment)));
        }
        PublicKey::from_pem(&shown.public_key).map_err(|error| fault(HostFault::Key(error)))
    }

    fn no_answer(&self, why: impl fmt::Display) -> ConnectError {
        ConnectError::NoAnswer(format!("{}: {why}", self.address))
    }

    /// Whether a key there could sign now.
    pub(crate) async fn ready(&self, key: &KeyName) -> Result<(), SignError> {
        let fetched = self.endpoint.get(&format!("keys/{key}/ready"), ANSWER_MAX).await;
        let fetched = fetched.map_err(|error| self.unreachable(&error))?;
        match fetched.status {
            204 => Ok(()),
            _ => Err(told(problem(&fetched))),
        }
    }

    /// Has a key there sign what stands in this log.
    pub(crate) async fn sign(
        &self,
        log: &IntentLog,
        key: &KeyName,
        covered: &Covered,
    ) -> Result<Signature, Failed> {
        let intent = covered.intent();
        let (leaf, index) = (intent.value().encode(), intent.index());
        for _ in 0..TURNS {
            let size = self.cover(log, index).await?;
            let path = log.proof(index, size).await.map_err(of_log)?;
            let request = SignRequest {
                key: key.clone(),
                origin: log.verifier().name().to_owned(),
                intent: Base64(leaf.clone()),
                index,
                size,
                path: path.iter().map(|hash| Base64(hash.as_bytes().to_vec())).collect(),
                tbs: WireTbs::new(covered.tbs()),
            };
            let body = serde_json::to_vec(&request)
                .map_err(|error| Failed::Unasked(SignError::Refused(error.to_string())))?;
            let fetched = match self.endpoint.post("sign", body.into(), ANSWER_MAX).await {
                Ok(fetched) => fetched,
                Err(error @ OutboundError::NotSent(_)) => {
                    return Err(Failed::Unasked(self.unreachable(&error)));
                }
                Err(error) => return Err(Failed::Asked(self.unreachable(&error))),
            };
            if fetched.status == 200 {
                let signed: Signed =
                    json(&fetched).map_err(|why| Failed::Asked(SignError::Unavailable(why)))?;
                return Ok(Signature(signed.signature.0));
            }
            let problem = problem(&fetched);
            match problem.size.filter(|_| problem.problem == ProblemKind::Unseen) {
                // It was restarted: what it remembers is less than we knew.
                Some(seen) => self.seen.store(seen, Ordering::Release),
                None => return Err(Failed::Asked(told(problem))),
            }
        }
        Err(self.unshown(&"it keeps changing what it has seen of the log"))
    }

    /// Sees to it that the host has seen what the log holds now.
    pub(crate) async fn keep_up(&self, log: &IntentLog) -> Result<(), Failed> {
        match log.len().checked_sub(1) {
            Some(newest) => self.cover(log, newest).await.map(drop),
            None => Ok(()),
        }
    }

    /// Sees to it that the host has seen the log beyond an index; returns
    /// the size that it has cosigned.
    async fn cover(&self, log: &IntentLog, index: u64) -> Result<u64, Failed> {
        let seen = |least: u64| Some(self.seen.load(Ordering::Acquire)).filter(|size| *size > least);
        if let Some(size) = seen(index) {
            return Ok(size);
        }
        let failed = self.failed.load(Ordering::Acquire);
        let _showing = self.showing.lock().await;
        // Whoever went before may have shown ours as well, or waited for
        // nothing: all that wait here would do so one after the other.
        if let Some(size) = seen(index) {
            return Ok(size);
        }
        if self.failed.load(Ordering::Acquire) != failed {
            return Err(self.unshown(&"it did not take the checkpoint that others waited for"));
        }
        let shown = self.show(log).await;
        if shown.is_err() {
            self.failed.fetch_add(1, Ordering::AcqRel);
        }
        shown
    }

    async fn show(&self, log: &IntentLog) -> Result<u64, Failed> {
        let bytes = log.checkpoint().await.map_err(of_log)?;
        let checkpoint = Note::parse(&bytes).map_err(|error| self.unshown(&error))?;
        let size = Checkpoint::parse(checkpoint.text()).map_err(|error| self.unshown(&error))?.size;
        let mut seen = self.seen.load(Ordering::Acquire);
        for _ in 0..TURNS {
            if seen > size {
                return Err(self.forked(format_args!(
                    "has seen {seen} entries of this log, which has {size}: it was restored from a backup, or \
                     there are two of it"
                )));
            }
            let proof = log.consistency(seen, size).await.map_err(of_log)?;
            let request = Request { old: seen, proof, checkpoint: checkpoint.clone() };
            let body = Bytes::from(request.to_string());
            let fetched = self.endpoint.post("add-checkpoint", body, NOTE_MAX).await;
            let fetched = fetched.map_err(|error| Failed::Unasked(self.unreachable(&error)))?;
            match Answer::read(fetched.status, fetched.content_type(), &fetched.body) {
                Ok(Answer::Cosigned(_)) => {
                    self.seen.store(size, Ordering::Release);
                    return Ok(size);
                }
                Ok(Answer::Conflict(other)) => seen = other,
                Ok(Answer::Refused(422)) => {
                    let why = "has seen another history of this log, and signs nothing for it";
                    return Err(self.forked(why));
                }
                Ok(Answer::Refused(403 | 404)) => {
                    return Err(Failed::Unasked(SignError::Unfit(format!(
                        "the key host {} does not watch this log: put its key into the host's witness.toml",
                        self.address
                    ))));
                }
                Ok(Answer::Refused(status)) => {
                    return Err(self.unshown(&format_args!("it answered {status}")));
                }
                Err(error) => return Err(self.unshown(&error)),
            }
        }
        Err(self.unshown(&"it keeps changing what it has seen"))
    }

    fn unshown(&self, why: &dyn fmt::Display) -> Failed {
        Failed::Unasked(self.unreachable(why))
    }

    fn forked(&self, why: impl fmt::Display) -> Failed {
        Failed::Forked(format!("the key host {} {why}", self.address))
    }

    fn unreachable(&self, why: &dyn fmt::Display) -> SignError {
        SignError::Unavailable(format!("the key host {}: {why}", self.address))
    }
}

/// What a refusal means to whoever wanted a signature.
fn told(problem: Problem) -> SignError {
    match problem.problem {
        // Its PIN is the host's to guard, and it does not try it again: from
        // here it is asked whether it is there until somebody has seen to it.
        ProblemKind::WrongPin => SignError::Denied(problem.why),
        ProblemKind::Unfit => SignError::Unfit(problem.why),
        ProblemKind::BadSignature => SignError::BadSignature,
        ProblemKind::Unseen | ProblemKind::Unavailable => SignError::Unavailable(problem.why),
        ProblemKind::Refused | ProblemKind::Unsupported => SignError::Refused(problem.why),
    }
}

/// The problem that an answer names; one that names none came from nobody
/// who knows about keys.
fn problem(fetched: &Fetched) -> Problem {
    serde_json::from_slice(&fetched.body).unwrap_or_else(|_| Problem {
        problem: ProblemKind::Unavailable,
        why: format!("it answered {}", fetched.status),
        size: None,
    })
}

fn json<T: DeserializeOwned>(fetched: &Fetched) -> Result<T, String> {
    serde_json::from_slice(&fetched.body).map_err(|error| format!("the key host's answer: {error}"))
}

fn of_log(error: StoreError) -> Failed {
    Failed::Log(SignError::Unavailable(format!("the log: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::HostError;

    fn over_the_wire(error: HostError) -> SignError {
        told(error.problem())
    }

    #[test]
    fn what_is_wrong_with_the_hosts_key_does_not_end_a_request() {
        let key: KeyName = "release".parse().unwrap();
        let missing = over_the_wire(HostError::NoKey(key.clone()));
        assert!(matches!(missing, SignError::Unfit(_)), "{missing}");
        let unfit = over_the_wire(SignError::Unfit("disabled".to_owned()).into());
        assert!(matches!(&unfit, SignError::Unfit(why) if why.contains("disabled")), "{unfit}");
        let purpose = HostError::Purpose { key, purpose: firmseal_manifest::Purpose::Root };
        let refused = over_the_wire(purpose);
        assert!(matches!(refused, SignError::Refused(_)), "{refused}");
    }
}

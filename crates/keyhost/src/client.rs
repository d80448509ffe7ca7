//! Keys on a host, as signers.
//!
//! Each signature needs two things shown to the host: a checkpoint that
//! covers the intent, which one request does for all that wait, and the path
//! from the intent to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use firmseal_api::Base64;
use firmseal_fleet::Environment;
use firmseal_keys::{Covered, SignError};
use firmseal_keys_remote::{Kept, Options, RemoteKey, Service, wait_for};
use firmseal_manifest::{KeyError, KeyName, PublicKey, Signature};
use firmseal_outbound::{Endpoint, Fetched, OutboundError};
use firmseal_store::StoreError;
use firmseal_store_local::IntentLog;
use firmseal_tlog::{Answer, Checkpoint, NOTE_MAX, Note, Request};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::error::ConnectError;
use crate::wire::{ANSWER_MAX, Problem, ProblemKind, Shown, SignRequest, Signed, WireTbs};

/// How often a request is repeated because the host had seen another size:
/// after a restart it knows the newest tree alone.
const TURNS: usize = 4;

/// A server's way to one key host. Clones are the same one.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    /// The log in which the intents stand.
    log: IntentLog,
    /// The size that the host has cosigned, as far as we know.
    seen: AtomicU64,
    /// Held by whoever shows it more.
    showing: Mutex<()>,
    options: Options,
}

impl Connection {
    /// A connection to the host at `https://...`, with the authorities and
    /// the client certificate and key in these PEM texts, for keys whose uses
    /// stand in this log. Nothing is sent yet.
    pub fn new(
        url: &str,
        authorities: &[u8],
        identity: (&[u8], &[u8]),
        log: IntentLog,
        options: Options,
    ) -> Result<Connection, ConnectError> {
        let timeout = options.deadline;
        let endpoint = Endpoint::with_identity(url, Some(authorities), Some(identity), timeout)?;
        if !endpoint.is_private() {
            return Err(ConnectError::NotPrivate);
        }
        let (seen, showing) = (AtomicU64::new(0), Mutex::new(()));
        Ok(Connection { inner: Arc::new(Inner { endpoint, log, seen, showing, options }) })
    }
}

/// A signer with its key on a host.
pub type HostedKey = RemoteKey<Named>;

/// One key there.
pub struct Named {
    host: Connection,
    key: KeyName,
}

/// Opens a key: asks the host for its public half. A host of the other
/// environment is refused. Blocks for up to the deadline; call it at start.
pub fn open(host: &Connection, key: &KeyName, environment: Environment) -> Result<HostedKey, ConnectError> {
    let (asked, path) = (host.clone(), format!("keys/{key}"));
    let get = async move { asked.inner.endpoint.get(&path, ANSWER_MAX).await };
    let fetched = wait_for(host.inner.options.deadline, get)??;
    if fetched.status != 200 {
        return Err(ConnectError::Refused(problem(&fetched).why));
    }
    let shown: Shown = json(&fetched).map_err(ConnectError::Answer)?;
    if shown.environment != environment {
        return Err(ConnectError::Environment(shown.environment));
    }
    let public_key = PublicKey::from_pem(&shown.public_key)?;
    // What it is kept in there, its host knows.
    let kept =
        Kept { place: format!("{:?}, key {key}", host.inner.endpoint), within: "its host", weakness: None };
    let named = Named { host: host.clone(), key: key.clone() };
    Ok(RemoteKey::new(named, public_key, kept, host.inner.options).map_err(|_| KeyError::Malformed)?)
}

impl Service for Named {
    // The host's key knows.
    const SALTS_LONGEST: bool = true;

    async fn sign(&self, covered: &Covered) -> Result<Signature, SignError> {
        let (host, intent) = (&*self.host.inner, covered.intent());
        let (leaf, index) = (intent.value().encode(), intent.index());
        for _ in 0..TURNS {
            let size = host.cover(index).await?;
            let path = host.log.proof(index, size).await.map_err(log)?;
            let request = SignRequest {
                key: self.key.clone(),
                origin: host.log.verifier().name().to_owned(),
                intent: Base64(leaf.clone()),
                index,
                size,
                path: path.iter().map(|hash| Base64(hash.as_bytes().to_vec())).collect(),
                tbs: WireTbs::new(covered.tbs()),
            };
            let body = serde_json::to_vec(&request).map_err(|error| SignError::Refused(error.to_string()))?;
            let fetched = host.endpoint.post("sign", body.into(), ANSWER_MAX).await.map_err(unreachable)?;
            if fetched.status == 200 {
                let signed: Signed = json(&fetched).map_err(SignError::Unavailable)?;
                return Ok(Signature(signed.signature.0));
            }
            let problem = problem(&fetched);
            match problem.size.filter(|_| problem.problem == ProblemKind::Unseen) {
                // It was restarted: what it remembers is less than we knew.
                Some(seen) => host.seen.store(seen, Ordering::Release),
                None => return Err(told(problem)),
            }
        }
        Err(SignError::Unavailable("the key host keeps changing what it has seen of the log".to_owned()))
    }

    async fn ready(&self) -> Result<(), SignError> {
        let path = format!("keys/{}/ready", self.key);
        let fetched = self.host.inner.endpoint.get(&path, ANSWER_MAX).await.map_err(unreachable)?;
        match fetched.status {
            204 => Ok(()),
            _ => Err(told(problem(&fetched))),
        }
    }
}

impl Inner {
    /// Sees to it that the host has seen the log beyond an index; returns
    /// the size that it has cosigned.
    async fn cover(&self, index: u64) -> Result<u64, SignError> {
        let seen = |least: u64| Some(self.seen.load(Ordering::Acquire)).filter(|size| *size > least);
        if let Some(size) = seen(index) {
            return Ok(size);
        }
        let _showing = self.showing.lock().await;
        // Whoever went before may have shown ours as well.
        match seen(index) {
            Some(size) => Ok(size),
            None => self.show().await,
        }
    }

    async fn show(&self) -> Result<u64, SignError> {
        let bad = |why: &dyn fmt::Display| SignError::Unavailable(format!("the key host: {why}"));
        let bytes = self.log.checkpoint().await.map_err(log)?;
        let checkpoint = Note::parse(&bytes).map_err(|error| bad(&error))?;
        let size = Checkpoint::parse(checkpoint.text()).map_err(|error| bad(&error))?.size;
        let mut seen = self.seen.load(Ordering::Acquire);
        for _ in 0..TURNS {
            if seen > size {
                return Err(SignError::Refused(format!(
                    "the key host has seen {seen} entries of this log, which has {size}: it was restored from \
                     a backup, or there are two of it"
                )));
            }
            let proof = self.log.consistency(seen, size).await.map_err(log)?;
            let request = Request { old: seen, proof, checkpoint: checkpoint.clone() };
            let body = Bytes::from(request.to_string());
            let fetched = self.endpoint.post("add-checkpoint", body, NOTE_MAX).await.map_err(unreachable)?;
            match Answer::read(fetched.status, fetched.content_type(), &fetched.body) {
                Ok(Answer::Cosigned(_)) => {
                    self.seen.store(size, Ordering::Release);
                    return Ok(size);
                }
                Ok(Answer::Conflict(other)) => seen = other,
                Ok(Answer::Refused(422)) => {
                    let why = "the key host has seen another history of this log, and signs nothing for it";
                    return Err(SignError::Refused(why.to_owned()));
                }
                Ok(Answer::Refused(403 | 404)) => {
                    let why =
                        "the key host does not watch this log: put its key into the host's witness.toml";
                    return Err(SignError::Refused(why.to_owned()));
                }
                Ok(Answer::Refused(status)) => return Err(bad(&format_args!("it answered {status}"))),
                Err(error) => return Err(bad(&error)),
            }
        }
        Err(bad(&"it keeps changing what it has seen"))
    }
}

/// What a refusal means to whoever wanted a signature.
fn told(problem: Problem) -> SignError {
    match problem.problem {
        // Its PIN is the host's to guard, and it does not try it again: from
        // here it is asked whether it is there until somebody has seen to it.
        ProblemKind::WrongPin => SignError::Denied(problem.why),
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

fn unreachable(error: OutboundError) -> SignError {
    SignError::Unavailable(format!("the key host: {error}"))
}

fn log(error: StoreError) -> SignError {
    SignError::Unavailable(format!("the log: {error}"))
}

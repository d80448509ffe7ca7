//! The host itself: decides, writes down, and only then opens a key.
//!
//! Knows nothing of HTTP. What it signs was announced in a log that it is a
//! witness of: the intent stands in a checkpoint that the host has cosigned,
//! and so will stand there for whoever reads the log, whatever becomes of
//! the server. The same intent may be brought twice; that makes a second
//! signature over bytes that were announced, and a second entry here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use firmseal_fleet::Environment;
use firmseal_keys::{DynSigner, Logged};
use firmseal_manifest::{Digest, Intent, KeyName, Purpose, Signature};
use firmseal_store_local::IntentLog;
use firmseal_tlog::{Checkpoint, Request, Seen, leaf_hash, verify_inclusion};
use firmseal_witness::{Reply, Witness};
use serde::{Deserialize, Serialize};

use crate::error::HostError;
use crate::wire::SignRequest;

/// How many cosigned trees are kept in mind. A server proves against the
/// newest that it has shown; others of its requests may be on their way with
/// proofs against earlier ones.
const TREES: usize = 4096;

/// What a key on a host may sign, as its settings say it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Releases.
    Release,
    /// Signatures of formats' own, and of files.
    Artifact,
    /// Delegations.
    Delegation,
    /// Revocations.
    Revocation,
    /// Root documents.
    Root,
    /// Agreement to what others made.
    Statement,
    /// TUF metadata.
    Tuf,
    /// Timestamps.
    Timestamp,
    /// Statements about builds.
    Attestation,
}

impl Use {
    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Use::Release => "release",
            Use::Artifact => "artifact",
            Use::Delegation => "delegation",
            Use::Revocation => "revocation",
            Use::Root => "root",
            Use::Statement => "statement",
            Use::Tuf => "tuf",
            Use::Timestamp => "timestamp",
            Use::Attestation => "attestation",
        }
    }

    fn of(purpose: Purpose) -> Use {
        match purpose {
            Purpose::Root => Use::Root,
            Purpose::Artifact => Use::Artifact,
            Purpose::Release => Use::Release,
            Purpose::Delegation => Use::Delegation,
            Purpose::Revocation => Use::Revocation,
            Purpose::Statement => Use::Statement,
            Purpose::Tuf => Use::Tuf,
            Purpose::Timestamp => Use::Timestamp,
            Purpose::Attestation => Use::Attestation,
        }
    }
}

/// A key on the host.
pub struct Hosted {
    /// What servers call it.
    pub name: KeyName,
    /// The key, open.
    pub signer: Arc<dyn DynSigner>,
    /// What it signs; nothing else.
    pub uses: BTreeSet<Use>,
}

/// A key host.
pub struct KeyHost {
    environment: Environment,
    witness: Arc<Witness>,
    trees: Mutex<VecDeque<(String, Seen)>>,
    /// Each use of a key here: what opens it ([`Logged`]), and what the
    /// owner of the host compares with the server's log.
    uses: IntentLog,
    keys: BTreeMap<KeyName, Hosted>,
}

impl KeyHost {
    /// A host with these keys, for one environment. `uses` is the directory
    /// of its own log. Blocks for the disk.
    pub fn open(
        environment: Environment,
        witness: Witness,
        uses: &Path,
        keys: Vec<Hosted>,
    ) -> Result<KeyHost, HostError> {
        let mut named = BTreeMap::new();
        for hosted in keys {
            let name = hosted.name.clone();
            if named.insert(name.clone(), hosted).is_some() {
                return Err(HostError::Twice(name));
            }
        }
        let seen = |log: firmseal_witness::Watched| witness.seen(&log.origin).map(|seen| (log.origin, seen));
        let trees = witness.watched().into_iter().filter_map(seen).collect();
        Ok(KeyHost {
            environment,
            trees: Mutex::new(trees),
            witness: Arc::new(witness),
            uses: IntentLog::open(uses)?,
            keys: named,
        })
    }

    /// What it is for.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// Its keys.
    pub fn keys(&self) -> impl Iterator<Item = &Hosted> {
        self.keys.values()
    }

    /// A key by its name.
    pub(crate) fn key(&self, name: &KeyName) -> Result<&Hosted, HostError> {
        self.keys.get(name).ok_or_else(|| HostError::NoKey(name.clone()))
    }

    /// Answers an add-checkpoint request as a witness does, and keeps the
    /// tree in mind. Blocks for the disk.
    pub fn add_checkpoint(&self, body: &[u8], now: u64) -> Reply {
        let reply = self.witness.add_checkpoint(body, now);
        let shown = Request::parse(body).and_then(|request| Checkpoint::parse(request.checkpoint.text()));
        // It was cosigned, so it could be read.
        if let (200, Ok(Checkpoint { origin, size, root, .. })) = (reply.status, shown) {
            let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
            if trees.len() == TREES {
                trees.pop_front();
            }
            trees.push_back((origin, Seen { size, root }));
        }
        reply
    }

    /// The root of a tree that was cosigned here.
    fn root(&self, origin: &str, size: u64) -> Result<Digest, HostError> {
        let trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        let of_log = || trees.iter().rev().filter(|(known, _)| known == origin).map(|(_, seen)| seen);
        let root = of_log().find(|seen| seen.size == size).map(|seen| seen.root);
        let unseen = || HostError::Unseen { asked: size, seen: of_log().next().map_or(0, |seen| seen.size) };
        root.ok_or_else(unseen)
    }

    /// Signs what the log announces.
    pub(crate) async fn sign(&self, request: SignRequest) -> Result<Signature, HostError> {
        let hosted = self.key(&request.key)?;
        let path = request.path().ok_or(HostError::Malformed("the path holds something else than hashes"))?;
        let leaf = &request.intent.0;
        let intent = Intent::decode(leaf).ok_or(HostError::Malformed("the intent is none"))?;
        let (leaf, purpose) = (leaf_hash(leaf), intent.purpose);
        let tbs = request.tbs.tbs().ok_or(HostError::Malformed("a digest has another length"))?;
        if !hosted.uses.contains(&Use::of(purpose)) {
            return Err(HostError::Purpose { key: request.key, purpose });
        }
        let key = hosted.signer.dyn_public_key();
        if !intent.covers(key, &tbs) {
            return Err(HostError::NotCovered);
        }
        let root = self.root(&request.origin, request.size)?;
        verify_inclusion(&leaf, request.index, request.size, &path, &root)
            .map_err(|_| HostError::NotIncluded)?;
        let logged = Logged::append_for(&self.uses, intent, key).await?;
        tracing::info!(key = %request.key, ?purpose, origin = request.origin, index = request.index, "signs");
        Ok(hosted.signer.dyn_sign(logged, tbs).await?)
    }
}

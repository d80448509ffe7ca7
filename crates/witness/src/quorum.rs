//! Which witnesses a log has, and how many must have seen it.
//!
//! ```toml
//! [log]
//! quorum = 2
//! [[log.witness]]
//! key = "witness.example.com/1+0c7d2a6b+BH..."
//! url = "http://witness.example.com:8450"
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use firmseal_manifest::limits::COSIGNATURES_MAX;
use firmseal_tlog::{Kind, VerifierKey};
use serde::{Deserialize, Serialize};

use firmseal_outbound::{Endpoint, OutboundError};

/// The settings, as they stand in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuorumSettings {
    /// How many witnesses must have seen a checkpoint.
    pub quorum: usize,
    /// Seconds that an order waits for them.
    #[serde(default = "patience")]
    pub patience_seconds: u64,
    /// Seconds that one answer may take.
    #[serde(default = "timeout")]
    pub timeout_seconds: u64,
    /// The witnesses.
    pub witness: Vec<WitnessSettings>,
}

/// One witness.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessSettings {
    /// Its verifier key, as `firmseal witness init` printed it.
    pub key: String,
    /// Where it is.
    pub url: String,
    /// For `https`: a PEM file of certificate authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<PathBuf>,
}

fn patience() -> u64 {
    30
}

fn timeout() -> u64 {
    10
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QuorumError {
    /// The number makes no sense.
    #[error(
        "a quorum of {quorum} of {witnesses} witnesses; it is 1 to all of them, and at most {COSIGNATURES_MAX}"
    )]
    Size {
        /// The quorum.
        quorum: usize,
        /// The witnesses.
        witnesses: usize,
    },
    /// A key that is none of a witness.
    #[error("the witness's key {key}: {why}")]
    Key {
        /// The key, as it was written.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// The address.
    #[error(transparent)]
    Address(#[from] OutboundError),
    /// The authority file.
    #[error("cannot read {}: {error}", path.display())]
    Authority {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Witnesses and their quorum.
#[derive(Clone, Debug)]
pub struct Quorum {
    pub(crate) members: Vec<Member>,
    pub(crate) needed: usize,
    pub(crate) patience: Duration,
    pub(crate) timeout: Duration,
}

/// One of the witnesses.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: VerifierKey,
    pub(crate) endpoint: Endpoint,
}

impl Quorum {
    /// Reads the settings; paths in them are relative to `base`.
    pub fn new(settings: &QuorumSettings, base: &Path) -> Result<Quorum, QuorumError> {
        let (quorum, witnesses) = (settings.quorum, settings.witness.len());
        if quorum == 0 || quorum > witnesses || quorum > COSIGNATURES_MAX {
            return Err(QuorumError::Size { quorum, witnesses });
        }
        let timeout = Duration::from_secs(settings.timeout_seconds.max(1));
        let mut seen = BTreeSet::new();
        let mut members = Vec::with_capacity(witnesses);
        for witness in &settings.witness {
            let bad = |why: &str| QuorumError::Key { key: witness.key.clone(), why: why.to_owned() };
            let key = VerifierKey::parse(&witness.key).map_err(|error| bad(&error.to_string()))?;
            if key.kind() != Kind::Cosignature {
                return Err(bad("it is a log's key, not a witness's"));
            }
            // One key under two names would count twice.
            if !seen.insert(key.public().to_vec()) {
                return Err(bad("it stands here twice"));
            }
            let authority = match &witness.authority {
                None => None,
                Some(path) => {
                    let path = base.join(path);
                    let read = std::fs::read(&path);
                    Some(read.map_err(|error| QuorumError::Authority { path, error })?)
                }
            };
            members
                .push(Member { key, endpoint: Endpoint::new(&witness.url, authority.as_deref(), timeout)? });
        }
        let patience = Duration::from_secs(settings.patience_seconds.max(1));
        Ok(Quorum { members, needed: quorum, patience, timeout })
    }
}

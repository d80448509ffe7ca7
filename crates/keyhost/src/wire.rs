//! What travels between a server and its key host: JSON over HTTP, beside
//! the witness protocol (C2SP tlog-witness) on the same address.

use firmseal_api::Base64;
use firmseal_fleet::Environment;
use firmseal_manifest::tbs::MESSAGE_MAX;
use firmseal_manifest::{Digest, KeyName, Tbs};
use serde::{Deserialize, Serialize};

/// Longest body of `POST /sign`: the longest message in base64, and a proof.
pub(crate) const SIGN_MAX: usize = MESSAGE_MAX.div_ceil(3) * 4 + 64 * 1024;
/// Longest answer.
pub(crate) const ANSWER_MAX: usize = 128 * 1024;
/// Most hashes in an inclusion proof: trees have fewer than 2^63 entries.
const PATH_MAX: usize = 63;

/// `POST /sign`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignRequest {
    /// The key.
    pub(crate) key: KeyName,
    /// The log in which the intent stands.
    pub(crate) origin: String,
    /// The intent, as it stands there.
    pub(crate) intent: Base64,
    /// Where.
    pub(crate) index: u64,
    /// The size of a checkpoint that the host has cosigned.
    pub(crate) size: u64,
    /// Hashes from the intent to its root (RFC 6962 §2.1.1).
    pub(crate) path: Vec<Base64>,
    /// What is to be signed.
    pub(crate) tbs: WireTbs,
}

/// [`Tbs`] as it travels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WireTbs {
    Message(Base64),
    Sha256(Base64),
    Sha384(Base64),
    Pkcs1(Base64),
    PssMax(Base64),
}

impl SignRequest {
    /// The proof, if it is one.
    pub(crate) fn path(&self) -> Option<Vec<Digest>> {
        if self.path.len() > PATH_MAX {
            return None;
        }
        self.path.iter().map(|hash| hash.0.as_slice().try_into().ok().map(Digest)).collect()
    }
}

impl WireTbs {
    pub(crate) fn new(tbs: &Tbs) -> WireTbs {
        match tbs {
            Tbs::Message(message) => WireTbs::Message(Base64(message.clone())),
            Tbs::Sha256(digest) => WireTbs::Sha256(Base64(digest.to_vec())),
            Tbs::Sha384(digest) => WireTbs::Sha384(Base64(digest.to_vec())),
            Tbs::Pkcs1(digest) => WireTbs::Pkcs1(Base64(digest.to_vec())),
            Tbs::PssMax(digest) => WireTbs::PssMax(Base64(digest.to_vec())),
        }
    }

    /// What it says, if a digest has its length.
    pub(crate) fn tbs(self) -> Option<Tbs> {
        match self {
            WireTbs::Message(message) => Some(Tbs::Message(message.0)),
            WireTbs::Sha256(digest) => digest.0.try_into().ok().map(Tbs::Sha256),
            WireTbs::Sha384(digest) => digest.0.try_into().ok().map(Tbs::Sha384),
            WireTbs::Pkcs1(digest) => digest.0.try_into().ok().map(Tbs::Pkcs1),
            WireTbs::PssMax(digest) => digest.0.try_into().ok().map(Tbs::PssMax),
        }
    }
}

/// The answer to it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Signed {
    pub(crate) signature: Base64,
}

/// `GET /keys/{name}`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// SubjectPublicKeyInfo, PEM (RFC 7468 §13).
    pub(crate) public_key: String,
    /// What the host is for.
    pub(crate) environment: Environment,
}

/// Every refusal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Problem {
    pub(crate) problem: ProblemKind,
    /// For people.
    pub(crate) why: String,
    /// How far the host has seen the log, where it has not seen enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
}

/// What may be done about it is what tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProblemKind {
    /// Show it a checkpoint, and ask again.
    Unseen,
    /// Nothing: it will not be signed.
    Refused,
    /// The key does not sign such input.
    Unsupported,
    /// Somebody has to put the PIN right.
    WrongPin,
    /// Somebody has to put the key right.
    Unfit,
    /// Later.
    Unavailable,
    /// The key's signature did not verify, and was discarded.
    BadSignature,
}

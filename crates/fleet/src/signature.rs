//! Signatures of artifacts, as they are recorded: once, and never changed.

use firmseal_manifest::{ArtifactId, ChannelName, Digest, ProductId, RequestId};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::Time;

/// What an artifact job came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Signature {
    /// The request that it was made for.
    pub request: RequestId,
    /// The product.
    pub product: ProductId,
    /// The channel.
    pub channel: ChannelName,
    /// The version.
    pub version: Version,
    /// The file that was asked for.
    pub artifact: ArtifactId,
    /// Its format.
    pub format: String,
    /// The signature itself.
    #[serde(with = "crate::hex::bytes")]
    pub value: Vec<u8>,
    /// Fingerprint of the bytes that were signed: the subject of the intent.
    #[serde(with = "crate::hex")]
    pub tbs: Digest,
    /// Digest of what the format's parser read.
    #[serde(with = "crate::hex")]
    pub header: Digest,
    /// The file with the signature attached, in formats that have a place
    /// for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<ArtifactId>,
    /// The signing key, by name.
    pub key: String,
    /// Its id.
    #[serde(with = "crate::hex")]
    pub key_id: Digest,
    /// Its algorithm.
    pub algorithm: String,
    /// Whether the key stood in for another one, which was out of reach.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
    /// Digest of gate rules and policy, as in the intent.
    #[serde(with = "crate::hex")]
    pub policy: Digest,
    /// SHA-256 of the policy decision's record, where a policy was asked.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hex::option")]
    pub decision: Option<Digest>,
    /// Where the intent stands in the log.
    pub log_index: u64,
    /// Uses of a key that it took, this one included.
    pub attempts: u32,
    /// Blobs of timestamps over the signature (RFC 3161).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timestamps: Vec<ArtifactId>,
    /// When it was asked for.
    pub asked: Time,
    /// When it was made.
    pub finished: Time,
}

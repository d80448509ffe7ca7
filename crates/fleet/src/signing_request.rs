//! Signing requests that wait for people.

use firmseal_manifest::{ArtifactId, ChannelName, Digest, ProductId, RequestId};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{ReleaseComponent, Time};

/// What became of a signing request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestState {
    /// It waits for approvals.
    Waiting,
    /// It became a release.
    Signed,
    /// Somebody took it back before it was signed.
    Cancelled,
    /// Devices would refuse it by now: a release with a higher sequence
    /// number, or with its version, came first, or the root document asks
    /// for more than it has.
    Superseded,
    /// Too few people agreed in time.
    Expired,
}

/// A release that is made but for its signatures: what people are asked to
/// agree to. Only its state changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SigningRequest {
    /// Its id.
    pub id: RequestId,
    /// What makes an order the same order.
    pub key: String,
    /// Digest of everything that was ordered.
    #[serde(with = "crate::hex")]
    pub fingerprint: Digest,
    /// The product.
    pub product: ProductId,
    /// The channel.
    pub channel: ChannelName,
    /// The version, for people.
    pub version: Version,
    /// The sequence number it will have.
    pub sequence: u64,
    /// Security epoch.
    pub epoch: u64,
    /// Its components, in the order of the product; payloads are in the
    /// store.
    pub components: Vec<ReleaseComponent>,
    /// The log leaves of the images' own signings.
    #[serde(with = "crate::hex::list")]
    pub leaves: Vec<Digest>,
    /// SHA-256 of the manifest.
    #[serde(with = "crate::hex")]
    pub manifest: Digest,
    /// Blob of the envelope that has everything but signatures.
    #[serde(with = "crate::hex")]
    pub unsigned: Digest,
    /// The manifest of the release before, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hex::option")]
    pub previous: Option<Digest>,
    /// Digest of the payloads' parsed headers.
    #[serde(with = "crate::hex")]
    pub header: Digest,
    /// Digest of the differences from the release before.
    #[serde(with = "crate::hex")]
    pub difference: Digest,
    /// Digest of the policy.
    #[serde(with = "crate::hex")]
    pub policy: Digest,
    /// Blob of what the policy was asked and said, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hex::option")]
    pub decision: Option<Digest>,
    /// How many approvals the policy asks for; the root document may ask for
    /// more.
    #[serde(default)]
    pub need: u32,
    /// Ids of the keys that will sign, sorted.
    #[serde(with = "crate::hex::list")]
    pub signers: Vec<Digest>,
    /// Who asked.
    pub requester: String,
    /// Who asked, as Intent and Statements say it.
    #[serde(with = "crate::hex")]
    pub requester_id: Digest,
    /// The CI's id of the build.
    pub build: String,
    /// The commit it was built from.
    pub commit: String,
    /// Of a roll-back that is signed ahead: the manifest that must have been
    /// revoked.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hex::option")]
    pub rollback_of: Option<Digest>,
    /// Blob of its software bill of materials.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hex::option")]
    pub sbom: Option<Digest>,
    /// Documents about the build, as they were handed in: provenance, test
    /// results, reproductions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<ArtifactId>,
    /// Blob of that of the release before.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::hex::option")]
    pub previous_sbom: Option<Digest>,
    /// When approvals expire, in seconds since 1970.
    pub expiry: u64,
    /// How far it is.
    pub state: RequestState,
    /// When it was made.
    pub created: Time,
}

/// One person's agreement to a signing request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Approval {
    /// The holder, as the root document names it.
    pub holder: String,
    /// The key that signed.
    #[serde(with = "crate::hex")]
    pub key: Digest,
    /// The signature.
    pub signature: ApprovalSignature,
    /// Who brought it here.
    pub brought_by: String,
    /// When.
    pub created: Time,
}

/// A signature under a Statement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "form")]
pub enum ApprovalSignature {
    /// COSE, by a key file or a token.
    Cose {
        /// The signature.
        signature: Vec<u8>,
    },
    /// OpenSSH's signature format.
    Ssh {
        /// The decoded blob.
        signature: Vec<u8>,
    },
    /// A WebAuthn assertion.
    Webauthn {
        /// `authenticatorData`.
        authenticator: Vec<u8>,
        /// `clientDataJSON`.
        client: Vec<u8>,
        /// `signature`.
        signature: Vec<u8>,
    },
}

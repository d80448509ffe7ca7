//! Signing requests that wait for people, and approvals.

use firmseal_fleet::Time;
use firmseal_manifest::{ArtifactId, ChannelName, ProductId, RequestId};
use semver::Version;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoding::Base64;
use crate::signatures::SignatureRequest;
use crate::signing::{Payload, Release};

/// What became of a signing request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestState {
    /// It waits for approvals.
    Waiting,
    /// It became a release.
    Signed,
    /// It was taken back before it was signed.
    Cancelled,
    /// Another release came first, or devices would not take it any more.
    Superseded,
    /// Too few people agreed in time.
    Expired,
}

/// A release that is made but for its signatures. Nothing here need be
/// believed: an approver reads the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningRequest {
    /// Its id.
    #[schema(value_type = String)]
    pub id: RequestId,
    /// The product.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// The channel.
    #[schema(value_type = String)]
    pub channel: ChannelName,
    /// The version, for people.
    #[schema(value_type = String)]
    pub version: Version,
    /// The sequence number it will have.
    pub sequence: u64,
    /// Security epoch.
    pub epoch: u64,
    /// The payloads, in the order of the product's components.
    pub components: Vec<Payload>,
    /// SHA-256 of the manifest.
    #[schema(value_type = String)]
    pub manifest: ArtifactId,
    /// The manifest of the release before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub previous: Option<ArtifactId>,
    /// Digest of the payloads' parsed headers.
    #[schema(value_type = String)]
    pub header: ArtifactId,
    /// Digest of the differences from the release before.
    #[schema(value_type = String)]
    pub difference: ArtifactId,
    /// Digest of the policy.
    #[schema(value_type = String)]
    pub policy: ArtifactId,
    /// Ids of the keys that will sign.
    #[schema(value_type = Vec<String>)]
    pub signers: Vec<ArtifactId>,
    /// Who asked.
    pub requester: String,
    /// Who asked, as Statements say it.
    #[schema(value_type = String)]
    pub requester_id: ArtifactId,
    /// The CI's id of the build.
    pub build: String,
    /// The commit it was built from.
    pub commit: String,
    /// The software bill of materials: CycloneDX or SPDX as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sbom: Option<ArtifactId>,
    /// Documents about the build: provenance, test results, scans and
    /// evaluations in DSSE, JUnit XML, reproductions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub evidence: Vec<ArtifactId>,
    /// That of the release before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub previous_sbom: Option<ArtifactId>,
    /// When approvals expire, in seconds since 1970.
    pub expiry: u64,
    /// How far it is.
    pub state: RequestState,
    /// Who has agreed.
    pub approvals: Vec<Approval>,
    /// How many more have to.
    pub missing: u32,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
}

/// Somebody has agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// The holder, as the root document names it.
    pub holder: String,
    /// The key that signed.
    #[schema(value_type = String)]
    pub key: ArtifactId,
    /// Who brought it.
    pub brought_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
}

/// Agrees to a signing request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Id of the key that signed the Statement.
    #[schema(value_type = String)]
    pub key: ArtifactId,
    /// Its signature.
    pub signature: ApprovalSignature,
}

/// A signature under a Statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase", tag = "form", deny_unknown_fields)]
pub enum ApprovalSignature {
    /// COSE, by a key file or a token.
    Cose {
        /// The signature.
        #[schema(value_type = String)]
        signature: Base64,
    },
    /// OpenSSH's signature format (PROTOCOL.sshsig).
    Ssh {
        /// The blob between the armour's lines.
        #[schema(value_type = String)]
        signature: Base64,
    },
    /// A WebAuthn assertion.
    Webauthn {
        /// `authenticatorData`.
        #[schema(value_type = String)]
        authenticator: Base64,
        /// `clientDataJSON`.
        #[schema(value_type = String)]
        client: Base64,
        /// `signature`.
        #[schema(value_type = String)]
        signature: Base64,
    },
}

/// What an order came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    /// A release.
    Release(Box<Release>),
    /// A signing request that waits for approvals, or was closed without a
    /// release.
    Request(Box<SigningRequest>),
    /// An order on its way: its keys are out of reach, its turn has not come,
    /// or a security officer has to let it go.
    Open(Box<SignatureRequest>),
}

impl Ordered {
    /// The release, if it is one already.
    pub fn release(self) -> Option<Release> {
        match self {
            Ordered::Release(release) => Some(*release),
            Ordered::Request(_) | Ordered::Open(_) => None,
        }
    }
}

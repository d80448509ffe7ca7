//! Audit records: who did what, when, with what, and who had allowed it.
//!
//! A record is put together from what the store keeps for good; it is not a
//! second truth beside it. The log holds digests of the same things, so that
//! whoever reads a record can ask the log for it.

use std::collections::BTreeSet;
use std::str::FromStr;

use firmseal_manifest::{ArtifactId, ChannelName, ProductId, ReleaseId, RequestId};
use serde::{Deserialize, Serialize};

use crate::{Caller, Credential, CredentialId, FleetError, Reason, Role, Scope, Time};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditAction {
    /// A signature was asked for.
    SigningRequested,
    /// Gate or policy decided; refused requests end here.
    SigningDecided,
    /// A request was held for a person.
    SigningHeld,
    /// A security officer ended a hold.
    HoldReleased,
    /// An approver agreed.
    Approved,
    /// An approval was taken back.
    ApprovalWithdrawn,
    /// A key was used, and there is no signature that anybody saw.
    SigningAttempted,
    /// There is a signature under an artifact.
    ArtifactSigned,
    /// There is a release.
    ReleaseSigned,
    /// A request ended without a signature.
    SigningClosed,
    /// A release was withdrawn or revoked.
    ReleaseRetired,
    /// A key was enabled, disabled, or is to be destroyed.
    KeyChanged,
    /// Somebody wants another policy in force.
    PolicyProposed,
    /// A proposal ended without coming into force.
    PolicyClosed,
    /// A policy came into force.
    PolicyActivated,
    /// A root document or a revocation was published.
    TrustPublished,
    /// A rollout began or changed.
    RolloutChanged,
    /// The use of a key departs from the usual.
    Anomaly,
    /// Somebody can sign in with a credential that was made.
    CredentialCreated,
    /// A credential was revoked.
    CredentialRevoked,
    /// A product was made.
    ProductCreated,
    /// Somebody was denied what was asked for: nobody is known by what was
    /// shown, or it is not enough.
    AccessDenied,
}

impl AuditAction {
    /// Every action.
    pub const ALL: [AuditAction; 22] = [
        AuditAction::SigningRequested,
        AuditAction::SigningDecided,
        AuditAction::SigningHeld,
        AuditAction::HoldReleased,
        AuditAction::Approved,
        AuditAction::ApprovalWithdrawn,
        AuditAction::SigningAttempted,
        AuditAction::ArtifactSigned,
        AuditAction::ReleaseSigned,
        AuditAction::SigningClosed,
        AuditAction::ReleaseRetired,
        AuditAction::KeyChanged,
        AuditAction::PolicyProposed,
        AuditAction::PolicyClosed,
        AuditAction::PolicyActivated,
        AuditAction::TrustPublished,
        AuditAction::RolloutChanged,
        AuditAction::Anomaly,
        AuditAction::CredentialCreated,
        AuditAction::CredentialRevoked,
        AuditAction::ProductCreated,
        AuditAction::AccessDenied,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            AuditAction::SigningRequested => "signing-requested",
            AuditAction::SigningDecided => "signing-decided",
            AuditAction::SigningHeld => "signing-held",
            AuditAction::HoldReleased => "hold-released",
            AuditAction::Approved => "approved",
            AuditAction::ApprovalWithdrawn => "approval-withdrawn",
            AuditAction::SigningAttempted => "signing-attempted",
            AuditAction::ArtifactSigned => "artifact-signed",
            AuditAction::ReleaseSigned => "release-signed",
            AuditAction::SigningClosed => "signing-closed",
            AuditAction::ReleaseRetired => "release-retired",
            AuditAction::KeyChanged => "key-changed",
            AuditAction::PolicyProposed => "policy-proposed",
            AuditAction::PolicyClosed => "policy-closed",
            AuditAction::PolicyActivated => "policy-activated",
            AuditAction::TrustPublished => "trust-published",
            AuditAction::RolloutChanged => "rollout-changed",
            AuditAction::Anomaly => "anomaly",
            AuditAction::CredentialCreated => "credential-created",
            AuditAction::CredentialRevoked => "credential-revoked",
            AuditAction::ProductCreated => "product-created",
            AuditAction::AccessDenied => "access-denied",
        }
    }
}

impl FromStr for AuditAction {
    type Err = FleetError;

    fn from_str(text: &str) -> Result<AuditAction, FleetError> {
        AuditAction::ALL.into_iter().find(|action| action.word() == text).ok_or_else(|| {
            FleetError::Unusable {
                what: "audit record",
                field: format!("action {:?}", text.chars().take(40).collect::<String>()),
                why: "write it as records do: artifact-signed, signing-decided, approved",
            }
        })
    }
}

/// How it went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it was asked.
    Success,
    /// It was refused, or failed.
    Failure,
    /// Nobody saw how it ended.
    Unknown,
}

/// A credential, as records show it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditedCredential {
    /// Its id.
    pub id: CredentialId,
    /// Whose it is.
    pub holder: String,
    /// What it allows.
    pub roles: BTreeSet<Role>,
    /// What it is confined to.
    #[serde(default, skip_serializing_if = "Scope::is_open")]
    pub scope: Scope,
    /// When it stops working, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

impl From<Credential> for AuditedCredential {
    fn from(credential: Credential) -> AuditedCredential {
        let Credential { id, operator, roles, scope, expires, .. } = credential;
        AuditedCredential { id, holder: operator, roles, scope, expires }
    }
}

/// What a record tells of an event and the log does not, since it holds no
/// names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Circumstances {
    /// When it happened.
    pub time: Time,
    /// Who did it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
    /// The product, where the log has no more of it than a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductId>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

/// What it was about; what does not apply is absent.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct AuditSubject {
    /// The signing request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// The product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductId>,
    /// The channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelName>,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// SHA-256 of what was signed or is to be: a file, a manifest, a
    /// document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<ArtifactId>,
    /// SHA-256 of the files that it is about, as they were handed in and with
    /// their signatures attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactId>,
    /// The signing key, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<ArtifactId>,
    /// Whether the key stood in for another one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
    /// Digest of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ArtifactId>,
    /// Digest of the decision's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<ArtifactId>,
    /// Where it stands in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
    /// The CI's id of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// The commit it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<AuditedCredential>,
    /// How often, where a record tells of several times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its number: records are told in its order, and told again under the
    /// same one.
    pub number: u64,
    /// When it happened.
    pub time: Time,
    /// What happened.
    pub action: AuditAction,
    /// How it went.
    pub outcome: Outcome,
    /// Who did it, where that is known as more than a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
    /// Who did it, by the name on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Rules and reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// What it was about.
    pub subject: AuditSubject,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_has_one_word() {
        for action in AuditAction::ALL {
            assert_eq!(action.word().parse(), Ok(action));
            let json = serde_json::to_value(action).ok();
            assert_eq!(json.as_ref().and_then(|json| json.as_str()), Some(action.word()));
        }
        assert!("signed".parse::<AuditAction>().is_err());
    }
}

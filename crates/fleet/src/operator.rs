//! Operators: the people and pipelines that use the service, and the
//! credentials they show.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use firmseal_manifest::Digest;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Caller, CallerKind, Scope, Time};

/// What an operator may do. Roles add up; none contains another, so that
/// what a credential can do is written on it in full.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything that is not secret.
    Auditor,
    /// Uploads artifacts and asks for signatures.
    Signer,
    /// Brings approvals, and reads what they are about.
    Approver,
    /// Enrols and revokes devices, starts and halts rollouts.
    Operator,
    /// The security officer: answers for keys, policies, holds and trust
    /// documents.
    Officer,
    /// Creates products and credentials.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 6] =
        [Role::Auditor, Role::Signer, Role::Approver, Role::Operator, Role::Officer, Role::Admin];

    /// The word in configuration, records and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Auditor => "auditor",
            Role::Signer => "signer",
            Role::Approver => "approver",
            Role::Operator => "operator",
            Role::Officer => "officer",
            Role::Admin => "admin",
        }
    }

    /// Roles as the log has them: a bit for each, in the order of
    /// [`Role::ALL`].
    pub fn bits(roles: &BTreeSet<Role>) -> u8 {
        let bits = (0..).zip(Role::ALL).filter(|(_, role)| roles.contains(role));
        bits.fold(0, |bits, (at, _)| bits | 1 << at)
    }

    /// The roles behind bits.
    pub fn of_bits(bits: u8) -> BTreeSet<Role> {
        (0..).zip(Role::ALL).filter(|(at, _)| bits >> at & 1 == 1).map(|(_, role)| role).collect()
    }
}

/// What kind of credential it is.
///
/// Part of every look-up: a certificate is public, so its bytes must never
/// pass as a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    /// A bearer token; the digest is its SHA-256.
    Token,
    /// A client certificate; the digest is the SHA-256 of its DER form.
    Certificate,
}

/// A credential's id: safe to print, of no use to a thief.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CredentialId(pub Uuid);

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something an operator can show to act under roles.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// Whose it is: the name that audit and records show.
    pub operator: String,
    /// Token or certificate.
    pub kind: CredentialKind,
    /// SHA-256, as the kind says. The secret itself is kept nowhere.
    #[serde(with = "crate::hex")]
    pub digest: Digest,
    /// What it allows.
    pub roles: BTreeSet<Role>,
    /// The team that answers for its holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// What it is confined to.
    #[serde(default, skip_serializing_if = "Scope::is_open")]
    pub scope: Scope,
    /// When it was made.
    pub created: Time,
    /// When it stops working, if ever.
    pub expires: Option<Time>,
    /// When it was revoked, if it was.
    pub revoked: Option<Time>,
}

impl Credential {
    /// Who asks, when somebody shows it.
    pub fn caller(self) -> Caller {
        Caller {
            name: self.operator,
            kind: match self.kind {
                CredentialKind::Token => CallerKind::Token,
                CredentialKind::Certificate => CallerKind::Certificate,
            },
            team: self.team,
            roles: self.roles,
            claims: BTreeMap::new(),
            scope: self.scope,
            source: None,
        }
    }

    /// Whether it can be used at a time.
    pub fn is_live(&self, now: Time) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_bits_that_stay_the_same() {
        let bits = [Role::Auditor, Role::Signer, Role::Approver, Role::Operator, Role::Officer, Role::Admin]
            .map(|role| Role::bits(&[role].into()));
        assert_eq!(bits, [1, 2, 4, 8, 16, 32]);
        for bits in 0..64 {
            assert_eq!(Role::bits(&Role::of_bits(bits)), bits);
        }
    }
}

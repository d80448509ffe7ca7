//! Access: who may call what, and the tokens operators use.

use std::collections::BTreeSet;
use std::fmt;

use firmseal_fleet::Time;
use firmseal_manifest::{ChannelName, ProductId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What an operator may do. Roles add up; none contains another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
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

    /// The role as the wire and configuration name it.
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
}

macro_rules! same_roles {
    ($($role:ident),+) => {
        impl From<firmseal_fleet::Role> for Role {
            fn from(role: firmseal_fleet::Role) -> Role {
                match role {
                    $(firmseal_fleet::Role::$role => Role::$role,)+
                }
            }
        }

        impl From<Role> for firmseal_fleet::Role {
            fn from(role: Role) -> firmseal_fleet::Role {
                match role {
                    $(Role::$role => firmseal_fleet::Role::$role,)+
                }
            }
        }
    };
}

same_roles!(Auditor, Signer, Approver, Operator, Officer, Admin);

/// An administrator asks for an operator token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOperatorToken {
    /// Who will hold it: a person's or a pipeline's name.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// What it may do.
    #[schema(min_items = 1)]
    pub roles: BTreeSet<Role>,
    /// The team that answers for its holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub team: Option<String>,
    /// Only these products; all of them if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>, max_items = 100)]
    pub products: BTreeSet<ProductId>,
    /// Only these channels; all of them if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>, max_items = 100)]
    pub channels: BTreeSet<ChannelName>,
    /// Only these signing keys; all of them if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(max_items = 100)]
    pub keys: BTreeSet<String>,
    /// Valid for this many seconds; 90 days if absent, 2 years at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<u64>,
}

/// How people sign in at an identity provider, so that its token opens this
/// server: nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignIn {
    /// The provider's issuer; its discovery document says the rest.
    pub issuer: String,
    /// The id under which it knows the command line.
    pub client_id: String,
    /// What to ask for besides `openid`.
    pub scopes: Vec<String>,
}

/// An operator token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperatorToken {
    /// Names the token when it is revoked.
    pub id: Uuid,
    /// Who holds it.
    pub name: String,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// The team that answers for its holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Only these products; all of them if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub products: BTreeSet<ProductId>,
    /// Only these channels; all of them if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub channels: BTreeSet<ChannelName>,
    /// Only these signing keys; all of them if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub keys: BTreeSet<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// When it stops working, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Time>,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked: Option<Time>,
}

/// A fresh operator token. Its secret is shown once: only a hash is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewOperatorToken {
    /// The token, as the `Authorization: Bearer` header takes it.
    pub secret: String,
    /// What is known about it.
    pub token: OperatorToken,
}

impl fmt::Debug for NewOperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewOperatorToken").field("token", &self.token).finish_non_exhaustive()
    }
}

//! Access: who may call what, and the tokens operators use.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What an operator may do. Each role names what it adds to reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads everything but secrets.
    Viewer,
    /// Uploads artifacts and makes releases.
    Publisher,
    /// Runs rollouts, enrols and revokes devices.
    Fleet,
    /// All of that, makes products, and hands out tokens.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Publisher, Role::Fleet, Role::Admin];

    /// The role as the wire and configuration name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Publisher => "publisher",
            Role::Fleet => "fleet",
            Role::Admin => "admin",
        }
    }
}

/// An administrator asks for an operator token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOperatorToken {
    /// Who will hold it: a person's or a pipeline's name.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Valid for this many seconds; 90 days if absent, 2 years at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<u64>,
}

/// An operator token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperatorToken {
    /// Names the token when it is revoked.
    pub id: Uuid,
    /// Who holds it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
    /// When it stops working.
    pub expires_at: u64,
    /// It was revoked.
    pub revoked: bool,
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

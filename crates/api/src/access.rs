//! Access: who may call what, and the tokens operators use.

use std::collections::BTreeSet;
use std::fmt;

use firmseal_fleet::Time;
use firmseal_manifest::{ChannelName, ProductId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use uuid::Uuid;

pub use firmseal_fleet::Role;

/// Roles as the description of the interface lists them: fleet knows nothing
/// of such descriptions.
pub(crate) fn roles() -> ArrayBuilder {
    let words = Role::ALL.map(Role::as_str);
    let role = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    ArrayBuilder::new().items(role).unique_items(true)
}

fn some_roles() -> ArrayBuilder {
    roles().min_items(Some(1)).description(Some("What it may do."))
}

pub(crate) fn its_roles() -> ArrayBuilder {
    roles().description(Some("What it may do."))
}

/// An administrator asks for an operator token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOperatorToken {
    /// Who will hold it: a person's or a pipeline's name.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// What it may do.
    #[schema(schema_with = some_roles)]
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
    #[schema(schema_with = its_roles)]
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

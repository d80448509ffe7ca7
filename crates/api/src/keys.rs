//! Signing keys: what holds for them, how they stand, how often they were
//! used.

use firmseal_fleet::Time;
use firmseal_manifest::{KeyName, ProductId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningKey {
    /// Its name.
    #[schema(value_type = String)]
    pub name: KeyName,
    /// The thumbprint of its public half (RFC 9679), as hex.
    pub id: String,
    /// Its algorithm: `p256`, `ed25519`.
    pub algorithm: String,
    /// Its public half: SubjectPublicKeyInfo as PEM.
    pub public: String,
    /// `release` or `artifact`.
    pub purpose: String,
    /// `test` or `production`.
    pub environment: String,
    /// Whether it is on the service's keyring. One that is not was, and the
    /// registry remembers it.
    pub held: bool,
    /// The products that it signs for; all of them if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub products: Vec<ProductId>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Its state: `enabled`, `ending`, `disabled`, `destroying`, `destroyed`.
    pub state: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// Who said so.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// When it ends, or is destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due: Option<Time>,
    /// The day by which it should have a successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub rotate_by: Option<Time>,
    /// Whole days until then, negative afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days_left: Option<i64>,
    /// How often it may be used in an hour of the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u64>,
    /// How often in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// How many uses this hour has left. Uses count when a process is granted
    /// them, a little before they are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_in_hour: Option<u64>,
    /// How many the key has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// The key that may stand in for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub fallback: Option<KeyName>,
    /// The key that it succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub replaces: Option<KeyName>,
    /// Whether it signs digests that nobody here derived.
    pub blind: bool,
    /// What somebody should look at, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A signing key with its uses in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyUsage {
    /// The key.
    pub key: SigningKey,
    /// The first hour of the period.
    #[schema(value_type = String, format = DateTime)]
    pub from: Time,
    /// The end of the period.
    #[schema(value_type = String, format = DateTime)]
    pub until: Time,
    /// Uses in the period.
    pub uses: u64,
    /// The last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last: Option<Time>,
    /// By hour; hours without uses are left out.
    pub by_hour: Vec<HourUses>,
    /// By product, the most first.
    pub by_product: Vec<NamedUses>,
    /// By caller, the most first.
    pub by_caller: Vec<NamedUses>,
}

/// Uses in an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HourUses {
    /// When the hour began.
    #[schema(value_type = String, format = DateTime)]
    pub hour: Time,
    /// How many.
    pub uses: u64,
}

/// Uses for a product, or by a caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NamedUses {
    /// The product or caller.
    pub name: String,
    /// How many.
    pub uses: u64,
}

/// Why a key's state is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeKey {
    /// For whoever reads it later.
    #[schema(min_length = 1, max_length = 256)]
    pub why: String,
}

/// From when on a key signs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisableKey {
    /// For whoever reads it later.
    #[schema(min_length = 1, max_length = 256)]
    pub why: String,
    /// The day; at once if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Time>,
}

/// When the private half of a key is destroyed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DestroyKey {
    /// For whoever reads it later.
    #[schema(min_length = 1, max_length = 256)]
    pub why: String,
    /// In how many days; 30 if absent. As long it can be cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 365)]
    pub days: Option<u16>,
}

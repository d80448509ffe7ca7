//! Grants: which claims get which name, roles, team and scope.

use std::collections::{BTreeMap, BTreeSet};

use firmseal_fleet::{Role, Scope};
use serde::{Deserialize, Serialize};

use crate::claims::Claims;
use crate::error::SettingsError;
use crate::name::Template;
use crate::pattern::Patterns;

/// What callers with certain claims get. Of an issuer's grants the first one
/// that fits decides alone: rights do not add up over several.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What the claims have to be, all of them.
    #[serde(rename = "match")]
    pub wanted: BTreeMap<String, Patterns>,
    /// The name on record, with claims in braces.
    pub name: Template,
    /// What they may do.
    pub roles: BTreeSet<Role>,
    /// The team that answers for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// What they are confined to.
    #[serde(default, skip_serializing_if = "Scope::is_open")]
    pub scope: Scope,
}

impl Grant {
    /// Whether claims are as it wants. Of a list, one item has to be.
    pub(crate) fn fits(&self, claims: &Claims<'_>) -> bool {
        self.wanted.iter().all(|(claim, patterns)| {
            let values = claims.each(claim);
            patterns.as_slice().iter().any(|pattern| values.iter().any(|value| pattern.takes(value)))
        })
    }

    /// What would make it a door for anybody.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if self.roles.is_empty() {
            return Err(SettingsError::new(
                format!("the grant `{}` has no role", self.name),
                "give it roles: auditor, signer, approver, operator, officer, admin",
            ));
        }
        // A public provider signs for everybody: what is not tied to
        // somebody's repository or group is open to the world.
        let closed = |patterns: &Patterns| {
            let patterns = patterns.as_slice();
            !patterns.is_empty() && !patterns.iter().any(|pattern| pattern.is_open())
        };
        if !self.wanted.values().any(closed) {
            return Err(SettingsError::new(
                format!("the grant `{}` is for anybody who has a token of this issuer", self.name),
                "name under `match` what the claims must be, and begin one pattern without `*`",
            ));
        }
        Ok(())
    }
}

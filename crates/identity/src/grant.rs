//! Grants: which claims get which name, roles, team and scope.

use std::collections::{BTreeMap, BTreeSet};

use firmseal_fleet::{Role, Scope};
use serde::{Deserialize, Serialize};

use crate::claims::{Claims, split};
use crate::error::SettingsError;
use crate::name::Template;
use crate::pattern::Patterns;

/// Claims that everybody's tokens of a provider have alike, or that whoever
/// writes a workflow chooses: a grant that asks for nothing else is open to
/// the world.
const OF_NOBODY: [&str; 29] = [
    "aud",
    "azp",
    "base_ref",
    "email_verified",
    "environment",
    "environment_protected",
    "event_name",
    "exp",
    "head_ref",
    "iat",
    "iss",
    "job_id",
    "job_workflow_ref",
    "job_workflow_sha",
    "jti",
    "nbf",
    "pipeline_source",
    "ref",
    "ref_path",
    "ref_protected",
    "ref_type",
    "repository_visibility",
    "run_attempt",
    "run_number",
    "runner_environment",
    "scope",
    "sha",
    "typ",
    "workflow",
];

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
        let of_somebody = |claim: &str| !OF_NOBODY.contains(&split(claim).0.as_str());
        if !self.wanted.iter().any(|(claim, patterns)| of_somebody(claim) && closed(patterns)) {
            return Err(SettingsError::new(
                format!("the grant `{}` is for anybody who has a token of this issuer", self.name),
                "name under `match` whose they are (a repository, project, group, subject), and begin that pattern \
                 without `*`",
            ));
        }
        Ok(())
    }
}

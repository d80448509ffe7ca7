//! What a repository shall be: its roles, and what they name.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::TufError;
use crate::role::{Authority, Role};
use crate::target::Target;

/// The longest time that metadata is good: a hundred years.
const VALID_MAX: Duration = Duration::from_secs(36_500 * 86_400);

/// A role as its owner wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoleSettings {
    /// Its keys and threshold.
    pub authority: Authority,
    /// How long its metadata is good.
    pub valid: Duration,
}

/// A repository as its owner wants it. The roles were checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Wanted {
    roles: BTreeMap<Role, RoleSettings>,
    targets: BTreeMap<String, Target>,
}

impl Wanted {
    /// Checks the roles: each has a threshold that can be met, and no key is
    /// in two. `role` is asked about each.
    pub fn new(mut role: impl FnMut(Role) -> RoleSettings) -> Result<Wanted, TufError> {
        let mut roles = BTreeMap::new();
        let mut seen: BTreeMap<String, Role> = BTreeMap::new();
        for name in Role::ALL {
            let settings = role(name);
            let Authority { keys, threshold } = &settings.authority;
            // Not every client can write dates that far away.
            if settings.valid > VALID_MAX {
                return Err(TufError::Valid(name));
            }
            // Zero would let nobody sign for everybody (CVE-2026-23992).
            if !(1..=keys.len() as u64).contains(threshold) {
                return Err(TufError::Threshold { role: name, threshold: *threshold, keys: keys.len() });
            }
            for key in keys {
                if let Some(first) = seen.insert(key.id().to_owned(), name) {
                    let key = key.public().id();
                    return Err(TufError::KeyReused { key, first, second: name });
                }
            }
            roles.insert(name, settings);
        }
        Ok(Wanted { roles, targets: BTreeMap::new() })
    }

    /// With these targets.
    pub fn with(mut self, targets: BTreeMap<String, Target>) -> Wanted {
        self.targets = targets;
        self
    }

    /// The targets.
    pub fn targets(&self) -> &BTreeMap<String, Target> {
        &self.targets
    }

    /// Who holds a role.
    pub fn authority(&self, role: Role) -> &Authority {
        &self.role(role).authority
    }

    pub(crate) fn role(&self, role: Role) -> &RoleSettings {
        // The one maker has filled all four in.
        &self.roles[&role]
    }
}

//! The four roles, and who holds one.

use std::fmt;

use crate::key::Key;

/// A role of a repository (TUF 1.0.34 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Names the keys of all roles. Its own stay offline.
    Root,
    /// Names the files that clients may have.
    Targets,
    /// Names the newest targets metadata.
    Snapshot,
    /// Names the newest snapshot, and says that it is recent.
    Timestamp,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 4] = [Role::Root, Role::Targets, Role::Snapshot, Role::Timestamp];

    /// The name in metadata.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Root => "root",
            Role::Targets => "targets",
            Role::Snapshot => "snapshot",
            Role::Timestamp => "timestamp",
        }
    }

    /// The file with this version. Repositories are written with consistent
    /// snapshots (TUF 1.0.34 §6.2): only the timestamp has a file that is
    /// ever replaced.
    pub fn file(self, version: u64) -> String {
        match self {
            Role::Timestamp => "timestamp.json".to_owned(),
            role => format!("{version}.{}.json", role.name()),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who may sign for a role, and how many of them must.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authority {
    /// The keys, in the order of their ids, each once.
    pub keys: Vec<Key>,
    /// How many of them.
    pub threshold: u64,
}

impl Authority {
    /// Keys in order.
    pub fn new(mut keys: Vec<Key>, threshold: u64) -> Authority {
        keys.sort_by(|one, other| one.id().cmp(other.id()));
        keys.dedup_by(|one, other| one.id() == other.id());
        Authority { keys, threshold }
    }

    /// The key with this id.
    pub fn key(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id() == id)
    }
}

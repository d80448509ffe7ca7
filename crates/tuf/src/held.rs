//! What a repository holds, verified: whoever can write to a web server's
//! directory must not decide what is signed next.

use std::collections::BTreeMap;

use firmseal_core::crypto::{Crypto, RustCrypto};
use serde_json::{Map, Value, json};

use crate::document::{Document, Verify};
use crate::error::TufError;
use crate::key::Key;
use crate::role::{Authority, Role};
use crate::target::Target;

/// Most root versions that are walked through.
const ROOTS_MAX: u64 = 1024;

/// One version of the root, with the roles that it names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    pub(crate) document: Document,
    authorities: BTreeMap<Role, Authority>,
}

/// The newest of everything but the root.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Latest {
    pub(crate) timestamp: Document,
    pub(crate) snapshot: (Document, Vec<u8>),
    pub(crate) targets: (Document, Vec<u8>),
}

/// What a repository holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Held {
    roots: Vec<Root>,
    pub(crate) latest: Option<Latest>,
}

impl Held {
    /// Reads a repository. `read` gives the file with a name below
    /// `metadata/`, or nothing where there is none.
    ///
    /// With `anew` the rest may be lost, but the roots may not: the caller
    /// knows with which numbers to go on.
    pub fn read<E: From<TufError>>(
        mut read: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
        anew: bool,
        verify: Verify<'_>,
    ) -> Result<Held, E> {
        let mut held = Held::default();
        for version in 1..=ROOTS_MAX {
            let file = Role::Root.file(version);
            let Some(bytes) = read(&file)? else { break };
            held.follow(version, &file, &bytes, verify)?;
        }
        if !held.roots.is_empty() {
            held.latest = match held.newest(&mut read, verify) {
                Err(_) if anew => None,
                newest => newest?,
            };
        }
        Ok(held)
    }

    /// From the timestamp down. There is none where the first export was cut
    /// short before the end.
    fn newest<E: From<TufError>>(
        &self,
        read: &mut impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
        verify: Verify<'_>,
    ) -> Result<Option<Latest>, E> {
        let file = Role::Timestamp.file(0);
        let Some(bytes) = read(&file)? else { return Ok(None) };
        let timestamp = self.trusted(Role::Timestamp, &file, &bytes, verify)?;
        let snapshot = self.below(&timestamp, Role::Snapshot, read, verify)?;
        let targets = self.below(&snapshot.0, Role::Targets, read, verify)?;
        Ok(Some(Latest { timestamp, snapshot, targets }))
    }

    /// Takes the next root: signed by the one before it and by itself
    /// (TUF 1.0.34 §5.3.4).
    fn follow(&mut self, version: u64, file: &str, bytes: &[u8], verify: Verify<'_>) -> Result<(), TufError> {
        let document = Document::decode(Role::Root, file, bytes)?;
        let root = Root::of(document)
            .filter(|root| root.document.version() == version)
            .ok_or_else(|| TufError::Malformed { file: file.to_owned(), what: "not this root" })?;
        let before = self.roots.last().into_iter();
        let signed = before.chain([&root]).all(|by| by.signed(&root.document, verify));
        if !signed {
            return Err(TufError::Unsigned(file.to_owned()));
        }
        self.roots.push(root);
        Ok(())
    }

    /// Metadata that some root of the chain vouches for. An earlier one
    /// will do: an export that was cut short after a new root came leaves
    /// it so, and nothing but numbers is taken from here.
    fn trusted(
        &self,
        role: Role,
        file: &str,
        bytes: &[u8],
        verify: Verify<'_>,
    ) -> Result<Document, TufError> {
        let document = Document::decode(role, file, bytes)?;
        match self.roots.iter().rev().any(|root| root.signed(&document, verify)) {
            true => Ok(document),
            false => Err(TufError::Unsigned(file.to_owned())),
        }
    }

    /// The file that `above` names, which must be exactly that.
    fn below<E: From<TufError>>(
        &self,
        above: &Document,
        role: Role,
        read: &mut impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
        verify: Verify<'_>,
    ) -> Result<(Document, Vec<u8>), E> {
        let said = &above.body()["meta"][format!("{}.json", role.name())];
        let version = said["version"].as_u64().unwrap_or_default();
        let file = role.file(version);
        let bytes = read(&file)?.ok_or_else(|| TufError::Missing(file.clone()))?;
        if said["hashes"]["sha256"] != RustCrypto.digest(&bytes).to_string() {
            return Err(TufError::Differs(file).into());
        }
        let document = self.trusted(role, &file, &bytes, verify)?;
        if document.version() != version {
            return Err(TufError::Differs(file).into());
        }
        Ok((document, bytes))
    }

    /// The newest root; nothing in a repository that is yet to be.
    pub fn root(&self) -> Option<&Root> {
        self.roots.last()
    }

    /// What the newest targets metadata says of a name.
    pub fn target(&self, name: &str) -> Option<Target> {
        self.latest.as_ref().and_then(|latest| Target::read(&latest.targets.0.body()["targets"][name]))
    }

    /// The version of a role's newest metadata; 0 where there is none.
    pub fn version(&self, role: Role) -> u64 {
        let latest = self.latest.as_ref();
        match role {
            Role::Root => self.roots.last().map_or(0, |root| root.document.version()),
            Role::Targets => latest.map_or(0, |latest| latest.targets.0.version()),
            Role::Snapshot => latest.map_or(0, |latest| latest.snapshot.0.version()),
            Role::Timestamp => latest.map_or(0, |latest| latest.timestamp.version()),
        }
    }
}

impl Root {
    /// Reads a root that nobody vouches for yet.
    pub fn of(document: Document) -> Option<Root> {
        let body = document.body();
        let mut authorities = BTreeMap::new();
        for role in Role::ALL {
            let entry = &body["roles"][role.name()];
            let key = |id: &Value| {
                let key = Key::read(&body["keys"][id.as_str()?])?;
                (key.id() == id).then_some(key)
            };
            let keys = entry["keyids"].as_array()?.iter().map(key).collect::<Option<Vec<_>>>()?;
            authorities.insert(role, Authority::new(keys, entry["threshold"].as_u64()?));
        }
        Some(Root { document, authorities })
    }

    /// The metadata.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Who holds a role.
    pub fn authority(&self, role: Role) -> &Authority {
        // The one maker has filled all four in.
        &self.authorities[&role]
    }

    pub(crate) fn signed(&self, document: &Document, verify: Verify<'_>) -> bool {
        document.satisfies(self.authority(document.role()), verify)
    }
}

/// The members of a root with these authorities.
pub(crate) fn members<'a>(authority: impl Fn(Role) -> &'a Authority) -> Map<String, Value> {
    let (mut keys, mut roles) = (Map::new(), Map::new());
    for role in Role::ALL {
        let Authority { keys: own, threshold } = authority(role);
        let ids: Vec<&str> = own.iter().map(Key::id).collect();
        roles.insert(role.name().to_owned(), json!({ "keyids": ids, "threshold": threshold }));
        keys.extend(own.iter().map(|key| (key.id().to_owned(), key.object())));
    }
    let mut members = Map::new();
    members.insert("consistent_snapshot".to_owned(), true.into());
    members.insert("keys".to_owned(), keys.into());
    members.insert("roles".to_owned(), roles.into());
    members
}

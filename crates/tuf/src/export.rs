//! An export: what has to be signed, one document after the other, and the
//! order in which the outcome is published.
//!
//! [`Export::begin`] decides everything and asks whether the keys at hand
//! are enough, before the first of them is used. Then, until there is no
//! [`Export::draft`], somebody signs and hands the signatures to
//! [`Export::signed`]. An export that stops anywhere has changed nothing;
//! one that stops while it is published is finished by the next one.

use std::collections::BTreeSet;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::Time;
use firmseal_manifest::{Digest, KeyId, Signature, Tbs};
use serde_json::{Map, Value, json};

use crate::document::{Document, Verify, meta};
use crate::error::TufError;
use crate::held::{Held, members};
use crate::key::Key;
use crate::role::{Authority, Role};
use crate::wanted::Wanted;

/// A file below `metadata/`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Metadata that is to be signed next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    document: Document,
    canonical: Vec<u8>,
    keys: Vec<Key>,
}

impl Draft {
    /// Whose metadata it is.
    pub fn role(&self) -> Role {
        self.document.role()
    }

    /// The digest of the bytes that are signed: the subject of the intent.
    pub fn digest(&self) -> Digest {
        RustCrypto.digest(&self.canonical)
    }

    /// The keys at hand that sign it.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// What a key signs.
    pub fn to_be_signed(&self, key: &Key) -> Result<Tbs, TufError> {
        key.to_be_signed(&self.canonical, self.role())
    }
}

impl Draft {
    /// A root that people sign in turns, on machines of their own: the next
    /// one of a repository, by nobody yet.
    pub fn root(held: &Held, wanted: &Wanted, now: Time) -> Document {
        let document = |version| {
            let members = members(|role| wanted.authority(role));
            Document::unsigned(Role::Root, version, until(wanted, Role::Root, now), members)
        };
        document(held.version(Role::Root).saturating_add(1))
    }

    /// What one of them is asked to sign: a draft as it came, for one key.
    pub fn of(document: Document, key: Key) -> Draft {
        let canonical = document.canonical();
        Draft { document, canonical, keys: vec![key] }
    }

    /// The document with a signature more.
    pub fn sealed(self, key: &Key, signature: &Signature) -> Document {
        let mut document = self.document;
        document.sign(key, signature);
        document
    }
}

/// Until when metadata is good that is signed now. Clients read whole
/// seconds; python-tuf refuses fractions.
fn until(wanted: &Wanted, role: Role, now: Time) -> Time {
    Time::from_millis(now.plus(wanted.role(role).valid).millis() / 1000 * 1000)
}

/// Which roles are signed anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Due {
    root: bool,
    targets: bool,
    snapshot: bool,
}

/// An export on its way.
pub struct Export<'a> {
    held: &'a Held,
    wanted: &'a Wanted,
    at_hand: BTreeSet<KeyId>,
    now: Time,
    from: u64,
    given: Option<Document>,
    due: Due,
    verify: Verify<'a>,
    done: Vec<(Document, Vec<u8>)>,
}

impl<'a> Export<'a> {
    /// Decides what an export does. Versions continue those of the
    /// repository, and none is below `from`. `given` is the next root where
    /// people have signed it elsewhere; keys at hand may add to it.
    pub fn begin(
        held: &'a Held,
        wanted: &'a Wanted,
        at_hand: impl IntoIterator<Item = KeyId>,
        now: Time,
        from: u64,
        given: Option<Document>,
        verify: Verify<'a>,
    ) -> Result<Export<'a>, TufError> {
        let mut export = Export {
            held,
            wanted,
            at_hand: at_hand.into_iter().collect(),
            now,
            from,
            given,
            due: Due { root: false, targets: false, snapshot: false },
            verify,
            done: Vec::new(),
        };
        export.decide();
        export.check()?;
        Ok(export)
    }

    fn decide(&mut self) {
        let latest = self.held.latest.as_ref();
        let root = match self.held.root() {
            None => true,
            Some(root) => {
                let differs = |role| root.authority(role) != self.wanted.authority(role);
                let whole = self.enough(root.authority(Role::Root));
                Role::ALL.into_iter().any(differs) || self.is_stale(&root.document, whole)
            }
        };
        let stands = |document: &Document| {
            let authority = self.wanted.authority(document.role());
            document.version() >= self.from
                && document.satisfies(authority, self.verify)
                && !self.is_stale(document, true)
        };
        let targets = latest.is_none_or(|latest| {
            let (held, _) = &latest.targets;
            held.body()["targets"] != self.listed() || !stands(held)
        });
        let snapshot = targets || latest.is_none_or(|latest| !stands(&latest.snapshot.0));
        self.due = Due { root: root || self.given.is_some(), targets, snapshot };
    }

    /// Whether metadata has expired, or is to be signed again while its keys
    /// are at hand: in the last third of its time.
    fn is_stale(&self, document: &Document, whole: bool) -> bool {
        let role = document.role();
        let settings = self.wanted.role(role);
        let soon = self.now.plus(settings.valid / 3);
        let able = whole && self.enough(&settings.authority);
        document.expires() <= if able { soon } else { self.now }
    }

    /// Names the keys that are missing, before any other is used.
    fn check(&self) -> Result<(), TufError> {
        let due = |role| match role {
            Role::Root => self.due.root,
            Role::Targets => self.due.targets,
            Role::Snapshot => self.due.snapshot,
            Role::Timestamp => true,
        };
        if let Some(given) = &self.given {
            if !given.agrees(&Draft::root(self.held, self.wanted, self.now)) {
                return Err(TufError::OtherRoot("its number, keys or thresholds differ from the settings"));
            }
            if given.expires() <= self.now {
                return Err(TufError::OtherRoot("it has expired"));
            }
        }
        for role in Role::ALL.into_iter().filter(|role| due(*role)) {
            self.demand(role, self.wanted.authority(role), role.to_string())?;
            if let (Role::Root, Some(root)) = (role, self.held.root()) {
                let version = root.document.version();
                let what = format!("root {}, by the keys of root {version},", version.saturating_add(1));
                self.demand(role, root.authority(Role::Root), what)?;
            }
        }
        if self.due.targets {
            let draft = self.make(Role::Targets);
            draft.keys.iter().try_for_each(|key| draft.to_be_signed(key).map(drop))?;
        }
        Ok(())
    }

    fn demand(&self, role: Role, authority: &Authority, what: String) -> Result<(), TufError> {
        let given = self.given.as_ref().filter(|_| role == Role::Root);
        let signs =
            |key: &Key| self.has(key) || given.is_some_and(|given| given.is_signed_by(key, self.verify));
        let missing: Vec<_> = authority.keys.iter().filter(|key| !signs(key)).collect();
        let have = (authority.keys.len() - missing.len()) as u64;
        if have >= authority.threshold {
            return Ok(());
        }
        // By the ids that `firmseal keys show` prints.
        let missing: Vec<String> = missing.iter().map(|key| key.public().id().to_string()).collect();
        Err(TufError::NotEnoughKeys { what, need: authority.threshold, have, missing: missing.join(", ") })
    }

    fn has(&self, key: &Key) -> bool {
        self.at_hand.contains(&key.public().id())
    }

    fn enough(&self, authority: &Authority) -> bool {
        authority.keys.iter().filter(|key| self.has(key)).count() as u64 >= authority.threshold
    }

    /// The next document to be signed; none when all are.
    pub fn draft(&self) -> Option<Draft> {
        let due = [
            (Role::Root, self.due.root),
            (Role::Targets, self.due.targets),
            (Role::Snapshot, self.due.snapshot),
            (Role::Timestamp, true),
        ];
        let open = |role| self.done.iter().all(|(document, _)| document.role() != role);
        let next = due.into_iter().find(|(role, due)| *due && open(*role));
        next.map(|(role, _)| self.make(role))
    }

    fn make(&self, role: Role) -> Draft {
        let held = self.held.version(role).saturating_add(1);
        // Roots follow each other without gaps (TUF 1.0.34 §5.3.5).
        let version = if role == Role::Root { held } else { held.max(self.from) };
        let members = match role {
            Role::Root => members(|role| self.wanted.authority(role)),
            Role::Targets => Map::from_iter([("targets".to_owned(), self.listed())]),
            Role::Snapshot => self.names(Role::Targets),
            Role::Timestamp => self.names(Role::Snapshot),
        };
        let given = self.given.clone().filter(|_| role == Role::Root);
        let document = given.unwrap_or_else(|| {
            Document::unsigned(role, version, until(self.wanted, role, self.now), members)
        });
        // With the keys of the root before it too: a client that has not
        // seen the new root yet can go on with what the old one says.
        let former = self.held.root().map(|root| root.authority(role)).filter(|_| self.due.root);
        let keys = former.into_iter().chain([self.wanted.authority(role)]).flat_map(|role| &role.keys);
        // Who has signed a root elsewhere does not do so again.
        let open = |key: &&Key| self.has(key) && !document.is_signed_by(key, self.verify);
        let keys = keys.filter(open).cloned().collect();
        let canonical = document.canonical();
        Draft { document, canonical, keys: Authority::new(keys, 1).keys }
    }

    /// The targets, as metadata lists them.
    fn listed(&self) -> Value {
        let targets = self.wanted.targets().iter();
        Value::Object(targets.map(|(name, target)| (name.clone(), target.object())).collect())
    }

    /// What the metadata above a role says of it.
    fn names(&self, role: Role) -> Map<String, Value> {
        let made = self.done.iter().find(|(document, _)| document.role() == role);
        let held = self.held.latest.as_ref().map(|latest| match role {
            Role::Targets => &latest.targets,
            _ => &latest.snapshot,
        });
        let meta = match made.or(held) {
            Some((document, bytes)) => json!({ format!("{role}.json"): meta(document.version(), bytes) }),
            None => json!({}),
        };
        Map::from_iter([("meta".to_owned(), meta)])
    }

    /// Takes the signatures of a draft.
    pub fn signed(&mut self, draft: Draft, signatures: &[(Key, Signature)]) -> Result<(), TufError> {
        let mut document = draft.document;
        signatures.iter().for_each(|(key, signature)| document.sign(key, signature));
        let role = document.role();
        let mut authorities = vec![self.wanted.authority(role)];
        authorities.extend(self.held.root().map(|root| root.authority(role)).filter(|_| role == Role::Root));
        if !authorities.into_iter().all(|authority| document.satisfies(authority, self.verify)) {
            return Err(TufError::BadSignature(role));
        }
        let bytes = document.encode();
        self.done.push((document, bytes));
        Ok(())
    }

    /// Whether a client that holds the root of before can read what comes
    /// after: everything is signed by that root's keys as well. Where those
    /// are lost it cannot, until it has fetched the new root.
    pub fn is_smooth(&self) -> bool {
        let Some(root) = self.held.root().filter(|_| self.due.root) else { return true };
        let latest = self.held.latest.iter();
        let held = latest.flat_map(|latest| [&latest.targets.0, &latest.snapshot.0]);
        let kept = held.filter(|document| self.done.iter().all(|(made, _)| made.role() != document.role()));
        let made = self.done.iter().map(|(document, _)| document);
        kept.chain(made).all(|document| root.signed(document, self.verify))
    }

    /// The version of a role's metadata after this export.
    pub fn version(&self, role: Role) -> u64 {
        let made = self.done.iter().find(|(document, _)| document.role() == role);
        made.map_or(self.held.version(role), |(document, _)| document.version())
    }

    /// Until when a role's metadata is good after this export.
    pub fn expires(&self, role: Role) -> Option<Time> {
        if let Some((document, _)) = self.done.iter().find(|(document, _)| document.role() == role) {
            return Some(document.expires());
        }
        let latest = self.held.latest.as_ref();
        match role {
            Role::Root => self.held.root().map(|root| root.document.expires()),
            Role::Targets => latest.map(|latest| latest.targets.0.expires()),
            Role::Snapshot => latest.map(|latest| latest.snapshot.0.expires()),
            Role::Timestamp => latest.map(|latest| latest.timestamp.expires()),
        }
    }

    /// The files in the order in which they become visible, each durable
    /// before the next; the targets stand there already.
    ///
    /// Nobody looks for versioned metadata that nothing names, so the
    /// timestamp is what switches over. A new root comes after it where the
    /// former root's keys have signed everything too: clients that hold
    /// either root then find what they can read, at every moment. Otherwise
    /// it comes before, since clients look for a root first.
    pub fn publication(&self) -> Vec<File> {
        let first = self.held.root().is_none();
        let order = match self.is_smooth() && !first {
            true => [Role::Targets, Role::Snapshot, Role::Timestamp, Role::Root],
            false => [Role::Targets, Role::Snapshot, Role::Root, Role::Timestamp],
        };
        let find = |role| self.done.iter().find(|(document, _)| document.role() == role);
        let file =
            |(document, bytes): &(Document, Vec<u8>)| File { name: document.file(), bytes: bytes.clone() };
        order.into_iter().filter_map(find).map(file).collect()
    }
}

//! Requests: the exact bytes to be signed, and who may sign them.

use std::collections::BTreeSet;

use firmseal_core::crypto::{Crypto, Hasher, RustCrypto};
use firmseal_core::limits::{REVOCATION_MAX, ROOT_MAX};
use firmseal_core::{Environment, KeyId, Role, Root};
use firmseal_manifest::{Digest, Intent, PublicKey, Purpose, ReleaseSpec, Signature, Tbs};

use super::release::ReleasePlan;
use super::{CeremonyError, WordCode};
use crate::read::key_of;
use crate::revocation::{RevocationSpec, UnsignedRevocation};
use crate::room;
use crate::root::{Holder, RootSpec, UnsignedRoot};

/// Longest title, in characters.
const TITLE_MAX: usize = 200;

/// What a ceremony makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Root document version 1: a vendor's, or an owner's own lineage.
    FirstRoot,
    /// The root document that follows another one.
    Rotation,
    /// A revocation document.
    Revocation,
    /// A release, by several holders of the release role.
    Release,
    /// A recovery image: a release for devices that nothing boots on.
    Recovery,
}

impl Kind {
    /// Every kind.
    const ALL: [Kind; 5] = [Kind::FirstRoot, Kind::Rotation, Kind::Revocation, Kind::Release, Kind::Recovery];
}

impl Kind {
    /// As requests write it.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::FirstRoot => "first-root",
            Kind::Rotation => "rotation",
            Kind::Revocation => "revocation",
            Kind::Release => "release",
            Kind::Recovery => "recovery",
        }
    }

    /// The kind of a word.
    pub fn from_word(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// A holder who has signed, and whether with the post-quantum one of two
/// kinds of keys.
pub(super) type Mark<'a> = (&'a str, bool);

/// One threshold that must be met.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Which role, of which document.
    pub name: String,
    /// Distinct holders that must sign.
    pub threshold: u64,
    /// Who may.
    pub holders: Vec<Holder>,
    /// Whether each signs with both kinds of keys.
    pub both_kinds: bool,
}

impl Authority {
    /// What a signature by this key is in this role: a holder's, and of
    /// which kind where both are needed. A second one of the same adds
    /// nothing.
    pub(super) fn mark(&self, key: &KeyId) -> Option<Mark<'_>> {
        self.holders.iter().find_map(|holder| {
            let own = holder.keys.iter().find(|own| own.id() == *key)?;
            Some((holder.name.as_str(), self.both_kinds && own.algorithm().is_post_quantum()))
        })
    }

    /// Whether a holder with these marks has signed as the role demands.
    pub(super) fn counts(&self, holder: &str, marks: &BTreeSet<Mark<'_>>) -> bool {
        marks.contains(&(holder, false)) && (!self.both_kinds || marks.contains(&(holder, true)))
    }

    fn root(root: &Root<'_>, role: Role, product: &str) -> Result<Authority, CeremonyError> {
        let entry = root.role(role, product)?;
        let mut holders: Vec<Holder> =
            entry.holders().map(|name| Holder { name: name.to_owned(), keys: Vec::new() }).collect();
        for (index, key) in entry.keys() {
            if let Some(holder) = holders.get_mut(index) {
                holder.keys.push(key_of(&key)?);
            }
        }
        let name = format!("{} role of root document {}", crate::revoke::name(role), root.version());
        let (threshold, both_kinds) = (entry.threshold() as u64, entry.both());
        Ok(Authority { name, threshold, holders, both_kinds })
    }
}

#[derive(Clone, Debug)]
enum Plan {
    Root(Box<RootSpec>, UnsignedRoot),
    Revocation(Box<RevocationSpec>, UnsignedRevocation),
    Release(Box<ReleasePlan>),
}

/// What is to be signed, under what, and by whom.
#[derive(Clone, Debug)]
pub struct Request {
    kind: Kind,
    title: String,
    document: Vec<u8>,
    under: Option<Vec<u8>>,
    plan: Plan,
    authorities: Vec<Authority>,
}

impl Request {
    /// Checks everything that can be checked before anybody signs.
    ///
    /// `document` is the document without signatures. `under` is the root
    /// document before it, or the one that a revocation counts under; it
    /// must carry its own signatures, or a carrier could invent who may sign.
    pub fn new(
        kind: Kind,
        title: &str,
        document: Vec<u8>,
        under: Option<Vec<u8>>,
    ) -> Result<Request, CeremonyError> {
        let length = title.chars().count();
        if length == 0 || length > TITLE_MAX || title.chars().any(char::is_control) {
            return Err(CeremonyError::Title);
        }
        let (plan, authorities) = match (kind, &under) {
            (Kind::FirstRoot, None) => {
                let (spec, unsigned) = root(&document)?;
                if spec.version != 1 {
                    return Err(CeremonyError::NotFirst(spec.version));
                }
                let first = Root::decode(&document)?;
                fits(&document, ROOT_MAX, room::at_least(&first.role(Role::Root, "")?, |_| false))?;
                let own = Authority::root(&first, Role::Root, "")?;
                (Plan::Root(Box::new(spec), unsigned), vec![own])
            }
            (Kind::Rotation, Some(before)) => {
                let (spec, unsigned) = root(&document)?;
                let (before, next) = (Root::decode(before)?, Root::decode(&document)?);
                before.verify(&RustCrypto)?;
                before.precedes(&next)?;
                // Whoever signs for the one before may count for this one too.
                let (old, new) = (before.role(Role::Root, "")?, next.role(Role::Root, "")?);
                let ids: Vec<KeyId> = old.keys().map(|(_, key)| key.id(&RustCrypto)).collect();
                let takes = room::at_least(&old, |_| false) + room::at_least(&new, |key| ids.contains(key));
                fits(&document, ROOT_MAX, takes)?;
                let both =
                    vec![Authority::root(&before, Role::Root, "")?, Authority::root(&next, Role::Root, "")?];
                (Plan::Root(Box::new(spec), unsigned), both)
            }
            (Kind::Revocation, Some(root)) => {
                let root = Root::decode(root)?;
                root.verify(&RustCrypto)?;
                let spec = RevocationSpec::of_unsigned(&document).ok_or(CeremonyError::Spelling)?;
                if spec.lineage != *root.lineage() {
                    return Err(firmseal_core::Refusal::WrongLineage.into());
                }
                if spec.environment != root.environment() {
                    return Err(firmseal_core::Refusal::WrongEnvironment.into());
                }
                let takes = room::at_least(&root.role(Role::Revocation, "")?, |_| false);
                fits(&document, REVOCATION_MAX, takes)?;
                let authority = Authority::root(&root, Role::Revocation, "")?;
                let unsigned = spec.assemble();
                (Plan::Revocation(Box::new(spec), unsigned), vec![authority])
            }
            (Kind::Release | Kind::Recovery, Some(root)) => {
                let root = Root::decode(root)?;
                root.verify(&RustCrypto)?;
                let plan = ReleasePlan::new(&document, &root, kind == Kind::Recovery)?;
                let authority = Authority::root(&root, plan.role(), plan.product().as_str())?;
                (Plan::Release(Box::new(plan)), vec![authority])
            }
            (Kind::FirstRoot, Some(_)) => {
                return Err(CeremonyError::Under("a first root document follows no other one"));
            }
            (Kind::Rotation, None) => {
                return Err(CeremonyError::Under("a rotation needs the root document before it"));
            }
            (Kind::Revocation, None) => {
                return Err(CeremonyError::Under(
                    "a revocation needs the root document that it counts under",
                ));
            }
            (Kind::Release | Kind::Recovery, None) => {
                return Err(CeremonyError::Under("a release needs the root document that names its signers"));
            }
        };
        Ok(Request { kind, title: title.to_owned(), document, under, plan, authorities })
    }

    /// What it makes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it is called in the binder.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The document without signatures.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// The root document before it, or that it counts under.
    pub fn under(&self) -> Option<&[u8]> {
        self.under.as_deref()
    }

    /// Who must sign.
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// What a root document will say.
    pub fn root(&self) -> Option<&RootSpec> {
        match &self.plan {
            Plan::Root(spec, _) => Some(spec),
            Plan::Revocation(..) | Plan::Release(_) => None,
        }
    }

    /// What a revocation will say.
    pub fn revocation(&self) -> Option<&RevocationSpec> {
        match &self.plan {
            Plan::Revocation(spec, _) => Some(spec),
            Plan::Root(..) | Plan::Release(_) => None,
        }
    }

    /// What a release will say.
    pub fn release(&self) -> Option<&ReleaseSpec> {
        match &self.plan {
            Plan::Release(plan) => Some(&plan.spec),
            Plan::Root(..) | Plan::Revocation(..) => None,
        }
    }

    /// Test or production.
    pub fn environment(&self) -> Environment {
        match &self.plan {
            Plan::Root(spec, _) => spec.environment,
            Plan::Revocation(spec, _) => spec.environment,
            Plan::Release(plan) => plan.spec.environment,
        }
    }

    /// The number of the document, and what counts with it: of two that
    /// have both in common, devices could be told one or the other.
    pub fn number(&self) -> (u64, String) {
        let lineage = |bytes: &[u8; 16]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match &self.plan {
            Plan::Root(spec, _) => (spec.version, format!("{}-root", lineage(&spec.lineage))),
            Plan::Revocation(spec, _) => (spec.version, format!("{}-revocation", lineage(&spec.lineage))),
            Plan::Release(plan) => (plan.spec.sequence, format!("{}-{}", self.kind.word(), plan.product())),
        }
    }

    /// The lineage that it belongs to.
    pub fn lineage(&self) -> Option<[u8; 16]> {
        match &self.plan {
            Plan::Root(spec, _) => Some(spec.lineage),
            Plan::Revocation(spec, _) => Some(spec.lineage),
            Plan::Release(_) => Root::decode(self.under()?).ok().map(|root| *root.lineage()),
        }
    }

    /// SHA-256 of the bytes that every signature vouches for.
    pub fn subject(&self) -> Digest {
        match &self.plan {
            Plan::Root(_, unsigned) => unsigned.digest(),
            Plan::Revocation(_, unsigned) => unsigned.digest(),
            Plan::Release(plan) => plan.unsigned.digest(),
        }
    }

    /// SHA-256 over all that a custodian is shown.
    ///
    /// Not over the bytes to be signed alone: a carrier who swaps the root
    /// document before, which nobody signs here, would change which
    /// differences are shown and who seems to be missing.
    pub fn digest(&self) -> Digest {
        let mut hasher = RustCrypto.sha256();
        hasher.update(b"firmseal/ceremony");
        let under = self.under.as_deref().unwrap_or_default();
        for part in [self.kind.word().as_bytes(), self.title.as_bytes(), &self.document, under] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.finish()
    }

    /// What people read to each other.
    pub fn words(&self) -> WordCode {
        WordCode::of(&self.digest())
    }

    /// The holder of a key that may sign, and the key.
    pub fn signer(&self, key: &KeyId) -> Option<(String, PublicKey)> {
        self.authorities.iter().flat_map(|authority| &authority.holders).find_map(|holder| {
            let own = holder.keys.iter().find(|own| own.id() == *key)?;
            Some((holder.name.clone(), own.clone()))
        })
    }

    /// The highest leaf of an LMS key that has signed the document that this
    /// one stands under. A log that would give a lower one was restored.
    pub fn last_leaf(&self, key: &PublicKey) -> Option<u32> {
        super::leaf::highest(self.under()?, key)
    }

    /// What a key signs.
    pub fn to_be_signed(&self, key: &PublicKey) -> Result<Tbs, CeremonyError> {
        Ok(match &self.plan {
            Plan::Root(_, unsigned) => unsigned.to_be_signed(key)?,
            Plan::Revocation(_, unsigned) => unsigned.to_be_signed(key)?,
            Plan::Release(plan) => plan.unsigned.to_be_signed(key)?,
        })
    }

    /// What is logged before one key is used for it. The request's digest
    /// stands in the context, so the entry says which ceremony it was for.
    pub fn intent(&self, key: &KeyId) -> Intent {
        Intent {
            purpose: match self.plan {
                Plan::Root(..) => Purpose::Root,
                Plan::Revocation(..) => Purpose::Revocation,
                Plan::Release(_) => Purpose::Release,
            },
            subject: self.subject(),
            keys: vec![*key],
            delegation: None,
            statements: Vec::new(),
            requester: RustCrypto.digest(b"firmseal ceremony"),
            policy: RustCrypto.digest(b"firmseal ceremony: thresholds of the root document"),
            context: vec![self.digest()],
        }
    }

    pub(super) fn seal(&self, signatures: &[(&PublicKey, Signature)]) -> Result<Vec<u8>, CeremonyError> {
        let under = self.under.as_deref();
        Ok(match (&self.plan, under) {
            (Plan::Root(_, unsigned), None) => unsigned.seal(signatures)?,
            (Plan::Root(_, unsigned), Some(before)) => unsigned.seal_after(before, signatures)?,
            (Plan::Revocation(_, unsigned), root) => {
                unsigned.seal(&Root::decode(root.unwrap_or_default())?, signatures)?
            }
            (Plan::Release(plan), root) => plan.seal(&Root::decode(root.unwrap_or_default())?, signatures)?,
        })
    }
}

/// Whether a document can be signed at all. What it takes in the end depends
/// on who signs.
fn fits(document: &[u8], most: usize, signatures: usize) -> Result<(), CeremonyError> {
    match document.len() + signatures {
        takes if takes > most => Err(CeremonyError::TooLong { takes, most }),
        _ => Ok(()),
    }
}

/// Reads a root document without signatures. Written again it must be the
/// same bytes: what is shown is what is signed.
fn root(document: &[u8]) -> Result<(RootSpec, UnsignedRoot), CeremonyError> {
    let root = Root::decode(document)?;
    let spec = RootSpec::of(&root)?;
    let unsigned = spec.assemble()?;
    if unsigned.digest() != root.digest(&RustCrypto) {
        return Err(CeremonyError::Spelling);
    }
    if unsigned.unsigned()? != document {
        return Err(CeremonyError::Signed);
    }
    Ok((spec, unsigned))
}

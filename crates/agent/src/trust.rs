//! What a device trusts, as far as it changes: root documents that came
//! after the anchor, revocations, news of the log, and the time floor.
//!
//! Core decides what may replace what; here it is kept, one record each, so
//! that a cut between two of them leaves an earlier state that a device may
//! well be in. A record that has rotted away in both copies is forgotten
//! loudly, and the server or the next bundle brings the device forward again.
//! Only the owner's anchor is not: without it nothing installs, since nobody
//! may come by a device's consent by spoiling a file.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Freshness, Refusal, Revocation, Root, Time, Trust};
use tracing::{error, info, warn};

use crate::chain::{Chain, Walked};
use crate::error::Error;
use crate::files::Files;
use crate::record::Record;

/// A revocation, and the root document that vouched for it when it came. The
/// role may have other keys since: what was taken away stays away.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Revoked {
    under: Vec<u8>,
    document: Vec<u8>,
}

/// What a device trusts now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trusted {
    pub(crate) root: Walked,
    pub(crate) owner: Owner,
    revoked: Option<Revoked>,
    freshness: Option<Vec<u8>>,
    floor: u64,
}

/// The owner's root documents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// Ownership has not passed.
    None,
    /// The owner's newest root document.
    Held(Walked),
    /// There was one, and it cannot be read any more.
    Lost,
}

impl Owner {
    /// The newest document, if there is one.
    pub(crate) fn document(&self) -> Option<&[u8]> {
        match self {
            Owner::Held(walked) => Some(&walked.newest),
            Owner::None | Owner::Lost => None,
        }
    }
}

/// The root documents that admitted an image: the vendor's, and the owner's
/// if there was one. Later ones may leave out who signed or agreed; that
/// ends what can be installed, and must not end what boots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdmittedUnder<'a> {
    pub(crate) root: &'a [u8],
    pub(crate) owner: Option<&'a [u8]>,
}

/// How old news may be, and what the device's clock says.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Policy {
    pub(crate) max_age: Option<u64>,
    pub(crate) leeway: u64,
    pub(crate) clock: Option<u64>,
}

/// What became of a document that somebody brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Brought {
    /// It is in force.
    Adopted,
    /// It says nothing new.
    Known,
}

impl Trusted {
    /// The root document.
    pub(crate) fn root(&self) -> Result<Root<'_>, Error> {
        Root::decode(&self.root.newest).map_err(Error::Anchor)
    }

    /// Whether nobody is missing who may have a say.
    pub(crate) fn has_its_owner(&self) -> Result<(), Error> {
        match self.owner {
            Owner::None | Owner::Held(_) => Ok(()),
            Owner::Lost => Err(Error::Corrupt {
                what: "the owner's root document",
                why: "no copy can be read; adopt it again".to_owned(),
            }),
        }
    }

    /// Version of the owner's root document, if there is one.
    pub(crate) fn owner_version(&self) -> Result<Option<u64>, Error> {
        let owner = self.owner.document().map(Root::decode).transpose().map_err(Error::Anchor)?;
        Ok(owner.map(|owner| owner.version()))
    }

    /// The revocation's number; 0 without one.
    pub(crate) fn revocation_version(&self) -> Result<u64, Error> {
        self.revocation(|revocation| revocation.map_or(0, Revocation::version))
    }

    /// The highest time that witnesses have vouched for, in seconds since
    /// 1970.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    fn revocation<T>(&self, look: impl FnOnce(Option<&Revocation<'_>>) -> T) -> Result<T, Error> {
        let Some(Revoked { under, document }) = &self.revoked else { return Ok(look(None)) };
        let under = Root::decode(under).map_err(Error::Anchor)?;
        let revocation = under.revocation(document, &RustCrypto).map_err(Error::from)?;
        Ok(look(Some(&revocation)))
    }

    /// The held revocation's number, and whether it counts in comparisons.
    ///
    /// It stays in force whatever becomes of the role's keys. But a thief of
    /// those keys could give it the highest number there is: once the role
    /// has other keys, whatever they sign replaces it (as TUF 1.0.34 §5.3.11
    /// does away with what rotated keys had signed, "to recover from
    /// fast-forward attacks").
    pub(crate) fn held_revocation(&self) -> Result<(u64, bool), Error> {
        let Some(Revoked { document, .. }) = &self.revoked else { return Ok((0, true)) };
        let stands = self.root()?.revocation(document, &RustCrypto).is_ok();
        Ok((self.revocation_version()?, stands))
    }

    /// The freshness document, where the present root still vouches for it.
    pub(crate) fn freshness<T>(
        &self,
        product: &str,
        look: impl FnOnce(Option<&Freshness<'_>>) -> T,
    ) -> Result<T, Error> {
        let root = self.root()?;
        self.revocation(|revocation| {
            let kept = self.freshness.as_deref();
            look(kept.and_then(|bytes| news(&root, bytes, product, revocation).ok()).as_ref())
        })
    }

    /// Shows `look` the trust in force for a product, or what it was when an
    /// image was admitted.
    pub(crate) fn show<T>(
        &self,
        under: Option<AdmittedUnder<'_>>,
        product: &str,
        policy: Policy,
        look: impl FnOnce(Trust<'_>) -> T,
    ) -> Result<T, Error> {
        let now = AdmittedUnder { root: &self.root.newest, owner: self.owner.document() };
        let AdmittedUnder { root, owner } = under.unwrap_or(now);
        let root = Root::decode(root).map_err(Error::Anchor)?;
        let owner = owner.map(Root::decode).transpose().map_err(Error::Anchor)?;
        self.revocation(|revocation| {
            // News of a log that the root no longer knows is no news: where
            // it is demanded, nothing installs until there is some.
            let kept = self.freshness.as_deref();
            let freshness = kept.and_then(|bytes| news(&root, bytes, product, revocation).ok());
            let time = Time { clock: policy.clock, floor: self.floor, leeway: policy.leeway };
            let (owner, freshness) = (owner.as_ref(), freshness.as_ref());
            look(Trust { root: &root, owner, revocation, freshness, max_age: policy.max_age, time })
        })
    }
}

/// Reads a freshness document. What a revoked key signed is no news: it may
/// have been stolen long before.
fn news<'a>(
    root: &Root<'_>,
    bytes: &'a [u8],
    product: &str,
    revocation: Option<&Revocation<'_>>,
) -> Result<Freshness<'a>, Refusal> {
    let revoked = |key: &firmseal_core::KeyId| {
        revocation.is_some_and(|revocation| revocation.keys().any(|entry| entry.id() == *key))
    };
    root.freshness(bytes, product, revoked, &RustCrypto)
}

/// Where a device keeps what it trusts.
pub(crate) struct TrustStore {
    roots: Chain,
    owner_anchor: Record,
    owner: Chain,
    revocation: Record,
    freshness: Record,
    floor: Record,
    now: RwLock<Arc<Trusted>>,
    writing: Mutex<()>,
}

impl TrustStore {
    /// What stands in `dir`, behind an anchor whose root role signed it.
    pub(crate) fn open(files: &Arc<dyn Files>, dir: &Path, anchor: Vec<u8>) -> Result<TrustStore, Error> {
        let record = |name| Record::new(files.clone(), dir, name);
        let roots = Chain::new(files, dir, "trust-root");
        let owner_anchor = record("trust-owner-anchor");
        let owner = Chain::new(files, dir, "trust-owner");
        let trusted = Trusted {
            root: roots.walk(anchor)?,
            owner: match owner_anchor.read() {
                Ok(None) => Owner::None,
                Ok(Some(anchor)) => Owner::Held(owner.walk(anchor)?),
                Err(err) => {
                    error!("the owner's root document is lost, and nothing installs without it: {err}");
                    Owner::Lost
                }
            },
            revoked: None,
            freshness: None,
            floor: 0,
        };
        let store = TrustStore {
            roots,
            owner_anchor,
            owner,
            revocation: record("trust-revocation"),
            freshness: record("trust-freshness"),
            floor: record("trust-floor"),
            now: RwLock::new(Arc::new(trusted)),
            writing: Mutex::new(()),
        };
        let learnt = store.load()?;
        store.set(learnt);
        Ok(store)
    }

    fn load(&self) -> Result<Trusted, Error> {
        let mut trusted = Trusted::clone(&self.now());
        let lineage = *trusted.root()?.lineage();
        if let Some(kept) = read_or_forget(&self.revocation) {
            trusted.revoked = unpack(&kept).filter(|revoked| {
                Root::decode(&revoked.under).is_ok_and(|under| {
                    *under.lineage() == lineage && under.revocation(&revoked.document, &RustCrypto).is_ok()
                })
            });
        }
        trusted.freshness = read_or_forget(&self.freshness);
        let floor = read_or_forget(&self.floor).and_then(|bytes| bytes.try_into().ok());
        trusted.floor = floor.map_or(0, u64::from_le_bytes);
        Ok(trusted)
    }

    /// What the device trusts now.
    pub(crate) fn now(&self) -> Arc<Trusted> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, trusted: Trusted) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trusted);
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next root document. One that is no later than the present
    /// one says nothing new; one that does not follow is refused and changes
    /// nothing (TUF 1.0.34 §5.3).
    pub(crate) fn adopt_root(&self, document: &[u8]) -> Result<Brought, Error> {
        let _one = self.writing();
        let held = self.now();
        match next(&self.roots, &held.root, document)? {
            None => Ok(Brought::Known),
            Some(root) => {
                info!(version = Root::decode(document)?.version(), "root document adopted");
                self.set(Trusted { root, ..Trusted::clone(&held) });
                Ok(Brought::Adopted)
            }
        }
    }

    /// Whether a document belongs to the owner's lineage.
    pub(crate) fn is_owners(&self, document: &[u8]) -> bool {
        let held = self.now();
        let lineage = |document| Root::decode(document).ok().map(|root| *root.lineage());
        held.owner.document().is_some_and(|owner| lineage(owner) == lineage(document))
    }

    /// Takes the owner's first root document, or the one that follows the
    /// present one. The vendor's root has no say in it.
    pub(crate) fn adopt_owner(&self, document: &[u8]) -> Result<Brought, Error> {
        let _one = self.writing();
        let held = self.now();
        let walked = match &held.owner {
            Owner::Held(walked) => next(&self.owner, walked, document)?,
            Owner::None | Owner::Lost => {
                let (first, vendor) = (Root::decode(document)?, held.root()?);
                first.verify(&RustCrypto)?;
                // Whoever could pass the vendor's root off as the owner's
                // would have consented to everything.
                if first.lineage() == vendor.lineage() {
                    return Err(Refusal::WrongLineage.into());
                }
                if first.environment() != vendor.environment() {
                    return Err(Refusal::WrongEnvironment.into());
                }
                self.owner_anchor.write_twice(document)?;
                Some(self.owner.walk(document.to_vec())?)
            }
        };
        let Some(walked) = walked else { return Ok(Brought::Known) };
        warn!(version = Root::decode(document)?.version(), "the owner's root document adopted");
        self.set(Trusted { owner: Owner::Held(walked), ..Trusted::clone(&held) });
        Ok(Brought::Adopted)
    }

    /// Takes a later revocation, signed under the present root.
    pub(crate) fn adopt_revocation(&self, document: &[u8]) -> Result<Brought, Error> {
        let _one = self.writing();
        let held = self.now();
        let root = held.root()?;
        let revocation = root.revocation(document, &RustCrypto)?;
        let (_, stands) = held.held_revocation()?;
        let known = held.revocation(|held| match held.filter(|_| stands) {
            None => Ok(false),
            Some(held) if revocation.version() <= held.version() => Ok(true),
            // It may only subtract: one that gives back what was stolen is
            // a thief's, whoever signed it.
            Some(held) if !revocation.contains(held) => Err(Refusal::Malformed("a revocation that forgets")),
            Some(_) => Ok(false),
        })??;
        if known {
            return Ok(Brought::Known);
        }
        let revoked = Revoked { under: held.root.newest.clone(), document: document.to_vec() };
        self.revocation.write_twice(&pack(&revoked))?;
        warn!(version = revocation.version(), "revocation adopted");
        self.set(Trusted { revoked: Some(revoked), ..Trusted::clone(&held) });
        Ok(Brought::Adopted)
    }

    /// Takes later news of the log, and lets the time floor rise to it. News
    /// that knows of fewer revocations is refused: somebody goes back.
    ///
    /// News is as old as the earliest of its witnesses says: one that lies
    /// about the future would make all honest news look old.
    pub(crate) fn adopt_freshness(&self, document: &[u8], product: &str) -> Result<Brought, Error> {
        let _one = self.writing();
        let held = self.now();
        let root = held.root()?;
        let offered = held.revocation(|revocation| news(&root, document, product, revocation))??;
        let known = held.freshness(product, |before| {
            let Some(before) = before else { return Ok(false) };
            let (new, old) = (&offered.checkpoint, &before.checkpoint);
            let smaller = new.origin == old.origin && new.size < old.size;
            if smaller || new.earliest <= old.earliest {
                return Ok(true);
            }
            if offered.revocation < before.revocation {
                let (offered, needed) = (offered.revocation, before.revocation);
                return Err(Refusal::RevocationTooOld { offered, needed });
            }
            Ok(false)
        })??;
        if known {
            return Ok(Brought::Known);
        }
        self.freshness.write(document)?;
        let trusted = Trusted { freshness: Some(document.to_vec()), ..Trusted::clone(&held) };
        self.set(trusted.clone());
        // A cut here costs nothing but a floor that rises with the next.
        self.raise(trusted, offered.checkpoint.earliest)?;
        Ok(Brought::Adopted)
    }

    /// Lets the time floor rise to a time that a quorum of witnesses has
    /// vouched for.
    pub(crate) fn vouch(&self, time: u64) -> Result<(), Error> {
        let _one = self.writing();
        self.raise(Trusted::clone(&self.now()), time)
    }

    fn raise(&self, trusted: Trusted, time: u64) -> Result<(), Error> {
        if time <= trusted.floor {
            return Ok(());
        }
        self.floor.write_twice(&time.to_le_bytes())?;
        self.set(Trusted { floor: time, ..trusted });
        Ok(())
    }
}

/// Takes the document that follows the newest of a chain. `None` where it is
/// no later.
fn next(chain: &Chain, held: &Walked, document: &[u8]) -> Result<Option<Walked>, Error> {
    let root = Root::decode(&held.newest).map_err(Error::Anchor)?;
    let offered = Root::decode(document)?;
    if offered.lineage() == root.lineage() && offered.version() <= root.version() {
        return Ok(None);
    }
    let next = root.successor(document, &RustCrypto)?;
    chain.keep(next.version(), document)?;
    Ok(Some(Walked { newest: document.to_vec(), broken: false }))
}

/// A value that a device can do without: neither a rotten record nor a bad
/// medium may keep it from booting.
fn read_or_forget(record: &Record) -> Option<Vec<u8>> {
    record.read().unwrap_or_else(|err| {
        error!("it is forgotten: {err}");
        None
    })
}

fn pack(revoked: &Revoked) -> Vec<u8> {
    let mut out = (revoked.under.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(&revoked.under);
    out.extend_from_slice(&revoked.document);
    out
}

fn unpack(bytes: &[u8]) -> Option<Revoked> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (under, document) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some(Revoked { under: under.to_vec(), document: document.to_vec() })
}

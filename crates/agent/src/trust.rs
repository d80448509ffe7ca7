//! What a device trusts, as far as it changes: root documents that came
//! after the anchor, revocations, news of the log, and the time floor.
//!
//! Core decides what may replace what; here it is kept, one record each, so
//! that a cut between two of them leaves an earlier state that a device may
//! well be in. A record that has rotted away in both copies is forgotten
//! loudly: the device stands where its anchor put it, and the server or the
//! next bundle brings it forward again.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Refusal, Revocation, Root, Time, Trust};
use tracing::{info, warn};

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
    pub(crate) root: Vec<u8>,
    revoked: Option<Revoked>,
    freshness: Option<Vec<u8>>,
    floor: u64,
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
        Root::decode(&self.root).map_err(Error::Anchor)
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

    /// Shows `look` the trust in force for a product, or what it was under an
    /// earlier root document.
    pub(crate) fn show<T>(
        &self,
        under: Option<&[u8]>,
        product: &str,
        policy: Policy,
        look: impl FnOnce(Trust<'_>) -> T,
    ) -> Result<T, Error> {
        let root = Root::decode(under.unwrap_or(&self.root)).map_err(Error::Anchor)?;
        self.revocation(|revocation| {
            let revoked = |key: &firmseal_core::KeyId| {
                revocation.is_some_and(|revocation| revocation.keys().any(|entry| entry.id() == *key))
            };
            // News of a log that the root no longer knows is no news: where
            // it is demanded, nothing installs until there is some.
            let freshness = self
                .freshness
                .as_ref()
                .and_then(|bytes| root.freshness(bytes, product, revoked, &RustCrypto).ok());
            let time = Time { clock: policy.clock, floor: self.floor, leeway: policy.leeway };
            let freshness = freshness.as_ref();
            look(Trust { revocation, freshness, max_age: policy.max_age, time, ..Trust::anchored(&root) })
        })
    }
}

/// Where a device keeps what it trusts.
pub(crate) struct TrustStore {
    root: Record,
    revocation: Record,
    freshness: Record,
    floor: Record,
    now: RwLock<Arc<Trusted>>,
}

impl TrustStore {
    /// What stands in `dir`, behind an anchor whose root role signed it.
    pub(crate) fn open(files: &Arc<dyn Files>, dir: &Path, anchor: Vec<u8>) -> Result<TrustStore, Error> {
        let record = |name| Record::new(files.clone(), dir, name);
        let store = TrustStore {
            root: record("trust-root"),
            revocation: record("trust-revocation"),
            freshness: record("trust-freshness"),
            floor: record("trust-floor"),
            now: RwLock::new(Arc::new(Trusted { root: anchor, revoked: None, freshness: None, floor: 0 })),
        };
        let trusted = store.load()?;
        store.set(trusted);
        Ok(store)
    }

    fn load(&self) -> Result<Trusted, Error> {
        let mut trusted = Trusted::clone(&self.now());
        if let Some(kept) = self.root.read_or_forget()? {
            // An anchor that was put in by hand wins over what was walked
            // from another one.
            let anchor = trusted.root()?;
            let follows = Root::decode(&kept).is_ok_and(|root| {
                root.lineage() == anchor.lineage()
                    && root.environment() == anchor.environment()
                    && root.version() > anchor.version()
            });
            if follows {
                trusted.root = kept;
            }
        }
        let lineage = *trusted.root()?.lineage();
        if let Some(kept) = self.revocation.read_or_forget()? {
            let revoked = unpack(&kept).filter(|revoked| {
                Root::decode(&revoked.under).is_ok_and(|under| *under.lineage() == lineage)
            });
            trusted.revoked = revoked;
        }
        trusted.freshness = self.freshness.read_or_forget()?;
        let floor = self.floor.read_or_forget()?.and_then(|bytes| bytes.try_into().ok());
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

    /// Takes the next root document. One that is no later than the present
    /// one says nothing new; one that does not follow is refused and changes
    /// nothing (TUF 1.0.34 §5.3).
    pub(crate) fn adopt_root(&self, document: &[u8]) -> Result<Brought, Error> {
        let held = self.now();
        let root = held.root()?;
        if Root::decode(document)?.version() <= root.version() {
            return Ok(Brought::Known);
        }
        let next = root.successor(document, &RustCrypto)?;
        self.root.write(document)?;
        info!(version = next.version(), "root document adopted");
        self.set(Trusted { root: document.to_vec(), ..Trusted::clone(&held) });
        Ok(Brought::Adopted)
    }

    /// Takes a later revocation, signed under the present root.
    pub(crate) fn adopt_revocation(&self, document: &[u8]) -> Result<Brought, Error> {
        let held = self.now();
        let root = held.root()?;
        let revocation = root.revocation(document, &RustCrypto)?;
        let known = held.revocation(|held| match held {
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
        let revoked = Revoked { under: held.root.clone(), document: document.to_vec() };
        self.revocation.write(&pack(&revoked))?;
        warn!(version = revocation.version(), "revocation adopted");
        self.set(Trusted { revoked: Some(revoked), ..Trusted::clone(&held) });
        Ok(Brought::Adopted)
    }

    /// Takes later news of the log, and lets the time floor rise to it.
    pub(crate) fn adopt_freshness(&self, document: &[u8], product: &str) -> Result<Brought, Error> {
        let held = self.now();
        let root = held.root()?;
        let read = |bytes: &[u8]| {
            held.revocation(|revocation| {
                let revoked = |key: &firmseal_core::KeyId| {
                    revocation.is_some_and(|revocation| revocation.keys().any(|entry| entry.id() == *key))
                };
                root.freshness(bytes, product, revoked, &RustCrypto)
                    .map(|news| (news.checkpoint.size, news.checkpoint.latest, news.checkpoint.earliest))
            })
        };
        let (size, latest, earliest) = read(document)??;
        if let Some(before) = &held.freshness
            && let Ok((seen, when, _)) = read(before)?
            && (size < seen || latest <= when)
        {
            return Ok(Brought::Known);
        }
        self.freshness.write(document)?;
        self.set(Trusted { freshness: Some(document.to_vec()), ..Trusted::clone(&held) });
        self.vouch(earliest)?;
        Ok(Brought::Adopted)
    }

    /// Lets the time floor rise to a time that a quorum of witnesses has
    /// vouched for.
    pub(crate) fn vouch(&self, time: u64) -> Result<(), Error> {
        let held = self.now();
        if time <= held.floor {
            return Ok(());
        }
        self.floor.write(&time.to_le_bytes())?;
        self.set(Trusted { floor: time, ..Trusted::clone(&held) });
        Ok(())
    }
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

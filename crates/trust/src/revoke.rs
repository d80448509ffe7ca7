//! The next revocation: what may be added to the newest, and by whom.
//!
//! Devices and servers check what was signed; this refuses it before a key
//! is used.

use firmseal_core::crypto::RustCrypto;
use firmseal_core::limits::{ALLOWED_MAX, CLOSED_LOGS_MAX, REVOCATION_MAX, REVOKED_MAX};
use firmseal_core::{KeyId, Revocation, Role, Root};
use firmseal_manifest::Digest;

use crate::read::key_of;
use crate::revocation::{RevocationSpec, RevokedKey};
use crate::room;
use crate::root::RootError;

/// Why a revocation must not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// Only a root document takes such a key away.
    #[error("key {key} holds the role {}; only a new root document takes it away", name(*.role))]
    Untouchable {
        /// The key.
        key: KeyId,
        /// Its role.
        role: Role,
    },
    /// The key that signs is the one that is taken away.
    #[error("key {0} would revoke itself: whoever stole it could claim the same")]
    Itself(KeyId),
    /// An earlier revocation keeps less of the key's work.
    #[error("revocation {version} keeps less of what key {key} signed; revocations only subtract")]
    Widens {
        /// The key.
        key: KeyId,
        /// The revocation before.
        version: u64,
    },
    /// It does not fit.
    #[error("a revocation has at most {most} {what}")]
    TooLong {
        /// Of what.
        what: &'static str,
        /// How much fits.
        most: usize,
    },
    /// The numbers are used up.
    #[error("no number is left above {0}")]
    Exhausted(u64),
    /// A key that signs is none of the revocation role's.
    #[error("key {0} is none of the revocation role's")]
    Stranger(KeyId),
    /// Too few holders sign.
    #[error(
        "the revocation role needs {need} holders{}, these keys are of {have}",
        if *.both { ", each with a classical and a post-quantum key" } else { "" }
    )]
    Threshold {
        /// Holders whose keys sign.
        have: usize,
        /// Holders that must.
        need: usize,
        /// Whether a holder counts only with both kinds of keys.
        both: bool,
    },
    /// The root says of no revocation role.
    #[error("root document {0} has no revocation role; publish one that has")]
    NoRole(u64),
    /// A key of the root cannot be read.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// A role in the glossary's word.
pub const fn name(role: Role) -> &'static str {
    match role {
        Role::Root => "root",
        Role::Release => "release",
        Role::Approver => "approver",
        Role::Log => "log",
        Role::Witness => "witness",
        Role::Revocation => "revocation",
        Role::Recovery => "recovery",
    }
}

impl RevocationSpec {
    /// The one that follows: the next number, every entry carried on.
    pub fn after(root: &Root<'_>, newest: Option<&Revocation<'_>>) -> Result<RevocationSpec, RevokeError> {
        if root.role(Role::Revocation, "").is_err() {
            return Err(RevokeError::NoRole(root.version()));
        }
        let Some(newest) = newest else {
            return Ok(RevocationSpec {
                version: 1,
                lineage: *root.lineage(),
                environment: root.environment(),
                keys: Vec::new(),
                releases: Vec::new(),
            });
        };
        let version = newest.version().checked_add(1).ok_or(RevokeError::Exhausted(newest.version()))?;
        Ok(RevocationSpec { version, ..RevocationSpec::of(newest, root) })
    }

    /// Takes a key away. What an earlier entry says of it may only be
    /// narrowed.
    pub fn take_key(&mut self, entry: RevokedKey) -> Result<(), RevokeError> {
        let version = self.version - 1;
        match self.keys.iter_mut().find(|known| known.key == entry.key) {
            None => self.keys.push(entry),
            Some(known) if entry.narrows(known) => *known = entry,
            Some(_) => return Err(RevokeError::Widens { key: entry.key, version }),
        }
        Ok(())
    }

    /// Takes a release away, by its manifest digest.
    pub fn take_release(&mut self, manifest: Digest) {
        if !self.releases.contains(&manifest) {
            self.releases.push(manifest);
        }
    }

    /// Checks that these keys may sign it under a root document, and that
    /// they are enough, before any of them does.
    pub fn check_signers(&self, root: &Root<'_>, signers: &[KeyId]) -> Result<(), RevokeError> {
        self.check(root, signers)?;
        let role = root.role(Role::Revocation, "").map_err(|_| RevokeError::NoRole(root.version()))?;
        let keys: Vec<KeyId> = role.keys().map(|(_, key)| key.id(&RustCrypto)).collect();
        if let Some(stranger) = signers.iter().find(|signer| !keys.contains(signer)) {
            return Err(RevokeError::Stranger(*stranger));
        }
        let have = role.agreeing(|key| signers.contains(key), &RustCrypto);
        match role.threshold() {
            need if have < need => Err(RevokeError::Threshold { have, need, both: role.both() }),
            _ => Ok(()),
        }
    }

    /// Checks what it says, whoever signs: these keys may not be among those
    /// that it takes away.
    pub fn check(&self, root: &Root<'_>, signers: &[KeyId]) -> Result<(), RevokeError> {
        for entry in &self.keys {
            if signers.contains(&entry.key) {
                return Err(RevokeError::Itself(entry.key));
            }
            if let Some(role) = untouchable(root, &entry.key)? {
                return Err(RevokeError::Untouchable { key: entry.key, role });
            }
            at_most("logs for one key", entry.last_good.len(), CLOSED_LOGS_MAX)?;
            at_most("allowed manifests for one key", entry.allowed.len(), ALLOWED_MAX)?;
        }
        at_most("keys", self.keys.len(), REVOKED_MAX)?;
        at_most("releases", self.releases.len(), ALLOWED_MAX)?;
        // The heads of the document and of its body take a few bytes.
        let signed = root.role(Role::Revocation, "").map_or(0, |role| room::at_most(&role));
        let most = REVOCATION_MAX.saturating_sub(signed + 16);
        at_most("bytes besides signatures", self.assemble().body().len(), most)
    }
}

impl RevokedKey {
    /// Whether it keeps no more of the key's work than `old` does.
    fn narrows(&self, old: &RevokedKey) -> bool {
        let kept = |(origin, index): &(String, u64)| {
            old.last_good.iter().any(|(known, before)| known == origin && index <= before)
        };
        self.allowed.iter().all(|manifest| old.allowed.contains(manifest)) && self.last_good.iter().all(kept)
    }
}

/// The role of a key that a revocation must not or cannot reach: root and
/// recovery stay the owner's whatever happens, and the revocation role
/// would be judged by its own document.
fn untouchable(root: &Root<'_>, key: &KeyId) -> Result<Option<Role>, RootError> {
    for entry in root.roles() {
        if !matches!(entry.role(), Role::Root | Role::Recovery | Role::Revocation) {
            continue;
        }
        for (_, own) in entry.keys() {
            if key_of(&own)?.id() == *key {
                return Ok(Some(entry.role()));
            }
        }
    }
    Ok(None)
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), RevokeError> {
    if count > most { Err(RevokeError::TooLong { what, most }) } else { Ok(()) }
}

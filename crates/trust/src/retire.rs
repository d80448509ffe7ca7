//! Who would be left behind when keys are taken away.
//!
//! Core is asked about the root document that a device holds, without those
//! keys: whether anybody could still sign for it, and whether what it runs
//! would still be signed.

use std::collections::BTreeSet;
use std::fmt;

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Envelope, KeyId, Role, Root, authenticate};
use firmseal_manifest::Digest;

use crate::revocation::RevokedKey;
use crate::root::{RootError, RootSpec};

/// What is known of a device.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Its product.
    pub product: &'a str,
    /// The root document that it holds, as far as it was heard of; the
    /// first one otherwise.
    pub root: &'a [u8],
    /// What it runs, if that is known here.
    pub running: Option<Running<'a>>,
}

/// A release that a device runs.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    /// Its envelope.
    pub envelope: &'a [u8],
    /// Its manifest digest.
    pub manifest: Digest,
    /// Where its intent stands in the log.
    pub log_index: u64,
}

/// Why a device still needs a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Under the root document that it holds, nobody else can sign for it.
    Root {
        /// The document's number.
        version: u64,
    },
    /// What it runs was signed by nobody else.
    Running,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::Root { version } => {
                write!(f, "it holds root document {version}, under which nobody else can sign for it")
            }
            Need::Running => f.write_str("what it runs was signed by nobody else"),
        }
    }
}

/// Whether a device still needs any of the keys that are taken away, and
/// what for.
pub fn needs(device: &Standing<'_>, taken: &[RevokedKey]) -> Result<Option<Need>, RootError> {
    let held = Root::decode(device.root)?;
    let keys: BTreeSet<KeyId> = taken.iter().map(|entry| entry.key).collect();
    let version = held.version();
    let Ok(role) = held.role(Role::Release, device.product) else {
        return Ok(Some(Need::Root { version }));
    };
    if role.agreeing(|key| !keys.contains(key), &RustCrypto) < role.threshold() {
        return Ok(Some(Need::Root { version }));
    }
    let Some(Running { envelope, manifest, log_index }) = device.running else { return Ok(None) };
    // Indexes count under a demanded proof only: without one a device does
    // not know where a release stands.
    let proven = held.demands(device.product).proof;
    let keeps = |entry: &RevokedKey| {
        entry.allowed.contains(&manifest)
            || proven && entry.last_good.iter().any(|(_, index)| log_index <= *index)
    };
    let lost = taken.iter().filter(|entry| !keeps(entry)).map(|entry| entry.key).collect();
    let left = without(RootSpec::of(&held)?, &lost).assemble()?.unsigned()?;
    let left = Root::decode(&left)?;
    // What the root it holds does not verify was signed under another one,
    // and these keys make no difference to it.
    let signed = |root: &Root<'_>| {
        let envelope = Envelope::decode(envelope).ok();
        envelope.is_some_and(|envelope| authenticate(envelope, root, device.product, &RustCrypto).is_ok())
    };
    Ok((signed(&held) && !signed(&left)).then_some(Need::Running))
}

/// The same document without some keys of the release role. Holders without
/// the keys that they need go, and entries whose threshold the others cannot meet.
fn without(mut spec: RootSpec, keys: &BTreeSet<KeyId>) -> RootSpec {
    for role in spec.roles.iter_mut().filter(|role| role.role == Role::Release) {
        for holder in &mut role.holders {
            holder.keys.retain(|key| !keys.contains(&key.id()));
        }
        let both = role.both_kinds;
        role.holders.retain(|holder| if both { holder.has_both_kinds() } else { !holder.keys.is_empty() });
    }
    spec.roles.retain(|role| role.role != Role::Release || role.threshold <= role.holders.len() as u64);
    spec
}

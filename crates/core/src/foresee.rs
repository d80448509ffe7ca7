//! Foresight: whether keys could sign a release, asked before they do.
//!
//! A signature cannot be taken back. Whoever is about to use keys asks here
//! whether devices would take what comes of it: the same functions as in
//! [`crate::admit()`], the same numbers, and nothing but what concerns the
//! keys and their delegation.

use crate::crypto::Crypto;
use crate::delegation::{Chains, Covered};
use crate::device::Trust;
use crate::digest::Digest;
use crate::key::KeyId;
use crate::limits::SIGNATURES_MAX;
use crate::refusal::Refusal;
use crate::role::{Role, Tally};
use crate::time::Moment;

/// Whether `signers` could sign this release for the release role at the
/// time that `trust` tells: by themselves, or under the chains of a
/// delegation member. `floor` is the highest delegation index that devices
/// may have committed.
pub fn foresee(
    release: &Covered<'_>,
    member: Option<&[u8]>,
    signers: &[KeyId],
    trust: &Trust<'_>,
    floor: u64,
    crypto: &impl Crypto,
) -> Result<(), Refusal> {
    let root = trust.root;
    let role = root.role(Role::Release, release.product)?;
    let demanded = root.demands(release.product).delegation;
    // What a revoked key may still count for stands in the log already, or
    // has a manifest that was named: neither is so of what is yet to be made.
    let revoked = |key: &KeyId| {
        trust.revocation.is_some_and(|revocation| revocation.takes_away(key, &Digest([0; 32]), None))
    };
    let chains = Chains::verify(member, &role, root, revoked, crypto)?;
    let own = if demanded { 0 } else { usize::MAX };
    let keys = || role.keys().take(own).chain(chains.keys());
    let (mut tally, mut taken_away) = (Tally::default(), false);
    for signer in signers.iter().take(SIGNATURES_MAX) {
        if revoked(signer) {
            taken_away = true;
            continue;
        }
        let speaks = keys().filter(|(_, key)| key.id(crypto) == *signer);
        speaks.for_each(|(holder, key)| tally.count_key(holder, &key));
    }
    let (have, need) = (tally.holders_of(&role), role.threshold());
    if have < need {
        // Whoever has one of two kinds of keys is no stranger.
        return Err(match tally.holders() {
            _ if taken_away => Refusal::KeyRevoked,
            0 if demanded && member.is_none() => Refusal::DelegationMissing,
            0 => Refusal::UnknownSigner,
            _ => Refusal::ThresholdNotMet { have: have as u8, need: need as u8 },
        });
    }
    chains.cover(signers, release, root, &Moment::of(None, &trust.time), crypto)?;
    if member.is_none() && release.index != 0 {
        return Err(Refusal::DelegationMissing);
    }
    if release.index < floor {
        return Err(Refusal::DelegationTooLow { offered: release.index, floor });
    }
    Ok(())
}

//! The judgement behind both verdicts, check by check.
//!
//! Nothing of the manifest is parsed before its signatures were verified.
//! The log proof comes before them, because revocation asks where in the log
//! a release stands; it is read by a parser of its own that is bounded and
//! small.

use crate::crypto::Crypto;
use crate::delegation::Chains;
use crate::device::{Device, Takes};
use crate::digest::Digest;
use crate::envelope::Envelope;
use crate::evidence::{Evidence, Subject};
use crate::facts::Facts;
use crate::key::KeyId;
use crate::limits::COMPONENTS_MAX;
use crate::manifest::{self, Authenticated};
use crate::refusal::Refusal;
use crate::revocation::{Born, Revocation};
use crate::role::Role;
use crate::statement::StatementPurpose;
use crate::target::{check_facts, place};
use crate::time::{Moment, Time};

/// A release that passed every check of one purpose.
#[derive(Clone, Debug)]
pub(crate) struct Judged<'a> {
    pub(crate) authenticated: Authenticated<'a>,
    pub(crate) facts: Facts<'a>,
    pub(crate) slots: [u64; COMPONENTS_MAX],
    pub(crate) places: [u8; COMPONENTS_MAX],
    pub(crate) recovery: bool,
    pub(crate) vouched: Option<u64>,
}

/// What is decided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Install,
    /// The first boots of an image that was not confirmed yet.
    Trial,
    Boot,
}

pub(crate) fn judge<'a>(
    envelope: &'a [u8],
    device: &Device<'_>,
    crypto: &impl Crypto,
    purpose: Purpose,
) -> Result<Judged<'a>, Refusal> {
    let envelope = Envelope::decode(envelope)?;
    envelope.check_digest(crypto)?;
    let digest = *envelope.manifest_digest();
    let signed = recover(envelope.clone(), device, crypto)?;
    let Signed { authenticated, facts, vouched, recovery } = match signed {
        Some(signed) => signed,
        None => release(envelope, device, purpose, crypto)?,
    };
    let manifest = authenticated.manifest();

    if facts.epoch < device.epoch {
        return Err(Refusal::EpochTooLow { offered: facts.epoch, counter: device.epoch });
    }
    if facts.delegation < device.delegation && !recovery {
        return Err(Refusal::DelegationTooLow { offered: facts.delegation, floor: device.delegation });
    }
    if purpose == Purpose::Install {
        let minimum = device.trust.root.minimum_epoch();
        if facts.epoch < minimum {
            return Err(Refusal::EpochBelowRoot { offered: facts.epoch, minimum });
        }
        if let Some(label) = manifest.dropped() {
            return Err(Refusal::SeveredMissing(label));
        }
    }
    let (slots, places) = place(manifest, &facts, device, purpose, recovery)?;
    if purpose != Purpose::Boot {
        check_revoked(&digest, &facts, device, purpose)?;
    }
    Ok(Judged { authenticated, facts, slots, places, recovery, vouched })
}

/// What is known when signatures, target and evidence were checked.
struct Signed<'a> {
    authenticated: Authenticated<'a>,
    facts: Facts<'a>,
    /// The earliest time that the witnesses of its birth vouch for.
    vouched: Option<u64>,
    recovery: bool,
}

/// A release: signed by the release role or under its delegation, with the
/// evidence that the root demands.
fn release<'a>(
    envelope: Envelope<'a>,
    device: &Device<'_>,
    purpose: Purpose,
    crypto: &impl Crypto,
) -> Result<Signed<'a>, Refusal> {
    let (root, product) = (device.trust.root, device.product);
    let demands = root.demands(product);
    let digest = *envelope.manifest_digest();
    let role = root.role(Role::Release, product)?;
    let evidence = Evidence::decode(envelope.evidence())?;

    // Revocation looks at where a release stands in the log, so the proof
    // comes first. A confirmed image has passed it already.
    let revocation = device.trust.revocation.filter(|_| purpose != Purpose::Boot);
    let born = match demands.proof {
        true => evidence.birth(root, product, |key| takes_away(revocation, key, &digest, None), crypto)?,
        false => None,
    };
    if let Some(born) = &born
        && takes_away(revocation, &born.checkpoint.key, &digest, Some(born))
    {
        return Err(Refusal::KeyRevoked);
    }
    let revoked = |key: &KeyId| takes_away(revocation, key, &digest, born.as_ref());
    let delegation = envelope.delegation();
    let chains = Chains::verify(delegation, &role, root, revoked, crypto)?;
    // Where a delegation is demanded, the role's own keys sign nothing else.
    let own = if demands.delegation { 0 } else { usize::MAX };
    let keys = || role.keys().take(own).chain(chains.keys());
    let (authenticated, signed) = match manifest::signed(envelope, &role, keys, revoked, crypto) {
        Err(Refusal::UnknownSigner) if demands.delegation && delegation.is_none() => {
            return Err(Refusal::DelegationMissing);
        }
        other => other?,
    };

    let facts = check_facts(authenticated.manifest(), device)?;
    // A boot runs what was admitted, whatever was set since; and recovery
    // images are for every device that needs one.
    if let Takes::Channel(channel) = device.takes
        && facts.channel != channel
        && purpose == Purpose::Install
    {
        return Err(Refusal::WrongChannel);
    }
    let moment = match (purpose, &born) {
        // It was in time when it was admitted, and nothing vouches for when
        // that was.
        (Purpose::Trial | Purpose::Boot, None) => Moment::unknown(),
        _ => Moment::of(born.as_ref().map(|born| &born.checkpoint), &device.trust.time),
    };
    chains.cover(signed.ids(), &(&facts).into(), root, &moment, crypto)?;
    // An index says which delegation it was: without one there is none, or
    // the role's own keys could raise the floor and lock delegated ones out.
    if delegation.is_none() && facts.delegation != 0 {
        return Err(Refusal::DelegationMissing);
    }

    if demands.proof {
        let (Some(intent), Some(_)) = (&evidence.intent, &born) else { return Err(Refusal::ProofMissing) };
        intent.announces(&digest, signed.ids(), delegation, crypto)?;
        evidence.match_statements(crypto)?;
    }
    let subject = Subject { manifest: &digest, signed: signed.ids(), moment: &moment };
    if demands.approvals {
        let channel = match device.takes {
            Takes::General => None,
            Takes::Channel(_) | Takes::Any => Some(facts.channel),
        };
        let role = root.approvers(product, channel)?;
        evidence.agree(StatementPurpose::Approval, root, &role, &subject, revoked, crypto)?;
    }
    match device.trust.owner {
        Some(owner) if demands.owner || owner.demands(product).owner => {
            let role = owner.approvers(product, None)?;
            evidence.agree(StatementPurpose::Owner, owner, &role, &subject, |_| false, crypto)?;
        }
        None if demands.owner => return Err(Refusal::OwnerMissing),
        _ => {}
    }
    let vouched = born.map(|born| born.checkpoint.earliest);
    Ok(Signed { authenticated, facts, vouched, recovery: false })
}

/// A recovery image: signed by the recovery role, without evidence, for a
/// device that is stranded. `None` where it is not one.
///
/// It must be of this product and at or above the epoch counter; it moves no
/// floor. Revocation documents cannot name recovery keys.
// Apart: devices that boot pay nothing for its stack.
#[inline(never)]
fn recover<'a>(
    envelope: Envelope<'a>,
    device: &Device<'_>,
    crypto: &impl Crypto,
) -> Result<Option<Signed<'a>>, Refusal> {
    if !device.stranded {
        return Ok(None);
    }
    let Ok(role) = device.trust.root.role(Role::Recovery, device.product) else { return Ok(None) };
    let signed = manifest::signed(envelope, &role, || role.keys(), |_| false, crypto);
    let (authenticated, _) = match signed {
        Err(Refusal::UnknownSigner) => return Ok(None),
        other => other?,
    };
    let facts = check_facts(authenticated.manifest(), device)?;
    Ok(Some(Signed { authenticated, facts, vouched: None, recovery: true }))
}

fn takes_away(
    revocation: Option<&Revocation<'_>>,
    key: &KeyId,
    manifest: &Digest,
    born: Option<&Born<'_>>,
) -> bool {
    revocation.is_some_and(|revocation| revocation.takes_away(key, manifest, born))
}

/// What was revoked, and whether the device would know.
fn check_revoked(
    digest: &Digest,
    facts: &Facts<'_>,
    device: &Device<'_>,
    purpose: Purpose,
) -> Result<(), Refusal> {
    if device.trust.revocation.is_some_and(|revocation| revocation.revokes(digest)) {
        return Err(Refusal::ReleaseRevoked);
    }
    if purpose != Purpose::Install {
        return Ok(());
    }
    if let Some(before) = &facts.rollback_of
        && !device.trust.revocation.is_some_and(|revocation| revocation.revokes(before))
    {
        return Err(Refusal::RollbackEarly);
    }
    if let Some(freshness) = device.trust.freshness {
        let offered = device.trust.revocation.map_or(0, Revocation::version);
        if offered < freshness.revocation {
            return Err(Refusal::RevocationTooOld { offered, needed: freshness.revocation });
        }
    }
    let Some(max_age) = device.trust.max_age.filter(|_| !device.stranded) else { return Ok(()) };
    let Time { clock, floor, leeway } = device.trust.time;
    // The earliest of the quorum: were it the latest, one witness whose clock
    // is ahead could make old news look young for as long as it likes.
    let seen = device.trust.freshness.map(|freshness| freshness.checkpoint.earliest).ok_or(Refusal::Stale)?;
    // A maximum age needs a clock; without one only going back is refused.
    let oldest = clock.map_or(floor, |clock| clock.saturating_sub(max_age).max(floor));
    if seen.saturating_add(leeway) < oldest { Err(Refusal::Stale) } else { Ok(()) }
}

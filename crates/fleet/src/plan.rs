//! The plan: which device gets which offer.
//!
//! `plan` is pure. It never reads a clock or a store; the caller passes
//! both. Applying a plan twice changes nothing. [`Catalog::offer_for`] is
//! the same decision for one device, as each poll asks for it: `plan` calls
//! it for every device, so the two cannot disagree.

use std::collections::{BTreeMap, HashMap};

use firmseal_manifest::{DeviceId, Digest, ProductId, ReleaseId, RequestId, RolloutId};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{Device, DeviceState, Release, ReleaseState, Rollout, RolloutState, Time};

/// What a device is offered, with the ids that its reports carry back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// The rollout that makes it.
    pub rollout: RolloutId,
    /// The release.
    pub release: ReleaseId,
    /// Its version, for people.
    pub version: Version,
    /// Its sequence number.
    pub sequence: u64,
    /// Its security epoch.
    pub epoch: u64,
    /// Blob of its envelope.
    #[serde(with = "crate::hex")]
    pub envelope: Digest,
    /// The CI's build id.
    pub build: String,
    /// The commit.
    pub commit: String,
    /// The signing request.
    pub request: RequestId,
}

/// How fast a rollout goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// The whole cohort at once.
    AllAtOnce,
}

/// What the fleet's owner wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// How fast rollouts go.
    pub pace: Pace,
}

/// What there is.
#[derive(Clone, Copy, Debug)]
pub struct Inventory<'a> {
    /// The devices.
    pub devices: &'a [Device],
    /// The rollouts.
    pub rollouts: &'a [Rollout],
    /// The releases that the rollouts name.
    pub releases: &'a [Release],
}

/// Who is offered what. A device that is absent is offered nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// The offers.
    pub offers: BTreeMap<DeviceId, Offer>,
}

/// Plans for a whole fleet.
pub fn plan(policy: &Policy, inventory: Inventory<'_>, now: Time) -> Plan {
    let catalog = Catalog::new(policy, inventory.rollouts, inventory.releases);
    let offers = inventory
        .devices
        .iter()
        .filter_map(|device| Some((device.id, catalog.offer_for(device, now)?)))
        .collect();
    Plan { offers }
}

/// Rollouts that can make offers, by product, highest sequence first.
///
/// Built when rollouts or releases change; a poll then looks at the few
/// active rollouts of one product and usually stops at the first.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    products: HashMap<ProductId, Vec<(Rollout, Offer)>>,
}

impl Catalog {
    /// Keeps what can be offered: active rollouts of verified releases of
    /// the same product. Whatever else is passed in is left out, so a
    /// rollout that names a missing release offers nothing.
    pub fn new(policy: &Policy, rollouts: &[Rollout], releases: &[Release]) -> Catalog {
        let Policy { pace: Pace::AllAtOnce } = policy;
        let releases: HashMap<ReleaseId, &Release> =
            releases.iter().map(|release| (release.id, release)).collect();
        let mut products: HashMap<ProductId, Vec<(Rollout, Offer)>> = HashMap::new();
        for rollout in rollouts.iter().filter(|rollout| rollout.state == RolloutState::Active) {
            let Some(release) = releases.get(&rollout.release) else { continue };
            if release.state != ReleaseState::Verified || release.product != rollout.product {
                continue;
            }
            let offer = offer(rollout, release);
            products.entry(rollout.product.clone()).or_default().push((rollout.clone(), offer));
        }
        for rollouts in products.values_mut() {
            // The rollout's id breaks the tie, so that a plan depends on
            // what there is and not on the order in which it was listed.
            rollouts.sort_by(|(a, left), (b, right)| {
                right.sequence.cmp(&left.sequence).then_with(|| a.id.cmp(&b.id))
            });
        }
        Catalog { products }
    }

    /// What one device is offered.
    ///
    /// Nothing, if it is revoked; nothing at or below the sequence it runs;
    /// nothing below its epoch, which it would refuse; nothing it refused
    /// or reverted before. A device that runs no release of ours, fresh
    /// from the factory, stands at zero; should it hide what it runs, its
    /// own floors still decide.
    pub fn offer_for(&self, device: &Device, now: Time) -> Option<Offer> {
        if device.state != DeviceState::Active {
            return None;
        }
        let (sequence, epoch) =
            device.running.as_ref().map_or((0, 0), |running| (running.sequence, running.epoch));
        self.products
            .get(&device.product)?
            .iter()
            .take_while(|(_, offer)| offer.sequence > sequence)
            .find(|(rollout, offer)| {
                rollout.starts <= now
                    && offer.epoch >= epoch
                    && !device.held.contains(&offer.release)
                    && rollout.cohort.contains(device)
            })
            .map(|(_, offer)| offer.clone())
    }
}

fn offer(rollout: &Rollout, release: &Release) -> Offer {
    Offer {
        rollout: rollout.id,
        release: release.id,
        version: release.version.clone(),
        sequence: release.sequence,
        epoch: release.epoch,
        envelope: release.envelope,
        build: release.build.clone(),
        commit: release.commit.clone(),
        request: release.request,
    }
}

//! Properties of the plan, over small random fleets.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use firmseal_fleet::{
    Catalog, Certificate, Cohort, Device, DeviceState, Inventory, Offer, Pace, Phase, Plan, Policy, Release,
    ReleaseState, Report, ReportId, Rollout, RolloutState, Running, SlotState, Time, plan,
};
use firmseal_manifest::{DeviceId, Digest, ProductId, ReleaseId, RequestId, RolloutId};
use proptest::prelude::*;
use semver::Version;
use uuid::Uuid;

const POLICY: Policy = Policy { pace: Pace::AllAtOnce };
const NOW: Time = Time::from_millis(1_000_000);

/// Few of everything, so that random parts meet.
fn product(n: u8) -> ProductId {
    ["gateway", "camera"][usize::from(n % 2)].parse().unwrap()
}

fn uuid(kind: u64, n: u8) -> Uuid {
    Uuid::from_u64_pair(kind, u64::from(n))
}

#[derive(Clone, Debug)]
struct Fleet {
    devices: Vec<Device>,
    rollouts: Vec<Rollout>,
    releases: Vec<Release>,
}

impl Fleet {
    fn plan(&self) -> Plan {
        let Fleet { devices, rollouts, releases } = self;
        plan(&POLICY, Inventory { devices, rollouts, releases }, NOW)
    }
}

fn release() -> impl Strategy<Value = Release> {
    let state = prop_oneof![
        1 => Just(ReleaseState::Signed), 6 => Just(ReleaseState::Verified), 1 => Just(ReleaseState::Withdrawn)
    ];
    // Nearly everything fits together, so that offers are common and each
    // thing that forbids one decides often enough.
    (0u8..6, mostly(0), 1u64..9, mostly(1).prop_map(u64::from), state).prop_map(
        |(n, of, sequence, epoch, state)| Release {
            id: ReleaseId::from_uuid(uuid(1, n)),
            product: product(n + of),
            channel: "stable".parse().unwrap(),
            version: Version::new(1, 0, sequence),
            sequence,
            epoch,
            components: Vec::new(),
            manifest: Digest([n; 32]),
            envelope: Digest([n; 32]),
            sbom: None,
            evidence: Vec::new(),
            state,
            build: format!("build-{n}"),
            commit: String::new(),
            request: RequestId::from_uuid(uuid(4, n)),
            requester: String::new(),
            log_index: 0,
            created: NOW,
        },
    )
}

fn rollout() -> impl Strategy<Value = Rollout> {
    let ids = prop::collection::btree_set((0u8..6).prop_map(|n| DeviceId::from_uuid(uuid(2, n))), 0..4);
    let cohort = prop_oneof![2 => Just(Cohort::All), 1 => ids.prop_map(Cohort::Devices), 1 => labels().prop_map(Cohort::Labels)];
    let state = prop_oneof![
        6 => Just(RolloutState::Active), 1 => Just(RolloutState::Halted), 1 => Just(RolloutState::Finished)
    ];
    (0u8..9, 0u8..6, mostly(0), cohort, state, mostly(0)).prop_map(
        |(n, release, of, cohort, state, early)| Rollout {
            id: RolloutId::from_uuid(uuid(3, n)),
            release: ReleaseId::from_uuid(uuid(1, release)),
            product: product(release + of),
            cohort,
            state,
            starts: Time::from_millis(NOW.millis() + u64::from(early)),
            created_by: String::new(),
            created: NOW,
        },
    )
}

/// A number, or now and then the next one.
fn mostly(n: u8) -> impl Strategy<Value = u8> {
    prop_oneof![8 => Just(n), 1 => Just(n + 1)]
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[ab]", "[xy]", 0..3)
}

fn device() -> impl Strategy<Value = Device> {
    let running = prop::option::weighted(
        0.9,
        (0u64..6, mostly(1).prop_map(u64::from)).prop_map(|(sequence, epoch)| Running {
            version: Version::new(1, 0, sequence),
            sequence,
            manifest: None,
            epoch,
            slot: "a".to_owned(),
            state: SlotState::Confirmed,
        }),
    );
    let held = prop::collection::btree_set((0u8..6).prop_map(|n| ReleaseId::from_uuid(uuid(1, n))), 0..3);
    let state = prop_oneof![4 => Just(DeviceState::Active), 1 => Just(DeviceState::Revoked)];
    (0u8..6, 0u8..2, running, held, state, labels()).prop_map(|(n, of, running, held, state, labels)| {
        Device {
            id: DeviceId::from_uuid(uuid(2, n)),
            product: product(of),
            certificate: Certificate {
                fingerprint: Digest([n; 32]),
                spki: Digest([n; 32]),
                serial: String::new(),
                not_after: NOW,
            },
            state,
            running,
            equipment: None,
            last_seen: None,
            labels,
            held,
            created: NOW,
        }
    })
}

fn fleet() -> impl Strategy<Value = Fleet> {
    (
        prop::collection::vec(device(), 1..8),
        prop::collection::vec(rollout(), 1..12),
        prop::collection::vec(release(), 2..14),
    )
        .prop_map(|(mut devices, mut rollouts, mut releases)| {
            let (mut seen, mut known, mut made) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            devices.retain(|device| seen.insert(device.id));
            rollouts.retain(|rollout| known.insert(rollout.id));
            releases.retain(|release| made.insert(release.id));
            Fleet { devices, rollouts, releases }
        })
}

/// The rule, written once more as plainly as it can be said.
fn may_have(device: &Device, rollout: &Rollout, release: &Release) -> bool {
    let (sequence, epoch) =
        device.running.as_ref().map_or((0, 0), |running| (running.sequence, running.epoch));
    device.state == DeviceState::Active
        && rollout.state == RolloutState::Active
        && rollout.release == release.id
        && release.state == ReleaseState::Verified
        && rollout.product == device.product
        && release.product == device.product
        && rollout.starts <= NOW
        && rollout.cohort.contains(device)
        && release.sequence > sequence
        && release.epoch >= epoch
        && !device.held.contains(&release.id)
}

fn report(device: &Device, offer: &Offer, phase: Phase) -> Report {
    Report {
        id: ReportId(Uuid::nil()),
        device: device.id,
        rollout: Some(offer.rollout),
        release: Some(offer.release),
        build: Some(offer.build.clone()),
        request: Some(offer.request),
        phase,
        time: NOW,
        blocks_fetched: 0,
        blocks_resumed: 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Exactly those devices get an offer that the rule allows one, and each
    /// gets the highest sequence that it may have.
    #[test]
    fn the_plan_is_the_rule(fleet in fleet()) {
        let plan = fleet.plan();
        for device in &fleet.devices {
            let best = fleet
                .rollouts
                .iter()
                .flat_map(|rollout| fleet.releases.iter().map(move |release| (rollout, release)))
                .filter(|(rollout, release)| may_have(device, rollout, release))
                .map(|(_, release)| release.sequence)
                .max();
            prop_assert_eq!(plan.offers.get(&device.id).map(|offer| offer.sequence), best);
        }
        for (id, offer) in &plan.offers {
            let device = fleet.devices.iter().find(|device| device.id == *id).unwrap();
            let rollout = fleet.rollouts.iter().find(|rollout| rollout.id == offer.rollout).unwrap();
            let release = fleet.releases.iter().find(|release| release.id == offer.release).unwrap();
            prop_assert!(may_have(device, rollout, release));
        }
    }

    /// Planning again, from the same things in any order, changes nothing;
    /// neither does the offer being on its way.
    #[test]
    fn planning_twice_changes_nothing(fleet in fleet(), phase in prop_oneof![
        Just(Phase::Offered), Just(Phase::Downloading), Just(Phase::Installed), Just(Phase::Trial),
        Just(Phase::Failed { code: 900, message: String::new() }),
    ]) {
        let first = fleet.plan();
        prop_assert_eq!(&fleet.plan(), &first);
        let mut again = fleet.clone();
        again.devices.reverse();
        again.rollouts.reverse();
        again.releases.reverse();
        for device in &mut again.devices {
            if let Some(offer) = first.offers.get(&device.id) {
                device.observe(&report(device, offer, phase.clone()));
            }
        }
        prop_assert_eq!(&again.plan(), &first);
    }

    /// Applying plans comes to rest: every device ends where nothing more is
    /// offered, its sequence only ever rose, and its epoch never fell.
    #[test]
    fn applying_plans_comes_to_rest(mut fleet in fleet()) {
        for _ in 0..=fleet.releases.len() {
            let plan = fleet.plan();
            for device in &mut fleet.devices {
                let Some(offer) = plan.offers.get(&device.id) else { continue };
                let running = device.running.get_or_insert_with(|| Running {
                    version: offer.version.clone(),
                    sequence: 0,
                    manifest: None,
                    epoch: 0,
                    slot: "a".to_owned(),
                    state: SlotState::Confirmed,
                });
                prop_assert!(offer.sequence > running.sequence && offer.epoch >= running.epoch);
                (running.sequence, running.epoch) = (offer.sequence, offer.epoch);
            }
        }
        prop_assert_eq!(fleet.plan(), Plan::default());
    }

    /// A halt stops a rollout's offers at once and touches nothing else's.
    #[test]
    fn a_halt_offers_nothing(mut fleet in fleet(), which in any::<prop::sample::Index>()) {
        prop_assume!(!fleet.rollouts.is_empty());
        let before = fleet.plan();
        let halted = which.index(fleet.rollouts.len());
        fleet.rollouts[halted].state = RolloutState::Halted;
        let id = fleet.rollouts[halted].id;
        let after = fleet.plan();
        prop_assert!(after.offers.values().all(|offer| offer.rollout != id));
        for (device, offer) in before.offers.iter().filter(|(_, offer)| offer.rollout != id) {
            prop_assert_eq!(after.offers.get(device), Some(offer));
        }
    }

    /// A refused, isolated or reverted release is not offered again to that device
    /// until its hold is lifted; other devices do not notice.
    #[test]
    fn a_refusal_holds(mut fleet in fleet(), phase in prop_oneof![
        Just(Phase::REVERTED),
        Just(Phase::Refused { code: 1, message: String::new() }),
        Just(Phase::Isolated { code: 1, message: String::new() }),
    ]) {
        let before = fleet.plan();
        // About every fourth fleet has an offer to refuse.
        let Some((id, offer)) = before.offers.iter().next() else { return Ok(()) };
        let at = fleet.devices.iter().position(|device| device.id == *id).unwrap();
        let report = report(&fleet.devices[at], offer, phase);
        fleet.devices[at].observe(&report);
        let after = fleet.plan();
        prop_assert!(after.offers.get(id).is_none_or(|other| other.release != offer.release));
        let others = |plan: &Plan| {
            plan.offers.iter().filter(|(device, _)| *device != id).map(|(a, b)| (*a, b.clone())).collect::<Vec<_>>()
        };
        prop_assert_eq!(others(&after), others(&before));
        fleet.devices[at].held.remove(&offer.release);
        prop_assert_eq!(fleet.plan(), before);
    }

    /// A poll and the plan cannot disagree.
    #[test]
    fn a_poll_gets_what_the_plan_says(fleet in fleet()) {
        let catalog = Catalog::new(&POLICY, &fleet.rollouts, &fleet.releases);
        let plan = fleet.plan();
        for device in &fleet.devices {
            prop_assert_eq!(catalog.offer_for(device, NOW), plan.offers.get(&device.id).cloned());
        }
    }
}

//! What is said of keys before they sign, and what devices say afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Covered, Refusal, Root, Time, Trust, foresee};
use firmseal_manifest::{Delegation, KeyId, LinkSpec};
use firmseal_testkit::story::{self, NOW};
use firmseal_testkit::world::PRODUCT;
use firmseal_testkit::{TestKey, World};
use firmseal_trust::DemandsSpec;

const COVERED: Covered<'_> = Covered { product: PRODUCT, version: "1.4.0", epoch: 3, index: 5 };

struct Bench {
    world: World,
    release: Covered<'static>,
    link: LinkSpec,
    chains: Option<usize>,
    signers: Vec<KeyId>,
    floor: u64,
    now: u64,
}

impl Bench {
    fn new() -> Bench {
        let world = World::default();
        let link = story::link(&world);
        let signers = vec![story::delegate().public().id()];
        Bench { world, release: COVERED, link, chains: Some(1), signers, floor: 0, now: NOW }
    }

    fn ask(&self) -> Result<(), u16> {
        let document = self.world.root_document();
        let root = Root::decode(&document).unwrap();
        let alice = TestKey::ed25519(1);
        let chains = |count| Delegation { chains: vec![vec![story::seal(&self.link, &alice)]; count] };
        let member = self.chains.map(|count| chains(count).encode());
        let time = Time { clock: Some(self.now), ..Time::default() };
        let trust = Trust { time, ..Trust::anchored(&root) };
        foresee(&self.release, member.as_deref(), &self.signers, &trust, self.floor, &RustCrypto)
            .map_err(|refusal: Refusal| refusal.code())
    }
}

#[track_caller]
fn check(expected: Result<(), u16>, change: impl FnOnce(&mut Bench)) {
    let mut bench = Bench::new();
    change(&mut bench);
    assert_eq!(bench.ask(), expected);
}

#[test]
fn a_delegated_key_signs_within_its_delegation() {
    check(Ok(()), |_| ());
    check(Ok(()), |bench| bench.floor = 5);
    check(Ok(()), |bench| bench.world.root.demands[0].demands.delegation = true);
    // The role's own key needs none where none is demanded.
    let own = |bench: &mut Bench| {
        (bench.chains, bench.release.index) = (None, 0);
        bench.signers = vec![TestKey::ed25519(1).public().id()];
    };
    check(Ok(()), own);
    check(Err(702), |bench| {
        own(bench);
        bench.world.root.demands[0].demands.delegation = true;
    });
    check(Err(702), |bench| {
        own(bench);
        bench.release.index = 5;
    });
    check(Err(403), |bench| {
        own(bench);
        bench.floor = 5;
    });
}

#[test]
fn outside_of_it_the_numbers_are_those_of_devices() {
    check(Err(211), |bench| bench.now = NOW + 3601);
    check(Err(212), |bench| bench.now = NOW - 3601);
    check(Err(210), |bench| bench.release.version = "2.0.0");
    check(Err(210), |bench| bench.release.version = "1.0.0-rc.1");
    check(Err(210), |bench| bench.release.epoch = 4);
    check(Err(210), |bench| bench.release.index = 6);
    check(Err(210), |bench| bench.link.products = vec!["radio".parse().unwrap()]);
    check(Err(208), |bench| bench.link.lineage = [9; 16]);
    check(Err(302), |bench| bench.link.environment = firmseal_core::Environment::Production);
    check(Err(403), |bench| bench.floor = 6);
}

#[test]
fn strangers_and_too_few_are_refused() {
    check(Err(202), |bench| bench.signers = vec![TestKey::ed25519(200).public().id()]);
    check(Err(202), |bench| bench.chains = None);
    check(Err(206), |bench| bench.link.key = TestKey::ed25519(1).public().clone());
    // One holder who delegates twice is one holder.
    check(Err(203), |bench| {
        let holders = vec![("alice", vec![TestKey::ed25519(1)]), ("bob", vec![TestKey::ed25519(2)])];
        bench.world = World::new(2, holders);
        bench.world.root.demands = vec![DemandsSpec::NOTHING];
        bench.link = story::link(&bench.world);
        bench.chains = Some(2);
    });
    check(Ok(()), |bench| {
        let holders = vec![("alice", vec![TestKey::ed25519(1)]), ("bob", vec![TestKey::ed25519(2)])];
        bench.world = World::new(2, holders);
        bench.signers.push(TestKey::ed25519(2).public().id());
    });
}

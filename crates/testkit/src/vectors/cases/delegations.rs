//! Delegations: what a certified key may sign, and until when (210 to 212).

use firmseal_manifest::{Delegation, Environment};
use semver::Version;

use super::Cases;
use crate::item;
use crate::keys::TestKey;
use crate::story::{self, NOW, seal};
use crate::vectors::scene::Scene;

/// A release of the delegated key, under a root that demands nothing else.
fn delegated(scene: &mut Scene, link: fn(&mut firmseal_manifest::LinkSpec)) -> &mut Scene {
    scene.tell(|story| {
        story.demands = firmseal_trust::DemandsSpec::NOTHING.demands;
        story.delegated = true;
        story.link = link;
    })
}

/// The same with chains of one's own making; the delegate signs.
fn chained(scene: &mut Scene, chains: &[Vec<Vec<u8>>]) {
    delegated(scene, |_| ());
    let member = Delegation { chains: chains.to_vec() }.encode();
    scene.craft.envelope.set(1, item::bytes(&member));
    scene.envelope = Some(scene.craft.seal(&[&story::delegate()]));
}

pub(super) fn add(cases: &mut Cases) {
    cases.ok("ok_delegated", "signed by a key that the release role certified", |scene| {
        delegated(scene, |_| ()).device.delegation = 4;
    });
    cases.ok("ok_delegated_same_index", "the delegation that was committed signs again", |scene| {
        delegated(scene, |_| ()).device.delegation = 5;
    });
    cases.ok("ok_delegation_demanded", "a root that demands a delegation, and gets one", |scene| {
        delegated(scene, |_| ());
        scene.world.root.demands[0].demands.delegation = true;
    });
    cases.ok("ok_delegated_strict", "a delegated key under a root that demands everything", |scene| {
        scene.tell(|story| {
            story.demands.delegation = true;
            story.delegated = true;
        });
    });
    cases.ok(
        "ok_delegation_expired_since",
        "installed years after the delegation expired: the witnesses say that it was signed in time",
        |scene| {
            scene.tell(|story| story.delegated = true);
            scene.device.knows.clock = Some(NOW + 1_000_000_000);
        },
    );
    cases.ok("ok_delegation_within_the_leeway", "a clock that is ahead by less than the leeway", |scene| {
        let knows = &mut delegated(scene, |_| ()).device.knows;
        (knows.clock, knows.leeway) = (Some(NOW + 3600 + 300), 300);
    });
    cases.ok("boot_ok_delegation_expired", "the confirmed image of a delegation that has expired", |scene| {
        delegated(scene.boot(), |_| ()).device.knows.clock = Some(NOW + 1_000_000_000);
    });
    cases.ok("ok_delegated_twice", "a chain of two links", |scene| {
        let middle = TestKey::ed25519(91);
        let mut first = story::link(&scene.world);
        first.key = middle.public().clone();
        let second = story::link(&scene.world);
        let chain = vec![seal(&first, &TestKey::ed25519(1)), seal(&second, &middle)];
        chained(scene, &[chain]);
    });
    cases.ok("ok_delegated_by_two_holders", "two holders certify one key, and two must agree", |scene| {
        scene.holders(2, vec![("alice", vec![TestKey::ed25519(1)]), ("bob", vec![TestKey::p256(2)])]);
        let link = story::link(&scene.world);
        chained(scene, &[vec![seal(&link, &TestKey::ed25519(1))], vec![seal(&link, &TestKey::p256(2))]]);
    });
    cases.refused(
        203,
        "delegated_by_one_of_two",
        "one holder certifies a key, and two must agree",
        |scene| {
            scene.holders(2, vec![("alice", vec![TestKey::ed25519(1)]), ("bob", vec![TestKey::p256(2)])]);
            let link = story::link(&scene.world);
            chained(scene, &[vec![seal(&link, &TestKey::ed25519(1))]]);
        },
    );
    cases.refused(203, "delegated_twice_by_one", "one holder certifies a key twice", |scene| {
        scene.holders(2, vec![("alice", vec![TestKey::ed25519(1)]), ("bob", vec![TestKey::p256(2)])]);
        let link = seal(&story::link(&scene.world), &TestKey::ed25519(1));
        chained(scene, &[vec![link.clone()], vec![link]]);
    });

    scopes(cases);

    cases.refused(211, "delegation_expired", "the clock says that the delegation has expired", |scene| {
        delegated(scene, |_| ()).device.knows.clock = Some(NOW + 3601);
    });
    cases.refused(
        211,
        "delegation_expired_by_the_floor",
        "a device without a clock knows that it is later",
        |scene| {
            delegated(scene, |_| ()).device.knows.floor = NOW + 3601;
        },
    );
    cases.refused(211, "delegation_expired_beyond_the_leeway", "a second more than the leeway", |scene| {
        let knows = &mut delegated(scene, |_| ()).device.knows;
        (knows.clock, knows.leeway) = (Some(NOW + 3600 + 301), 300);
    });
    cases.refused(212, "delegation_not_yet_valid", "the delegation begins tomorrow", |scene| {
        delegated(scene, |link| link.not_before = NOW + 86_400).device.knows.clock = Some(NOW);
    });
    cases.refused(
        702,
        "delegation_dropped",
        "a carrier dropped the delegation that the root demands",
        |scene| {
            delegated(scene, |_| ());
            scene.world.root.demands[0].demands.delegation = true;
            scene.craft.envelope.remove(1);
            scene.envelope = Some(scene.craft.seal(&[&story::delegate()]));
        },
    );
    cases.refused(
        202,
        "delegated_key_without_its_delegation",
        "signed by a key that nobody certified",
        |scene| {
            delegated(scene, |_| ());
            scene.craft.envelope.remove(1);
            scene.envelope = Some(scene.craft.seal(&[&story::delegate()]));
        },
    );
    cases.refused(
        202,
        "old_signer_beside_a_delegation",
        "the role's own key where a delegation is demanded",
        |scene| {
            delegated(scene, |_| ());
            scene.world.root.demands[0].demands.delegation = true;
            scene.envelope = Some(scene.craft.seal(&[&TestKey::ed25519(1)]));
        },
    );
    cases.refused(702, "delegation_index_without_one", "a delegation index without a delegation", |scene| {
        scene.release(|release| release.delegation = 5);
    });
    cases.refused(
        202,
        "delegated_by_a_stranger",
        "certified by a key that the root does not know",
        |scene| {
            let link = story::link(&scene.world);
            chained(scene, &[vec![seal(&link, &TestKey::ed25519(5))]]);
        },
    );
    cases.refused(201, "delegation_bit_flipped", "one bit of the delegation differs", |scene| {
        let mut link = seal(&story::link(&scene.world), &TestKey::ed25519(1));
        let last = link.len() - 1;
        link[last] ^= 1;
        chained(scene, &[vec![link]]);
    });
    cases.refused(201, "delegation_widened", "a carrier raised the delegation's epoch", |scene| {
        let mut wider = story::link(&scene.world);
        let signature = TestKey::ed25519(1).sign(&wider.to_be_signed(TestKey::ed25519(1).public()).unwrap());
        wider.epoch += 1;
        let link = wider.seal(TestKey::ed25519(1).public(), &signature).unwrap();
        chained(scene, &[vec![link]]);
    });
    cases.refused(100, "delegation_chain_with_a_gap", "the second link is by another key", |scene| {
        let link = story::link(&scene.world);
        let mut first = link.clone();
        first.key = TestKey::ed25519(91).public().clone();
        let chain = vec![seal(&first, &TestKey::ed25519(1)), seal(&link, &TestKey::ed25519(1))];
        chained(scene, &[chain]);
    });
    cases.refused(206, "delegation_to_a_key_of_the_root", "a key that has a role already", |scene| {
        let mut link = story::link(&scene.world);
        link.key = story::revoker().public().clone();
        chained(scene, &[vec![seal(&link, &TestKey::ed25519(1))]]);
    });
    cases.refused(101, "delegation_chain_too_long", "four links", |scene| {
        let keys: Vec<TestKey> = [1, 91, 92, 93].map(TestKey::ed25519).into();
        let mut chain = Vec::new();
        for place in 0..4 {
            let mut link = story::link(&scene.world);
            if let Some(next) = keys.get(place + 1) {
                link.key = next.public().clone();
            }
            chain.push(seal(&link, &keys[place]));
        }
        chained(scene, &[chain]);
    });
    cases.refused(101, "delegations_too_many", "five chains", |scene| {
        let link = seal(&story::link(&scene.world), &TestKey::ed25519(1));
        chained(scene, &vec![vec![link]; 5]);
    });
}

/// What a link does not cover.
fn scopes(cases: &mut Cases) {
    cases.refused(210, "delegation_of_another_product", "certified for another product", |scene| {
        delegated(scene, |link| link.products = vec!["toaster".parse().unwrap()]);
    });
    cases.refused(210, "delegation_of_lower_versions", "certified for versions below 1.2.3", |scene| {
        delegated(scene, |link| link.versions.1 = Version::parse("1.2.3-rc.9").unwrap());
    });
    cases.refused(210, "delegation_of_higher_versions", "certified for versions from 1.3.0", |scene| {
        delegated(scene, |link| link.versions.0 = Version::new(1, 3, 0));
    });
    cases.refused(210, "delegation_of_lower_epochs", "certified up to epoch 2", |scene| {
        delegated(scene, |link| link.epoch = 2);
    });
    cases.refused(
        210,
        "delegation_of_another_index",
        "the delegation has another index than the release",
        |scene| {
            delegated(scene, |link| link.index = 6);
        },
    );
    cases.refused(302, "delegation_for_production", "certified for production, released for test", |scene| {
        delegated(scene, |link| link.environment = Environment::Production);
    });
    cases.refused(208, "delegation_of_another_lineage", "certified under another vendor's root", |scene| {
        delegated(scene, |link| link.lineage = *b"another lineage!");
    });
    cases.refused(403, "delegation_older", "an old delegation after a newer one was committed", |scene| {
        delegated(scene, |_| ()).device.delegation = 6;
    });
    cases.refused(
        210,
        "middle_link_narrower",
        "the first of two links covers less than the release",
        |scene| {
            let middle = TestKey::ed25519(91);
            let mut first = story::link(&scene.world);
            (first.key, first.epoch) = (middle.public().clone(), 1);
            let second = story::link(&scene.world);
            chained(scene, &[vec![seal(&first, &TestKey::ed25519(1)), seal(&second, &middle)]]);
        },
    );
}

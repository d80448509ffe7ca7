//! Revocation, freshness and recovery (209, 71x).

use firmseal_manifest::{Digest, KeyId};
use firmseal_trust::RevocationSpec;

use super::Cases;
use crate::keys::TestKey;
use crate::story::{self, NOW};
use crate::vectors::scene::Scene;
use crate::vectors::told::{key, revoke, revoke_by, sealed};

fn alice() -> KeyId {
    TestKey::ed25519(1).public().id()
}

pub(super) fn add(cases: &mut Cases) {
    keys(cases);
    releases(cases);
    documents(cases);
    freshness(cases);
    recovery(cases);
}

fn keys(cases: &mut Cases) {
    cases.ok("boot_ok_key_revoked", "the key was revoked after the image was confirmed", |scene| {
        scene.boot().tell(|_| ());
        revoke(scene, vec![key(alice(), None, &[])], vec![]);
    });
    cases.ok("ok_born_before_the_theft", "the release stands at the last good index", |scene| {
        scene.tell(|_| ());
        revoke(scene, vec![key(alice(), Some(5), &[])], vec![]);
    });
    cases.refused(209, "last_good_of_another_log", "the last good index is one of another log", |scene| {
        scene.tell(|_| ());
        let mut revoked = key(alice(), Some(9), &[]);
        revoked.last_good[0].0 = "log.example.com/2".to_owned();
        revoke(scene, vec![revoked], vec![]);
    });
    cases.refused(209, "last_good_without_a_proof", "an index counts only under a witness quorum", |scene| {
        scene.tell(|_| ());
        scene.world.root.demands = vec![firmseal_trust::DemandsSpec::NOTHING];
        revoke(scene, vec![key(alice(), Some(9), &[])], vec![]);
    });
    cases.ok("ok_allowed_by_name", "the key was revoked, this release stays allowed", |scene| {
        scene.tell(|_| ());
        let digest = scene.craft.digest();
        revoke(scene, vec![key(alice(), None, &[Digest([1; 32]), digest])], vec![]);
    });
    cases.ok("ok_another_key_revoked", "a key that has not signed was revoked", |scene| {
        scene.tell(|_| ());
        revoke(scene, vec![key(TestKey::ed25519(5).public().id(), None, &[])], vec![]);
    });
    cases.refused(209, "delegated_by_a_stolen_key", "the delegating key was revoked", |scene| {
        scene.tell(|story| story.delegated = true);
        revoke(scene, vec![key(alice(), Some(4), &[])], vec![]);
    });
}

fn releases(cases: &mut Cases) {
    cases.refused(710, "release_revoked", "the release was revoked by its digest", |scene| {
        scene.tell(|_| ());
        let digest = scene.craft.digest();
        revoke(scene, vec![], vec![Digest([1; 32]), digest]);
    });
    cases.refused(710, "release_revoked_on_trial", "the release was revoked after the install", |scene| {
        scene.boot().tell(|_| ());
        scene.device.purpose = crate::vectors::Purpose::Trial;
        let digest = scene.craft.digest();
        revoke(scene, vec![], vec![digest]);
    });
    cases.ok("boot_ok_release_revoked", "the confirmed image boots although it was revoked", |scene| {
        scene.boot().tell(|_| ());
        let digest = scene.craft.digest();
        revoke(scene, vec![], vec![digest]);
    });
    cases.ok("ok_rollback", "a rollback that was signed ahead, and its release is revoked", |scene| {
        scene.release(|release| release.rollback_of = Some(Digest([9; 32]))).tell(|_| ());
        revoke(scene, vec![], vec![Digest([9; 32])]);
    });
    cases.refused(
        713,
        "rollback_early",
        "a rollback that was signed ahead, and its release is good",
        |scene| {
            scene.release(|release| release.rollback_of = Some(Digest([9; 32]))).tell(|_| ());
            revoke(scene, vec![], vec![Digest([8; 32])]);
        },
    );
    cases.refused(
        713,
        "rollback_without_news",
        "a rollback on a device that knows of no revocation",
        |scene| {
            scene.release(|release| release.rollback_of = Some(Digest([9; 32]))).tell(|_| ());
        },
    );
}

fn documents(cases: &mut Cases) {
    cases.refused(202, "revocation_by_a_release_key", "a release key revokes", |scene| {
        scene.tell(|_| ());
        revoke_by(scene, vec![], vec![], &TestKey::ed25519(1));
    });
    cases.refused(100, "revocation_of_a_root_key", "the revocation role reaches for the root", |scene| {
        scene.tell(|_| ());
        revoke(scene, vec![key(scene.world.root_key.public().id(), None, &[])], vec![]);
    });
    cases.refused(100, "revocation_of_a_recovery_key", "the revocation role reaches for recovery", |scene| {
        scene.tell(|_| ());
        revoke(scene, vec![key(story::rescuer(0).public().id(), None, &[])], vec![]);
    });
    cases.refused(208, "revocation_of_another_lineage", "another vendor's revocations", |scene| {
        scene.tell(|_| ());
        let environment = scene.world.root.environment;
        let lineage = *b"another lineage!";
        let spec = RevocationSpec { version: 1, lineage, environment, keys: vec![], releases: vec![] };
        scene.device.knows.revocation = Some(sealed(&spec, &story::revoker()));
    });
}

fn freshness(cases: &mut Cases) {
    const DAY: u64 = 86_400;
    let told = |scene: &mut Scene, revocation: u64, time: u64| {
        scene.tell(|_| ());
        scene.device.knows.freshness = Some(story::freshness(revocation, &[(0, time), (1, time)]));
        scene.device.knows.max_age = Some(7 * DAY);
    };
    cases.ok("ok_fresh", "a checkpoint of six days ago where seven are allowed", |scene| {
        told(scene, 0, NOW);
        scene.device.knows.clock = Some(NOW + 6 * DAY);
    });
    cases.refused(712, "frozen", "a checkpoint of eight days ago where seven are allowed", |scene| {
        told(scene, 0, NOW);
        scene.device.knows.clock = Some(NOW + 8 * DAY);
    });
    cases.ok("ok_fresh_within_the_leeway", "a second too old, and a leeway of one", |scene| {
        told(scene, 0, NOW);
        (scene.device.knows.clock, scene.device.knows.leeway) = (Some(NOW + 7 * DAY + 1), 1);
    });
    cases.ok(
        "ok_fresh_without_a_clock",
        "a device without a clock asks that time does not go back",
        |scene| {
            told(scene, 0, NOW);
            scene.device.knows.floor = NOW;
        },
    );
    cases.refused(712, "replayed_freshness", "a checkpoint from before the time floor", |scene| {
        told(scene, 0, NOW);
        scene.device.knows.floor = NOW + 1;
    });
    cases.refused(
        712,
        "freshness_withheld",
        "a device that asks for a recent checkpoint and has none",
        |scene| {
            scene.tell(|_| ());
            scene.device.knows.max_age = Some(7 * DAY);
        },
    );
    cases.refused(
        711,
        "revocation_withheld",
        "the log knows of a revocation that the device was not told",
        |scene| {
            told(scene, 5, NOW);
            revoke(scene, vec![], vec![]);
        },
    );
    cases.ok("ok_revocation_is_the_newest", "the device has the revocation that the log knows of", |scene| {
        told(scene, 4, NOW);
        revoke(scene, vec![], vec![]);
    });
    cases.ok("boot_ok_frozen", "freshness governs updates, never the boot", |scene| {
        scene.boot();
        told(scene, 9, NOW);
        scene.device.knows.clock = Some(NOW + 1000 * DAY);
    });
    cases.refused(
        705,
        "freshness_of_one_witness",
        "a checkpoint that one of two needed witnesses cosigned",
        |scene| {
            scene.tell(|_| ());
            scene.device.knows.freshness = Some(story::freshness(0, &[(0, NOW)]));
        },
    );
}

fn recovery(cases: &mut Cases) {
    /// Signed by these of the two rescuers, with no evidence at all.
    fn rescued(scene: &mut Scene, rescuers: &[usize]) {
        scene.tell(|_| ());
        scene.craft.envelope.remove(-258);
        let keys: Vec<TestKey> = rescuers.iter().map(|place| story::rescuer(*place)).collect();
        scene.envelope = Some(scene.craft.seal(&keys.iter().collect::<Vec<_>>()));
        scene.device.knows.stranded = true;
    }
    cases.ok("ok_recovery", "both rescuers have signed, and the device is stranded", |scene| {
        rescued(scene, &[0, 1]);
    });
    cases.ok(
        "ok_recovery_to_an_old_release",
        "recovery may go back in sequence, at the same epoch",
        |scene| {
            rescued(scene, &[0, 1]);
            scene.device.components[0].sequence = 99;
        },
    );
    cases.ok("boot_ok_recovery", "the recovery image runs while the device is stranded", |scene| {
        scene.boot();
        rescued(scene, &[0, 1]);
    });
    cases.ok("ok_release_for_a_stranded_device", "a stranded device still takes releases", |scene| {
        scene.tell(|_| ()).device.knows.stranded = true;
    });
    cases.refused(
        202,
        "recovery_of_a_device_that_boots",
        "no back door: the device is not stranded",
        |scene| {
            rescued(scene, &[0, 1]);
            scene.device.knows.stranded = false;
        },
    );
    cases.refused(203, "recovery_by_one", "one of two rescuers has signed", |scene| rescued(scene, &[1]));
    cases.refused(401, "recovery_below_the_epoch", "recovery to an image with a known hole", |scene| {
        rescued(scene, &[0, 1]);
        scene.device.epoch = 4;
    });
    cases.refused(303, "recovery_of_another_product", "recovery with another product's image", |scene| {
        scene.release(|release| release.product = "toaster".parse().unwrap());
        rescued(scene, &[0, 1]);
    });
    cases.refused(
        700,
        "release_without_proof_for_a_stranded_device",
        "a stolen release key helps nobody",
        |scene| {
            rescued(scene, &[0, 1]);
            scene.envelope = Some(scene.craft.seal(&[&TestKey::ed25519(1)]));
        },
    );
}

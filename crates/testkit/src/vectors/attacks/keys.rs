//! Keys that were stolen.

use firmseal_manifest::KeyId;
use firmseal_trust::DemandsSpec;
use semver::Version;

use super::{Attack, List, Outcome, Tries};
use crate::keys::TestKey;
use crate::story::{self, NOW};
use crate::vectors::scene::Scene;
use crate::vectors::told::{key, revoke, revoke_by};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "stolen_release_key",
        list: List::Own,
        thief: "every key of the release role",
        outcome: Outcome::Bounded {
            bound: "prevented where the root demands approvals or a proof; where it demands nothing, what the thief \
                    signs installs until the revocation arrives",
            by: "the device; whoever follows the log, where the key was used through it",
            soon: "before a byte is fetched; without demands, at the first poll after the revocation",
        },
        remains: "what was confirmed before the revocation keeps booting until a release replaces it",
        tests: &[
            "agent: a_stolen_release_key_signs_nothing_once_it_is_revoked",
            "agent: a_revoked_release_stops_before_install_and_on_trial_and_never_once_confirmed",
            "cli: a_stolen_key_is_rehearsed_from_the_alarm_to_the_last_device",
        ],
        cases: stolen_release_key,
    },
    Attack {
        name: "stolen_log_key",
        list: List::Own,
        thief: "the log's key, and the release key with it",
        outcome: Outcome::Prevented {
            by: "the device: it counts witnesses",
            when: "before a byte of payload is fetched, and at every boot of a root that demands a proof",
        },
        remains: "with a quorum of witnesses in the plot only approvals stand in the way",
        tests: &[],
        cases: stolen_log_key,
    },
    Attack {
        name: "stolen_delegated_key",
        list: List::Own,
        thief: "a delegated key within its period",
        outcome: Outcome::Bounded {
            bound: "its products, versions, highest epoch and period; where approvals are demanded, nothing",
            by: "the device; whoever follows the log",
            soon: "at once for what is outside; otherwise until it expires or is revoked",
        },
        remains: "within its scope it signs what installs where the root demands no approvals",
        tests: &[],
        cases: stolen_delegated_key,
    },
    Attack {
        name: "stolen_delegated_key_after_expiry",
        list: List::Own,
        thief: "a delegated key whose period is over, and in one case the log's key",
        outcome: Outcome::Prevented {
            by: "the device: the latest counted witness says when it was logged",
            when: "before a byte of payload is fetched, and at every boot of a root that demands a proof",
        },
        remains: "without a proof there is only the device's clock: one that runs backwards believes the thief, and a \
                  boot asks no clock",
        tests: &[],
        cases: stolen_delegated_key_after_expiry,
    },
    Attack {
        name: "stolen_revocation_key",
        list: List::Own,
        thief: "the key of the revocation role",
        outcome: Outcome::Bounded {
            bound: "no install and no trial until the root takes the role away; every confirmed image boots",
            by: "every device refuses with 209 or 710 and reports it",
            soon: "at the first install that is refused",
        },
        remains: "it can stop updates, not put anything on a device",
        tests: &[
            "server: revocations_only_subtract",
            "agent: a_new_revocation_role_has_the_last_word_over_a_stolen_one",
        ],
        cases: stolen_revocation_key,
    },
    Attack {
        name: "recovery_as_a_back_door",
        list: List::Own,
        thief: "keys of the recovery role, or the release key and a device that does not boot",
        outcome: Outcome::Prevented {
            by: "the device: stranded only, two holders, its product, its epoch",
            when: "before a byte of payload is fetched, and at every boot",
        },
        remains: "both recovery keys and a hand on the device install any image of its product and epoch",
        tests: &[],
        cases: recovery_as_a_back_door,
    },
];

fn alice() -> KeyId {
    TestKey::ed25519(1).public().id()
}

fn nothing_demanded(scene: &mut Scene) {
    scene.tell(|story| story.demands = DemandsSpec::NOTHING.demands);
}

fn stolen_release_key(tries: &mut Tries<'_>) {
    tries.refused(700, "alone", "the release key and nothing else: no proof", |scene| {
        scene.tell(|_| ());
        scene.craft.envelope.remove(-258);
        scene.envelope = None;
    });
    tries.refused(705, "and_log_key", "the release key and the log's key: no witness", |scene| {
        scene.tell(|story| story.witnesses.clear());
    });
    tries.refused(
        701,
        "and_an_honest_log",
        "logged and witnessed as it should be: nobody approved",
        |scene| {
            scene.tell(|story| story.approvers.clear());
        },
    );
    let anything = "the release key under a root that demands nothing: until it is revoked";
    tries.install(Ok(()), "ok_where_nothing_is_demanded", anything, nothing_demanded);
    tries.boot(Ok(()), "ok_where_nothing_is_demanded", anything, nothing_demanded);
    let revoked = |scene: &mut Scene| {
        nothing_demanded(scene);
        revoke(scene, vec![key(alice(), None, &[])], vec![]);
    };
    tries.install(Err(209), "once_it_is_revoked", "the same when the revocation has come", revoked);
    tries.trial(Err(209), "once_it_is_revoked", "installed, and then the revocation came", revoked);
    tries.boot(Ok(()), "ok_confirmed_before_it_was_revoked", "a confirmed image boots on", revoked);
    let at = |last_good| {
        move |scene: &mut Scene| {
            scene.tell(|_| ());
            revoke(scene, vec![key(alice(), Some(last_good), &[])], vec![]);
        }
    };
    tries.install(Err(209), "after_the_last_good", "logged after the last good index", at(4));
    tries.trial(Err(209), "after_the_last_good", "logged after the last good index", at(4));
    tries.install(Ok(()), "ok_before_the_theft", "logged at the last good index", at(5));
}

fn stolen_log_key(tries: &mut Tries<'_>) {
    tries.refused(705, "alone", "a tree that no witness has seen", |scene| {
        scene.tell(|story| story.witnesses.clear());
    });
    tries.refused(705, "and_one_witness", "a tree that one of two witnesses has seen", |scene| {
        scene.tell(|story| story.witnesses.truncate(1));
    });
    tries.install(Err(705), "invents_news", "a freshness document that no witness has seen", |scene| {
        scene.tell(|_| ());
        scene.device.knows.freshness = Some(story::freshness(0, &[]));
    });
    tries.boot(Ok(()), "ok", "the log's key has no word in what boots already", |scene| {
        scene.tell(|_| ());
        revoke(scene, vec![key(story::log_key().public().id(), None, &[])], vec![]);
    });
    let revoked = |scene: &mut Scene| {
        scene.tell(|_| ());
        revoke(scene, vec![key(story::log_key().public().id(), Some(4), &[])], vec![]);
    };
    tries.install(
        Err(209),
        "once_it_is_revoked",
        "the log's key was revoked before this was logged",
        revoked,
    );
    tries.trial(Err(209), "once_it_is_revoked", "the log's key was revoked after the install", revoked);
}

fn delegated(scene: &mut Scene, link: fn(&mut firmseal_manifest::LinkSpec)) {
    scene.tell(|story| {
        story.demands = DemandsSpec::NOTHING.demands;
        story.delegated = true;
        story.link = link;
    });
}

fn stolen_delegated_key(tries: &mut Tries<'_>) {
    tries.refused(701, "without_approvals", "in time and in scope: nobody approved", |scene| {
        scene.tell(|story| {
            story.delegated = true;
            story.approvers.clear();
        });
    });
    tries.refused(210, "for_another_product", "beyond its products", |scene| {
        delegated(scene, |link| link.products = vec!["toaster".parse().unwrap()]);
    });
    tries.refused(210, "beyond_its_versions", "beyond its versions", |scene| {
        delegated(scene, |link| link.versions.1 = Version::new(1, 2, 2));
    });
    tries.refused(210, "beyond_its_epoch", "beyond its highest epoch", |scene| {
        delegated(scene, |link| link.epoch = 2);
    });
    tries.refused(202, "without_its_delegation", "the key alone", |scene| {
        delegated(scene, |_| ());
        scene.craft.envelope.remove(1);
        scene.envelope = Some(scene.craft.seal(&[&story::delegate()]));
    });
    let about = "within its scope and period, under a root that demands no approvals";
    tries.install(Ok(()), "ok_where_nothing_is_demanded", about, |scene| delegated(scene, |_| ()));
    let revoked = |scene: &mut Scene| {
        delegated(scene, |_| ());
        revoke(scene, vec![key(story::delegate().public().id(), None, &[])], vec![]);
    };
    tries.install(Err(209), "once_it_is_revoked", "the delegated key was revoked", revoked);
    tries.trial(Err(209), "once_it_is_revoked", "the delegated key was revoked after the install", revoked);
    tries.install(Err(209), "once_its_maker_is_revoked", "the key that delegated was revoked", |scene| {
        delegated(scene, |_| ());
        revoke(scene, vec![key(alice(), None, &[])], vec![]);
    });
}

fn stolen_delegated_key_after_expiry(tries: &mut Tries<'_>) {
    tries.refused(211, "and_an_honest_log", "the witnesses say that it was too late", |scene| {
        scene.tell(|story| {
            story.delegated = true;
            story.witnesses = vec![(0, NOW + 3601), (1, NOW + 3601)];
        });
    });
    tries.refused(
        211,
        "and_a_witness_who_lies",
        "one witness turns its clock back, the other does not",
        |scene| {
            scene.tell(|story| {
                story.delegated = true;
                story.witnesses = vec![(0, NOW), (1, NOW + 3601)];
            });
        },
    );
    tries.refused(705, "and_the_log_key", "a checkpoint of the thief's own, and no witness", |scene| {
        scene.tell(|story| {
            story.delegated = true;
            story.witnesses.clear();
        });
    });
    tries.install(Err(211), "by_the_clock", "no proof is demanded: the device's clock says so", |scene| {
        delegated(scene, |_| ());
        scene.device.knows.clock = Some(NOW + 3601);
    });
    tries.install(Err(211), "by_the_floor", "no clock: the time floor says so", |scene| {
        delegated(scene, |_| ());
        scene.device.knows.floor = NOW + 3601;
    });
    tries.boot(Ok(()), "ok_signed_in_time", "what was signed in time boots for ever", |scene| {
        scene.tell(|story| story.delegated = true);
        scene.device.knows.clock = Some(NOW + 1_000_000_000);
    });
}

fn stolen_revocation_key(tries: &mut Tries<'_>) {
    let all = |scene: &mut Scene| {
        scene.tell(|_| ());
        revoke(scene, vec![key(alice(), None, &[])], vec![scene.craft.digest()]);
    };
    tries.install(Err(209), "stops_installs", "the release key was revoked by a thief", all);
    tries.trial(Err(209), "stops_trials", "the release key was revoked by a thief", all);
    tries.boot(Ok(()), "ok", "the confirmed image boots", all);
    tries.install(Err(100), "reaches_for_the_root", "it names a root key", |scene| {
        scene.tell(|_| ());
        revoke(scene, vec![key(scene.world.root_key.public().id(), None, &[])], vec![]);
    });
    tries.install(Err(100), "reaches_for_recovery", "it names a recovery key", |scene| {
        scene.tell(|_| ());
        revoke(scene, vec![key(story::rescuer(0).public().id(), None, &[])], vec![]);
    });
    tries.install(Err(202), "once_the_root_took_it_away", "the role was given to another key", |scene| {
        scene.tell(|_| ());
        revoke_by(scene, vec![key(alice(), None, &[])], vec![], &TestKey::ed25519(5));
    });
}

/// Signed by these keys, with no evidence at all.
fn bare(scene: &mut Scene, keys: &[TestKey]) {
    scene.tell(|_| ());
    scene.craft.envelope.remove(-258);
    scene.envelope = Some(scene.craft.seal(&keys.iter().collect::<Vec<_>>()));
    scene.device.knows.stranded = true;
}

fn recovery_as_a_back_door(tries: &mut Tries<'_>) {
    let both = || [story::rescuer(0), story::rescuer(1)];
    tries.refused(700, "into_a_device_that_boots", "both keys, and the device is not stranded", |scene| {
        bare(scene, &[TestKey::ed25519(1), story::rescuer(0), story::rescuer(1)]);
        scene.device.knows.stranded = false;
    });
    tries.refused(203, "by_one_of_two", "one key, and the device is stranded", |scene| {
        bare(scene, &both()[..1]);
    });
    tries.refused(401, "below_the_epoch", "both keys: an image with a hole that was closed", |scene| {
        bare(scene, &both());
        scene.device.epoch = 4;
    });
    tries.refused(700, "by_the_release_key", "the release key, and the device is stranded", |scene| {
        bare(scene, &[TestKey::ed25519(1)]);
    });
    let open = "both keys and a stranded device: what recovery is for";
    tries.install(Ok(()), "ok_by_both", open, |scene| bare(scene, &both()));
    tries.boot(Ok(()), "ok_by_both", open, |scene| bare(scene, &both()));
}

//! Roots, envelopes and logs that are replayed, mixed or forked.

use firmseal_manifest::Digest;
use firmseal_trust::{ClosedLogSpec, Role};

use super::{Attack, List, Outcome, Tries};
use crate::craft::Members;
use crate::item::{self, Item};
use crate::keys::TestKey;
use crate::story::{self, NOW, ORIGIN};
use crate::vectors::scene::Scene;

const DEVICE: Outcome = Outcome::Prevented {
    by: "the device",
    when: "before a byte of payload is fetched, and again at every boot",
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "replay_of_an_old_root",
        list: List::Own,
        thief: "every root document that was ever signed, and keys that a later one took away",
        outcome: Outcome::Prevented {
            by: "the device: it keeps the newest root it has walked to",
            when: "before a byte of payload is fetched, and again at every boot",
        },
        remains: "a device that has not heard of the new root yet still believes the old one",
        tests: &[
            "agent: replay_of_an_old_root",
            "agent: what_does_not_follow_changes_nothing_and_is_reported",
            "agent: a_server_that_lies_about_roots_moves_nothing_and_keeps_nobody",
        ],
        cases: replay_of_an_old_root,
    },
    Attack {
        name: "mixing_parts_of_two_envelopes",
        list: List::Own,
        thief: "two good envelopes of one product",
        outcome: DEVICE,
        remains: "",
        tests: &["core: what_a_carrier_may_change_changes_nothing"],
        cases: mixing_parts_of_two_envelopes,
    },
    Attack {
        name: "forked_log",
        list: List::Own,
        thief: "the log's key, and in one case one witness",
        outcome: Outcome::Prevented {
            by: "the device, which asks for a quorum; witnesses, which cosign only what grows",
            when: "when the fork is shown to a witness; before a byte of payload is fetched",
        },
        remains: "a quorum of witnesses in the plot can cosign two trees; only approvals and whoever compares two \
                  copies of the log are left",
        tests: &[
            "store-local: a_second_sequencer_is_noticed_before_it_forks",
            "store-local: half_a_backup_never_forks_the_log",
            "witness: killed_at_any_moment_it_cosigns_one_history",
        ],
        cases: forked_log,
    },
];

fn replay_of_an_old_root(tries: &mut Tries<'_>) {
    tries.refused(202, "for_a_release_key", "signed by the release key of the root before", |scene| {
        scene.world.root.version = 2;
        scene.world.root.roles[1].holders[0].keys = vec![TestKey::p256(9).public().clone()];
    });
    tries.refused(704, "for_a_log_key", "proven by the log key of the root before", |scene| {
        scene.tell(|_| ()).world.root.version = 2;
        role(scene, Role::Log, TestKey::ed25519(79));
    });
    tries.refused(705, "for_a_witness", "cosigned by a witness of the root before", |scene| {
        scene.tell(|_| ()).world.root.version = 2;
        role(scene, Role::Witness, TestKey::ed25519(79));
    });
    tries.refused(701, "for_an_approver", "approved by an approver of the root before", |scene| {
        scene.tell(|_| ()).world.root.version = 2;
        role(scene, Role::Approver, TestKey::ed25519(79));
    });
    tries.install(
        Err(202),
        "for_revocations",
        "a document of the revocation role of the root before",
        |scene| {
            crate::vectors::told::revoke(scene.tell(|_| ()), vec![], vec![]);
            scene.world.root.version = 2;
            role(scene, Role::Revocation, TestKey::ed25519(79));
        },
    );
}

/// Gives the first holder of a role another key.
fn role(scene: &mut Scene, role: Role, key: TestKey) {
    let entry = scene.world.root.roles.iter_mut().find(|entry| entry.role == role).unwrap();
    entry.holders[0].keys = vec![key.public().clone()];
}

/// Members of an envelope.
fn members(envelope: &[u8]) -> Members {
    Members::parse(&item::untag(envelope))
}

/// A good release, and in it these members of another good one.
fn mixed(scene: &mut Scene, change: impl Fn(&mut Members, &Members)) {
    let strict = |scene: &mut Scene| {
        scene.tell(|story| story.delegated = true);
        members(scene.envelope.as_ref().unwrap())
    };
    let mut own = strict(scene);
    scene.release(|release| {
        release.version.patch += 1;
        release.description = Some("the other one".to_owned());
    });
    // The story has furnished the world already: once is enough.
    let mut other = Scene { release: scene.release.clone(), craft: scene.craft.clone(), ..Scene::default() };
    let other = strict(&mut other);
    change(&mut own, &other);
    scene.envelope = Some(item::tag(107, &own.encode()));
}

/// One member of the evidence, taken from another envelope.
fn evidence(own: &mut Members, other: &Members, label: i64) {
    let open = |members: &Members| Members::parse(&item::content(&members.get(-258)));
    let (mut mixed, other) = (open(own), open(other));
    mixed.set(label, other.get(label));
    own.set(-258, item::bytes(&mixed.encode()));
}

/// The authentication wrapper's items.
fn wrapper(members: &Members) -> Vec<Item> {
    item::split(&item::content(&members.get(2)))
}

fn mixing_parts_of_two_envelopes(tries: &mut Tries<'_>) {
    tries.refused(200, "manifest", "the manifest of the other", |scene| {
        mixed(scene, |own, other| own.set(3, other.get(3)));
    });
    tries.refused(200, "wrapper", "digest and signatures of the other", |scene| {
        mixed(scene, |own, other| own.set(2, other.get(2)));
    });
    tries.refused(201, "signature", "the own digest with the signature of the other", |scene| {
        mixed(scene, |own, other| {
            let (mut mixed, other) = (wrapper(own), wrapper(other));
            mixed[1] = other[1].clone();
            own.set(2, item::bytes(&item::array(&mixed)));
        });
    });
    tries.refused(706, "evidence", "all evidence of the other", |scene| {
        mixed(scene, |own, other| own.set(-258, other.get(-258)));
    });
    tries.refused(704, "intent", "the intent of the other", |scene| {
        mixed(scene, |own, other| evidence(own, other, 1));
    });
    tries.refused(706, "statements", "the approvals of the other", |scene| {
        mixed(scene, |own, other| evidence(own, other, 2));
    });
    tries.refused(704, "proof", "the proof of the other", |scene| {
        mixed(scene, |own, other| evidence(own, other, 3));
    });
    tries.refused(706, "intent_and_proof", "intent and proof of the other", |scene| {
        mixed(scene, |own, other| {
            evidence(own, other, 1);
            evidence(own, other, 3);
        });
    });
    tries.refused(200, "manifest_and_evidence", "manifest and evidence of the other", |scene| {
        mixed(scene, |own, other| {
            own.set(3, other.get(3));
            own.set(-258, other.get(-258));
        });
    });
    tries.refused(105, "text", "the text of the other", |scene| {
        scene.release(|release| release.description = Some("this one".to_owned()));
        mixed(scene, |own, other| own.set(23, other.get(23)));
    });
    tries.refused(706, "delegation", "another delegation to the same key", |scene| {
        scene.tell(|story| story.delegated = true);
        let mut link = story::link(&scene.world);
        link.expiry += 1;
        let link = story::seal(&link, &TestKey::ed25519(1));
        let delegation = firmseal_manifest::Delegation { chains: vec![vec![link]] };
        let mut own = members(scene.envelope.as_ref().unwrap());
        own.set(1, item::bytes(&delegation.encode()));
        scene.envelope = Some(item::tag(107, &own.encode()));
    });
}

/// A checkpoint over another tree of the same size.
fn fork(key: &TestKey, witnesses: &[(usize, u64)]) -> firmseal_manifest::Checkpoint {
    story::cosigned(ORIGIN, 7, story::leaf_hash(b"fork"), key, witnesses)
}

fn forked_log(tries: &mut Tries<'_>) {
    tries.refused(704, "with_an_old_path", "a fork that all saw, and the path of the other tree", |scene| {
        scene.tell(|story| {
            story.proof = |proof| {
                proof.checkpoint = fork(&story::log_key(), &[(0, NOW), (1, NOW)]);
            };
        });
    });
    tries.refused(705, "with_one_witness", "a fork that one of two witnesses cosigned", |scene| {
        scene.tell(|story| story.witnesses = vec![(1, NOW)]);
    });
    tries.refused(201, "with_old_cosignatures", "a fork under the cosignatures of the other tree", |scene| {
        scene.tell(|story| {
            story.proof = |proof| {
                let cosignatures = proof.checkpoint.cosignatures.clone();
                proof.checkpoint = fork(&story::log_key(), &[]);
                proof.checkpoint.cosignatures = cosignatures;
            };
        });
    });
    tries.refused(704, "by_a_second_sequencer", "a second sequencer with a key of its own", |scene| {
        scene.tell(|story| {
            story.proof = |proof| {
                let (size, hash) = (proof.checkpoint.size, proof.checkpoint.hash);
                let second = TestKey::ed25519(78);
                proof.checkpoint = story::cosigned(ORIGIN, size, hash, &second, &[(0, NOW), (1, NOW)]);
            };
        });
    });
    tries.refused(704, "of_a_closed_log", "another tree of the size at which the log was closed", |scene| {
        scene.tell(|_| ());
        role(scene, Role::Log, TestKey::ed25519(79));
        let key = story::log_key().public().clone();
        let closed = ClosedLogSpec { origin: ORIGIN.to_owned(), key, size: 7, hash: Digest([1; 32]) };
        scene.world.root.closed_logs = vec![closed];
    });
    tries.install(Err(705), "in_the_news", "news from a fork that one witness cosigned", |scene| {
        scene.tell(|_| ()).device.knows.freshness = Some(story::freshness(0, &[(1, NOW)]));
    });
}

//! The attacks that TUF 1.0.34 §1.5.2 lists.

use firmseal_core::command::Section;
use firmseal_manifest::{Digest, Environment};
use firmseal_trust::DemandsSpec;

use super::{Attack, List, Outcome, Tries};
use crate::item;
use crate::keys::TestKey;
use crate::story::{self, NOW, ORIGIN};
use crate::vectors::format::Measurable;
use crate::vectors::scene::{Scene, payload};
use crate::vectors::told::{key, revoke};
use crate::world::PRODUCT;

const DAY: u64 = 86_400;

/// No verdict of a device depends on anything that answers later.
const DEVICE: Outcome = Outcome::Prevented {
    by: "the device",
    when: "before a byte of payload is fetched, and again at every boot",
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "arbitrary_software",
        list: List::Tuf,
        thief: "every network, server and mirror, and keys of the own making",
        outcome: DEVICE,
        remains: "",
        tests: &[
            "core: no_bit_of_an_envelope_can_be_flipped",
            "agent: no_byte_of_a_payload_or_tree_can_change",
            "e2e: one_flipped_bit_anywhere_is_refused",
        ],
        cases: arbitrary_software,
    },
    Attack {
        name: "endless_data",
        list: List::Tuf,
        thief: "every server and mirror, and in one case the release key",
        outcome: Outcome::Prevented {
            by: "the device",
            when: "at the first byte beyond the signed size; envelopes and documents have a longest length",
        },
        remains: "a carrier costs the device the bytes of one signed release each time it is tried; `data_budget` bounds that",
        tests: &[
            "agent: a_carrier_that_ends_early_or_never_is_no_danger",
            "agent: a_server_that_lies_about_lengths_gets_nowhere",
            "agent: endless_data_ends_at_the_signed_size",
        ],
        cases: endless_data,
    },
    Attack {
        name: "extraneous_dependencies",
        list: List::Tuf,
        thief: "the release key",
        outcome: DEVICE,
        remains: "",
        tests: &[],
        cases: extraneous_dependencies,
    },
    Attack {
        name: "fast_forward",
        list: List::Tuf,
        thief: "the release key; in one case the whole threshold of a root that demands nothing",
        outcome: Outcome::Bounded {
            bound: "prevented where the root demands approvals; otherwise what has been sent out of reach stays \
                    there until the next root document resets its sequence floor",
            by: "the gate refuses jumps at the signer; the log shows the release",
            soon: "when the intent is logged, before the key is used",
        },
        remains: "nothing lowers a security epoch: whoever has the whole threshold and the approvals can raise it for good. \
                  A delegated key has a ceiling",
        tests: &[
            "sign: the_gate_keeps_numbers_from_going_back",
            "agent: fast_forward_is_undone_by_a_reset_once",
        ],
        cases: fast_forward,
    },
    Attack {
        name: "indefinite_freeze",
        list: List::Tuf,
        thief: "the server or the network; no key",
        outcome: Outcome::Bounded {
            bound: "a device with `max_age` and a clock installs nothing on news older than that; what is \
                    confirmed boots",
            by: "the device; operators, who see when each device polled last",
            soon: "after `max_age`",
        },
        remains: "a device without a clock notices only that time goes back; one without `max_age` notices nothing",
        tests: &["agent: indefinite_freeze_is_noticed_after_a_week"],
        cases: indefinite_freeze,
    },
    Attack {
        name: "malicious_mirror",
        list: List::Tuf,
        thief: "a mirror, a bundle or a stick",
        outcome: DEVICE,
        remains: "it can keep its own copy to itself; any other carrier serves as well",
        tests: &[
            "agent: a_bundle_installs_with_no_network",
            "agent: another_server_is_not_believed",
            "agent: malicious_mirror_prevents_no_update",
        ],
        cases: malicious_mirror,
    },
    Attack {
        name: "mix_and_match",
        list: List::Tuf,
        thief: "every server and mirror, and every release that was ever signed",
        outcome: DEVICE,
        remains: "",
        tests: &["agent: a_release_for_some_of_the_components_is_refused"],
        cases: mix_and_match,
    },
    Attack {
        name: "rollback",
        list: List::Tuf,
        thief: "every server and mirror, and every release that was ever signed",
        outcome: DEVICE,
        remains: "whoever writes a device's disk can lower floors that are files: use a hardware counter",
        tests: &[
            "agent: what_the_facts_forbid_is_refused_before_a_byte_is_fetched",
            "agent: a_revocation_stops_an_offer_and_never_goes_back",
        ],
        cases: rollback,
    },
    Attack {
        name: "key_compromise",
        list: List::Tuf,
        thief: "one key of any role, where two must sign",
        outcome: DEVICE,
        remains: "the revocation role can stop every install, not a boot; `init` writes thresholds of 1",
        tests: &["core: a_threshold_counts_holders"],
        cases: key_compromise,
    },
    Attack {
        name: "wrong_software",
        list: List::Tuf,
        thief: "every server and mirror, and good releases for somebody else",
        outcome: DEVICE,
        remains: "",
        tests: &["e2e: what_is_signed_for_another_device_or_another_time_is_refused"],
        cases: wrong_software,
    },
];

fn stranger() -> TestKey {
    TestKey::ed25519(5)
}

fn arbitrary_software(tries: &mut Tries<'_>) {
    tries.refused(202, "by_a_stranger", "signed by a key that the root does not know", |scene| {
        scene.envelope = Some(scene.craft.seal(&[&stranger()]));
    });
    tries.refused(201, "in_a_known_name", "a stranger signs under the holder's key id", |scene| {
        let mut block = scene.craft.sign(&stranger());
        block.unprotected.set(4, item::bytes(scene.key().public().id().0.as_bytes()));
        scene.blocks(&[block.encode()]);
    });
    tries.refused(200, "under_an_old_signature", "a good release was changed after signing", |scene| {
        scene.flip(b"gateway");
    });
    tries.refused(704, "with_a_log_of_the_own_making", "a log that the root does not know", |scene| {
        scene.tell(|story| {
            story.proof = |proof| {
                let (size, hash) = (proof.checkpoint.size, proof.checkpoint.hash);
                proof.checkpoint = story::cosigned(ORIGIN, size, hash, &stranger(), &[(0, NOW), (1, NOW)]);
            };
        });
    });
    tries.boot(Err(603), "in_the_slot", "somebody wrote another image into the slot", |scene| {
        scene.device.measured = vec![Measurable::of(b"arbitrary")];
    });
}

fn endless_data(tries: &mut Tries<'_>) {
    tries.refused(101, "in_the_envelope", "an envelope that goes on and on", |scene| {
        let mut envelope = scene.sealed();
        envelope.resize(33 * 1024, 0);
        scene.envelope = Some(envelope);
    });
    tries.refused(101, "in_signatures", "a hundred signatures", |scene| {
        let block = scene.block().encode();
        scene.blocks(&vec![block; 100]);
    });
    tries.refused(307, "in_a_signed_payload", "the release key signs more than the slot holds", |scene| {
        scene.device.components[0].capacity = 8999;
    });
    tries.boot(Err(603), "in_the_slot", "the slot holds more than was signed", |scene| {
        scene.device.measured[0].size += 1 << 20;
    });
}

fn extraneous_dependencies(tries: &mut Tries<'_>) {
    tries.refused(102, "in_the_manifest", "the manifest names another manifest", |scene| {
        scene.craft.common(|common| common.set(1, item::map(&[])));
    });
    tries.refused(500, "in_the_commands", "a command fetches and runs another manifest", |scene| {
        scene.craft.commands(Section::Validate, |commands| commands.add(11, item::uint(15)));
    });
}

fn out_of_reach(scene: &mut Scene) -> &mut Scene {
    scene.release(|release| release.sequence = u64::MAX)
}

fn fast_forward(tries: &mut Tries<'_>) {
    tries.refused(701, "with_the_release_key", "logged and witnessed, but nobody approved", |scene| {
        out_of_reach(scene).tell(|story| story.approvers.clear());
    });
    tries.refused(702, "of_the_delegation_index", "the release key claims a delegation's number", |scene| {
        scene.release(|release| release.delegation = u64::MAX);
    });
    tries.refused(210, "by_a_delegated_key", "a delegated key goes beyond its highest epoch", |scene| {
        scene.release(|release| release.epoch = 4).tell(|story| story.delegated = true);
    });
    tries.install(
        Ok(()),
        "ok_with_everything",
        "the whole threshold under a root that demands nothing",
        |scene| {
            out_of_reach(scene);
        },
    );
    tries.install(Err(400), "shuts_the_next_out", "the next good release is below the floor", |scene| {
        scene.device.components[0].sequence = u64::MAX;
    });
    tries.install(Ok(()), "ok_after_the_reset", "the next root document has reset the floor", |scene| {
        scene.world.root.version = 2;
        scene.world.root.sequence_resets = vec![(PRODUCT.parse().unwrap(), 6)];
    });
    tries.boot(Ok(()), "ok_with_everything", "the image with the highest number boots", |scene| {
        out_of_reach(scene).device.components[0].sequence = u64::MAX;
    });
}

fn told(scene: &mut Scene, revocation: u64, time: u64) {
    scene.tell(|_| ());
    scene.device.knows.freshness = Some(story::freshness(revocation, &[(0, time), (1, time)]));
    scene.device.knows.max_age = Some(7 * DAY);
}

fn indefinite_freeze(tries: &mut Tries<'_>) {
    tries.install(Ok(()), "ok_within_the_policy", "news of six days ago where seven are allowed", |scene| {
        told(scene, 0, NOW);
        scene.device.knows.clock = Some(NOW + 6 * DAY);
    });
    tries.install(Err(712), "beyond_the_policy", "news of eight days ago where seven are allowed", |scene| {
        told(scene, 0, NOW);
        scene.device.knows.clock = Some(NOW + 8 * DAY);
    });
    tries.install(Err(712), "with_no_news", "a device that asks for news and hears none", |scene| {
        told(scene, 0, NOW);
        scene.device.knows.freshness = None;
    });
    tries.install(Err(712), "with_old_news", "no clock, and news from before the time floor", |scene| {
        told(scene, 0, NOW);
        scene.device.knows.floor = NOW + 1;
    });
    tries.install(Err(711), "of_revocations", "news came, the revocation in it was withheld", |scene| {
        told(scene, 5, NOW);
        revoke(scene, vec![], vec![]);
    });
    tries.boot(Ok(()), "ok", "frozen for a thousand days: the confirmed image boots", |scene| {
        told(scene, 9, NOW);
        scene.device.knows.clock = Some(NOW + 1000 * DAY);
    });
}

fn malicious_mirror(tries: &mut Tries<'_>) {
    tries.refused(700, "drops_evidence", "the evidence is gone", |scene| {
        scene.tell(|_| ());
        scene.envelope = None;
        scene.craft.envelope.remove(-258);
    });
    tries.refused(203, "drops_a_signature", "one of two signatures is gone", |scene| {
        scene.holders(2, vec![("alice", vec![TestKey::ed25519(1)]), ("bob", vec![TestKey::p256(2)])]);
    });
    tries.refused(702, "drops_the_delegation", "the delegation that the root demands is gone", |scene| {
        scene.tell(|story| {
            story.demands = DemandsSpec::NOTHING.demands;
            story.demands.delegation = true;
            story.delegated = true;
        });
        scene.craft.envelope.remove(1);
        scene.envelope = Some(scene.craft.seal(&[&story::delegate()]));
    });
    tries.install(Err(104), "drops_commands", "the commands of the install are gone", |scene| {
        scene.craft.envelope.remove(20);
    });
    tries.boot(Ok(()), "ok_drops_commands", "what an install needs, no boot misses", |scene| {
        scene.craft.envelope.remove(20);
    });
    tries.refused(103, "adds_a_member", "a member that the manifest does not name", |scene| {
        scene.craft.envelope.set(23, item::bytes(&item::map(&[])));
    });
}

fn mix_and_match(tries: &mut Tries<'_>) {
    tries.refused(105, "of_commands", "the commands of another release", |scene| {
        let mut other = scene.craft.clone();
        other.commands(Section::Install, |commands| commands.add(14, item::uint(15)));
        scene.craft.envelope.set(20, other.envelope.get(20));
    });
    tries.refused(706, "of_evidence", "the evidence of another release", |scene| {
        scene.release(|release| release.sequence = 8).tell(|_| ());
        let evidence = scene.craft.envelope.get(-258);
        scene.release(|release| release.sequence = 7);
        scene.craft.envelope.set(-258, evidence);
        scene.envelope = None;
    });
    tries.install(Err(711), "of_news", "a revocation document that is older than the checkpoint", |scene| {
        told(scene, 5, NOW);
        revoke(scene, vec![], vec![]);
    });
    tries.boot(Err(603), "of_images", "the second slot holds another release's image", |scene| {
        two(scene).device.measured[1] = Measurable::of(&payload(7));
    });
}

/// A second component, measured as it should be.
pub(super) fn two(scene: &mut Scene) -> &mut Scene {
    scene.components(&["radio"]);
    scene.device.components[1].sequence = scene.device.components[0].sequence;
    if !scene.device.measured.is_empty() {
        scene.device.measured.push(Measurable::of(&payload(1)));
    }
    scene
}

fn rollback(tries: &mut Tries<'_>) {
    tries.refused(400, "of_the_sequence", "a release from before the confirmed one", |scene| {
        scene.device.components[0].sequence = 8;
    });
    tries.install(Err(400), "to_the_same", "the confirmed release once more", |scene| {
        scene.device.components[0].sequence = 7;
    });
    tries.refused(401, "of_the_epoch", "a release with a hole that was closed", |scene| {
        scene.device.epoch = 4;
    });
    tries.install(Err(402), "below_the_root", "an epoch that the root document ruled out", |scene| {
        scene.world.root.minimum_epoch = 4;
    });
    tries.refused(403, "of_the_delegation", "a release under a delegation that was replaced", |scene| {
        scene.tell(|story| story.delegated = true).device.delegation = 6;
    });
    tries.install(Err(713), "before_its_time", "a rollback signed ahead, and nothing was revoked", |scene| {
        scene.release(|release| release.rollback_of = Some(Digest([9; 32])));
    });
    tries.install(Err(712), "of_the_news", "a checkpoint from before the time floor", |scene| {
        told(scene, 0, NOW);
        scene.device.knows.floor = NOW + 1;
    });
}

fn key_compromise(tries: &mut Tries<'_>) {
    let two = || vec![("alice", vec![TestKey::ed25519(1)]), ("bob", vec![TestKey::p256(2)])];
    tries.refused(203, "of_one_release_key", "one of two holders has signed", |scene| {
        scene.holders(2, two());
    });
    tries.refused(203, "of_one_release_key_twice", "one of two holders has signed twice", |scene| {
        let block = scene.holders(2, two()).block().encode();
        scene.blocks(&[block.clone(), block]);
    });
    tries.refused(701, "of_one_approver", "one of two approvers has approved", |scene| {
        scene.tell(|story| story.approvers = vec![2]);
    });
    tries.refused(705, "of_one_witness", "one of two witnesses has cosigned", |scene| {
        scene.tell(|story| story.witnesses.truncate(1));
    });
    tries.refused(203, "of_one_rescuer", "one of two recovery keys, and a stranded device", |scene| {
        scene.tell(|_| ());
        scene.envelope = Some(scene.craft.seal(&[&story::rescuer(1)]));
        scene.device.knows.stranded = true;
    });
    let everybody = |scene: &mut Scene| {
        scene.tell(|_| ());
        let keys = [scene.key().public().id(), story::log_key().public().id()];
        revoke(scene, keys.map(|id| key(id, None, &[])).to_vec(), vec![scene.craft.digest()]);
    };
    tries.install(Err(209), "of_the_revocation_key", "everything is revoked: nothing installs", everybody);
    tries.boot(
        Ok(()),
        "ok_of_the_revocation_key",
        "everything is revoked: the confirmed image boots",
        everybody,
    );
    tries.install(Err(100), "of_the_revocation_key_for_more", "it reaches for the root's own key", |scene| {
        scene.tell(|_| ());
        revoke(scene, vec![key(scene.world.root_key.public().id(), None, &[])], vec![]);
    });
}

fn wrong_software(tries: &mut Tries<'_>) {
    tries.refused(303, "of_a_product", "a release of another product", |scene| {
        scene.release(|release| release.product = "toaster".parse().unwrap());
    });
    tries.refused(304, "of_a_vendor", "a release of another vendor", |scene| scene.device.vendor[0] ^= 1);
    tries.refused(305, "of_a_class", "a release for another board", |scene| scene.device.class[0] ^= 1);
    tries.refused(302, "of_an_environment", "a release for production on a test device", |scene| {
        scene.release(|release| release.environment = Environment::Production);
    });
    tries.refused(308, "of_a_slot", "an image built for another slot", |scene| {
        scene.release(|release| release.components[0].slot = Some(0));
    });
    tries.refused(306, "of_a_component", "an image for a component that the device lacks", |scene| {
        scene.device.components[0].name = "radio".to_owned();
    });
}

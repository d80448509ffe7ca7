//! What devices accept: the forms that an author or a carrier may choose.

use firmseal_core::command::Section;

use super::Cases;
use crate::craft::Commands;
use crate::item;
use crate::keys::TestKey;

pub(super) fn add(cases: &mut Cases) {
    cases.ok("ok_ed25519", "the smallest release: one component, one Ed25519 signature", |_| ());
    cases.ok("ok_p256", "one P-256 signature under the identifier ESP256", |scene| {
        scene.holders(1, vec![("alice", vec![TestKey::p256(2)])]);
    });
    cases.ok("ok_es256_identifier", "a P-256 signature under the older identifier ES256", |scene| {
        scene.holders(1, vec![("alice", vec![TestKey::p256(2)])]);
        let mut block = scene.block();
        block.protected.set(1, item::int(-7));
        block.sign(scene.key(), b"", &scene.craft.digest());
        scene.blocks(&[block.encode()]);
    });
    cases.ok("ok_eddsa_identifier", "an Ed25519 signature under the older identifier EdDSA", |scene| {
        let mut block = scene.block();
        block.protected.set(1, item::int(-8));
        block.sign(scene.key(), b"", &scene.craft.digest());
        scene.blocks(&[block.encode()]);
    });
    cases.ok("ok_two_of_three", "two of three holders have signed, one of them with P-256", |scene| {
        scene.holders(2, three());
        scene.signers = 2;
    });
    cases.ok(
        "ok_key_id_absent",
        "a signature without a key id is tried under each key of the role",
        |scene| {
            scene.holders(2, three());
            let keys = [&scene.world.release[2].1[0], &scene.world.release[1].1[0]];
            let blocks = keys.map(|key| {
                let mut block = scene.craft.sign(key);
                block.unprotected.remove(4);
                block.encode()
            });
            scene.blocks(&blocks);
        },
    );
    cases.ok("ok_key_id_protected", "the key id stands in the protected header", |scene| {
        let mut block = scene.block();
        let id = block.unprotected.get(4);
        block.unprotected.remove(4);
        block.protected.set(4, id);
        block.sign(scene.key(), b"", &scene.craft.digest());
        scene.blocks(&[block.encode()]);
    });
    cases.ok("ok_second_key_of_a_holder", "a holder signs with the second of its keys", |scene| {
        scene.holders(1, vec![("alice", vec![TestKey::ed25519(1), TestKey::p256(2)])]);
        let block = scene.craft.sign(&scene.world.release[0].1[1]).encode();
        scene.blocks(&[block]);
    });
    cases.ok(
        "ok_stranger_beside_enough",
        "a signature by an unknown key counts for nothing and harms nothing",
        |scene| {
            let blocks = [scene.craft.sign(&TestKey::ed25519(77)).encode(), scene.block().encode()];
            scene.blocks(&blocks);
        },
    );
    cases.ok("ok_text", "a severed text for people travels along", |scene| {
        scene.release(|release| release.description = Some("fixes the clock".to_owned()));
    });
    cases.ok("ok_text_dropped", "a carrier has dropped the severed text", |scene| {
        scene.release(|release| release.description = Some("fixes the clock".to_owned()));
        scene.craft.envelope.remove(23);
    });
    cases.ok("ok_text_inline", "the text stands in the manifest itself", |scene| {
        scene.craft.manifest.set(23, item::bytes(&item::map(&[])));
    });
    cases.ok("ok_install_inline", "the install sequence stands in the manifest itself", |scene| {
        let install = scene.craft.envelope.get(20);
        scene.craft.manifest.set(20, install);
        scene.craft.envelope.remove(20);
    });
    cases.ok("ok_two_components", "two components under one sequence number", |scene| {
        scene.components(&["radio"]);
    });
    cases.ok("ok_one_component_of_two", "a release for one of the two components of the device", |scene| {
        let mut radio = scene.device.components[0].clone();
        radio.name = "radio".to_owned();
        scene.device.components.insert(0, radio);
    });
    cases.ok("ok_slot_matches", "built for slot 1, and slot 1 is written", |scene| {
        scene.release(|release| release.components[0].slot = Some(1));
    });
    cases.ok("ok_reference_uri", "the manifest says where the full manifest can be had", |scene| {
        scene.craft.manifest.set(4, item::text("https://example.com/manifests/1"));
    });
    cases.ok(
        "ok_try_each",
        "the install sequence picks its source by slot, as an A/B manifest does",
        |scene| {
            let alternative = |slot, uri| {
                let override_slot = item::map(&[(item::int(5), item::uint(slot))]);
                let override_uri = item::map(&[(item::int(21), item::text(uri))]);
                item::bytes(&Commands::of(&[(20, override_slot), (5, item::uint(15)), (20, override_uri)]))
            };
            let try_each = item::array(&[alternative(0, "payloads/a"), alternative(1, "payloads/b")]);
            let install = [(15, try_each), (21, item::uint(2)), (3, item::uint(15))];
            scene.craft.sequence(Section::Install, &Commands::of(&install));
        },
    );
    cases.ok("ok_nested_four_deep", "sequences nest four deep, the most that is allowed", |scene| {
        scene.craft.commands(Section::Validate, |commands| {
            commands.add(32, super::commands::nested(4));
        });
    });
    cases.ok("ok_payload_fetch", "payloads are fetched in a section of their own", |scene| {
        let install = item::content(&scene.craft.envelope.get(20));
        scene.craft.sequence(Section::PayloadFetch, &install);
        scene.craft.sequence(Section::Install, &Commands::of(&[(3, item::uint(15))]));
    });
    cases.ok(
        "ok_integrated_payload",
        "the envelope carries a payload that its digest will be checked against",
        |scene| {
            scene.craft.envelope.set_key(item::text("#main"), item::bytes(&[1, 2, 3]));
        },
    );
    cases.ok("ok_role_for_this_product", "the role that names this product governs it", |scene| {
        scene.world.root.roles[1].products = vec!["gateway".parse().unwrap()];
    });
    cases.ok(
        "ok_production",
        "a production release under a production root that says that it demands nothing more",
        |scene| {
            scene.release(|release| release.environment = firmseal_manifest::Environment::Production);
            scene.world.root.environment = firmseal_manifest::Environment::Production;
        },
    );
    cases.ok("ok_as_large_as_the_slot", "a payload that fills its slot to the last byte", |scene| {
        scene.device.components[0].capacity = 9000;
    });
    cases.ok("ok_block_size_1024", "a block tree of 1024-byte blocks", |scene| {
        scene.release(|release| release.components[0].block = firmseal_manifest::BlockSize::B1024);
    });
    cases.ok("ok_sixteen_signatures", "sixteen signatures, the most that are looked at", |scene| {
        let block = scene.block().encode();
        scene.blocks(&vec![block; 16]);
    });
    cases.ok("ok_largest_numbers", "sequence number and epoch of 2^64 - 1", |scene| {
        scene.release(|release| {
            (release.sequence, release.epoch) = (u64::MAX, u64::MAX);
        });
    });
}

/// Three holders with four keys.
pub(super) fn three() -> Vec<(&'static str, Vec<TestKey>)> {
    vec![
        ("alice", vec![TestKey::ed25519(1), TestKey::p256(11)]),
        ("bob", vec![TestKey::p256(2)]),
        ("carol", vec![TestKey::ed25519(3)]),
    ]
}

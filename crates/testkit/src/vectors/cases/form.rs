//! Encodings that are not deterministic CBOR, and limits (refusals 100, 101).

use firmseal_core::command::Section;

use super::Cases;
use crate::item::{self, Item};
use crate::vectors::Scene;

pub(super) fn add(cases: &mut Cases) {
    encodings(cases);
    limits(cases);
}

fn encodings(cases: &mut Cases) {
    let mut bytes = |name: &str, about: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        cases.refused(100, name, about, |scene| scene.envelope = Some(change(scene.sealed())));
    };
    bytes("empty", "no bytes at all", &|_| Vec::new());
    bytes("trailing_bytes", "a byte after the envelope", &|mut envelope| {
        envelope.push(0);
        envelope
    });
    bytes("second_envelope_appended", "an envelope after the envelope", &|envelope| {
        [envelope.clone(), envelope].concat()
    });
    bytes("tag_missing", "an envelope without its tag", &|envelope| item::untag(&envelope));
    bytes("tag_1070", "the tag of a bare manifest", &|envelope| item::tag(1070, &item::untag(&envelope)));
    bytes("tag_not_shortest", "the tag in two bytes more than needed", &|envelope| {
        [&[0xd9, 0, 107], &envelope[2..]].concat()
    });
    bytes("tag_twice", "the tag twice", &|envelope| item::tag(107, &envelope));
    bytes("map_indefinite", "an envelope map of indefinite length", &|mut envelope| {
        envelope[2] = 0xbf;
        envelope.push(0xff);
        envelope
    });
    bytes("map_count_too_high", "a map that announces more members than follow", &|mut envelope| {
        envelope[2] += 1;
        envelope
    });
    bytes("map_count_too_low", "a map that announces fewer members than follow", &|mut envelope| {
        envelope[2] -= 1;
        envelope
    });
    bytes("map_of_2_to_the_64", "a map that announces 2^64 - 1 members", &|envelope| {
        [&envelope[..2], &[0xbb], &[0xff; 8], &envelope[3..]].concat()
    });
    bytes("huge_length", "a manifest that announces 2^63 bytes", &|_| {
        [&[0xd8, 107, 0xa2, 0x02, 0x40, 0x03, 0x5b, 0x80][..], &[0; 7]].concat()
    });
    bytes("length_of_2_to_the_32", "a manifest that announces 2^32 bytes", &|_| {
        [0xd8, 107, 0xa2, 0x02, 0x40, 0x03, 0x5b, 0, 0, 0, 1, 0, 0, 0, 0].to_vec()
    });

    cases.refused(101, "array_bomb", "an authentication wrapper that announces 2^32 items", |scene| {
        let wrapper = [0x9b, 0, 0, 0, 1, 0, 0, 0, 0];
        scene.envelope = Some(scene.craft.assemble_wrapper(&wrapper));
    });
    cases.refused(
        100,
        "envelope_keys_unordered",
        "the manifest comes before the authentication wrapper",
        |scene| {
            rebuilt(scene, |members| members.swap(0, 1));
        },
    );
    cases.refused(100, "envelope_key_twice", "two manifests in one envelope", |scene| {
        rebuilt(scene, |members| members.insert(1, members[1].clone()));
    });
    cases.refused(100, "manifest_keys_unordered", "members of the manifest in another order", |scene| {
        scene.craft.manifest.0.swap(0, 1);
    });
    cases.refused(100, "manifest_key_twice", "two sequence numbers in one manifest", |scene| {
        let twice = (item::int(2), item::uint(9));
        scene.craft.manifest.0.insert(2, twice);
    });
    cases.refused(100, "facts_keys_unordered", "members of the facts in another order", |scene| {
        scene.craft.facts(|facts| facts.0.swap(3, 4));
    });
    cases.refused(100, "manifest_key_is_text", "a text key in the manifest", |scene| {
        scene.craft.manifest.set_key(item::text("x"), item::uint(1));
    });
    cases.refused(100, "integer_not_shortest", "sequence number 7 in two bytes", |scene| {
        scene.craft.manifest.set(2, vec![0x18, 7]);
    });
    cases.refused(100, "length_not_shortest", "the length of the common section in five bytes", |scene| {
        let common = item::content(&scene.craft.manifest.get(3));
        let long = [&[0x5a][..], &(common.len() as u32).to_be_bytes(), &common].concat();
        scene.craft.manifest.set(3, long);
    });
    cases.refused(100, "byte_string_indefinite", "the validate section in pieces", |scene| {
        let validate = scene.craft.manifest.get(7);
        scene.craft.manifest.set(7, [&[0x5f][..], &validate, &[0xff]].concat());
    });
    cases.refused(100, "array_indefinite", "a sequence of indefinite length", |scene| {
        scene.craft.sequence(Section::Validate, &[0x9f, 0x03, 0x0f, 0xff]);
    });
    cases.refused(100, "not_utf8", "a product name that is not UTF-8", |scene| {
        scene.craft.facts(|facts| facts.set(5, vec![0x62, 0xc3, 0x28]));
    });
    cases.refused(100, "number_is_a_float", "a sequence number of 7.0", |scene| {
        scene.craft.manifest.set(2, vec![0xf9, 0x47, 0x00]);
    });
    cases.refused(100, "number_is_a_bignum", "a sequence number of 2^64", |scene| {
        scene.craft.manifest.set(2, [&[0xc2, 0x49, 1][..], &[0; 8]].concat());
    });
    cases.refused(100, "number_is_negative", "a sequence number of -1", |scene| {
        scene.craft.manifest.set(2, item::int(-1));
    });
    cases.refused(
        100,
        "manifest_with_trailing_bytes",
        "bytes after the manifest's map, signed with it",
        |scene| {
            let manifest = [scene.craft.manifest.encode(), vec![0]].concat();
            signed_bytes(scene, &manifest);
        },
    );
    cases.refused(100, "manifest_tagged", "the manifest bears the tag of a bare manifest", |scene| {
        let manifest = item::tag(1070, &scene.craft.manifest.encode());
        signed_bytes(scene, &manifest);
    });
    cases.refused(100, "manifest_empty", "a manifest of no bytes, well signed", |scene| {
        signed_bytes(scene, b"")
    });
    cases.refused(100, "common_with_trailing_bytes", "bytes after the common section", |scene| {
        let common = [item::content(&scene.craft.manifest.get(3)), vec![0]].concat();
        scene.craft.manifest.set(3, item::bytes(&common));
    });
    cases.refused(100, "facts_with_trailing_bytes", "bytes after the facts", |scene| {
        let facts = [item::content(&scene.craft.manifest.get(-257)), vec![0]].concat();
        scene.craft.manifest.set(-257, item::bytes(&facts));
    });
}

fn limits(cases: &mut Cases) {
    cases.refused(101, "envelope_too_large", "an envelope of more than 32 KiB", |scene| {
        scene.craft.envelope.set_key(item::text("#x"), item::bytes(&[0; 32 * 1024]));
    });
    cases.refused(101, "too_many_signatures", "seventeen signatures", |scene| {
        let block = scene.block().encode();
        scene.blocks(&vec![block; 17]);
    });
    cases.refused(101, "too_many_integrated_payloads", "nine integrated payloads", |scene| {
        for name in ["#1", "#2", "#3", "#4", "#5", "#6", "#7", "#8", "#9"] {
            scene.craft.envelope.set_key(item::text(name), item::bytes(b""));
        }
    });
    cases.refused(101, "too_many_components", "nine components", |scene| {
        let id = |n: u8| item::array(&[item::bytes(&[n])]);
        scene.craft.common(|common| common.set(2, item::array(&(0..9).map(id).collect::<Vec<_>>())));
    });
    cases.refused(
        101,
        "component_identifier_of_five_parts",
        "a component identifier of five byte strings",
        |scene| {
            let id = item::array(&vec![item::bytes(b"x"); 5]);
            scene.craft.common(|common| common.set(2, item::array(&[id])));
        },
    );
    cases.refused(101, "version_of_257_bytes", "a version text beyond the limit", |scene| {
        scene.craft.facts(|facts| facts.set(7, item::text(&"1".repeat(257))));
    });
}

/// Seals and then changes the members of the envelope's map.
pub(super) fn rebuilt(scene: &mut Scene, change: impl FnOnce(&mut Vec<(Item, Item)>)) {
    let mut members = crate::craft::Members::parse(&item::untag(&scene.sealed()));
    change(&mut members.0);
    scene.envelope = Some(item::tag(107, &members.encode()));
}

/// Signs other bytes than a map as the manifest.
fn signed_bytes(scene: &mut Scene, manifest: &[u8]) {
    scene.envelope = Some(crate::fuzz::signed(scene, manifest));
}

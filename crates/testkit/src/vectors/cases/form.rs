//! The form of envelope and manifest (refusals 1xx).

use firmseal_core::command::Section;

use super::Cases;
use crate::craft::Commands;
use crate::item::{self, Item};
use crate::vectors::Scene;

pub(super) fn add(cases: &mut Cases) {
    members(cases);
    blocks(cases);
    encodings(cases);
    limits(cases);
}

fn members(cases: &mut Cases) {
    cases.refused(
        102,
        "manifest_unknown_member",
        "a member of the manifest that is not supported",
        |scene| {
            scene.craft.manifest.set(5, item::array(&[item::bytes(b"main")]));
        },
    );
    cases.refused(
        102,
        "manifest_custom_member",
        "a private member of the manifest besides the facts",
        |scene| {
            scene.craft.manifest.set(-258, item::uint(1));
        },
    );
    cases.refused(102, "manifest_version_2", "manifest version 2", |scene| {
        scene.craft.manifest.set(1, item::uint(2));
    });
    cases.refused(102, "manifest_version_missing", "no manifest version", |scene| {
        scene.craft.manifest.remove(1);
    });
    cases.refused(100, "sequence_number_missing", "no sequence number", |scene| {
        scene.craft.manifest.remove(2);
    });
    cases.refused(100, "common_missing", "no common section", |scene| {
        scene.craft.manifest.remove(3);
    });
    cases.refused(
        102,
        "common_unknown_member",
        "a member of the common section that is not supported",
        |scene| {
            scene.craft.common(|common| common.set(9, item::uint(1)));
        },
    );
    cases.refused(102, "dependencies", "the manifest has dependencies", |scene| {
        scene.craft.common(|common| common.set(1, item::map(&[])));
    });
    cases.refused(100, "components_missing", "the common section names no components", |scene| {
        scene.craft.common(|common| common.remove(2));
    });
    cases.refused(100, "components_empty", "an empty list of components", |scene| {
        scene.craft.common(|common| common.set(2, item::array(&[])));
    });
    cases.refused(103, "envelope_unknown_member", "a member of the envelope that is not defined", |scene| {
        scene.craft.envelope.set(24, item::bytes(b""));
    });
    cases.refused(102, "delegation_member", "a delegation chain, which profile 1 does not read", |scene| {
        scene.craft.envelope.set(1, item::bytes(&item::array(&[])));
    });
    cases.refused(
        104,
        "severed_install_missing",
        "the install sequence was dropped before the install",
        |scene| {
            scene.craft.envelope.remove(20);
        },
    );
    cases.refused(
        104,
        "severed_payload_fetch_missing",
        "the payload-fetch sequence was dropped before the install",
        |scene| {
            let check = Commands::of(&[(14, item::uint(15))]);
            scene.craft.sequence(Section::PayloadFetch, &check);
            scene.craft.envelope.remove(16);
        },
    );
    cases.refused(
        103,
        "severed_install_not_named",
        "the envelope carries an install sequence that the manifest does not name",
        |scene| {
            scene.craft.manifest.remove(20);
        },
    );
    cases.refused(
        103,
        "severed_text_not_named",
        "the envelope carries a text that the manifest does not name",
        |scene| {
            scene.craft.envelope.set(23, item::bytes(&item::map(&[])));
        },
    );
    cases.refused(
        103,
        "severed_payload_fetch_not_named",
        "the envelope carries a payload-fetch sequence that the manifest does not name",
        |scene| {
            scene.craft.envelope.set(16, item::bytes(&[0x80]));
        },
    );
    cases.refused(
        103,
        "install_inline_and_severed",
        "an install sequence in the manifest and another in the envelope",
        |scene| {
            let install = scene.craft.envelope.get(20);
            scene.craft.manifest.set(20, install);
        },
    );
    cases.refused(
        102,
        "severed_by_another_hash",
        "the severed install sequence is named by a SHA-512 digest",
        |scene| {
            scene.craft.manifest.set(20, item::array(&[item::int(-44), item::bytes(&[0; 64])]));
        },
    );
    cases.refused(
        100,
        "integrated_payload_without_number_sign",
        "a text key that does not begin with `#`",
        |scene| {
            scene.craft.envelope.set_key(item::text("main"), item::bytes(b"x"));
        },
    );
    cases.refused(100, "integrated_payload_twice", "two integrated payloads of one name", |scene| {
        let twice = [(item::text("#a"), item::bytes(b"x")), (item::text("#a"), item::bytes(b"y"))];
        scene.craft.envelope.0.extend(twice);
        late(scene);
    });
    cases.refused(100, "manifest_missing", "an envelope without a manifest", |scene| {
        rebuilt(scene, |members| members.retain(|(key, _)| *key != item::int(3)));
    });
    cases.refused(100, "wrapper_missing", "an envelope without an authentication wrapper", |scene| {
        rebuilt(scene, |members| members.retain(|(key, _)| *key != item::int(2)));
    });
    cases.refused(100, "wrapper_empty", "an authentication wrapper without a digest", |scene| {
        scene.envelope = Some(scene.craft.assemble_wrapper(&item::array(&[])));
    });
    cases.refused(
        100,
        "wrapper_with_trailing_bytes",
        "bytes after the authentication wrapper's array",
        |scene| {
            let digest = item::bytes(&item::suit_digest(&scene.craft.digest()));
            let mut wrapper = item::array(&[digest, item::bytes(&scene.block().encode())]);
            wrapper.push(0);
            scene.envelope = Some(scene.craft.assemble_wrapper(&wrapper));
        },
    );
    cases.refused(102, "digest_of_sha_512", "the manifest's digest is by another algorithm", |scene| {
        let digest = item::array(&[item::int(-44), item::bytes(&[0; 64])]);
        let wrapper = item::array(&[item::bytes(&digest), item::bytes(&scene.block().encode())]);
        scene.envelope = Some(scene.craft.assemble_wrapper(&wrapper));
    });
    cases.refused(100, "digest_truncated", "a digest of 16 bytes under the identifier of SHA-256", |scene| {
        let digest = item::array(&[item::int(-16), item::bytes(&scene.craft.digest().as_bytes()[..16])]);
        let wrapper = item::array(&[item::bytes(&digest), item::bytes(&scene.block().encode())]);
        scene.envelope = Some(scene.craft.assemble_wrapper(&wrapper));
    });
}

fn blocks(cases: &mut Cases) {
    let mut block = |code, name: &str, about: &str, change: &dyn Fn(&mut crate::craft::Block)| {
        cases.refused(code, name, about, |scene| {
            let mut block = scene.block();
            change(&mut block);
            // Signed anew, so that nothing but the form is wrong.
            block.sign(scene.key(), b"", &scene.craft.digest());
            scene.blocks(&[block.encode()]);
        });
    };
    block(102, "algorithm_unknown", "a signature algorithm that is not supported", &|block| {
        block.protected.set(1, item::int(-35));
    });
    block(102, "algorithm_missing", "a protected header without an algorithm", &|block| {
        block.protected.remove(1);
    });
    block(102, "algorithm_unprotected", "the algorithm stands in the unprotected header", &|block| {
        block.protected.remove(1);
        block.unprotected.set(1, item::int(-19));
    });
    block(102, "crit_header", "a header that says that others are critical", &|block| {
        block.protected.set(2, item::array(&[item::int(1)]));
    });
    block(102, "protected_header_unknown", "a protected header parameter that is not known", &|block| {
        block.protected.set(3, item::uint(0));
    });
    block(102, "unprotected_header_unknown", "an unprotected header parameter that is not known", &|block| {
        block.unprotected.set(33, item::bytes(b"x"));
    });
    block(102, "key_id_twice", "a key id in both headers", &|block| {
        let id = block.unprotected.get(4);
        block.protected.set(4, id);
    });
    block(102, "attached_payload", "the signed digest is attached to the signature", &|block| {
        block.payload = item::bytes(b"x");
    });
    block(102, "mac0", "a COSE_Mac0 in place of a signature", &|block| block.tag = 17);
    block(102, "sign", "a COSE_Sign with many signers in place of a COSE_Sign1", &|block| block.tag = 98);
    cases.refused(100, "block_untagged", "a COSE_Sign1 without its tag", |scene| {
        let block = item::untag(&scene.block().encode());
        scene.blocks(&[block]);
    });
    cases.refused(
        100,
        "protected_header_empty",
        "an empty protected header in the short form of COSE",
        |scene| {
            let parts = item::split(&item::untag(&scene.block().encode()));
            let block =
                item::array(&[item::bytes(b""), parts[1].clone(), parts[2].clone(), parts[3].clone()]);
            scene.blocks(&[item::tag(18, &block)]);
        },
    );
    cases.refused(100, "block_with_five_items", "a COSE_Sign1 of five items", |scene| {
        let mut parts = item::split(&item::untag(&scene.block().encode()));
        parts.push(item::null());
        scene.blocks(&[item::tag(18, &item::array(&parts))]);
    });
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
fn rebuilt(scene: &mut Scene, change: impl FnOnce(&mut Vec<(Item, Item)>)) {
    let mut members = crate::craft::Members::parse(&item::untag(&scene.sealed()));
    change(&mut members.0);
    scene.envelope = Some(item::tag(107, &members.encode()));
}

/// Members that were pushed to the end stay behind wrapper and manifest.
fn late(scene: &mut Scene) {
    scene.envelope = Some(scene.sealed());
}

/// Signs other bytes than a map as the manifest.
fn signed_bytes(scene: &mut Scene, manifest: &[u8]) {
    use firmseal_core::crypto::{Crypto, RustCrypto};
    let wrapped = item::bytes(manifest);
    let digest = RustCrypto.digest(&wrapped);
    let mut block = crate::craft::Block::unsigned(scene.key());
    block.sign(scene.key(), b"", &digest);
    let wrapper = item::array(&[item::bytes(&item::suit_digest(&digest)), item::bytes(&block.encode())]);
    let mut envelope = scene.craft.envelope.clone();
    envelope.set(2, item::bytes(&wrapper));
    envelope.set(3, wrapped);
    scene.envelope = Some(item::tag(107, &envelope.encode()));
}

//! Members of envelope, manifest and authentication blocks: missing, unknown,
//! unnamed by the signature (refusals 10x).

use firmseal_core::command::Section;

use super::Cases;
use super::form::rebuilt;
use crate::craft::Commands;
use crate::item;

pub(super) fn add(cases: &mut Cases) {
    members(cases);
    blocks(cases);
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
    cases.refused(100, "delegation_member_empty", "a delegation member without chains", |scene| {
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

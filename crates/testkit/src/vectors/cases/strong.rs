//! Stronger algorithms: LMS as COSE knows it (RFC 8778), HSS with one level,
//! and ML-DSA (RFC 9964).

use firmseal_core::mldsa::Set;

use super::Cases;
use crate::item;
use crate::keys::TestKey;
use crate::vectors::Scene;

/// Where things stand in the signature of `TestKey::lms`: the number of
/// signed keys, the leaf, the chains' code, randomizer and 67 chains, the
/// tree's code, the path.
const LEAF: usize = 4;
const CHAINS_CODE: usize = 8;
const TREE_CODE: usize = 12 + 32 + 67 * 32;

pub(super) fn add(cases: &mut Cases) {
    cases.ok("ok_lms", "one LMS signature: SHA-256, height 5, width 4", |scene| {
        scene.holders(1, vec![("alice", vec![TestKey::lms(1)])]);
    });
    cases.ok("ok_lms_192", "one LMS signature: SHA-256/192, height 5, width 8", |scene| {
        scene.holders(1, vec![("alice", vec![TestKey::lms_192(1)])]);
    });
    cases.ok("ok_lms_beside_ed25519", "one holder signs with LMS and one with Ed25519", |scene| {
        scene.holders(2, vec![("alice", vec![TestKey::lms(1)]), ("bob", vec![TestKey::ed25519(2)])]);
        scene.signers = 2;
    });
    cases.refused(
        203,
        "lms_and_ed25519_of_one_holder",
        "two keys of different algorithms do not make two holders of one",
        |scene| {
            let alice = vec![TestKey::lms(1), TestKey::ed25519(1)];
            scene.holders(2, vec![("alice", alice), ("bob", vec![TestKey::ed25519(2)])]);
            let keys = &scene.world.release[0].1;
            let blocks = [scene.craft.sign(&keys[0]).encode(), scene.craft.sign(&keys[1]).encode()];
            scene.blocks(&blocks);
        },
    );
    changed(cases, "lms_signature_bit_flipped", "one bit of a chain differs", |signature| {
        signature[100] ^= 1;
    });
    changed(cases, "lms_path_bit_flipped", "one bit of the path differs", |signature| {
        *signature.last_mut().unwrap() ^= 1;
    });
    changed(cases, "lms_randomizer_bit_flipped", "one bit of the randomizer differs", |signature| {
        signature[12] ^= 1;
    });
    changed(cases, "lms_of_another_leaf", "the signature names the leaf beside its own", |signature| {
        signature[LEAF + 3] ^= 1;
    });
    changed(cases, "lms_leaf_beyond_the_tree", "the signature names leaf 32 of 32", |signature| {
        signature[LEAF + 3] = 32;
    });
    changed(cases, "lms_chains_of_another_set", "the signature names chains of another width", |signature| {
        signature[CHAINS_CODE + 3] = 4;
    });
    changed(cases, "lms_tree_of_another_set", "the signature names a higher tree", |signature| {
        signature[TREE_CODE + 3] = 6;
    });
    changed(cases, "lms_signed_keys", "the signature says that it carries a signed key", |signature| {
        signature[3] = 1;
    });
    changed(cases, "lms_signature_truncated", "the last byte of the path is missing", |signature| {
        signature.pop();
    });
    changed(cases, "lms_signature_extended", "a byte follows the path", |signature| signature.push(0));
    changed(cases, "lms_signature_empty", "a signature of no bytes", |signature| signature.clear());
    cases.refused(201, "lms_algorithm_of_another_key", "an LMS key under the identifier Ed25519", |scene| {
        let mut block = lms(scene);
        block.protected.set(1, item::int(-19));
        block.sign(scene.key(), b"", &scene.craft.digest());
        scene.blocks(&[block.encode()]);
    });
    cases.refused(201, "ed25519_key_as_lms", "an Ed25519 key under the identifier HSS-LMS", |scene| {
        let mut block = scene.block();
        block.protected.set(1, item::int(-46));
        block.sign(scene.key(), b"", &scene.craft.digest());
        scene.blocks(&[block.encode()]);
    });
    add_ml_dsa(cases);
}

/// Where the response and the hints of an ML-DSA-65 signature begin: the
/// challenge has 48 bytes, each of 5 polynomials 640.
const RESPONSE: usize = 48;
const HINTS: usize = RESPONSE + 5 * 640;
/// Bytes of marked coefficients; the ends of 6 rows follow.
const MARKS: usize = 55;

fn add_ml_dsa(cases: &mut Cases) {
    for (name, set) in
        [("ok_ml_dsa_44", Set::MlDsa44), ("ok_ml_dsa_65", Set::MlDsa65), ("ok_ml_dsa_87", Set::MlDsa87)]
    {
        cases.ok(name, "one ML-DSA signature", |scene| {
            scene.holders(1, vec![("alice", vec![TestKey::ml_dsa(set, 1)])]);
        });
    }
    let mut changed = |name: &str, about: &str, change: &dyn Fn(&mut Vec<u8>)| {
        cases.refused(201, name, about, |scene| {
            scene.holders(1, vec![("alice", vec![TestKey::ml_dsa(Set::MlDsa65, 1)])]);
            let mut block = scene.block();
            change(&mut block.signature);
            scene.blocks(&[block.encode()]);
        });
    };
    changed("ml_dsa_challenge_bit_flipped", "one bit of the challenge differs", &|signature| {
        signature[7] ^= 1
    });
    changed("ml_dsa_response_bit_flipped", "one bit of the response differs", &|signature| {
        signature[RESPONSE + 1000] ^= 1;
    });
    changed("ml_dsa_response_too_large", "a coefficient of the response at its bound", &|signature| {
        // 2^19 - (2^19 - 196): the packed form of a coefficient of
        // gamma1 - beta.
        signature[RESPONSE..RESPONSE + 3].copy_from_slice(&[196, 0, 0]);
    });
    changed("ml_dsa_hints_descend", "two marks of the first row in descending order", &|signature| {
        assert!(signature[HINTS + MARKS] >= 2, "another seed: the first row has too few marks");
        signature.swap(HINTS, HINTS + 1);
    });
    changed("ml_dsa_hint_twice", "a coefficient is marked twice", &|signature| {
        signature[HINTS + 1] = signature[HINTS];
    });
    changed("ml_dsa_hints_beyond_the_room", "the last row ends behind the marks", &|signature| {
        *signature.last_mut().unwrap() = MARKS as u8 + 1;
    });
    changed("ml_dsa_hint_rows_descend", "a row ends before it begins", &|signature| {
        signature[HINTS + MARKS + 3] = 0;
    });
    changed("ml_dsa_hint_behind_the_last_row", "a mark that belongs to no row", &|signature| {
        signature[HINTS + MARKS - 1] = 200;
    });
    changed("ml_dsa_signature_truncated", "the last byte is missing", &|signature| {
        signature.pop();
    });
    changed("ml_dsa_signature_extended", "a byte follows the hints", &|signature| signature.push(0));
    cases.refused(201, "ml_dsa_under_another_set", "an ML-DSA-65 signature under ML-DSA-87", |scene| {
        scene.holders(1, vec![("alice", vec![TestKey::ml_dsa(Set::MlDsa65, 1)])]);
        let mut block = scene.block();
        block.protected.set(1, item::int(-50));
        block.sign(scene.key(), b"", &scene.craft.digest());
        scene.blocks(&[block.encode()]);
    });
}

fn lms(scene: &mut Scene) -> crate::craft::Block {
    scene.holders(1, vec![("alice", vec![TestKey::lms(1)])]);
    scene.block()
}

/// An LMS signature with something changed, all else right.
fn changed(cases: &mut Cases, name: &str, about: &str, change: impl FnOnce(&mut Vec<u8>)) {
    cases.refused(201, name, about, |scene| {
        let mut block = lms(scene);
        change(&mut block.signature);
        scene.blocks(&[block.encode()]);
    });
}

//! Signatures, digests and who has signed (refusals 2xx and 10x).

use firmseal_manifest::Environment;
use firmseal_trust::{Demands, DemandsSpec};

use super::Cases;
use super::accepted::three;
use crate::item;
use crate::keys::TestKey;

const NOTHING: DemandsSpec = DemandsSpec::NOTHING;

pub(super) fn add(cases: &mut Cases) {
    cases.refused(200, "manifest_bit_flipped", "one bit of the manifest differs", |scene| {
        let manifest = scene.craft.wrapped();
        scene.flip(&manifest[4..]);
    });
    cases.refused(200, "digest_bit_flipped", "one bit of the signed digest differs", |scene| {
        let digest = scene.craft.digest();
        scene.flip(digest.as_bytes());
    });
    cases.refused(201, "signature_bit_flipped", "one bit of the Ed25519 signature differs", |scene| {
        let signature = scene.block().signature;
        scene.flip(&signature);
    });
    cases.refused(201, "p256_signature_bit_flipped", "one bit of the P-256 signature differs", |scene| {
        scene.holders(1, vec![("alice", vec![TestKey::p256(2)])]);
        let signature = scene.block().signature;
        scene.flip(&signature);
    });
    cases.refused(
        105,
        "severed_install_bit_flipped",
        "one bit of the severed install sequence differs",
        |scene| {
            let install = item::content(&scene.craft.envelope.get(20));
            scene.flip(&install);
        },
    );
    cases.refused(105, "severed_text_bit_flipped", "one bit of the severed text differs", |scene| {
        scene.release(|release| release.description = Some("fixes the clock".to_owned()));
        scene.flip(b"fixes the clock");
    });
    cases.refused(202, "unknown_signer", "signed by a key that the root does not name", |scene| {
        let block = scene.craft.sign(&TestKey::ed25519(77)).encode();
        scene.blocks(&[block]);
    });
    cases.refused(201, "unknown_signer_without_key_id", "an unknown key signs and names no key", |scene| {
        let mut block = scene.craft.sign(&TestKey::ed25519(77));
        block.unprotected.remove(4);
        scene.blocks(&[block.encode()]);
    });
    cases.refused(202, "signed_by_the_root_key", "the key of the root role signs a release", |scene| {
        let block = scene.craft.sign(&scene.world.root_key).encode();
        scene.blocks(&[block]);
    });
    cases.refused(
        201,
        "key_id_of_a_trusted_key",
        "an unknown key signs under the id of a trusted one",
        |scene| {
            let mut block = scene.craft.sign(&TestKey::ed25519(77));
            block.unprotected = scene.block().unprotected;
            scene.blocks(&[block.encode()]);
        },
    );
    cases.refused(201, "key_id_of_another_holder", "a holder signs under the id of another", |scene| {
        scene.holders(1, three());
        let mut block = scene.craft.sign(&scene.world.release[0].1[0]);
        block.unprotected = scene.craft.sign(&scene.world.release[2].1[0]).unprotected;
        scene.blocks(&[block.encode()]);
    });
    cases.refused(
        201,
        "bad_signature_beside_enough",
        "a forged signature of one holder beside enough good ones",
        |scene| {
            scene.holders(1, three());
            let mut forged = scene.craft.sign(&scene.world.release[2].1[0]);
            forged.signature[10] ^= 1;
            let blocks = [scene.block().encode(), forged.encode()];
            scene.blocks(&blocks);
        },
    );
    cases.refused(203, "threshold_one_short", "one holder has signed where two must", |scene| {
        scene.holders(2, three());
    });
    cases.refused(
        203,
        "one_holder_with_two_keys",
        "one holder signs with both of its keys where two holders must",
        |scene| {
            scene.holders(2, three());
            let keys = &scene.world.release[0].1;
            let blocks = [scene.craft.sign(&keys[0]).encode(), scene.craft.sign(&keys[1]).encode()];
            scene.blocks(&blocks);
        },
    );
    cases.refused(
        203,
        "one_signature_twice",
        "one signature stands twice where two holders must sign",
        |scene| {
            scene.holders(2, three());
            let block = scene.block().encode();
            scene.blocks(&[block.clone(), block]);
        },
    );
    cases.refused(
        203,
        "one_holder_with_and_without_key_id",
        "one signature stands twice, once without its key id",
        |scene| {
            scene.holders(2, three());
            let named = scene.block();
            let mut nameless = named.clone();
            nameless.unprotected.remove(4);
            scene.blocks(&[named.encode(), nameless.encode()]);
        },
    );
    cases.refused(
        203,
        "enough_with_a_stranger",
        "a holder and an unknown key where two holders must sign",
        |scene| {
            scene.holders(2, three());
            let blocks = [scene.block().encode(), scene.craft.sign(&TestKey::ed25519(77)).encode()];
            scene.blocks(&blocks);
        },
    );
    cases.refused(203, "no_signature", "nobody has signed", |scene| scene.signers = 0);
    cases.refused(204, "role_for_another_product", "the only release role names another product", |scene| {
        scene.world.root.roles[1].products = vec!["toaster".parse().unwrap()];
    });
    cases.refused(
        202,
        "signer_of_another_product",
        "signed by the role of another product while this product has its own",
        |scene| {
            let mut other = scene.world.root.roles[1].clone();
            other.products = vec!["gateway".parse().unwrap()];
            other.holders[0].keys = vec![TestKey::ed25519(55).public().clone()];
            scene.world.root.roles[1].products = vec!["toaster".parse().unwrap()];
            scene.world.root.roles.push(other);
        },
    );
    cases.refused(
        202,
        "signer_of_the_general_role",
        "signed by the general role while this product has its own",
        |scene| {
            let mut own = scene.world.root.roles[1].clone();
            own.products = vec!["gateway".parse().unwrap()];
            own.holders[0].keys = vec![TestKey::ed25519(55).public().clone()];
            scene.world.root.roles.push(own);
        },
    );
    cases.refused(
        201,
        "signed_as_a_root_document",
        "the signature was made for a root document's purpose",
        |scene| {
            let mut block = scene.block();
            block.sign(scene.key(), b"firmseal/root", &scene.craft.digest());
            scene.blocks(&[block.encode()]);
        },
    );
    cases.refused(
        201,
        "signed_another_manifest",
        "a good signature, over the manifest of another release",
        |scene| {
            let block = scene.block().encode();
            scene.craft.manifest.set(2, item::uint(8));
            scene.blocks(&[block]);
        },
    );
    cases.refused(
        201,
        "algorithm_of_another_key_type",
        "an Ed25519 key's signature under the identifier ESP256",
        |scene| {
            let mut block = scene.block();
            block.protected.set(1, item::int(-9));
            block.sign(scene.key(), b"", &scene.craft.digest());
            scene.blocks(&[block.encode()]);
        },
    );
    cases.refused(
        201,
        "algorithm_swapped_after_signing",
        "ESP256 became ES256 after the signature was made",
        |scene| {
            scene.holders(1, vec![("alice", vec![TestKey::p256(2)])]);
            let mut block = scene.block();
            block.protected.set(1, item::int(-7));
            scene.blocks(&[block.encode()]);
        },
    );
    for (length, name) in [(0, "signature_empty"), (63, "signature_short"), (65, "signature_long")] {
        cases.refused(201, name, &format!("a signature of {length} bytes"), |scene| {
            let mut block = scene.block();
            block.signature.resize(length, 0);
            scene.blocks(&[block.encode()]);
        });
    }
    cases.refused(201, "signature_all_zero", "an Ed25519 signature of zeros", |scene| {
        let mut block = scene.block();
        block.signature = vec![0; 64];
        scene.blocks(&[block.encode()]);
    });
    cases.refused(201, "p256_signature_all_zero", "r and s are zero", |scene| {
        scene.holders(1, vec![("alice", vec![TestKey::p256(2)])]);
        let mut block = scene.block();
        block.signature = vec![0; 64];
        scene.blocks(&[block.encode()]);
    });
    cases.refused(
        700,
        "production_root_without_demands",
        "a production root that is silent demands a log proof",
        |scene| {
            production(scene);
            scene.world.root.demands = vec![];
        },
    );
    cases.refused(
        700,
        "root_demands_a_proof",
        "the root demands a log proof, the envelope has none",
        |scene| {
            demand(scene, Demands { proof: true, ..NOTHING.demands });
        },
    );
    cases.refused(
        204,
        "root_demands_approvals",
        "the root demands approvals and names no approvers",
        |scene| {
            demand(scene, Demands { approvals: true, ..NOTHING.demands });
        },
    );
    cases.refused(
        702,
        "root_demands_a_delegation",
        "the root demands a delegation, a key of the release role has signed",
        |scene| demand(scene, Demands { delegation: true, ..NOTHING.demands }),
    );
    cases.refused(
        703,
        "root_demands_the_owner",
        "the root demands the owner's Statement, the envelope has none",
        |scene| demand(scene, Demands { owner: true, ..NOTHING.demands }),
    );
    cases.refused(
        700,
        "root_demands_a_proof_for_the_product",
        "the root demands a log proof for this product and for no other",
        |scene| {
            let demands = Demands { proof: true, ..NOTHING.demands };
            let products = vec![crate::world::PRODUCT.parse().unwrap()];
            scene.world.root.demands = vec![NOTHING, DemandsSpec { demands, products }];
        },
    );
}

fn demand(scene: &mut crate::vectors::Scene, demands: Demands) {
    scene.world.root.demands = vec![DemandsSpec { demands, products: vec![] }];
}

fn production(scene: &mut crate::vectors::Scene) {
    scene.release(|release| release.environment = Environment::Production);
    scene.world.root.environment = Environment::Production;
}

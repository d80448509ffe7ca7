//! RSA as COSE knows it (RFC 8230): PS256 with moduli of 3072 and 4096 bits.

use firmseal_core::crypto::{Crypto, RustCrypto};

use super::Cases;
use crate::item;
use crate::keys::TestKey;
use crate::rsa::Private;

/// Makes a signature over a message with a private key.
type Sign = dyn Fn(&Private, &[u8]) -> Vec<u8>;

/// A salt of as many bytes as are asked for.
const SALT: [u8; 33] = [7; 33];

pub(super) fn add(cases: &mut Cases) {
    for (name, bits) in [("ok_rsa_4096", 4096), ("ok_rsa_3072", 3072)] {
        cases.ok(name, "one PS256 signature", |scene| {
            scene.holders(1, vec![("alice", vec![TestKey::rsa(bits, 0)])]);
        });
    }
    cases.ok("ok_rsa_beside_ed25519", "one holder signs with RSA and one with Ed25519", |scene| {
        scene.holders(2, vec![("alice", vec![TestKey::rsa(4096, 0)]), ("bob", vec![TestKey::ed25519(2)])]);
        scene.signers = 2;
    });
    let mut signed = |name: &str, about: &str, sign: &Sign| {
        cases.refused(201, name, about, |scene| {
            scene.holders(1, vec![("alice", vec![TestKey::rsa(4096, 0)])]);
            let mut block = scene.block();
            let message = block.to_be_signed(b"", &scene.craft.digest());
            block.signature = sign(&Private::stored(4096, 0), &message);
            scene.blocks(&[block.encode()]);
        });
    };
    signed("rsa_signature_bit_flipped", "one bit of the signature differs", &|key, message| {
        let mut signature = key.sign(message);
        signature[100] ^= 1;
        signature
    });
    signed("rsa_signature_truncated", "the last byte is missing", &|key, message| {
        let mut signature = key.sign(message);
        signature.pop();
        signature
    });
    signed("rsa_signature_extended", "a zero stands before the signature", &|key, message| {
        [vec![0], key.sign(message)].concat()
    });
    signed("rsa_signature_zero", "the number zero", &|_, _| vec![0; 512]);
    signed("rsa_signature_one", "the number one", &|_, _| [vec![0; 511], vec![1]].concat());
    signed("rsa_signature_modulus", "the modulus itself, which is zero to it", &|key, _| key.modulus());
    signed("rsa_signature_all_ones", "a number above the modulus", &|_, _| vec![0xff; 512]);
    signed("rsa_by_another_key", "a signature by another key of the same size", &|_, message| {
        Private::stored(4096, 1).sign(message)
    });
    signed("rsa_salt_empty", "a signature without salt", &|key, message| key.raw(&key.encode(message, &[])));
    signed("rsa_salt_short", "a salt of 31 bytes", &|key, message| {
        key.raw(&key.encode(message, &SALT[..31]))
    });
    signed("rsa_salt_long", "a salt of 33 bytes", &|key, message| key.raw(&key.encode(message, &SALT)));
    signed("rsa_trailer_of_another_scheme", "the encoding ends otherwise", &|key, message| {
        let mut encoded = key.encode(message, &SALT[..32]);
        *encoded.last_mut().unwrap() = 0xcc;
        key.raw(&encoded)
    });
    signed("rsa_padding_not_zero", "a bit of the padding is set", &|key, message| {
        let mut encoded = key.encode(message, &SALT[..32]);
        encoded[200] ^= 1;
        key.raw(&encoded)
    });
    signed("rsa_padding_without_its_end", "no one stands before the salt", &|key, message| {
        let mut encoded = key.encode(message, &SALT[..32]);
        encoded[512 - 1 - 32 - 32 - 1] ^= 1;
        key.raw(&encoded)
    });
    signed("rsa_salt_of_another_hash", "a bit of the salt differs from the hashed one", &|key, message| {
        let mut encoded = key.encode(message, &SALT[..32]);
        encoded[512 - 1 - 32 - 1] ^= 1;
        key.raw(&encoded)
    });
    signed("rsa_pkcs1_v15", "a signature of the older scheme, PKCS #1 v1.5", &|key, message| {
        let digest = RustCrypto.digest(message);
        // DigestInfo of SHA-256 (RFC 8017 §9.2).
        let head: [u8; 19] =
            [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 32];
        let info = [&head, digest.as_bytes().as_slice()].concat();
        let padding = vec![0xff; 512 - 3 - info.len()];
        key.raw(&[&[0, 1], &padding[..], &[0], &info].concat())
    });
    cases.refused(201, "rsa_under_another_algorithm", "an RSA key under the identifier Ed25519", |scene| {
        scene.holders(1, vec![("alice", vec![TestKey::rsa(4096, 0)])]);
        let mut block = scene.block();
        block.protected.set(1, item::int(-19));
        block.sign(scene.key(), b"", &scene.craft.digest());
        scene.blocks(&[block.encode()]);
    });
    cases.refused(201, "ed25519_key_as_rsa", "an Ed25519 key under the identifier PS256", |scene| {
        let mut block = scene.block();
        block.protected.set(1, item::int(-37));
        block.sign(scene.key(), b"", &scene.craft.digest());
        scene.blocks(&[block.encode()]);
    });
    for (name, about, algorithm) in [
        ("rsa_as_ps384", "PS256 under the identifier of PS384", -38),
        ("rsa_as_rs256", "PS256 under the identifier of RSASSA-PKCS1-v1_5", -257),
    ] {
        cases.refused(102, name, about, |scene| {
            scene.holders(1, vec![("alice", vec![TestKey::rsa(4096, 0)])]);
            let mut block = scene.block();
            block.protected.set(1, item::int(algorithm));
            block.sign(scene.key(), b"", &scene.craft.digest());
            scene.blocks(&[block.encode()]);
        });
    }
}

//! The device's RSA verifier against the host's (AWS-LC): signatures and keys
//! with something changed, noise, and moduli at the edges of the arithmetic.
//! Wycheproof's vectors are beside this file.
#![allow(clippy::unwrap_used)]

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PSS_SHA256, RSA_PSS_SHA384, RsaKeyPair};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_keys::verify;
use firmseal_manifest::{PublicKey, Signature, Tbs};
use firmseal_testkit::rsa::Private;

/// What both verifiers say; they never disagree.
fn verdict(key: &PublicKey, message: &[u8], signature: &[u8], what: &str) -> bool {
    let host = verify(key, &Tbs::Message(message.to_vec()), &Signature(signature.to_vec())).is_ok();
    let device = RustCrypto.verify(&key.as_core().unwrap(), message, signature).is_ok();
    assert_eq!(host, device, "host and device disagree: {what}");
    device
}

/// Bytes that look random and are the same in every run.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

fn differential(size: KeySize, length: usize) {
    let mut bytes = Bytes(0x5eed ^ length as u64);
    let random = SystemRandom::new();
    for _ in 0..2 {
        let pair = RsaKeyPair::generate(size).unwrap();
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let key = PublicKey::from_spki(spki.as_ref()).unwrap();
        let mut last = vec![0; length];
        for _ in 0..24 {
            let count = bytes.next() % 300;
            let message = bytes.take(count);
            let mut signature = vec![0; length];
            pair.sign(&RSA_PSS_SHA256, &random, &message, &mut signature).unwrap();
            assert!(verdict(&key, &message, &signature, "a good one"));
            assert!(!verdict(&key, &message, &last, "that of another message"));
            let (at, bit) = (bytes.next() % length, bytes.next() % 8);
            let mut other = signature.clone();
            other[at] ^= 1 << bit;
            assert!(!verdict(&key, &message, &other, "a bit of the signature"));
            pair.sign(&RSA_PSS_SHA384, &random, &message, &mut other).unwrap();
            assert!(!verdict(&key, &message, &other, "another hash"));
            last = signature;
        }
        let mut message = b"firmseal".to_vec();
        pair.sign(&RSA_PSS_SHA256, &random, &message, &mut last).unwrap();
        let modulus = match key.as_core().unwrap() {
            firmseal_core::PublicKey::Rsa(key) => key.modulus().to_vec(),
            _ => Vec::new(),
        };
        for at in [1, length / 2, length - 1] {
            let mut other = modulus.clone();
            other[at] ^= 2;
            let other = PublicKey::from_rsa(&other, &[1, 0, 1]).unwrap();
            assert!(!verdict(&other, &message, &last, "a bit of the key"));
        }
        message[0] ^= 1;
        assert!(!verdict(&key, &message, &last, "a bit of the message"));
        // Numbers around the modulus, which a careless verifier reduces.
        for signature in [modulus.clone(), vec![0xff; length], vec![0; length]] {
            assert!(!verdict(&key, &message, &signature, "no number below the modulus that means anything"));
        }
        for count in [0, 1, length - 1, length + 1, 2 * length] {
            assert!(!verdict(&key, &message, &vec![1; count], "another length"));
        }
        for _ in 0..40 {
            let mut noise = bytes.take(length);
            noise[0] &= 0x7f;
            assert!(!verdict(&key, &message, &noise, "noise"));
        }
    }
}

#[test]
fn rsa_3072_as_the_host_does() {
    differential(KeySize::Rsa3072, 384);
}

#[test]
fn rsa_4096_as_the_host_does() {
    differential(KeySize::Rsa4096, 512);
}

/// Sizes, and how far primes are below 2^size and above 2^(size - 1).
const EDGES: [(u64, u32, u32); 2] = [(3072, 47, 2291), (4096, 2549, 579)];

/// A prime is a modulus that one can sign under as well, and there are primes
/// whose words are nearly all ones or nearly all zeros: where carries run
/// through, and where a product is hardly smaller than the modulus.
#[test]
fn moduli_at_the_edges() {
    for (bits, below, above) in EDGES {
        for key in [Private::below_the_power_of_two(bits, below), Private::above_the_half(bits, above)] {
            let public = key.public();
            for message in [&b""[..], b"firmseal", &[0; 100]] {
                let signature = key.sign(message);
                assert!(verdict(&public, message, &signature, "a good one"), "{bits} bits");
                let mut other = signature;
                *other.last_mut().unwrap() ^= 1;
                assert!(!verdict(&public, message, &other, "a bit of the signature"), "{bits} bits");
            }
        }
    }
}

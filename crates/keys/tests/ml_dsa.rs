//! The device's ML-DSA verifier against the host's (AWS-LC), and both
//! against Wycheproof.
#![allow(clippy::unwrap_used)]

use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, ML_DSA_87_SIGNING, PqdsaKeyPair, PqdsaSigningAlgorithm,
};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::mldsa::{Key, Set};
use firmseal_keys::verify;
use firmseal_manifest::{PublicKey, Signature, Tbs};
use wycheproof::TestResult;
use wycheproof::mldsa_verify::{TestName, TestSet};

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

    fn below(&mut self, limit: usize) -> usize {
        self.next() % limit
    }
}

/// `challenge` and `hints` are lengths: what stands before and after the
/// response.
fn differential(set: Set, signing: &'static PqdsaSigningAlgorithm, challenge: usize, hints: usize) {
    let mut bytes = Bytes(0x5eed ^ set.key_len() as u64);
    for round in 0..12 {
        let pair = PqdsaKeyPair::generate(signing).unwrap();
        let key = PublicKey::from_ml_dsa(set, pair.public_key().as_ref()).unwrap();
        for _ in 0..4 {
            let message: Vec<u8> = (0..bytes.below(300)).map(|_| bytes.next() as u8).collect();
            let mut signature = vec![0; set.signature_len()];
            assert_eq!(pair.sign(&message, &mut signature).unwrap(), signature.len());
            assert!(verdict(&key, &message, &signature, "a good one"));
            // A bit anywhere, and one in the challenge and in the hints,
            // which are small beside the response.
            let hints = signature.len() - hints;
            for (from, to) in [(0, challenge), (challenge, hints), (hints, signature.len())] {
                let mut other = signature.clone();
                other[from + bytes.below(to - from)] ^= 1 << bytes.below(8);
                assert!(!verdict(&key, &message, &other, "a bit of the signature"), "round {round}");
            }
            // Hints moved about: many of these are well formed.
            let mut other = signature.clone();
            let end = other.len();
            other.swap(hints + bytes.below(end - hints), hints + bytes.below(end - hints));
            assert_eq!(verdict(&key, &message, &other, "hints swapped"), other == signature);
        }
        let mut encoded = pair.public_key().as_ref().to_vec();
        let at = bytes.below(encoded.len());
        encoded[at] ^= 1 << bytes.below(8);
        let other = PublicKey::from_ml_dsa(set, &encoded).unwrap();
        let mut signature = vec![0; set.signature_len()];
        pair.sign(b"firmseal", &mut signature).unwrap();
        assert!(verdict(&key, b"firmseal", &signature, "a good one"));
        assert!(!verdict(&other, b"firmseal", &signature, "a bit of the key"));
    }
}

#[test]
fn ml_dsa_44_as_the_host_does() {
    differential(Set::MlDsa44, &ML_DSA_44_SIGNING, 32, 84);
}

#[test]
fn ml_dsa_65_as_the_host_does() {
    differential(Set::MlDsa65, &ML_DSA_65_SIGNING, 48, 61);
}

#[test]
fn ml_dsa_87_as_the_host_does() {
    differential(Set::MlDsa87, &ML_DSA_87_SIGNING, 64, 83);
}

/// No byte string of the right length makes either verifier panic, and no
/// other length is looked at.
#[test]
fn noise_is_refused() {
    let mut bytes = Bytes(7);
    for set in [Set::MlDsa44, Set::MlDsa65, Set::MlDsa87] {
        let mut noise = |len: usize| -> Vec<u8> { (0..len).map(|_| bytes.next() as u8).collect() };
        for _ in 0..40 {
            let key = PublicKey::from_ml_dsa(set, &noise(set.key_len())).unwrap();
            assert!(!verdict(&key, b"", &noise(set.signature_len()), "noise"));
            // Well-formed hints and small coefficients reach the end.
            assert!(!verdict(&key, b"", &vec![0; set.signature_len()], "zeros"));
            for len in [0, 1, set.signature_len() - 1, set.signature_len() + 1] {
                assert!(!verdict(&key, b"", &vec![0; len], "another length"));
            }
        }
        for len in [0, 32, set.key_len() - 1, set.key_len() + 1] {
            assert!(Key::decode(set, &vec![0; len]).is_none());
        }
    }
}

#[test]
fn wycheproof() {
    for (name, set) in [
        (TestName::MlDsa44Verify, Set::MlDsa44),
        (TestName::MlDsa65Verify, Set::MlDsa65),
        (TestName::MlDsa87Verify, Set::MlDsa87),
    ] {
        let (mut ran, mut accepted) = (0, 0);
        for group in &TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                ran += 1;
                let what = format!("{set:?} {}: {}", test.tc_id, test.comment);
                let Ok(key) = PublicKey::from_ml_dsa(set, &group.pubkey) else {
                    assert_eq!(test.result, TestResult::Invalid, "{what}");
                    continue;
                };
                let good = verdict(&key, &test.msg, &test.sig, &what);
                accepted += usize::from(good);
                // With a context it is a signature for somebody else.
                let ours = test.ctx.as_ref().is_none_or(|context| context.is_empty());
                assert_eq!(good, ours && test.result == TestResult::Valid, "{what}");
            }
        }
        println!("{set:?}: {ran} vectors, {accepted} accepted");
        assert!(ran > 50 && accepted > 5, "{set:?}: {ran} vectors, {accepted} accepted");
    }
}

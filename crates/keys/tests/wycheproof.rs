//! Project Wycheproof's vectors against both verifiers: the host's, and the
//! device's for what devices verify. The two never disagree.
#![allow(clippy::unwrap_used)]

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_keys::verify;
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs};
use wycheproof::TestResult;

/// Runs one vector; returns whether it was accepted.
fn check(key: &PublicKey, message: &[u8], signature: &[u8], expected: TestResult, what: &str) -> bool {
    let host = verify(key, &Tbs::Message(message.to_vec()), &Signature(signature.to_vec())).is_ok();
    if let Some(device) = key.as_core() {
        let device = RustCrypto.verify(&device, message, signature).is_ok();
        assert_eq!(host, device, "host and device disagree: {what}");
    }
    match expected {
        TestResult::Valid => assert!(host, "refused: {what}"),
        TestResult::Invalid => assert!(!host, "accepted: {what}"),
        TestResult::Acceptable => {}
    }
    host
}

fn ecdsa(set: wycheproof::ecdsa::TestName, algorithm: KeyAlgorithm) {
    let set = wycheproof::ecdsa::TestSet::load(set).unwrap();
    let (mut ran, mut accepted) = (0, 0);
    for group in &set.test_groups {
        let key = PublicKey::from_spki(&group.der).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        for test in &group.tests {
            let what = format!("{algorithm} {}: {}", test.tc_id, test.comment);
            accepted += usize::from(check(&key, &test.msg, &test.sig, test.result, &what));
            ran += 1;
        }
    }
    println!("{algorithm}: {ran} vectors, {accepted} accepted");
    assert!(ran > 200 && accepted > 100);
}

#[test]
fn ecdsa_p256() {
    ecdsa(wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256P1363, KeyAlgorithm::P256);
}

#[test]
fn ecdsa_p384() {
    ecdsa(wycheproof::ecdsa::TestName::EcdsaSecp384r1Sha384P1363, KeyAlgorithm::P384);
}

#[test]
fn ecdsa_in_der_is_refused() {
    // r || s only: one signature, one encoding.
    for name in
        [wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256, wycheproof::ecdsa::TestName::EcdsaSecp384r1Sha384]
    {
        let set = wycheproof::ecdsa::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let key = PublicKey::from_spki(&group.der).unwrap();
            for test in &group.tests {
                assert!(!check(&key, &test.msg, &test.sig, TestResult::Invalid, &test.comment));
            }
        }
    }
}

#[test]
fn ed25519() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let (mut ran, mut accepted) = (0, 0);
    for group in &set.test_groups {
        let key = PublicKey::from_spki(&group.der).unwrap();
        for test in &group.tests {
            let what = format!("ed25519 {}: {}", test.tc_id, test.comment);
            accepted += usize::from(check(&key, &test.msg, &test.sig, test.result, &what));
            ran += 1;
        }
    }
    println!("ed25519: {ran} vectors, {accepted} accepted");
    assert!(ran > 100 && accepted > 50);
}

#[test]
fn rsa_pss_with_salt_32() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    for (name, bits) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, 2048),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, 3072),
        (TestName::RsaPss4096Sha256Mgf1SaltLen32, 4096),
    ] {
        let set = TestSet::load(name).unwrap();
        let (mut ran, mut accepted) = (0, 0);
        for group in &set.test_groups {
            let key = PublicKey::from_spki(&group.der).unwrap();
            assert_eq!(key.algorithm(), KeyAlgorithm::Rsa(bits));
            for test in &group.tests {
                let what = format!("rsa{bits} {}: {}", test.tc_id, test.comment);
                accepted += usize::from(check(&key, &test.msg, &test.sig, test.result, &what));
                ran += 1;
            }
        }
        println!("rsa{bits}: {ran} vectors, {accepted} accepted");
        assert!(ran > 80 && accepted > 20);
    }
}

#[test]
fn rsa_pss_with_any_other_salt_or_hash_is_refused() {
    use wycheproof::HashFunction::Sha2_256;
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let mut refused = 0;
    for name in [
        TestName::RsaPss2048Sha256Mgf1SaltLen0,
        TestName::RsaPss2048Sha256Mgf1Sha1_20,
        TestName::RsaPss2048Sha384Mgf1SaltLen48,
        TestName::RsaPss2048Sha1Mgf1SaltLen20,
        TestName::RsaPss4096Sha512Mgf1SaltLen32,
        TestName::RsaPssmisc,
    ] {
        for group in &TestSet::load(name).unwrap().test_groups {
            let hashes = group.hash == Sha2_256 && group.mgf_hash == Some(Sha2_256);
            // Sizes that are weak or unusual are no keys at all.
            let Ok(key) = PublicKey::from_spki(&group.der) else { continue };
            for test in &group.tests {
                // A vector that spoils another set with our salt is ours.
                if hashes && (group.salt_size == 32 || test.comment == "s_len changed to 32") {
                    continue;
                }
                check(&key, &test.msg, &test.sig, TestResult::Invalid, &test.comment);
                refused += 1;
            }
        }
    }
    println!("rsa with other parameters: {refused} vectors, none accepted");
    assert!(refused > 300);
}

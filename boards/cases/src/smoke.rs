//! Cryptography alone: does it give the right answers on this machine, and
//! what does it cost?

use core::hint::black_box;

use firmseal_core::crypto::RustCrypto;
use firmseal_core::mldsa::{self, Set};
use firmseal_core::{Crypto, Digest, Hasher, PublicKey, lms, rsa};

use crate::probe::{Probe, Report};

/// ECDSA P-256 with SHA-256 over "sample" (RFC 6979 §A.2.5).
mod p256 {
    pub(super) const X: [u8; 32] = hex("60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6");
    pub(super) const Y: [u8; 32] = hex("7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299");
    pub(super) const MESSAGE: &[u8] = b"sample";
    pub(super) const SIGNATURE: [u8; 64] =
        hex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
         f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8");

    use super::hex;
}

/// Ed25519, test 3 of RFC 8032 §7.1.
mod ed25519 {
    pub(super) const X: [u8; 32] = hex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
    pub(super) const MESSAGE: &[u8] = &[0xaf, 0x82];
    pub(super) const SIGNATURE: [u8; 64] =
        hex("6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
         18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a");

    use super::hex;
}

/// What the keys below have signed; `data` is written by the tests of
/// firmseal-testkit, a key and its signature in each file.
const MESSAGE: &[u8] = b"firmseal";
const LMS: &[u8] = include_bytes!("../data/lms.bin");
const ML_DSA: [(&str, &str, Set, &[u8]); 3] = [
    ("crypto:ml_dsa_44", "crypto:ml_dsa_44_refused", Set::MlDsa44, include_bytes!("../data/ml_dsa_44.bin")),
    ("crypto:ml_dsa_65", "crypto:ml_dsa_65_refused", Set::MlDsa65, include_bytes!("../data/ml_dsa_65.bin")),
    ("crypto:ml_dsa_87", "crypto:ml_dsa_87_refused", Set::MlDsa87, include_bytes!("../data/ml_dsa_87.bin")),
];
const RSA: [(&str, &str, usize, &[u8]); 2] = [
    ("crypto:rsa_3072", "crypto:rsa_3072_refused", 384, include_bytes!("../data/rsa_3072.bin")),
    ("crypto:rsa_4096", "crypto:rsa_4096_refused", 512, include_bytes!("../data/rsa_4096.bin")),
];

/// SHA-256 of "abc" (FIPS 180-2, appendix B.1).
const ABC: [u8; 32] = hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

/// Runs the cryptographic cases; code 0 where the answer is the right one,
/// which for a bad signature is a refusal. `strong` runs the rest.
pub fn run(probe: &mut impl Probe, report: &mut impl Report) {
    let p256 = PublicKey::P256 { x: &p256::X, y: &p256::Y };
    let ed25519 = PublicKey::Ed25519(&ed25519::X);
    verify(probe, report, "crypto:p256", true, &p256, p256::MESSAGE, &p256::SIGNATURE);
    verify(probe, report, "crypto:p256_refused", false, &p256, b"simple", &p256::SIGNATURE);
    verify(probe, report, "crypto:ed25519", true, &ed25519, ed25519::MESSAGE, &ed25519::SIGNATURE);
    verify(probe, report, "crypto:ed25519_refused", false, &ed25519, &[0xaf, 0x83], &ed25519::SIGNATURE);

    let (digest, cost) = probe.measure(|| RustCrypto.digest(black_box(b"abc")));
    report.result("crypto:sha256_abc", u16::from(digest != Digest(ABC)), cost);
    // In pieces: 64 KiB of zeros would be part of the program.
    let (_, cost) = probe.measure(|| {
        let mut hasher = RustCrypto.sha256();
        (0..64).for_each(|_| hasher.update(black_box(&[0; 1024])));
        hasher.finish()
    });
    report.result("crypto:sha256_64k", 0, cost);
}

/// Runs the stronger algorithms.
pub fn strong(probe: &mut impl Probe, report: &mut impl Report) {
    // Of 60 bytes: SHA-256.
    let (key, signature) = LMS.split_at(60);
    let Some(key) = lms::Key::decode(key).map(PublicKey::Lms) else {
        return report.line(format_args!("the LMS key is none"));
    };
    verify(probe, report, "crypto:lms_h5_w4", true, &key, MESSAGE, signature);
    verify(probe, report, "crypto:lms_h5_w4_refused", false, &key, b"firmsea1", signature);
    for (good, bad, set, bytes) in ML_DSA {
        let (key, signature) = bytes.split_at(set.key_len());
        let Some(key) = mldsa::Key::decode(set, key).map(PublicKey::MlDsa) else {
            return report.line(format_args!("the ML-DSA key is none"));
        };
        verify(probe, report, good, true, &key, MESSAGE, signature);
        verify(probe, report, bad, false, &key, b"firmsea1", signature);
    }
    for (good, bad, length, bytes) in RSA {
        let (modulus, signature) = bytes.split_at(length);
        let Some(key) = rsa::Key::decode(modulus, &[1, 0, 1]).map(PublicKey::Rsa) else {
            return report.line(format_args!("the RSA key is none"));
        };
        verify(probe, report, good, true, &key, MESSAGE, signature);
        verify(probe, report, bad, false, &key, b"firmsea1", signature);
    }
}

fn verify(
    probe: &mut impl Probe,
    report: &mut impl Report,
    name: &str,
    good: bool,
    key: &PublicKey<'_>,
    message: &[u8],
    signature: &[u8],
) {
    let (verdict, cost) = probe.measure(|| RustCrypto.verify(black_box(key), message, signature));
    report.result(name, u16::from(verdict.is_ok() != good), cost);
}

/// Bytes of a hexadecimal constant; a wrong one does not compile.
const fn hex<const N: usize>(text: &str) -> [u8; N] {
    const fn digit(letter: u8) -> u8 {
        match letter {
            b'0'..=b'9' => letter - b'0',
            b'a'..=b'f' => letter - b'a' + 10,
            _ => panic!("not a hexadecimal digit"),
        }
    }
    let text = text.as_bytes();
    assert!(text.len() == 2 * N);
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = digit(text[2 * at]) << 4 | digit(text[2 * at + 1]);
        at += 1;
    }
    bytes
}

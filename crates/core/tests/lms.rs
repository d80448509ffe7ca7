//! LMS signatures by other implementations verify, and nothing near them.
#![allow(clippy::unwrap_used)]

use firmseal_core::PublicKey;
use firmseal_core::crypto::{BadSignature, Crypto, RustCrypto};
use firmseal_core::lms::Key;

struct Sample {
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

fn samples() -> Vec<Sample> {
    let unhex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let lines: Vec<_> = include_str!("data/lms.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    lines
        .chunks(3)
        .map(|record| {
            assert_eq!([record[0].0, record[1].0, record[2].0], ["key", "message", "signature"]);
            let [key, message, signature] = [0, 1, 2].map(|at| unhex(record[at].1));
            Sample { key, message, signature }
        })
        .collect()
}

fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    let key = Key::decode(key).ok_or(BadSignature)?;
    RustCrypto.verify(&PublicKey::Lms(key), message, signature)
}

/// RFC 8554, appendix F, and pyhsslms with every width and both hashes.
#[test]
fn signatures_of_others_verify() {
    let samples = samples();
    assert_eq!(samples.len(), 14);
    for Sample { key, message, signature } in samples {
        let set = Key::decode(&key).unwrap().parameters();
        assert_eq!(signature.len(), set.signature_len(), "{set:?}");
        assert_eq!(verify(&key, &message, &signature), Ok(()), "{set:?}");
    }
}

/// One bit, at places all over the signature and the key.
#[test]
fn a_bit_anywhere_breaks_a_signature() {
    for Sample { key, message, signature } in samples() {
        for at in (0..signature.len()).step_by(signature.len() / 30) {
            let mut other = signature.clone();
            other[at] ^= 1 << (at % 8);
            assert_eq!(verify(&key, &message, &other), Err(BadSignature), "byte {at}");
        }
        for at in (0..key.len()).step_by(3) {
            let mut other = key.clone();
            other[at] ^= 1;
            assert_eq!(verify(&other, &message, &signature), Err(BadSignature), "key byte {at}");
        }
        assert_eq!(verify(&key, &message[1..], &signature), Err(BadSignature));
        assert_eq!(verify(&key, &[&message[..], &[0]].concat(), &signature), Err(BadSignature));
    }
}

#[test]
fn no_length_but_the_right_one_is_looked_at() {
    for Sample { key, message, signature } in samples() {
        for length in (0..signature.len()).step_by(17).chain([signature.len() - 1]) {
            assert_eq!(verify(&key, &message, &signature[..length]), Err(BadSignature));
        }
        let longer = [&signature[..], &[0]].concat();
        assert_eq!(verify(&key, &message, &longer), Err(BadSignature));
        for length in 0..key.len() {
            assert!(Key::decode(&key[..length]).is_none());
        }
        assert!(Key::decode(&[&key[..], &[0]].concat()).is_none());
    }
}

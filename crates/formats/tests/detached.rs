//! Signatures beside a file: what a key signs of it, and in which padding.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::TestKey;
use firmseal_formats::{FormatError, Kept, Parameters, Wanted, find, lay_out, lay_out_kept};
use firmseal_manifest::{Digest, Tbs};

const FIRMWARE: &[u8] = b"firmware";

/// What the key signs: read from the file, and known from its digest, which is
/// the same.
fn over(key: &TestKey, padding: Option<&str>) -> Result<Tbs, FormatError> {
    let parameters: Parameters = padding.map(|padding| ("padding", padding)).into_iter().collect();
    let version = semver::Version::new(1, 0, 0);
    let wanted = Wanted { version, epoch: 0, key: &key.public, parameters: &parameters };
    let raw = find("raw").unwrap();
    let read = lay_out(raw, &FIRMWARE.to_vec(), &wanted).map(|laid_out| laid_out.tbs);
    let digest = Digest(sha256());
    let kept = |detected| Kept { sha256: &digest, len: FIRMWARE.len() as u64, detected };
    let known = lay_out_kept(raw, &kept("raw"), &wanted);
    let other = lay_out_kept(raw, &kept("mcuboot"), &wanted);
    assert!(other.unwrap().is_none(), "who knows what it begins with");
    assert_eq!(known.ok().map(|known| known.unwrap().tbs), read.as_ref().ok().cloned());
    read
}

fn sha256() -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, FIRMWARE);
    digest.as_ref().try_into().unwrap()
}

#[test]
fn rsa_pads_as_it_is_asked_and_nothing_else_does() {
    let (rsa, p256) = (TestKey::load("rsa3072"), TestKey::load("p256"));
    assert_eq!(over(&rsa, None).unwrap(), Tbs::Sha256(sha256()));
    assert_eq!(over(&rsa, Some("pss")).unwrap(), Tbs::Sha256(sha256()));
    assert_eq!(over(&rsa, Some("pkcs1")).unwrap(), Tbs::Pkcs1(sha256()));
    for (key, padding) in [(&rsa, "PKCS1"), (&rsa, ""), (&p256, "pkcs1"), (&p256, "pss")] {
        assert!(over(key, Some(padding)).is_err(), "{padding}");
    }
    let inputs = [Tbs::Sha256(sha256()), Tbs::Pkcs1(sha256()), Tbs::Message(sha256().to_vec())];
    for (index, one) in inputs.iter().enumerate() {
        assert!(inputs[index + 1..].iter().all(|other| other.fingerprint() != one.fingerprint()));
    }
}

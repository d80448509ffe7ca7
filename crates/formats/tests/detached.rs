//! Signatures beside a file: what a key signs of it, and in which padding.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{OpenSsl, TestKey, verifies};
use firmseal_formats::{
    Covered, ExistingSignature, FormatError, Kept, KeyClaim, Parameters, Wanted, find, lay_out, lay_out_kept,
};
use firmseal_manifest::{Digest, Signature, Tbs};

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
    assert_eq!(over(&rsa, Some("pss-max")).unwrap(), Tbs::PssMax(sha256()));
    for (key, padding) in [(&rsa, "PKCS1"), (&p256, "pss-max"), (&rsa, ""), (&p256, "pkcs1"), (&p256, "pss")]
    {
        assert!(over(key, Some(padding)).is_err(), "{padding}");
    }
    let message = Tbs::Message(sha256().to_vec());
    let inputs = [Tbs::Sha256(sha256()), Tbs::Pkcs1(sha256()), Tbs::PssMax(sha256()), message];
    for (index, one) in inputs.iter().enumerate() {
        assert!(inputs[index + 1..].iter().all(|other| other.fingerprint() != one.fingerprint()));
    }
}

/// Signs and verifies as Python's cryptography does with `PSS.MAX_LENGTH`:
/// ours, which has to verify, and not over anything else; then its own.
const PYTHON: &str = r#"
import sys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
key = serialization.load_pem_private_key(open("rsa3072.pem", "rb").read(), None)
maximal = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
message, ours = open("message", "rb").read(), open("ours", "rb").read()
key.public_key().verify(ours, message, maximal, hashes.SHA256())
try:
    key.public_key().verify(ours, message + b"!", maximal, hashes.SHA256())
    sys.exit("it takes anything")
except InvalidSignature:
    pass
open("its", "wb").write(key.sign(message, maximal, hashes.SHA256()))
"#;

#[test]
fn python_takes_the_longest_salt_and_we_take_its() {
    let key = TestKey::load("rsa3072");
    let tbs = over(&key, Some("pss-max")).unwrap();
    let openssl = OpenSsl::new(&["rsa3072"]);
    openssl.write("message", FIRMWARE);
    openssl.write("ours", &key.sign(&tbs).0);
    let venv = std::env::var_os("FIRMSEAL_VENV")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
    let python =
        Command::new(venv.join("bin/python")).args(["-c", PYTHON]).current_dir(openssl.dir.path()).output();
    let python = python.expect("there is a Python environment: run `cargo xtask setup`");
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));

    let taken = |value: &[u8], tbs: Tbs, key: &TestKey| {
        let (algorithm, signature) = (key.public.algorithm(), Signature(value.to_vec()));
        let covered = Covered::Tbs(tbs);
        verifies(&ExistingSignature { algorithm, claim: KeyClaim::None, covered, signature }, &key.public)
    };
    let its = openssl.read("its");
    assert!(taken(&its, tbs.clone(), &key));
    assert!(!taken(&its, Tbs::PssMax([7; 32]), &key), "of something else");
    assert!(!taken(&its, Tbs::Sha256(sha256()), &key), "as one of devices");
    assert!(!taken(&its, tbs.clone(), &TestKey::load("other-rsa3072")), "by somebody else");
    let short = key.sign(&Tbs::Sha256(sha256()));
    assert!(!taken(&short.0, tbs.clone(), &key), "with a salt of another length");
    for at in 0..its.len() {
        let mut spoilt = its.clone();
        spoilt[at] ^= 1;
        assert!(!taken(&spoilt, tbs.clone(), &key), "byte {at}");
    }
}

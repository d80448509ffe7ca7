//! The inputs of the board's own cases, reproduced byte for byte.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use firmseal_core::PublicKey;
use firmseal_core::mldsa::Set;
use firmseal_manifest::Tbs;
use firmseal_testkit::keys::TestKey;

/// A public key, then its signature over the message of the board's cases.
#[test]
fn keys_and_signatures_of_the_board_are_reproduced() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../boards/cases/data");
    for (name, key) in [
        ("lms.bin", TestKey::lms(1)),
        ("ml_dsa_44.bin", TestKey::ml_dsa(Set::MlDsa44, 1)),
        ("ml_dsa_65.bin", TestKey::ml_dsa(Set::MlDsa65, 1)),
        ("ml_dsa_87.bin", TestKey::ml_dsa(Set::MlDsa87, 1)),
        ("rsa_3072.bin", TestKey::rsa(3072, 0)),
        ("rsa_4096.bin", TestKey::rsa(4096, 0)),
    ] {
        let public = match key.public().as_core() {
            // Not its DER: a device reads a COSE_Key.
            Some(PublicKey::Rsa(rsa)) => rsa.modulus().to_vec(),
            _ => key.public().bits(),
        };
        let bytes = [public, key.sign(&Tbs::Message(b"firmseal".to_vec())).0].concat();
        let path = folder.join(name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{name}: run with UPDATE=1");
    }
}

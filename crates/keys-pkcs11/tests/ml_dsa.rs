//! ML-DSA keys in a token: kryoptic, a module of other people's that speaks
//! PKCS#11 3.2. SoftHSM2 does not.
//!
//! `cargo xtask test --long ml-dsa` builds it, and says where it is.
#![allow(clippy::unwrap_used)]

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use firmseal_keys::conformance::{self, MemoryLog, covering};
use firmseal_keys::pool::wait;
use firmseal_keys::{Secret, Signer, verify};
use firmseal_keys_pkcs11::{Options, Pkcs11Error, Pkcs11Key, Pkcs11Uri, generate, list};
use firmseal_manifest::{KeyAlgorithm, Tbs};

const PIN: &str = "123456";
const ALGORITHMS: [&str; 3] = ["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"];

fn pin() -> Option<Secret> {
    Some(Secret::new(PIN.into()))
}

/// Makes a token called `test` of the module's only slot.
fn make_token(module: &str) {
    let context = Pkcs11::new(module).unwrap();
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = context.get_all_slots().unwrap()[0];
    let officer = AuthPin::new("87654321".into());
    context.init_token(slot, &officer, "test").unwrap();
    let session = context.open_rw_session(slot).unwrap();
    session.login(UserType::So, Some(&officer)).unwrap();
    session.init_pin(&AuthPin::new(PIN.into())).unwrap();
    drop(session);
    context.finalize().unwrap();
}

#[test]
#[ignore = "needs a module that knows CKM_ML_DSA: cargo xtask test --long ml-dsa"]
fn keys_of_every_set_conform() {
    let module = std::env::var("FIRMSEAL_ML_DSA_MODULE").unwrap();
    make_token(&module);
    let uri = |path: &str| -> Pkcs11Uri { format!("pkcs11:{path}?module-path={module}").parse().unwrap() };
    for algorithm in ALGORITHMS {
        let algorithm: KeyAlgorithm = algorithm.parse().unwrap();
        let made = generate(&uri(&format!("token=test;object={algorithm}")), pin(), algorithm).unwrap();
        assert_eq!(made.protection.weakness(), None);
        let found = Pkcs11Uri { module_path: Some(module.clone().into()), ..made.uri };
        let key = Pkcs11Key::open(&found, pin(), Options::default()).unwrap();
        assert_eq!(key.public_key().algorithm(), algorithm);
        assert_eq!(Some(key.public_key()), made.public_key.as_ref().ok());
        assert!(key.describe().contains("cannot leave the token"), "{}", key.describe());
        wait(conformance::run(&key));
        conformance::run_threads(&key, 4);
        // Ours verifies what kryoptic signs, and no other message.
        let tbs = Tbs::Message(b"firmware".to_vec());
        let intent = wait(covering(&MemoryLog::default(), key.public_key(), &tbs));
        let signature = wait(key.sign(intent, tbs.clone())).unwrap();
        assert!(verify(key.public_key(), &tbs, &signature).is_ok());
        let other = Tbs::Message(b"firmware!".to_vec());
        assert!(verify(key.public_key(), &other, &signature).is_err());
    }
    let listed = list(&uri("token=test"), pin()).unwrap();
    assert_eq!(listed.len(), ALGORITHMS.len());
    assert!(listed.iter().all(|key| key.protection.weakness().is_none()));
    let again = generate(&uri("token=test;object=ml-dsa-65"), pin(), KeyAlgorithm::P256);
    assert!(matches!(again, Err(Pkcs11Error::Exists(_))), "a name is given once");
}

//! Signers and logs as trait objects: what a server holds.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use firmseal_keys::conformance::{self, MemoryLog, intent};
use firmseal_keys::pool::wait;
use firmseal_keys::{DynLog, DynSigner, FileKey, Logged, Secret, SignError, Signer, verify};
use firmseal_manifest::{KeyAlgorithm, Purpose, Tbs};

#[test]
fn a_server_signs_through_objects_alone() {
    let dir = tempfile::tempdir().unwrap();
    let passphrase = Secret::new(b"correct horse".to_vec());
    let key = FileKey::generate(&dir.path().join("key.pem"), KeyAlgorithm::P256, &passphrase).unwrap();
    let signer: Arc<dyn DynSigner> = Arc::new(key);
    let memory = Arc::new(MemoryLog::default());
    let log: Arc<dyn DynLog> = memory.clone();

    let tbs = Tbs::Message(b"firmware".to_vec());
    let intent = intent(Purpose::Artifact, tbs.fingerprint(), signer.public_key());
    let leaf = intent.encode();
    let signature = wait(async {
        let logged =
            Logged::append(&*log, intent).await.map_err(|error| SignError::Refused(error.to_string()))?;
        assert_eq!(logged.index(), 0);
        signer.sign(logged, tbs.clone()).await
    });
    verify(signer.public_key(), &tbs, &signature.unwrap()).unwrap();
    assert_eq!(memory.leaves(), [leaf]);

    // The object is a signer like any other, also across threads.
    wait(conformance::run(&signer));
    conformance::run_threads(&signer, 4);
    let moved = Arc::clone(&signer);
    std::thread::spawn(move || wait(conformance::run(&moved))).join().unwrap();
}

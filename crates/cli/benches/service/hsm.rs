//! HSMs: one in the network that is simulated, and SoftHSM2.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use firmseal_keys::{
    Backend, Covered, DynSigner, FileKey, Log, LogError, Logged, Secret, SignError, Verifier,
};
use firmseal_keys_pkcs11::{Options, Pkcs11Key, Pkcs11Uri, generate};
use firmseal_manifest::{Digest, Intent, KeyAlgorithm, PublicKey, Purpose, Signature, Tbs};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// How long an answer is on the way.
const WAY: Duration = Duration::from_millis(2);
const PIN: &str = "123456";

/// An HSM behind a network.
pub(crate) struct NetworkHsm {
    key: FileKey,
    /// Between two signatures; none for one without a limit.
    pace: Option<Duration>,
    next: Mutex<Instant>,
}

impl NetworkHsm {
    pub(crate) fn new(directory: &Path, rate: Option<u32>) -> NetworkHsm {
        let secret = Secret::new(b"bench".to_vec());
        let key = FileKey::generate(&directory.join("key.pem"), KeyAlgorithm::P256, &secret).unwrap();
        let pace = rate.map(|rate| Duration::from_secs(1) / rate);
        NetworkHsm { key, pace, next: Mutex::new(Instant::now()) }
    }
}

impl Backend for NetworkHsm {
    fn public_half(&self) -> &PublicKey {
        self.key.public_half()
    }

    fn verifier(&self) -> Option<&Verifier> {
        self.key.verifier()
    }

    async fn sign_unverified(&self, covered: Covered) -> Result<Signature, SignError> {
        if let Some(pace) = self.pace {
            let turn = {
                let mut next = self.next.lock().unwrap();
                let turn = (*next).max(Instant::now());
                *next = turn + pace;
                turn
            };
            tokio::time::sleep_until((turn + pace + WAY).into()).await;
        }
        self.key.sign_unverified(covered).await
    }
}

/// A token of SoftHSM2.
pub(crate) struct Soft(TempDir);

impl Soft {
    pub(crate) fn installed() -> Option<PathBuf> {
        let places = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
            "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
            "/usr/lib64/softhsm/libsofthsm2.so",
        ];
        places.iter().map(PathBuf::from).find(|path| path.exists())
    }

    /// A new token in a directory of its own.
    pub(crate) fn create() -> Soft {
        let soft = Soft(tempfile::tempdir().unwrap());
        let tokens = soft.0.path().join("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        std::fs::write(soft.conf(), text).unwrap();
        let init = ["--init-token", "--free", "--label", "bench", "--so-pin", "87654321", "--pin", PIN];
        let made = Command::new("softhsm2-util").env("SOFTHSM2_CONF", soft.conf()).args(init).output();
        assert!(made.unwrap().status.success());
        soft
    }

    pub(crate) fn conf(&self) -> PathBuf {
        self.0.path().join("softhsm2.conf")
    }

    /// A key in the token that the environment names.
    pub(crate) fn open() -> Pkcs11Key {
        let module = Soft::installed().unwrap();
        let uri = format!("pkcs11:token=bench;object=bench?module-path={}", module.display());
        let (uri, pin): (Pkcs11Uri, _) = (uri.parse().unwrap(), || Some(Secret::new(PIN.into())));
        generate(&uri, pin(), KeyAlgorithm::P256).unwrap();
        Pkcs11Key::open(&uri, pin(), Options::default()).unwrap()
    }
}

/// A log that forgets: only to measure an HSM alone.
struct Forgetful(AtomicU64);

impl Log for Forgetful {
    async fn append(&self, _: &[u8]) -> Result<u64, LogError> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Signatures each second of an HSM alone, asked by as many.
pub(crate) async fn alone(hsm: &Arc<dyn DynSigner>, clients: usize) -> f64 {
    let (log, end) = (Arc::new(Forgetful(AtomicU64::new(0))), Instant::now() + Duration::from_secs(3));
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for client in 0..clients as u8 {
        let (hsm, log) = (hsm.clone(), log.clone());
        asking.spawn(async move {
            let tbs = Tbs::Message(vec![client; 100]);
            let intent = Intent {
                purpose: Purpose::Artifact,
                subject: tbs.fingerprint(),
                keys: vec![hsm.dyn_public_key().id()],
                delegation: None,
                statements: Vec::new(),
                requester: Digest([0; 32]),
                policy: Digest([0; 32]),
                context: Vec::new(),
            };
            let mut count = 0u32;
            while Instant::now() < end {
                let logged = Logged::append(&*log, intent.clone()).await.unwrap();
                hsm.dyn_sign(logged, tbs.clone()).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let count: u32 = asking.join_all().await.into_iter().sum();
    f64::from(count) / begun.elapsed().as_secs_f64()
}

//! The session pool against the module's own rate of signatures: SoftHSM2,
//! P-256, as many sessions as threads that call the module directly.
//!
//! `cargo xtask bench pool`. Both sides take turns of a second, so that
//! whatever else the machine does falls on both. The pool checks each logged
//! intent, queues, and signs, for callers that are tasks of an executor, as
//! those of the service are; the module alone signs. As many sessions as
//! processors make SoftHSM2 share with whoever asks, and so does verifying,
//! which is a signer's and not the pool's: both are shown, and have no limit.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use firmseal_keys::conformance::covering;
use firmseal_keys::{Backend, Covered, Log, LogError, Secret, Signer};
use firmseal_keys_pkcs11::{Options, Pkcs11Key, Pkcs11Uri, generate};
use firmseal_manifest::{KeyAlgorithm, Tbs};
use tokio::runtime::Builder;

/// The pool's rate over the module's, at least.
const LIMIT: f64 = 0.9;
const PIN: &str = "123456";
const CHILD: &str = "FIRMSEAL_BENCH_TOKEN";
const TURN: Duration = Duration::from_secs(1);
const ROUNDS: u32 = 6;
/// Callers for each session: enough that none ever waits for work, while an
/// executor that slept is woken.
const CALLERS: usize = 32;

fn module() -> PathBuf {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
    ];
    let found = places.iter().map(PathBuf::from).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("SoftHSM2 is not installed: run `cargo xtask setup bench`"))
}

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        return measure();
    }
    // SoftHSM reads its configuration once per process.
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("softhsm2.conf");
    let tokens = dir.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    std::fs::write(&conf, text).unwrap();
    let init = ["--init-token", "--free", "--label", "bench", "--so-pin", "87654321", "--pin", PIN];
    let made = Command::new("softhsm2-util").env("SOFTHSM2_CONF", &conf).args(init).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut child = Command::new(std::env::current_exe().unwrap());
    let status = child.env(CHILD, "1").env("SOFTHSM2_CONF", &conf).status().unwrap();
    match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn measure() -> ExitCode {
    let module = module();
    let uri: Pkcs11Uri =
        format!("pkcs11:token=bench;object=release?module-path={}", module.display()).parse().unwrap();
    let pin = || Some(Secret::new(PIN.into()));
    generate(&uri, pin(), KeyAlgorithm::P256).unwrap();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut within = true;
    println!(
        "sessions   module alone       pool   ratio     verified   ratio   (signatures/s; at least what stands behind *)"
    );
    for sessions in [1, 2, 4] {
        let options = Options { threads: sessions, ..Options::default() };
        let key = Arc::new(Pkcs11Key::open(&uri, pin(), options).unwrap());
        let (mut alone, mut pooled, mut verified) = (0.0, 0.0, 0.0);
        for _ in 0..ROUNDS {
            alone += directly(&module, sessions);
            pooled += through(&key, sessions * CALLERS, false);
            verified += through(&key, sessions * CALLERS, true);
        }
        let [alone, pooled, verified] = [alone, pooled, verified].map(|sum| sum / f64::from(ROUNDS));
        let ratio = pooled / alone;
        let counts = sessions < processors;
        within &= !counts || ratio >= LIMIT;
        let mark = if counts { format!("* {LIMIT}") } else { String::new() };
        let shown = verified / alone;
        println!(
            "{sessions:>8} {alone:>14.0} {pooled:>10.0} {ratio:>7.3} {verified:>12.0} {shown:>7.3}   {mark}"
        );
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The module's own rate: a session for each thread, and nothing in between
/// but the same binding that the pool uses.
fn directly(module: &Path, sessions: usize) -> f64 {
    let context = Pkcs11::new(module).unwrap();
    let _ = context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slot = context.get_slots_with_initialized_token().unwrap()[0];
    let open = || -> Session { context.open_ro_session(slot).unwrap() };
    let first = open();
    // The pool has logged this process in already.
    let _ = first.login(UserType::User, Some(&AuthPin::new(PIN.into())));
    let digest = [7; 32];
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..sessions {
            scope.spawn(|| {
                let session = open();
                let key = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap()[0];
                while !stop.load(Ordering::Relaxed) {
                    session.sign(&Mechanism::Ecdsa, key, &digest).unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(TURN);
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// A log that forgets.
struct Forgetful(AtomicU64);

impl Log for Forgetful {
    async fn append(&self, _: &[u8]) -> Result<u64, LogError> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// The pool's rate: each intent is logged and held against key and input, and
/// the pool signs. A signer verifies what comes back, too.
fn through(key: &Arc<Pkcs11Key>, callers: usize, verifies: bool) -> f64 {
    let executor = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| executor.spawn(sign_until(Arc::clone(&stop), Arc::clone(key), verifies)))
        .collect();
    std::thread::sleep(TURN);
    stop.store(true, Ordering::Relaxed);
    let done: u64 = tasks.into_iter().map(|task| executor.block_on(task).unwrap()).sum();
    done as f64 / started.elapsed().as_secs_f64()
}

async fn sign_until(stop: Arc<AtomicBool>, key: Arc<Pkcs11Key>, verifies: bool) -> u64 {
    let log = Forgetful(AtomicU64::new(0));
    let tbs = Tbs::Sha256([7; 32]);
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let intent = covering(&log, key.public_half(), &tbs).await;
        let signed = match verifies {
            true => key.sign(intent, tbs.clone()).await,
            false => {
                let covered = Covered::new(key.public_half(), intent, tbs.clone()).unwrap();
                key.sign_unverified(covered).await
            }
        };
        signed.unwrap();
        done += 1;
    }
    done
}

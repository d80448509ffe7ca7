//! A SoftHSM2 of its own for every test, plain or behind the shim.
//!
//! SoftHSM reads SOFTHSM2_CONF once per process, so each test runs itself
//! again as a child with an environment and a token directory of its own,
//! under any test runner.
// Each test binary is a crate of its own and uses a part of this.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use firmseal_keys::conformance::{MemoryLog, covering};
use firmseal_keys::pool::wait;
use firmseal_keys::{Secret, SignError, Signer};
use firmseal_keys_pkcs11::{Options, Pkcs11Error, Pkcs11Key, Pkcs11Uri, generate};
use firmseal_manifest::{KeyAlgorithm, Signature, Tbs};

pub const PIN: &str = "123456";
const CHILD: &str = "FIRMSEAL_TEST_TOKEN";

/// Where Debian, Fedora, Arch and Homebrew put the module.
fn softhsm() -> PathBuf {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    ];
    let found = places.iter().map(PathBuf::from).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("SoftHSM2 is not installed: run `cargo xtask setup`"))
}

/// Runs a command that a test needs.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => panic!("{:?}: {error}: run `cargo xtask setup`", command.get_program()),
    };
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A directory with tokens, and the modules to reach them.
pub struct Bench {
    pub dir: PathBuf,
    /// How many calls of each function were counted so far.
    seen: Mutex<BTreeMap<String, usize>>,
}

/// Runs the body in a process of its own, with one token called `test`.
pub fn isolated(name: &str, body: fn(&Bench)) {
    if let Some(dir) = std::env::var_os(CHILD) {
        body(&Bench { dir: dir.into(), seen: Mutex::default() });
        return settle();
    }
    let module = softhsm();
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let conf = dir.path().join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = true\n",
        tokens.display()
    );
    fs::write(&conf, text).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim/shim.c");
    let shim = dir.path().join("shim.so");
    run(Command::new("cc").args(["-shared", "-fPIC", "-Wall", "-o"]).arg(&shim).arg(source).arg("-ldl"));
    run(Command::new("mkfifo").arg(dir.path().join("gate")));
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    child.env(CHILD, dir.path()).env("SOFTHSM2_CONF", &conf);
    child.env("FIRMSEAL_SHIM_MODULE", module).env("FIRMSEAL_SHIM_DIR", dir.path());
    run(Command::new("softhsm2-util").env("SOFTHSM2_CONF", &conf).args(init("test")));
    let output = child.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "the child ran no test called {name}: {out}");
}

/// Waits until no thread of ours is left: none may leak, and a module that
/// is called while the process exits crashes it.
fn settle() {
    let ours = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let names =
            tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
        names.filter(|name| name.starts_with("pkcs11-")).count()
    };
    until("a thread was left behind", || ours() == 0);
}

fn init(label: &str) -> [&str; 8] {
    ["--init-token", "--free", "--label", label, "--so-pin", "87654321", "--pin", PIN]
}

impl Bench {
    /// A URI behind the shim.
    pub fn uri(&self, path: &str) -> Pkcs11Uri {
        let module = self.dir.join("shim.so");
        format!("pkcs11:{path}?module-path={}", module.display()).parse().unwrap()
    }

    pub fn pin(&self) -> Option<Secret> {
        Some(Secret::new(PIN.into()))
    }

    pub fn init_token(&self, label: &str) {
        run(Command::new("softhsm2-util").args(init(label)));
    }

    /// Makes a key called `release` and opens it.
    pub fn key(&self, algorithm: KeyAlgorithm, options: Options) -> Pkcs11Key {
        let uri = self.uri("token=test;object=release");
        generate(&uri, self.pin(), algorithm).unwrap();
        self.open(options).unwrap()
    }

    pub fn open(&self, options: Options) -> Result<Pkcs11Key, Pkcs11Error> {
        Pkcs11Key::open(&self.uri("token=test;object=release"), self.pin(), options)
    }

    /// Imports a key that OpenSSL makes.
    pub fn import(&self, label: &str, id: &str, generate: &[&str]) {
        let pem = self.dir.join(format!("import-{id}.pem"));
        run(Command::new("openssl").arg("genpkey").args(generate).arg("-out").arg(&pem));
        let mut import = Command::new("softhsm2-util");
        import.arg("--import").arg(pem).args(["--token", "test", "--pin", PIN, "--label", label, "--id", id]);
        run(&mut import);
    }

    /// Sets a fault of the shim.
    pub fn fault(&self, function: &str, fault: &str) {
        fs::write(self.dir.join(function), fault).unwrap();
    }

    pub fn clear(&self, function: &str) {
        fs::remove_file(self.dir.join(function)).unwrap();
    }

    /// How often the shim saw a function called since the last time.
    pub fn take_calls(&self, function: &str) -> usize {
        let calls = fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        let total = calls.lines().filter(|line| *line == function).count();
        let before = self.seen.lock().unwrap().insert(function.to_owned(), total).unwrap_or(0);
        total - before
    }

    /// Waits until somebody met the fault of a function.
    pub fn wait_for(&self, function: &str) {
        until("nobody met the fault", || !self.dir.join(function).exists());
    }

    /// Signs until somebody meets the fault: on a machine that stalls, a job may
    /// be late before anybody has begun it. The answer to the last.
    pub fn sign_into(&self, function: &str, key: &Pkcs11Key) -> Result<Signature, SignError> {
        loop {
            let answer = sign(key);
            if !self.dir.join(function).exists() {
                return answer;
            }
        }
    }

    /// Lets go everybody who hangs at the gate, and who comes later: it
    /// stays open.
    pub fn open_gate(&self) {
        // Not blocking: a gate where nobody waits is a broken test.
        const O_NONBLOCK: i32 = 0o4000;
        let mut gate = fs::File::options();
        gate.write(true).custom_flags(O_NONBLOCK);
        until("nobody waits at the gate", || gate.open(self.dir.join("gate")).map(std::mem::forget).is_ok());
    }
}

/// Waits for a condition that comes true unless the test is broken.
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

/// Signs a short message.
pub fn sign(key: &Pkcs11Key) -> Result<Signature, SignError> {
    let tbs = Tbs::Message(b"firmware".to_vec());
    let log = MemoryLog::default();
    wait(async { key.sign(covering(&log, key.public_key(), &tbs).await, tbs.clone()).await })
}

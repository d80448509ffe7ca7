//! Binaries: where `firmseal` and `firmseal-agent` are, freshly built.
//!
//! Cargo tells tests only where the binaries of their own package are, and
//! building those of others is no part of building a test. So cargo is asked
//! once in each run of the tests; `FIRMSEAL_BINARIES` names a directory that
//! has them already.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The server and operators' command.
pub fn firmseal() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| directory().join("firmseal"))
}

/// The devices' agent.
pub fn agent() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| directory().join("firmseal-agent"))
}

/// The PKCS#11 module.
pub fn pkcs11_module() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| directory().join("libfirmseal_pkcs11.so"))
}

/// The pipelines' client, which links no server, store or key: what the step
/// `client` built, or one that is built now.
pub fn client() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(given) = std::env::var_os("FIRMSEAL_CLIENT") {
            return given.into();
        }
        let target = workspace().join("target/client");
        fs::create_dir_all(&target).unwrap();
        once_in_a_run(&target, || {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let done = Command::new(cargo)
                .args(["build", "--quiet", "--package", "firmseal", "--bin", "firmseal"])
                .args(["--no-default-features", "--features", "client", "--target-dir"])
                .arg(&target)
                .current_dir(workspace())
                .output()
                .expect("cargo runs");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        });
        target.join("debug/firmseal")
    })
}

/// An example of the typed client.
pub fn example(name: &str) -> PathBuf {
    directory().join("examples").join(name)
}

/// The workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        if let Some(given) = std::env::var_os("FIRMSEAL_BINARIES") {
            return given.into();
        }
        // A test is target/PROFILE/deps/NAME.
        let test = std::env::current_exe().unwrap();
        let directory = test.parent().and_then(Path::parent).unwrap().to_owned();
        once_in_a_run(&directory, || build(&directory));
        directory
    })
}

fn build(directory: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let done = Command::new(cargo)
        .args(["build", "--quiet", "--package", "firmseal", "--package", "firmseal-agent", "--bins"])
        .args(["--package", "firmseal-pkcs11-module", "--lib"])
        .args(["--package", "firmseal-api", "--example", "sign", "--example", "batch"])
        .args(["--profile", profile, "--target-dir"])
        .arg(directory.parent().unwrap())
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// nextest runs each test in a process of its own, and cargo each file of
/// tests: whoever comes first builds, the others wait for the lock and find
/// that it was done.
fn once_in_a_run(directory: &Path, work: impl FnOnce()) {
    let lock = File::create(directory.join(".firmseal-e2e.lock")).unwrap();
    lock.lock().unwrap();
    let stamp = directory.join(".firmseal-e2e.run");
    let run = run();
    if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == run) {
        return;
    }
    work();
    fs::write(stamp, run).unwrap();
}

/// Names this run of the tests: nextest's own id, or the process that
/// started us with the moment at which it was started itself.
fn run() -> String {
    std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| {
        let parent = std::os::unix::process::parent_id();
        let stat = fs::read_to_string(format!("/proc/{parent}/stat")).unwrap_or_default();
        // proc(5): the name, field 2, is the only one that may hold blanks;
        // field 22 is the start time.
        let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
        format!("{parent} {}", started.unwrap_or_default())
    })
}

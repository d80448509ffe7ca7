//! Install of a 256 MiB payload with all checks on, against `dd` with fsync
//! and `sha256sum` of the same file in the same directory, against the floor
//! (this agent's own hash, then a copy), and against rauc and swupdate.
//!
//! `cargo bench -p firmseal-agent --bench install -- [DIRECTORY] [MIB]`
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "install/peers.rs"]
mod peers;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Environment, Measurement};
use peers::Peers;

const ROUNDS: u64 = 5;

/// Runs a command; how long it took, its peak memory in KiB, and its
/// processor time in hundredths of a second.
fn timed(command: &mut Command) -> (Duration, u64, u64) {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let stat = format!("/proc/{}/stat", child.id());
    let (mut peak, mut ticks) = (0, 0);
    let done = loop {
        if let Some(done) = child.try_wait().unwrap() {
            break done;
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        // utime and stime (proc_pid_stat(5)), behind the name in brackets.
        let text = std::fs::read_to_string(&stat).unwrap_or_default();
        let fields = text.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        ticks = ticks.max(fields.filter_map(|field| field.parse::<u64>().ok()).sum());
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(done.success(), "{command:?}");
    (started.elapsed(), peak, ticks)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let base = arguments.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let size = arguments.get(1).map_or(256, |mib| mib.parse().unwrap()) << 20;
    let dir = tempfile::tempdir_in(base).unwrap();
    let path = |name: &str| -> PathBuf { dir.path().join(name) };
    let config = path("agent.toml");
    std::fs::write(&config, config_text(dir.path(), &["rootfs"], 1 << 30)).unwrap();
    std::fs::write(path("root.cbor"), root(Environment::Test, 0)).unwrap();
    let agent = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firmseal-agent"));
        command.arg("--config").arg(&config).env("FIRMSEAL_LOG", "warn");
        command
    };
    timed(agent().args(["enrol", "--anchor"]).arg(path("root.cbor")));

    let (mut installs, mut copies, mut hashes) = (vec![], vec![], vec![]);
    let (mut raucs, mut swupdates, mut floors) = (vec![], vec![], vec![]);
    let (mut peak, mut ticks) = (0, u64::MAX);
    for round in 1..=ROUNDS {
        let release = Recipe::new(round, noise(size, round)).make();
        std::fs::write(path("bundle"), release.bundle()).unwrap();
        std::fs::write(path("image"), &release.payloads[0]).unwrap();
        drop(release);
        settle(dir.path());
        let (took, kib, cpu) = timed(agent().arg("install").arg(path("bundle")));
        (peak, ticks) = (peak.max(kib), ticks.min(cpu));
        installs.push(took);
        settle(dir.path());
        let copy = format!("of={}", path("copy").display());
        let image = format!("if={}", path("image").display());
        copies.push(timed(Command::new("dd").args([&image, &copy, "bs=1M", "conv=fsync"])).0);
        std::fs::remove_file(path("copy")).unwrap();
        hashes.push(timed(Command::new("sha256sum").arg(path("image"))).0);
        if let Some(peers) = Peers::new(dir.path(), &path("image")) {
            raucs.push(peers.rauc(&path("image")));
            swupdates.push(peers.swupdate(&path("image")));
            std::fs::remove_dir_all(path("peers")).unwrap();
        }
        floors.push(floor(&path("image"), &path("copy")));
        std::fs::remove_file(path("copy")).unwrap();
        timed(agent().arg("boot"));
        timed(agent().args(["confirm", "--now"]));
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (install, copy, hash) = (median(&mut installs), median(&mut copies), median(&mut hashes));
    let slower = copy.max(hash);
    println!("install {install:?}, dd with fsync {copy:?}, sha256sum {hash:?} (medians of {ROUNDS})");
    let ratio = slower.as_secs_f64() / install.as_secs_f64();
    println!(
        "of the slower of the two {ratio:.2} (target on disk: at least 0.80), peak memory {} MiB (limit 32), \
         {}0 ms of processor time",
        peak / 1024,
        ticks
    );
    let times = |times: &mut Vec<Duration>, name: &str, target: &str| {
        if !times.is_empty() {
            let theirs = median(times);
            let ratio = install.as_secs_f64() / theirs.as_secs_f64();
            println!("install / {name} {ratio:.2} ({theirs:?}){target}");
        }
    };
    times(&mut floors, "floor, one hash and one copy", "");
    times(&mut raucs, "rauc", " (target in memory: at most 0.50)");
    times(&mut swupdates, "swupdate", " (target in memory: at most 0.50)");
}

/// What no installer gets below: the image hashed once, then copied once.
fn floor(image: &Path, copy: &Path) -> Duration {
    let started = Instant::now();
    let mut measurement = Measurement::start(&RustCrypto);
    let mut input = std::fs::File::open(image).unwrap();
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = std::io::Read::read(&mut input, &mut buffer).unwrap();
        if count == 0 {
            break;
        }
        measurement.update(&buffer[..count]);
    }
    measurement.finish();
    std::fs::copy(image, copy).unwrap();
    started.elapsed()
}

/// Writes out what earlier steps left dirty, so that nobody pays for it.
fn settle(dir: &Path) {
    timed(Command::new("sync").arg("-f").arg(dir));
}

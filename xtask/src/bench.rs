//! `cargo xtask bench`: each measurement prints a ratio, against the limit of
//! the machine and against peers, taken in one run.

use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::setup::Wanted;
use crate::{bare_metal, board, process, workspace};

struct Bench {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<(), Error>,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "core",
        what: "admit against one bare verification and the hash of the manifest",
        run: core,
    },
    Bench {
        name: "agent-install",
        what: "install of 256 MiB against dd with fsync, sha256sum, rauc and swupdate, on disk and in memory",
        run: agent_install,
    },
    Bench {
        name: "signing",
        what: "releases over HTTPS, durable, against the bare signer and the storage's syncs",
        run: || service("signing"),
    },
    Bench {
        name: "service",
        what: "signatures of files over HTTPS with policy, log and records, against an HSM in the network",
        run: || service("service"),
    },
    Bench {
        name: "log",
        what: "intents per second, durable, against the storage's syncs; time from entry to proof",
        run: log,
    },
    Bench {
        name: "pool",
        what: "the session pool of PKCS#11 keys against the module's own rate (SoftHSM2, P-256)",
        run: pool,
    },
    Bench {
        name: "formats",
        what: "a file signed in its own format, against the tool that teams sign it with, as whole processes",
        run: formats,
    },
    Bench { name: "polls", what: "polls that report nothing new, against nginx", run: || service("polls") },
];

/// `cargo xtask bench [NAME...]`.
pub(crate) fn main(arguments: &[String]) -> Result<(), Error> {
    let stranger = arguments.iter().find(|name| BENCHES.iter().all(|bench| bench.name != **name));
    if let Some(stranger) = stranger {
        let names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        return Err(Error::wrong(format!(
            "there is no benchmark `{stranger}`\nhint: there are {}",
            names.join(", ")
        )));
    }
    for bench in BENCHES {
        if arguments.is_empty() || arguments.iter().any(|name| name == bench.name) {
            println!("== {}: {}", bench.name, bench.what);
            (bench.run)()?;
        }
    }
    Ok(())
}

/// The most that `admit` may cost over the cryptography in it, for envelopes
/// as Firmseal writes them; other vectors show what odd ones cost. The last
/// is everything at once: a delegation, two approvals, a proof in a log of a
/// million entries and two witnesses.
const LIMITS: [(&str, f64); 4] =
    [("ok_ed25519", 1.15), ("ok_p256", 1.15), ("ok_two_components", 1.15), ("ok_full_verification", 1.25)];

fn core() -> Result<(), Error> {
    bare_metal::ensure(Wanted::Benches, &mut |line| println!("{line}"))?;
    let report = board::measure()?;
    println!("on mps2-an385 (Cortex-M3):\n{}", report.text());
    println!("optimised for size instead: {}\n", board::flash("small")?);
    let host = board::measure_host()?;
    println!("admit / (signature verifications + hash of the manifest), at most what stands behind *:");
    let on_board = board::ratios(&report.cases, |case| case.instructions);
    let on_host = board::ratios(&host, |case| case.nanoseconds);
    let above = print("mps2-an385, instructions", &on_board) + print("host, ns", &on_host);
    let compiler = process::read(Command::new("rustc").arg("--version"))?;
    println!("compiler: {}", compiler.trim());
    match above {
        0 => Ok(()),
        above => Err(Error::wrong(format!("{above} ratios are above their limit, or were not measured"))),
    }
}

fn agent_install() -> Result<(), Error> {
    let disk = workspace::target().join("bench");
    std::fs::create_dir_all(&disk).map_err(Error::file(&disk))?;
    for directory in [disk.as_path(), Path::new("/dev/shm")] {
        println!("in {}", directory.display());
        let mut cargo = workspace::cargo();
        cargo.args(["bench", "--quiet", "--package", "firmseal-agent", "--bench", "install", "--"]);
        process::run(cargo.arg(directory))?;
    }
    Ok(())
}

fn log() -> Result<(), Error> {
    let disk = workspace::target().join("bench");
    std::fs::create_dir_all(&disk).map_err(Error::file(&disk))?;
    let mut cargo = workspace::cargo();
    cargo.args(["bench", "--quiet", "--package", "firmseal-store-local", "--bench", "log", "--"]);
    process::run(cargo.arg(&disk))
}

fn pool() -> Result<(), Error> {
    let mut cargo = workspace::cargo();
    process::run(cargo.args(["bench", "--quiet", "--package", "firmseal-keys-pkcs11", "--bench", "pool"]))
}

fn formats() -> Result<(), Error> {
    let mut cargo = workspace::cargo();
    process::run(cargo.args(["bench", "--quiet", "--package", "firmseal-formats", "--bench", "sign"]))
}

/// A benchmark of the server, built as one that stays.
fn service(name: &str) -> Result<(), Error> {
    let mut cargo = workspace::cargo();
    let wanted = ["bench", "--quiet", "--profile", "dist", "--package", "firmseal", "--bench", name];
    process::run(cargo.args(wanted))
}

/// Prints ratios; returns how many of those with a limit are above it or
/// were not measured.
fn print(place: &str, ratios: &[(&str, u64, u64)]) -> usize {
    println!("{place}");
    let mut within = 0;
    for (name, admit, bare) in ratios {
        let ratio = *admit as f64 / *bare as f64;
        let limit = LIMITS.iter().find(|(own, _)| own == name).map(|(_, limit)| *limit);
        let mark = match limit {
            Some(limit) => {
                within += usize::from(ratio <= limit);
                format!("* {limit}")
            }
            None => String::new(),
        };
        println!("    {name:<36} {ratio:>6.3}   ({admit} / {bare}) {mark}");
    }
    LIMITS.len() - within
}

//! Signing a file in each format, against the tool that teams sign it with
//! today: each reads file and key and writes the signed file, taking turns.
//!
//! `cargo xtask bench formats`. A peer is the process that it is for each
//! file. Ours is a service, so its second signature counts: the first waits
//! for the library under its keys to gather randomness (40 ms).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "sign/cases.rs"]
mod cases;
#[path = "../tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use cases::{Case, Place};
use common::TestKey;
use firmseal_formats::{Format, Parameters, Wanted, attach, find, lay_out};

/// Set for the process that signs.
const CHILD: &str = "FIRMSEAL_BENCH_SIGN";
const ROUNDS: usize = 7;
/// A process that lives as long as this uses what it will of memory.
const LOOK: Duration = Duration::from_micros(500);

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        sign();
        return ExitCode::SUCCESS;
    }
    let place = Place::new();
    let mut within = true;
    println!("format        file       ours  memory   peer                       its  memory   peer / ours");
    for case in cases::all(&place) {
        let (mut ours, mut theirs) = (Best::default(), Best::default());
        for _ in 0..ROUNDS {
            let (_, said) = ours.run(&mut own(&place, &case));
            ours.took = ours.took.min(Duration::from_nanos(said.trim().parse().unwrap()));
            let (took, _) = theirs.run(&mut place.peer(&case));
            theirs.took = theirs.took.min(took);
        }
        let ratio = theirs.took.as_secs_f64() / ours.took.as_secs_f64();
        within &= ratio >= case.at_least;
        // Of a line of shell it would be the shell's.
        let memory = if case.peer[0] == "sh" { "-".to_owned() } else { format!("{} MiB", theirs.kib >> 10) };
        println!(
            "{:<10} {:>4} MiB {:>7.1} ms {:>4} MiB   {:<20} {:>7.1} ms {memory:>8}   {ratio:>6.1} * {}",
            case.format,
            std::fs::metadata(place.path(case.file)).unwrap().len() >> 20,
            ours.took.as_secs_f64() * 1e3,
            ours.kib >> 10,
            case.peer.last().filter(|_| case.peer[0] == "sh").map_or(case.peer[0], |line| tool(line)),
            theirs.took.as_secs_f64() * 1e3,
            case.at_least,
        );
    }
    println!("* at least");
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The tool of a line of shell, which is its last command.
fn tool(line: &str) -> &str {
    line.rsplit("&& ").next().and_then(|last| last.split(' ').next()).unwrap_or(line)
}

/// The shortest of some runs, and the most memory of any.
struct Best {
    took: Duration,
    kib: u64,
}

impl Default for Best {
    fn default() -> Best {
        Best { took: Duration::MAX, kib: 0 }
    }
}

impl Best {
    /// Runs a process: how long it took, and what it said.
    fn run(&mut self, command: &mut Command) -> (Duration, String) {
        let started = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let done = loop {
            if let Some(done) = child.try_wait().unwrap() {
                break done;
            }
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            self.kib = self.kib.max(kib.unwrap_or(0));
            std::thread::sleep(LOOK);
        };
        assert!(done.success(), "{command:?}");
        let took = started.elapsed();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        (took, said)
    }
}

/// This program, to sign one file.
fn own(place: &Place, case: &Case) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CHILD, "1").args([case.format, case.key]).arg(place.path(case.file)).arg(place.path("ours"));
    command.args(case.parameters.iter().map(|(name, value)| format!("{name}={value}")));
    command
}

/// Signs: format, key, file, where to, parameters. Says how long it took.
fn sign() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [format, key, file, to, parameters @ ..] = arguments.as_slice() else { panic!("arguments") };
    let (format, key) = (find(format).unwrap(), TestKey::load(key));
    let parameters: Parameters = parameters.iter().map(|pair| pair.split_once('=').unwrap()).collect();
    let version = semver::Version::new(1, 2, 3);
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let started = Instant::now();
        signed(format, &key, &parameters, version.clone(), (file, to));
        took = started.elapsed();
    }
    println!("{}", took.as_nanos());
}

fn signed(
    format: &dyn Format,
    key: &TestKey,
    parameters: &Parameters,
    version: semver::Version,
    (file, to): (&str, &str),
) {
    let wanted = Wanted { version, epoch: 7, key: &key.public, parameters };
    let source = File::open(file).unwrap();
    let laid_out = lay_out(format, &source, &wanted).unwrap();
    let signature = key.sign(&laid_out.tbs);
    match laid_out.unsigned {
        Some(unsigned) => {
            let plan = attach(format, &unsigned, &source, &signature).unwrap();
            let mut out = BufWriter::with_capacity(1 << 16, File::create(to).unwrap());
            plan.write_to(&source, &mut out).unwrap();
            out.flush().unwrap();
        }
        None => std::fs::write(Path::new(to), &signature.0).unwrap(),
    }
}

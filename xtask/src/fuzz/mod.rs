//! `cargo xtask fuzz`: the targets of `fuzz/` with libFuzzer itself.
//!
//! A stable compiler is enough: what libFuzzer needs to see where it has been
//! is a pass of LLVM (`sancov-module`) and not a sanitizer, and `libfuzzer-sys`
//! builds libFuzzer with the C++ compiler that is there. No code here is
//! `unsafe`, so AddressSanitizer, which needs nightly, has little to add.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::tally::Tally;
use crate::{process, workspace};

/// What the targets are built with: edges, comparisons, and arithmetic that
/// tells of overflow. One unit of code, or the tables of edges are not one.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
];

/// Longest input, in bytes: formats have headers, and most of a file is not.
const LENGTH_MAX: u32 = 16 * 1024;
/// Longest time for one input, in seconds. The slowest that was seen takes
/// less than one.
const INPUT_MAX: u32 = 10;
/// Most memory, in MiB.
const MEMORY_MAX: u32 = 2048;

/// `cargo xtask fuzz [SECONDS] [TARGET...]`.
pub(crate) fn main(arguments: &[String]) -> Result<(), Error> {
    let (seconds, names) = match arguments.split_first() {
        Some((first, rest)) if first.bytes().all(|byte| byte.is_ascii_digit()) => {
            let seconds = first.parse().map_err(|_| Error::wrong(format!("{first} seconds are too many")))?;
            (seconds, rest)
        }
        _ => (60, arguments),
    };
    let tally = run(names, seconds, &mut |line| println!("{line}"))?;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    match tally.failed {
        0 => Ok(()),
        _ => Err(Error::wrong(
            "a target failed; its input is in target/fuzz, and what to do in fuzz/README.md",
        )),
    }
}

/// Runs these targets, or all of them, each for so many seconds.
pub(crate) fn run(names: &[String], seconds: u32, say: &mut dyn FnMut(&str)) -> Result<Tally, Error> {
    let all = targets()?;
    if let Some(stranger) = names.iter().find(|name| !all.contains(name)) {
        return Err(Error::wrong(format!(
            "there is no target `{stranger}`\nhint: the targets are {}",
            all.join(", ")
        )));
    }
    let programs = build(say)?;
    let mut tally = Tally::default();
    for name in all.iter().filter(|name| names.is_empty() || names.contains(name)) {
        let place = workspace::target().join("fuzz").join(name);
        let (corpus, seeds) = (place.join("corpus"), place.join("seeds"));
        for directory in [&corpus, &seeds] {
            std::fs::create_dir_all(directory).map_err(Error::file(directory))?;
        }
        seed(name, &seeds)?;
        let mut fuzzer = Command::new(programs.join(name));
        fuzzer.args([
            format!("-max_total_time={seconds}"),
            format!("-max_len={LENGTH_MAX}"),
            format!("-timeout={INPUT_MAX}"),
            format!("-rss_limit_mb={MEMORY_MAX}"),
            format!("-artifact_prefix={}/", place.display()),
            "-print_final_stats=1".to_owned(),
            "-verbosity=0".to_owned(),
        ]);
        fuzzer.arg(&corpus).arg(&seeds);
        say(&format!("$ {}", process::shown(&fuzzer)));
        let well = process::stream(&mut fuzzer, |line| say(line))?;
        say(&format!("{name}: {}", if well { "well" } else { "FAILED" }));
        tally += Tally::one(well);
    }
    Ok(tally)
}

/// The names of the targets.
fn targets() -> Result<Vec<String>, Error> {
    let directory = workspace::root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&directory).map_err(Error::file(&directory))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

/// Builds all targets, and says where they are.
fn build(say: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    let (host, directory) = (workspace::host()?, workspace::target().join("fuzz/build"));
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet", "--release", "--bins", "--locked", "--manifest-path"]);
    cargo.arg(workspace::root().join("fuzz/Cargo.toml"));
    // With a target, the flags are not for build scripts and macros.
    cargo.args(["--target", host.as_str(), "--target-dir"]).arg(&directory);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    say(&format!("$ {}", process::shown(&cargo)));
    match process::stream(&mut cargo, |line| say(line))? {
        true => Ok(directory.join(host).join("release")),
        false => Err(Error::wrong("the fuzz targets do not build; libFuzzer wants a C++ compiler (g++)")),
    }
}

/// Puts what a target begins with beside it: files of its formats, and what
/// the vectors say an envelope and a root document are.
fn seed(target: &str, into: &Path) -> Result<(), Error> {
    let write = |name: String, bytes: Vec<u8>| {
        let path = into.join(name);
        std::fs::write(&path, bytes).map_err(Error::file(&path))
    };
    for path in workspace::files()? {
        let name = path.replace('/', "-");
        match target {
            "formats" if path.starts_with("crates/formats/fixtures/") && path.ends_with(".bin") => {
                let path = workspace::root().join(&path);
                write(name, std::fs::read(&path).map_err(Error::file(&path))?)?;
            }
            "admit" | "envelope" | "root" if path.starts_with("spec/vectors/") && path.ends_with(".txt") => {
                let text = workspace::read(&workspace::root().join(&path))?;
                let key = if target == "root" { "root: " } else { "envelope: " };
                let line = text.lines().find_map(|line| line.strip_prefix(key));
                if let Some(bytes) = line.and_then(unhex) {
                    write(name, bytes)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let nibbles = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<u32>>>()?;
    Some(nibbles.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

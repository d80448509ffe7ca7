//! `cargo xtask fuzz`: the targets of `fuzz/` with libFuzzer itself.
//!
//! A stable compiler is enough: what libFuzzer needs to see where it has been
//! is a pass of LLVM (`sancov-module`) and not a sanitizer, and `libfuzzer-sys`
//! builds libFuzzer with the C++ compiler that is there. No code here is
//! `unsafe`, so AddressSanitizer, which needs nightly, has little to add.

mod run;
mod seeds;

use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::tally::Tally;
use crate::{process, workspace};

pub(crate) use run::Until;

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

/// One target: a program, and the format that it is asked for where it knows
/// several.
struct Target {
    name: String,
    program: PathBuf,
    is_format: bool,
}

/// `cargo xtask fuzz [SECONDS] [TARGET...]`.
pub(crate) fn main(arguments: &[String]) -> Result<(), Error> {
    let (seconds, names) = match arguments.split_first() {
        Some((first, rest)) if first.bytes().all(|byte| byte.is_ascii_digit()) => {
            let seconds = first.parse().map_err(|_| Error::wrong(format!("{first} seconds are too many")))?;
            (seconds, rest)
        }
        _ => (60, arguments),
    };
    let tally = run(names, Until::Seconds(seconds), &mut |line| println!("{line}"))?;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    match tally.failed {
        0 => Ok(()),
        _ => Err(Error::wrong(
            "a target failed; its input is in target/fuzz, and what to do in fuzz/README.md",
        )),
    }
}

/// Runs these targets, or all of them, each for so long.
pub(crate) fn run(names: &[String], until: Until, say: &mut dyn FnMut(&str)) -> Result<Tally, Error> {
    let programs = build(say)?;
    let mut chosen = targets(programs)?;
    if let Some(stranger) = names.iter().find(|name| chosen.iter().all(|target| target.name != **name)) {
        let all: Vec<String> = chosen.into_iter().map(|target| target.name).collect();
        return Err(Error::wrong(format!(
            "there is no target `{stranger}`\nhint: the targets are {}",
            all.join(", ")
        )));
    }
    chosen.retain(|target| names.is_empty() || names.contains(&target.name));
    say("collecting seeds");
    seeds::collect()?;
    run::all(&chosen, until, say)
}

/// The targets: a program each, and the formats, which share one and which it
/// names.
fn targets(programs: PathBuf) -> Result<Vec<Target>, Error> {
    let directory = workspace::root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&directory).map_err(Error::file(&directory))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    let formats = programs.join("formats");
    let list = process::read(Command::new(&formats).env(run::FORMAT, "list"))?;
    let own = names.into_iter().map(|name| Target { program: programs.join(&name), name, is_format: false });
    let of_formats =
        list.lines().map(|name| Target { name: name.to_owned(), program: formats.clone(), is_format: true });
    Ok(own.chain(of_formats).collect())
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

//! `cargo xtask bench`: each measurement prints a ratio, against the limit of
//! the machine and against peers, taken in one run.

use std::process::Command;

use crate::error::Error;
use crate::setup::Wanted;
use crate::{bare_metal, board, process};

struct Bench {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<(), Error>,
}

const BENCHES: &[Bench] = &[Bench {
    name: "core",
    what: "admit against one bare verification and the hash of the manifest",
    run: core,
}];

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

/// The most that `admit` may cost over the cryptography in it.
const ADMIT_MAX: f64 = 1.15;

fn core() -> Result<(), Error> {
    bare_metal::ensure(Wanted::Benches, &mut |line| println!("{line}"))?;
    let report = board::measure()?;
    println!("on mps2-an385 (Cortex-M3), everything:\n{}", report.text());
    println!("optimised for size instead: {}\n", board::flash("small")?);
    let host = board::measure_host()?;
    println!("admit / (signature verification + hash of the manifest), at most {ADMIT_MAX}:");
    let mut worst: f64 = 0.0;
    for (name, admit, bare) in board::ratios(&report.cases, |case| case.instructions) {
        worst = worst.max(ratio(&format!("mps2-an385, {name}"), admit, bare, "instructions"));
    }
    for (name, admit, bare) in board::ratios(&host, |case| case.nanoseconds) {
        worst = worst.max(ratio(&format!("host, {name}"), admit, bare, "ns"));
    }
    let compiler = process::read(Command::new("rustc").arg("--version"))?;
    println!("compiler: {}", compiler.trim());
    match worst > 0.0 && worst <= ADMIT_MAX {
        true => Ok(()),
        false => Err(Error::wrong(format!("the worst ratio is {worst:.3}"))),
    }
}

fn ratio(name: &str, ours: u64, limit: u64, unit: &str) -> f64 {
    let ratio = ours as f64 / limit as f64;
    println!("  {name:<32} {ratio:>6.3}   ({ours} / {limit} {unit})");
    ratio
}

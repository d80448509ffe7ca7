//! `cargo xtask bench`: each measurement prints a ratio, against the limit of
//! the machine and against peers, taken in one run.

use std::process::Command;

use crate::error::Error;
use crate::setup::Wanted;
use crate::{bare_metal, board, process, workspace};

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

fn core() -> Result<(), Error> {
    bare_metal::ensure(Wanted::Benches, &mut |line| println!("{line}"))?;
    let report = board::measure()?;
    println!("on mps2-an385 (Cortex-M3):\n{}", report.text());

    let mut cargo = workspace::cargo();
    cargo
        .args(["run", "--release", "--quiet", "--package", "firmseal-host"])
        .arg("--manifest-path")
        .arg(workspace::root().join("boards/Cargo.toml"))
        .arg("--target-dir")
        .arg(workspace::target().join("boards"));
    println!("on the host (fastest of many runs):");
    for case in board::read(&process::read(&mut cargo)?)? {
        println!("{:<40} {:>10.1} us", case.name, case.nanoseconds as f64 / 1000.0);
    }
    let compiler = process::read(Command::new("rustc").arg("--version"))?;
    println!("compiler: {}", compiler.trim());
    Ok(())
}

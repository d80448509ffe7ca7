//! `cargo xtask`: set-up, tests, house rules and benchmarks.
//!
//! A command is a file and a row in [`COMMANDS`]; `cargo xtask help` prints
//! the table. Data goes to stdout, errors to stderr, and the exit code is 0
//! only when everything that was asked for worked.

mod bare_metal;
mod bench;
mod board;
mod chroot;
mod elf;
mod error;
mod fuzz;
mod ml_dsa;
mod process;
mod setup;
mod tally;
mod test;
mod tidy;
mod vectors;
mod workspace;

use std::process::ExitCode;

use error::Error;

struct Command {
    name: &'static str,
    arguments: &'static str,
    what: &'static str,
    run: fn(&[String]) -> Result<(), Error>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "setup",
        arguments: "[bench]",
        what: "install what the tests need (with `bench`: the peers of the benchmarks too)",
        run: setup::main,
    },
    Command {
        name: "test",
        arguments: "[--long] [--no-setup] [STEP...]",
        what: "run every check, or only the named steps",
        run: test::main,
    },
    Command { name: "tidy", arguments: "", what: "check the house rules", run: tidy::main },
    Command {
        name: "board",
        arguments: "",
        what: "run the verifier on QEMU's mps2-an385 and print what it costs",
        run: board::main,
    },
    Command {
        name: "fuzz",
        arguments: "[SECONDS] [TARGET...]",
        what: "run the fuzz targets, or the named ones, with libFuzzer: 60 seconds each unless told",
        run: fuzz::main,
    },
    Command {
        name: "bench",
        arguments: "[NAME...]",
        what: "measure against the limit and against peers; prints ratios",
        run: bench::main,
    },
    Command {
        name: "chroot-test",
        arguments: "[--keep] [COMMAND...]",
        what: "run the tests in a fresh Debian that has only Rust, gcc and git (needs root)",
        run: chroot::main,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = match arguments.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("help", &[][..]),
    };
    if matches!(name, "help" | "--help" | "-h") {
        help();
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("error: there is no command `{name}`\nhint: `cargo xtask help` lists them");
        return ExitCode::from(2);
    };
    if rest.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("cargo xtask {} {}\n    {}", command.name, command.arguments, command.what);
        return ExitCode::SUCCESS;
    }
    match (command.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn help() {
    println!("cargo xtask COMMAND\n");
    for command in COMMANDS {
        println!("  {:<12} {}\n      {}", command.name, command.arguments, command.what);
    }
    println!("\nExample: cargo xtask test fmt clippy");
}

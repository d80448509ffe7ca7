//! Packs the boards' cases, and runs them here with a clock.
//!
//!     firmseal-host pack FILE     writes the cases, prints the expected verdicts
//!     firmseal-host time FILE     runs them, prints verdicts and times

mod clock;
mod pack;
mod world;

use std::process::ExitCode;

use firmseal_cases::{Report, admission, smoke};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["pack", file] => pack::write(&world::cases(), file.as_ref()),
        ["time", file] => std::fs::read(file).map(|pack| time(&pack)),
        _ => {
            eprintln!("usage: firmseal-host pack FILE | time FILE");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn time(pack: &[u8]) {
    smoke::run(&mut clock::Clock, &mut clock::Stdout);
    if admission::run(pack, &mut clock::Clock, &mut clock::Stdout) {
        clock::Stdout.line(format_args!("end"));
    }
}

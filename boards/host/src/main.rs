//! Runs the boards' cases here, with a clock: `firmseal-host FILE`.

mod clock;

use std::process::ExitCode;

use clock::{Clock, Stdout};
use firmseal_cases::{Report, admission, smoke};

fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: firmseal-host FILE");
        return ExitCode::from(2);
    };
    let pack = match std::fs::read(&file) {
        Ok(pack) => pack,
        Err(error) => {
            eprintln!("error: {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    };
    smoke::run(&mut Clock, &mut Stdout);
    smoke::strong(&mut Clock, &mut Stdout);
    if !admission::run(&pack, &mut Clock, &mut Stdout) {
        eprintln!("error: {}: cut off", file.display());
        return ExitCode::FAILURE;
    }
    Stdout.line(format_args!("end"));
    ExitCode::SUCCESS
}

//! The cryptography alone, to see its size.
#![no_std]
#![no_main]

use firmseal_cases::{Report, smoke};
use mps2_an385::Machine;
use mps2_an385::console::Console;
use semihosting::process::exit;

#[cortex_m_rt::entry]
fn main() -> ! {
    let Some(mut machine) = Machine::take() else { exit(1) };
    smoke::run(&mut machine, &mut Console);
    Console.line(format_args!("end"));
    exit(0)
}

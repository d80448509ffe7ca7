//! Everything but the verifier, to subtract its size.
#![no_std]
#![no_main]

use core::hint::black_box;

use firmseal_cases::{Probe, Report};
use mps2_an385::Machine;
use mps2_an385::console::Console;
use semihosting::process::exit;

#[cortex_m_rt::entry]
fn main() -> ! {
    let Some(mut machine) = Machine::take() else { exit(1) };
    let ((), cost) = machine.measure(|| black_box(()));
    Console.result("empty", 0, cost);
    Console.line(format_args!("end"));
    exit(0)
}

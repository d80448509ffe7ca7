//! The verifier as a bootloader would link it, to see its size.
#![no_std]
#![no_main]

use firmseal_cases::{Report, admission};
use mps2_an385::console::Console;
use mps2_an385::{Machine, input};
use semihosting::process::exit;

#[cortex_m_rt::entry]
fn main() -> ! {
    // `entry` turns this into the one reference to it.
    static mut INPUT: [u8; input::ROOM] = [0; input::ROOM];
    let Some(mut machine) = Machine::take() else { exit(1) };
    match input::read(c"cases.bin", INPUT) {
        Ok(pack) if admission::verdicts(pack, &mut machine, &mut Console) => {
            Console.line(format_args!("end"));
            exit(0)
        }
        _ => exit(1),
    }
}

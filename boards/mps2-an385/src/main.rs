//! Runs the cases on the board and prints what each said and cost.
#![no_std]
#![no_main]

use firmseal_cases::{Report, admission, smoke};
use mps2_an385::console::Console;
use mps2_an385::{Machine, input};
use semihosting::process::exit;

#[cortex_m_rt::entry]
fn main() -> ! {
    // `entry` turns this into the one reference to it.
    static mut INPUT: [u8; input::ROOM] = [0; input::ROOM];
    let Some(mut machine) = Machine::take() else { exit(1) };
    smoke::run(&mut machine, &mut Console);
    smoke::strong(&mut machine, &mut Console);
    match input::read(c"cases.bin", INPUT) {
        Ok(pack) if admission::run(pack, &mut machine, &mut Console) => {
            Console.line(format_args!("end"));
            exit(0)
        }
        Ok(_) => Console.line(format_args!("cases.bin is cut off")),
        Err(error) => Console.line(format_args!("cases.bin: {error}")),
    }
    exit(1)
}

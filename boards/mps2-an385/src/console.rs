//! Output through semihosting.

use core::fmt;

use firmseal_cases::Report;

/// QEMU's standard output.
#[derive(Debug)]
pub struct Console;

impl Report for Console {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        semihosting::println!("{line}");
    }
}

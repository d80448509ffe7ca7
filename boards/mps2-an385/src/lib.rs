//! The machine: counting instructions, watching the stack, printing.
#![no_std]

pub mod console;
pub mod counter;
pub mod input;
pub mod stack;

use firmseal_cases::{Cost, Probe};

/// Counts instructions and stack.
#[derive(Debug)]
pub struct Machine {
    counter: counter::Counter,
}

impl Machine {
    /// Takes the machine. `None` the second time.
    pub fn take() -> Option<Machine> {
        let peripherals = cortex_m::Peripherals::take()?;
        Some(Machine { counter: counter::Counter::start(peripherals.SYST) })
    }
}

impl Probe for Machine {
    fn measure<R>(&mut self, code: impl Fn() -> R) -> (R, Cost) {
        // Twice: painting the stack and reading it back must not stand
        // between the two readings of the counter.
        let painted = stack::paint();
        let result = call(&code);
        let stack = painted.used();

        let before = self.counter.now();
        let again = call(&code);
        let instructions = self.counter.now() - before;
        drop(again);
        (result, Cost::Counted { instructions, stack })
    }
}

/// A frame of its own: link-time optimisation would merge the stack of what
/// is measured with the caller's, and the paint would miss it.
#[inline(never)]
fn call<R>(code: &impl Fn() -> R) -> R {
    code()
}

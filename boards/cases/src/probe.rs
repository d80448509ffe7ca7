//! Measuring: what a probe does and how a result reads.

use core::fmt;

/// What one run cost, in the unit that the probe has.
#[derive(Clone, Copy, Debug)]
pub enum Cost {
    /// On an instruction-counting machine.
    Counted {
        /// Instructions executed.
        instructions: u64,
        /// Bytes of stack used below the caller.
        stack: u32,
    },
    /// On a machine with a clock.
    Timed {
        /// The fastest of many runs.
        nanoseconds: u64,
    },
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cost::Counted { instructions, stack } => write!(f, "instructions={instructions} stack={stack}"),
            Cost::Timed { nanoseconds } => write!(f, "nanoseconds={nanoseconds}"),
        }
    }
}

/// Runs a piece of code and says what it cost.
pub trait Probe {
    /// Runs `code`, once or many times; it must do the same every time.
    fn measure<R>(&mut self, code: impl Fn() -> R) -> (R, Cost);
}

/// Where results go: one line each, `case=NAME code=NUMBER COST`. Code 0 is
/// acceptance, everything else the number of the refusal.
pub trait Report {
    /// Writes one line.
    fn line(&mut self, line: fmt::Arguments<'_>);

    /// Writes the result of one case.
    fn result(&mut self, case: impl fmt::Display, code: u16, cost: Cost) {
        self.line(format_args!("case={case} code={code} {cost}"));
    }
}

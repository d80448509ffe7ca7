//! The host's probe: time.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use firmseal_cases::{Cost, Probe, Report};

/// How long each case is repeated.
const WHILE: Duration = Duration::from_millis(30);

/// Times a piece of code: the fastest of many runs, which is the one that
/// nothing else on the machine disturbed.
pub(crate) struct Clock;

impl Probe for Clock {
    fn measure<R>(&mut self, code: impl Fn() -> R) -> (R, Cost) {
        let started = Instant::now();
        let mut fastest = Duration::MAX;
        loop {
            let before = Instant::now();
            let result = black_box(code());
            fastest = fastest.min(before.elapsed());
            if started.elapsed() > WHILE {
                let nanoseconds = u64::try_from(fastest.as_nanos()).unwrap_or(u64::MAX);
                return (result, Cost::Timed { nanoseconds });
            }
        }
    }
}

/// Results on standard output.
pub(crate) struct Stdout;

impl Report for Stdout {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        println!("{line}");
    }
}

//! The stage: what the demo prints.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Prints acts, their lines and their times.
pub(super) struct Stage {
    bold: &'static str,
    dim: &'static str,
    off: &'static str,
    act: Instant,
    times: Vec<(&'static str, Duration)>,
    current: Option<&'static str>,
}

impl Stage {
    pub(super) fn new() -> Stage {
        let (bold, dim, off) =
            if io::stdout().is_terminal() { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        Stage { bold, dim, off, act: Instant::now(), times: Vec::new(), current: None }
    }

    /// Begins an act.
    pub(super) fn act(&mut self, name: &'static str, about: &str) {
        self.finish();
        self.current = Some(name);
        self.act = Instant::now();
        let Stage { bold, dim, off, .. } = self;
        print(format_args!("\n{bold}{name}{off}  {dim}{about}{off}"));
    }

    /// The one line of an act.
    pub(super) fn done(&mut self, what: impl Display) {
        self.line(what);
    }

    /// A line of an act.
    pub(super) fn line(&mut self, what: impl Display) {
        print(format_args!("   {what}"));
    }

    /// The summary.
    pub(super) fn end(&mut self, whole: Duration) {
        self.finish();
        print(format_args!("\n{}summary{}", self.bold, self.off));
        for (name, time) in &self.times {
            print(format_args!("   {name:<9} {:>6.2} s", time.as_secs_f64()));
        }
        print(format_args!("   {:<9} {:>6.2} s", "all", whole.as_secs_f64()));
    }

    /// How to go on.
    pub(super) fn next(&self, lines: &[String]) {
        print(format_args!("\n{}go on{}", self.bold, self.off));
        for line in lines {
            print(format_args!("   {line}"));
        }
    }

    fn finish(&mut self) {
        if let Some(name) = self.current.take() {
            self.times.push((name, self.act.elapsed()));
        }
    }
}

/// A line to stdout; a reader that went away is no reason to stop.
fn print(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

//! Runs of libFuzzer: two targets at a time, each until it is done.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use super::{Target, seeds};
use crate::error::Error;
use crate::tally::Tally;
use crate::{process, workspace};

/// Names the format to the program of the formats.
pub(super) const FORMAT: &str = "FIRMSEAL_FUZZ_FORMAT";

/// How many targets run at a time.
const AT_ONCE: usize = 2;
/// Longest input that is tried, in bytes, where no seed is longer: formats have
/// headers, and most of a file is not.
const LENGTH_MAX: u64 = 16 * 1024;
/// Longest time for one input, in seconds. The slowest that was seen takes
/// less than one.
const INPUT_MAX: u32 = 10;
/// Most memory, in MiB.
const MEMORY_MAX: u32 = 2048;
/// In the long run: inputs for each format, and the longest time for them, in
/// seconds. Less than 150 a second are a failure by themselves.
const INPUTS: u64 = 1_000_000;
const TIME_MAX: u32 = 2 * 60 * 60;
/// In the long run: seconds for every other target, of which one verifies
/// signatures and one has every format try every input.
const SECONDS: u32 = 120;

/// How much of what a target said is shown where it fails.
const LINES: usize = 40;

/// How long a target runs.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// For so many seconds.
    Seconds(u32),
    /// A format until it had a million inputs: one that does not get through
    /// them has failed.
    Long,
}

impl Until {
    /// How many inputs a target has to get through, and in how many seconds.
    fn limits(self, target: &Target) -> (Option<u64>, u32) {
        match self {
            Until::Seconds(seconds) => (None, seconds),
            Until::Long if target.is_format => (Some(INPUTS), TIME_MAX),
            Until::Long => (None, SECONDS),
        }
    }
}

/// What a run says.
enum Said {
    Line(String),
    Ended(bool),
}

/// Runs targets.
pub(super) fn all(targets: &[Target], until: Until, say: &mut dyn FnMut(&str)) -> Result<Tally, Error> {
    let next = AtomicUsize::new(0);
    let (sender, lines) = mpsc::channel();
    let mut tally = Tally::default();
    thread::scope(|scope| {
        for sender in (0..AT_ONCE).map(|_| sender.clone()) {
            let next = &next;
            scope.spawn(move || {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let well = one(target, until, &sender).unwrap_or_else(|error| {
                        tell(&sender, format!("{}: {error}", target.name));
                        false
                    });
                    // Whoever listens does so until the last sender is gone.
                    let _ = sender.send(Said::Ended(well));
                }
            });
        }
        drop(sender);
        for said in lines {
            match said {
                Said::Line(line) => say(&line),
                Said::Ended(well) => tally += Tally::one(well),
            }
        }
    });
    Ok(tally)
}

fn tell(sender: &Sender<Said>, line: String) {
    let _ = sender.send(Said::Line(line));
}

/// Runs one target; whether all is well.
fn one(target: &Target, until: Until, sender: &Sender<Said>) -> Result<bool, Error> {
    let name = &target.name;
    let place = workspace::target().join("fuzz").join(name);
    let (corpus, seeds) = (place.join("corpus"), place.join("seeds"));
    std::fs::create_dir_all(&corpus).map_err(Error::file(&corpus))?;
    let longest = seeds::put(target, &seeds)?;
    if target.is_format && longest == 0 {
        return Err(Error::wrong(
            "it has no seeds: put a file into crates/formats/fixtures, and a row into fuzz/seeds.sh",
        ));
    }
    let longest = longest.max(LENGTH_MAX);
    let mut fuzzer = Command::new(&target.program);
    let shown = match target.is_format {
        true => format!("{FORMAT}={name} {}", target.program.display()),
        false => target.program.display().to_string(),
    };
    if target.is_format {
        fuzzer.env(FORMAT, name);
    }
    let (inputs, seconds) = until.limits(target);
    fuzzer.args(inputs.map(|inputs| format!("-runs={inputs}")));
    fuzzer.arg(format!("-max_total_time={seconds}"));
    fuzzer.args([
        format!("-max_len={longest}"),
        format!("-timeout={INPUT_MAX}"),
        format!("-rss_limit_mb={MEMORY_MAX}"),
        format!("-artifact_prefix={}/", place.display()),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
    ]);
    fuzzer.arg(&corpus).arg(&seeds);
    let arguments: Vec<_> =
        fuzzer.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
    tell(sender, format!("$ {shown} {}", arguments.join(" ")));
    let (mut stats, mut said) = (Stats::default(), String::new());
    let ended = process::stream(&mut fuzzer, |line| {
        stats.read(line);
        said += line;
        said.push('\n');
    })?;
    workspace::write(&place.join("log"), &said)?;
    let enough = inputs.is_none_or(|inputs| stats.inputs >= inputs);
    let verdict = match (ended, enough) {
        (true, true) => "well".to_owned(),
        (true, false) => format!("FAILED: these are all it took in {seconds} s"),
        (false, _) => format!("FAILED: {}", place.join("log").display()),
    };
    // What it said is a list of what it tried, and at its end why it stopped.
    let lines: Vec<&str> = said.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(LINES)).filter(|_| !ended) {
        tell(sender, format!("{name}: {line}"));
    }
    tell(sender, format!("{name}: {} inputs, {} a second: {verdict}", stats.inputs, stats.rate));
    Ok(ended && enough)
}

/// What libFuzzer counts.
#[derive(Default)]
struct Stats {
    inputs: u64,
    rate: u64,
}

impl Stats {
    /// Reads a line of `-print_final_stats`, if it is one.
    fn read(&mut self, line: &str) {
        let Some((name, number)) = line.strip_prefix("stat::").and_then(|rest| rest.split_once(':')) else {
            return;
        };
        match (name, number.trim().parse()) {
            ("number_of_executed_units", Ok(number)) => self.inputs = number,
            ("average_exec_per_sec", Ok(number)) => self.rate = number,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Stats;

    #[test]
    fn stats_are_read() {
        let mut stats = Stats::default();
        let lines = [
            "stat::number_of_executed_units: 1000000",
            "stat::average_exec_per_sec:     4184",
            "stat::peak_rss_mb:              71",
            "Done 999 runs in 239 second(s)",
        ];
        lines.iter().for_each(|line| stats.read(line));
        assert_eq!((stats.inputs, stats.rate), (1_000_000, 4184));
    }
}

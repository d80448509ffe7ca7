//! The timeline: what happened how long after the alarm.

use std::fmt::Display;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::output::Output;

/// What happened since the alarm, in order.
pub struct Timeline<'o> {
    output: &'o Output,
    alarm: Instant,
    entries: Vec<Entry>,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Milliseconds since the alarm.
    pub at_ms: u64,
    /// What it is, for programs.
    pub event: &'static str,
    /// The device, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// In words.
    pub detail: String,
}

impl<'o> Timeline<'o> {
    /// The alarm is now.
    pub fn alarm(output: &'o Output, detail: impl Display) -> Timeline<'o> {
        let mut timeline = Timeline { output, alarm: Instant::now(), entries: Vec::new() };
        timeline.note("alarm", detail);
        timeline
    }

    /// Something happened.
    pub fn note(&mut self, event: &'static str, detail: impl Display) {
        self.add(event, None, detail);
    }

    /// Something happened to a device.
    pub fn device(&mut self, event: &'static str, device: &str, detail: impl Display) {
        self.add(event, Some(device.to_owned()), detail);
    }

    fn add(&mut self, event: &'static str, device: Option<String>, detail: impl Display) {
        let at = self.alarm.elapsed();
        let detail = detail.to_string();
        let who = device.as_ref().map(|device| format!("{device}: ")).unwrap_or_default();
        self.output.note(format_args!("{:>8.3} s  {event:<10} {who}{detail}", at.as_secs_f64()));
        self.entries.push(Entry { at_ms: millis(at), event, device, detail });
    }

    /// When something happened first and last, in milliseconds.
    pub fn span(&self, event: &str) -> Option<(u64, u64)> {
        let mut all = self.entries.iter().filter(|entry| entry.event == event).map(|entry| entry.at_ms);
        let first = all.next()?;
        Some((first, all.next_back().unwrap_or(first)))
    }

    /// Everything, for programs.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

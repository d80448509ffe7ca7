//! Tallies: how many devices of a rollout stand where.

use std::collections::BTreeMap;

use firmseal_api::fleet::Outcome;
use firmseal_api::updates::Phase;
use serde::Serialize;

use crate::record::Record;

/// Phases in the order a device goes through them.
const PHASES: [Phase; 7] = [
    Phase::Offered,
    Phase::Downloading,
    Phase::Installed,
    Phase::Trial,
    Phase::Confirmed,
    Phase::Reverted,
    Phase::Refused,
];

/// Devices by phase, and refusals by their number.
#[derive(Default, Serialize, PartialEq, Debug)]
pub struct Tally {
    /// Devices that have reported.
    pub devices: u64,
    /// How many of them are in which phase; phases without any are absent.
    pub phases: BTreeMap<&'static str, u64>,
    /// Why devices refused, the most frequent first.
    pub refusals: Vec<Refusals>,
}

/// Refusals with one number.
#[derive(Serialize, PartialEq, Debug)]
pub struct Refusals {
    /// The stable number; absent if a device gave none.
    pub code: Option<u16>,
    /// What one of the devices said.
    pub message: Option<String>,
    /// How many devices.
    pub devices: u64,
}

impl Tally {
    /// Counts.
    pub fn of(outcomes: &[Outcome]) -> Tally {
        let mut tally = Tally { devices: outcomes.len() as u64, ..Tally::default() };
        let mut refusals: BTreeMap<Option<u16>, Refusals> = BTreeMap::new();
        for outcome in outcomes {
            *tally.phases.entry(outcome.phase.as_str()).or_default() += 1;
            if outcome.phase == Phase::Refused {
                let (code, message) = (outcome.report.code, &outcome.report.message);
                let first = || Refusals { code, message: message.clone(), devices: 0 };
                refusals.entry(code).or_insert_with(first).devices += 1;
            }
        }
        tally.refusals = refusals.into_values().collect();
        tally.refusals.sort_by_key(|refusals| std::cmp::Reverse(refusals.devices));
        tally
    }

    /// Devices in a phase.
    pub fn count(&self, phase: Phase) -> u64 {
        self.phases.get(phase.as_str()).copied().unwrap_or(0)
    }

    /// Devices that are through, one way or the other.
    pub fn finished(&self) -> u64 {
        PHASES.into_iter().filter(|phase| is_final(*phase)).map(|phase| self.count(phase)).sum()
    }

    /// Devices that did not end up running the release.
    pub fn failed(&self) -> u64 {
        self.count(Phase::Reverted) + self.count(Phase::Refused)
    }

    /// On one line: `3 confirmed, 1 refused`.
    pub fn line(&self) -> String {
        let counts = PHASES.into_iter().map(|phase| (self.count(phase), phase.as_str()));
        let counts: Vec<String> =
            counts.filter(|(n, _)| *n > 0).map(|(n, name)| format!("{n} {name}")).collect();
        if counts.is_empty() { "no reports yet".to_owned() } else { counts.join(", ") }
    }

    /// Adds a line for each phase and each kind of refusal.
    pub fn print(&self, mut record: Record) -> Record {
        record = record.row("reported", format_args!("{} devices", self.devices));
        for phase in PHASES {
            let count = self.count(phase);
            if count > 0 {
                record = record.row(format!("  {}", phase.as_str()), count);
            }
        }
        for refusals in &self.refusals {
            let code = refusals.code.map_or("refusal".to_owned(), |code| format!("refusal {code}"));
            let message = refusals.message.as_deref().unwrap_or("without a message");
            record = record.row(format!("  {code}"), format_args!("{} devices: {message}", refusals.devices));
        }
        record
    }
}

/// Whether nothing follows a phase.
pub fn is_final(phase: Phase) -> bool {
    matches!(phase, Phase::Confirmed | Phase::Reverted | Phase::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmseal_manifest::DeviceId;
    use uuid::Uuid;

    fn outcome(phase: Phase, code: Option<u16>) -> Outcome {
        let report = firmseal_api::updates::Report {
            id: Uuid::nil(),
            release: None,
            rollout: None,
            phase,
            code,
            message: code.map(|code| format!("because of {code}")),
            at: None,
            build: None,
            request: None,
            blocks_fetched: 0,
            blocks_resumed: 0,
        };
        Outcome { device: DeviceId::new(), phase, report }
    }

    #[test]
    fn phases_and_refusals_are_counted() {
        let tally = Tally::of(&[
            outcome(Phase::Confirmed, None),
            outcome(Phase::Refused, Some(20)),
            outcome(Phase::Trial, None),
            outcome(Phase::Refused, Some(31)),
            outcome(Phase::Refused, Some(31)),
            outcome(Phase::Reverted, None),
        ]);
        assert_eq!((tally.devices, tally.finished(), tally.failed()), (6, 5, 4));
        assert_eq!(tally.line(), "1 trial, 1 confirmed, 1 reverted, 3 refused");
        let codes: Vec<_> = tally.refusals.iter().map(|refusals| (refusals.code, refusals.devices)).collect();
        assert_eq!(codes, [(Some(31), 2), (Some(20), 1)]);
        assert!(tally.print(Record::new()).print().contains("2 devices: because of 31"));
    }

    #[test]
    fn nobody_is_no_news() {
        assert_eq!(Tally::of(&[]).line(), "no reports yet");
    }
}

//! Tallies: how many devices of a rollout stand where.

use std::collections::BTreeMap;

use firmseal_api::fleet::Outcome;
use firmseal_api::updates::{Phase, Report};
use serde::Serialize;

use crate::record::Record;

/// Phases in the order a device goes through them.
const PHASES: [Phase; 10] = [
    Phase::Offered,
    Phase::Downloading,
    Phase::Installed,
    Phase::Recovered,
    Phase::Trial,
    Phase::Failed,
    Phase::Confirmed,
    Phase::Reverted,
    Phase::Refused,
    Phase::Isolated,
];

/// Devices by phase, and refusals and trouble by their number.
#[derive(Default, Serialize, PartialEq, Debug)]
pub struct Tally {
    /// Devices that have reported.
    pub devices: u64,
    /// How many of them are in which phase; phases without any are absent.
    pub phases: BTreeMap<&'static str, u64>,
    /// Why devices refused or isolated it, the most frequent first.
    pub refusals: Vec<Reason>,
    /// Why devices went back, where they said so, the most frequent first.
    pub reverts: Vec<Reason>,
    /// What keeps devices from installing it for now, the most frequent
    /// first.
    pub troubles: Vec<Reason>,
}

/// A number, and how many devices give it.
#[derive(Serialize, PartialEq, Debug)]
pub struct Reason {
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
        let (mut refusals, mut reverts, mut troubles) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for outcome in outcomes {
            *tally.phases.entry(outcome.phase.as_str()).or_default() += 1;
            let reasons = match outcome.phase {
                Phase::Refused | Phase::Isolated => &mut refusals,
                Phase::Failed => &mut troubles,
                Phase::Reverted if outcome.report.message.is_some() => &mut reverts,
                _ => continue,
            };
            let (code, message) = (outcome.report.code, &outcome.report.message);
            let first = || Reason { code, message: message.clone(), devices: 0 };
            reasons.entry(code).or_insert_with(first).devices += 1;
        }
        (tally.refusals, tally.troubles) = (ranked(refusals), ranked(troubles));
        tally.reverts = ranked(reverts);
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

    /// Devices that are through without running the release: it is held
    /// back from them. Those in trouble try again by themselves.
    pub fn held(&self) -> u64 {
        self.finished() - self.count(Phase::Confirmed)
    }

    /// On one line: `3 confirmed, 1 refused`.
    pub fn line(&self) -> String {
        let counts = PHASES.into_iter().map(|phase| (self.count(phase), phase.as_str()));
        let counts: Vec<String> =
            counts.filter(|(n, _)| *n > 0).map(|(n, name)| format!("{n} {name}")).collect();
        if counts.is_empty() { "no reports yet".to_owned() } else { counts.join(", ") }
    }

    /// Adds a line for each phase and each kind of refusal and trouble.
    pub fn print(&self, mut record: Record) -> Record {
        record = record.row("reported", format_args!("{} devices", self.devices));
        for phase in PHASES {
            let count = self.count(phase);
            if count > 0 {
                record = record.row(format!("  {}", phase.as_str()), count);
            }
        }
        let refusals = self.refusals.iter().map(|reason| ("refusal", reason));
        let troubles = self.troubles.iter().map(|reason| ("trouble", reason));
        let reverts = self.reverts.iter().map(|reason| ("revert", reason));
        for (what, reason) in refusals.chain(reverts).chain(troubles) {
            let name = reason.code.map_or(what.to_owned(), |code| format!("{what} {code}"));
            let message = reason.message.as_deref().unwrap_or("without a message");
            record = record.row(format!("  {name}"), format_args!("{} devices: {message}", reason.devices));
        }
        record
    }
}

fn ranked(reasons: BTreeMap<Option<u16>, Reason>) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = reasons.into_values().collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.devices));
    reasons
}

/// The number of a report, as a person reads it after its phase.
pub fn number(report: &Report) -> String {
    let what = if report.phase == Phase::Failed { "trouble" } else { "refusal" };
    report.code.map(|code| format!(" ({what} {code})")).unwrap_or_default()
}

/// Whether nothing follows a phase.
pub fn is_final(phase: Phase) -> bool {
    matches!(phase, Phase::Confirmed | Phase::Reverted | Phase::Refused | Phase::Isolated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmseal_manifest::DeviceId;
    use uuid::Uuid;

    fn outcome(phase: Phase, code: Option<u16>) -> Outcome {
        let report = Report {
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
            outcome(Phase::Isolated, Some(31)),
            outcome(Phase::Failed, Some(903)),
            outcome(Phase::Reverted, Some(600)),
        ]);
        assert_eq!((tally.devices, tally.finished(), tally.held()), (9, 7, 6));
        assert_eq!(tally.line(), "1 trial, 1 failed, 1 confirmed, 2 reverted, 3 refused, 1 isolated");
        let codes: Vec<_> = tally.refusals.iter().map(|refusals| (refusals.code, refusals.devices)).collect();
        assert_eq!(codes, [(Some(31), 3), (Some(20), 1)]);
        let printed = tally.print(Record::new()).print();
        assert!(printed.contains("3 devices: because of 31"), "{printed}");
        assert!(printed.contains("revert 600") && printed.contains("because of 600"), "{printed}");
        assert!(
            printed.contains("trouble 903") && printed.contains("1 devices: because of 903"),
            "{printed}"
        );
    }

    #[test]
    fn nobody_is_no_news() {
        assert_eq!(Tally::of(&[]).line(), "no reports yet");
    }
}

//! Gossip: reports, and whether those that were taken are kept.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use firmseal_api::updates::{Phase, Report};
use firmseal_e2e::spy::Spy;
use firmseal_e2e::{Operator, until};
use uuid::Uuid;

use crate::machine::Machine;

/// Reports one thing after the other until it is told to stop; gives the ids
/// of those that the server said it has.
pub(crate) fn gossip(spy: &Spy, operator: &Operator, over: &AtomicBool) -> BTreeSet<Uuid> {
    let mut told = BTreeSet::new();
    for number in 0_u128.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let id = Uuid::from_u128(number + 1);
        until("a report to be taken", || {
            let report = Report {
                id,
                release: None,
                rollout: None,
                phase: Phase::Failed,
                code: Some(600),
                message: None,
                at: None,
                build: None,
                request: None,
                blocks_fetched: 0,
                blocks_resumed: 0,
            };
            match operator.wait(spy.report(report)) {
                Ok(()) => Some(()),
                Err(err) if err.is_transient() => None,
                Err(err) => panic!("{err}"),
            }
        });
        told.insert(id);
        // A neighbour of the fleet, and no flood.
        thread::sleep(Duration::from_millis(20));
    }
    told
}

/// Every report is there that a device was told it need not keep: those of
/// the spy, and those of all that the agents say they did. None is there
/// twice.
pub(crate) fn check(machines: &[Machine], spy: &Spy, told: &BTreeSet<Uuid>, operator: &Operator) {
    let all = |id: &str| -> Vec<Report> {
        let id = id.parse().unwrap();
        let reports = operator.all(async |page| operator.client.operator().device_reports(id, &page).await);
        let reports: Vec<Report> = reports.into_iter().map(|kept| kept.report).collect();
        let ids: BTreeSet<Uuid> = reports.iter().map(|report| report.id).collect();
        assert_eq!(ids.len(), reports.len(), "a report is there twice");
        reports
    };
    let kept: BTreeSet<Uuid> = all(&spy.id).iter().map(|report| report.id).collect();
    assert!(!told.is_empty() && told.is_subset(&kept), "lost: {:?}", told.difference(&kept));

    for machine in machines {
        let reports = all(&machine.id);
        for (message, phase) in [("installed", Phase::Installed), ("confirmed", Phase::Confirmed)] {
            let of = |report: &&Report| report.phase == phase;
            let reported = reports.iter().filter(of).filter_map(|report| report.release);
            let reported: BTreeSet<String> = reported.map(|release| release.to_string()).collect();
            let logged = machine.logged(message);
            assert!(logged.is_subset(&reported), "{phase:?}: lost {:?}", logged.difference(&reported));
        }
    }
}

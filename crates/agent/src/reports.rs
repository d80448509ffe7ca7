//! The report queue: what happened, kept until the server has it.
//!
//! Each report is durable before the agent goes on. Ids are derived from
//! the event, so an event that is reported again after a cut is the same
//! report. When the queue is full the oldest telemetry or refusal goes;
//! outcomes never do, and no install begins while there is no room for its
//! outcome. A device without a server keeps no reports: nobody would ever
//! fetch them, and a full queue would end all installs.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use firmseal_api::updates::{MESSAGE_MAX, Phase, REPORTS_MAX, Report};
use uuid::Uuid;

use crate::error::Error;
use crate::fetch::Counts;
use crate::files::Files;
use crate::record::Record;
use crate::release::{Head, Origin, clip};

/// Whether a report may never be dropped: it says what became of an image
/// that ran, or that one came in by recovery. Refusals are none of these: whoever can offer bytes can make
/// as many as he likes, and they must not keep the device from updating.
fn is_outcome(phase: Phase) -> bool {
    matches!(phase, Phase::Confirmed | Phase::Reverted | Phase::Recovered)
}

/// The oldest report that may be dropped. The last install is what the
/// running image came from, and stays as outcomes do.
fn expendable(reports: &[Report]) -> Option<usize> {
    let installed = reports.iter().rposition(|report| report.phase == Phase::Installed);
    (0..reports.len()).find(|at| Some(*at) != installed && !is_outcome(reports[*at].phase))
}

/// Something that happened, before it is a report.
pub(crate) struct Event<'a> {
    /// What the id is derived from.
    pub(crate) id: Uuid,
    pub(crate) origin: &'a Origin,
    pub(crate) phase: Phase,
    pub(crate) code: Option<u16>,
    pub(crate) message: Option<String>,
    pub(crate) counts: Counts,
    /// Milliseconds since 1970.
    pub(crate) at: Option<u64>,
}

impl<'a> Event<'a> {
    /// An event in the life of an install.
    pub(crate) fn of(head: &'a Head, phase: Phase, at: Option<u64>) -> Event<'a> {
        let id = Uuid::new_v5(&head.install, phase.as_str().as_bytes());
        Event { id, origin: &head.origin, phase, code: None, message: None, counts: Counts::default(), at }
    }

    /// An install that trouble interrupted. However often the same trouble
    /// comes back, it is one report.
    pub(crate) fn trouble(head: &'a Head, code: u16, why: String, at: Option<u64>) -> Event<'a> {
        let id = Uuid::new_v5(&head.install, format!("failed {code}").as_bytes());
        Event { id, code: Some(code), message: Some(why), ..Event::of(head, Phase::Failed, at) }
    }
}

/// The queue.
pub(crate) struct Reports {
    record: Record,
    /// Reports that are kept; `None` without a server.
    max: Option<usize>,
    writing: Mutex<()>,
}

impl Reports {
    pub(crate) fn new(files: Arc<dyn Files>, dir: &Path, max: Option<usize>) -> Reports {
        Reports { record: Record::new(files, dir, "reports"), max, writing: Mutex::new(()) }
    }

    /// Everything that waits, oldest first.
    pub(crate) fn pending(&self) -> Result<Vec<Report>, Error> {
        match self.record.read_or_forget()? {
            None => Ok(Vec::new()),
            // The record's digest held, so this was written by another
            // version. Losing reports is better than never updating again.
            Some(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_else(|err| {
                tracing::error!("the report queue is dropped: {err}");
                Vec::new()
            })),
        }
    }

    /// The reports of the next request.
    pub(crate) fn next(&self) -> Result<Vec<Report>, Error> {
        let mut reports = self.pending()?;
        reports.truncate(REPORTS_MAX);
        Ok(reports)
    }

    /// Whether the outcome of one more install will find room.
    pub(crate) fn has_room(&self) -> Result<(), Error> {
        let Some(max) = self.max else { return Ok(()) };
        let outcomes = self.pending()?.iter().filter(|report| is_outcome(report.phase)).count();
        if outcomes < max { Ok(()) } else { Err(Error::ReportsFull(outcomes)) }
    }

    /// Keeps a report. Durable when it returns; one that waits already is
    /// not kept twice.
    pub(crate) fn keep(&self, event: Event<'_>) -> Result<(), Error> {
        let Some(max) = self.max else { return Ok(()) };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reports = self.pending()?;
        if reports.iter().any(|report| report.id == event.id) {
            return Ok(());
        }
        let Event { id, origin, phase, code, message, counts, at } = event;
        reports.push(Report {
            id,
            release: origin.release,
            rollout: origin.rollout,
            phase,
            code,
            message: message.map(|message| clip(&message, MESSAGE_MAX)),
            at,
            build: origin.build.clone(),
            request: origin.request,
            blocks_fetched: counts.fetched,
            blocks_resumed: counts.copied + counts.resumed,
        });
        while reports.len() > max {
            // A trial that ends while the queue is full of outcomes goes
            // beyond the bound by one: `has_room` stops the next install.
            let Some(oldest) = expendable(&reports) else { break };
            reports.remove(oldest);
        }
        self.save(&reports)
    }

    /// Forgets reports that the server has made durable.
    pub(crate) fn delivered(&self, sent: &[Report]) -> Result<(), Error> {
        if sent.is_empty() {
            return Ok(());
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reports = self.pending()?;
        reports.retain(|report| sent.iter().all(|sent| sent.id != report.id));
        self.save(&reports)
    }

    fn save(&self, reports: &[Report]) -> Result<(), Error> {
        let bytes = serde_json::to_vec(reports)
            .map_err(|err| Error::Corrupt { what: "the report queue", why: err.to_string() })?;
        self.record.write(&bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::files::OsFiles;

    fn event(number: u128, phase: Phase) -> Event<'static> {
        static ORIGIN: Origin =
            Origin { release: None, rollout: None, build: None, commit: None, request: None };
        let id = Uuid::from_u128(number);
        Event { id, origin: &ORIGIN, phase, code: None, message: None, counts: Counts::default(), at: None }
    }

    fn ids(queue: &Reports) -> Vec<u128> {
        queue.pending().unwrap().iter().map(|report| report.id.as_u128()).collect()
    }

    #[test]
    fn whatever_comes_outcomes_and_the_last_install_stay() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Reports::new(Arc::new(OsFiles), dir.path(), Some(8));
        let queue = open();
        for number in 0..3 {
            queue.keep(event(number, Phase::Downloading)).unwrap();
            queue.keep(event(number + 3, Phase::Failed)).unwrap();
        }
        queue.keep(event(6, Phase::Installed)).unwrap();
        queue.keep(event(7, Phase::Confirmed)).unwrap();
        queue.keep(event(8, Phase::Installed)).unwrap();
        // Refusals without end: the oldest of them goes, and nothing blocks.
        for number in 100..600 {
            let phase = if number % 2 == 0 { Phase::Refused } else { Phase::Isolated };
            queue.has_room().unwrap();
            queue.keep(event(number, phase)).unwrap();
            queue.keep(event(number, phase)).unwrap();
        }
        // Another process sees the same queue.
        assert_eq!(ids(&open()), [7, 8].into_iter().chain(594..600).collect::<Vec<_>>());
        for number in 10..17 {
            queue.has_room().unwrap();
            queue.keep(event(number, Phase::Reverted)).unwrap();
        }
        assert_eq!(ids(&queue), [7, 8].into_iter().chain(10..17).collect::<Vec<_>>());
        assert!(matches!(queue.has_room(), Err(Error::ReportsFull(8))));
        queue.keep(event(20, Phase::Trial)).unwrap();
        assert_eq!(ids(&queue).len(), 9);
        queue.delivered(&queue.next().unwrap()).unwrap();
        assert_eq!(queue.pending().unwrap(), []);
    }
}

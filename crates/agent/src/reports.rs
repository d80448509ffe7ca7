//! The report queue: what happened, kept until the server has it.
//!
//! Each report is durable before the agent goes on. Ids are derived from
//! the event, so an event that is reported again after a cut is the same
//! report. When the queue is full the oldest telemetry goes; outcomes never
//! do, and no install begins while there is no room for its outcome.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use firmseal_api::updates::{MESSAGE_MAX, Phase, REPORTS_MAX, Report};
use uuid::Uuid;

use crate::error::Error;
use crate::fetch::Counts;
use crate::files::Files;
use crate::record::Record;
use crate::release::{Head, Origin, clip};

/// Whether a report may never be dropped.
fn is_outcome(phase: Phase) -> bool {
    match phase {
        Phase::Confirmed | Phase::Reverted | Phase::Refused | Phase::Isolated => true,
        Phase::Offered | Phase::Downloading | Phase::Installed | Phase::Trial | Phase::Failed => false,
    }
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
    max: usize,
    writing: Mutex<()>,
}

impl Reports {
    pub(crate) fn new(files: Arc<dyn Files>, dir: &Path, max: usize) -> Reports {
        Reports { record: Record::new(files, dir, "reports"), max, writing: Mutex::new(()) }
    }

    /// Everything that waits, oldest first.
    pub(crate) fn pending(&self) -> Result<Vec<Report>, Error> {
        match self.record.read()? {
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
        let outcomes = self.pending()?.iter().filter(|report| is_outcome(report.phase)).count();
        if outcomes < self.max { Ok(()) } else { Err(Error::ReportsFull(outcomes)) }
    }

    /// Keeps a report. Durable when it returns; one that waits already is
    /// not kept twice.
    pub(crate) fn keep(&self, event: Event<'_>) -> Result<(), Error> {
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
        while reports.len() > self.max {
            // A trial that ends while the queue is full of outcomes goes
            // beyond the bound by one: `has_room` stops the next install.
            let Some(oldest) = reports.iter().position(|report| !is_outcome(report.phase)) else { break };
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

    #[test]
    fn telemetry_goes_before_any_outcome() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Reports::new(Arc::new(OsFiles), dir.path(), 8);
        let queue = open();
        for number in 0..3 {
            queue.keep(event(number, Phase::Downloading)).unwrap();
            queue.keep(event(number + 3, Phase::Failed)).unwrap();
        }
        for number in 6..14 {
            let phase = if number % 2 == 0 { Phase::Refused } else { Phase::Isolated };
            queue.has_room().unwrap();
            queue.keep(event(number, phase)).unwrap();
            queue.keep(event(number, phase)).unwrap();
        }
        // Another process sees the same queue.
        let ids: Vec<u128> = open().pending().unwrap().iter().map(|report| report.id.as_u128()).collect();
        assert_eq!(ids, (6..14).collect::<Vec<_>>());
        assert!(matches!(queue.has_room(), Err(Error::ReportsFull(8))));
        queue.keep(event(20, Phase::Trial)).unwrap();
        queue.keep(event(21, Phase::Confirmed)).unwrap();
        let ids: Vec<u128> = queue.pending().unwrap().iter().map(|report| report.id.as_u128()).collect();
        assert_eq!(ids, (6..14).chain([21]).collect::<Vec<_>>());
        queue.delivered(&queue.next().unwrap()).unwrap();
        assert_eq!(queue.pending().unwrap(), []);
    }
}

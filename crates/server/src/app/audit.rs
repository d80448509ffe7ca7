//! The audit trail: what happened is put on record, in its order.

use std::sync::Arc;
use std::time::Duration;

use firmseal_fleet::audit::AuditAction;
use firmseal_fleet::{AuditRecord, Deviation};
use firmseal_store::{AuditFilter, Happened, Page, StoreError};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::App;
use crate::metrics::{Departs, Recorded};

/// What is put on record at once.
const ROUND: u32 = 256;
/// Of these, what the store is asked about at once.
const AT_ONCE: usize = 16;

/// How long somebody who asks waits for the record to be complete.
const PATIENCE: Duration = Duration::from_secs(5);

impl App {
    /// Audit records, newest first, with everything that had happened when
    /// this was called.
    pub(crate) async fn audit_records(
        self: &Arc<Self>,
        filter: AuditFilter,
        page: Page<u64>,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        self.complete_record().await;
        self.store.audit_records(filter, page).await
    }

    /// Brings the record up to what had happened when this was called. Where
    /// the log takes no entries, or its witnesses take their time, whoever
    /// asks is told what stands on record.
    async fn complete_record(self: &Arc<Self>) {
        let app = self.clone();
        let complete = async move {
            // Entering is never cut, or an event would be told twice; and
            // callers who gave up leave one such task behind, not many.
            let turn = app.recording.clone().lock_owned().await;
            let work = async move {
                // Counted in memory so far; the task tries again where this fails.
                let told = app.tell_denials(false).await;
                let entered = app.pipeline.enter_events().await.map(drop);
                let recorded = app.record_rounds().await;
                drop(turn);
                let done = told.and(recorded).map_err(|err| err.to_string());
                entered.map_err(|err| err.to_string()).and(done)
            };
            tokio::spawn(work).await.map_err(|err| err.to_string()).flatten()
        };
        match tokio::time::timeout(PATIENCE, complete).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error, "an auditor is told what stands on record; more happened")
            }
            Err(_) => tracing::warn!("an auditor is told what stands on record; the log is slow"),
        }
    }

    /// Puts on record what happened. May be cut and repeated anywhere: trail
    /// and position move in one step.
    pub(crate) async fn put_on_record(&self) -> Result<(), StoreError> {
        let _turn = self.recording.lock().await;
        self.record_rounds().await
    }

    async fn record_rounds(&self) -> Result<(), StoreError> {
        loop {
            let found = self.store.unrecorded(ROUND).await?;
            if found.since == found.until {
                return Ok(());
            }
            let last = found.happened.len() < ROUND as usize;
            let records = stream::iter(found.happened.into_iter().map(|happened| self.record_of(happened)));
            let records: Vec<Option<AuditRecord>> = records.buffered(AT_ONCE).try_collect().await?;
            let records: Vec<AuditRecord> = records.into_iter().flatten().collect();
            self.store.record(found.since, found.until, records.clone()).await?;
            self.count_records(&records);
            if last {
                return Ok(());
            }
        }
    }

    async fn record_of(&self, happened: Happened) -> Result<Option<AuditRecord>, StoreError> {
        match happened {
            Happened::Signature { signature, asked } => Ok(Some(self.signed(*signature, asked))),
            Happened::Event { event, log_index, circumstances } => {
                self.told(event, log_index, circumstances.map(|known| *known)).await
            }
        }
    }

    fn count_records(&self, records: &[AuditRecord]) {
        for record in records {
            self.metrics.audit_records.get_or_create(&Recorded { action: record.action.word() }).inc();
            if record.action == AuditAction::Anomaly {
                for how in record.reasons.iter().filter_map(|reason| reason.rule.parse::<Deviation>().ok()) {
                    self.metrics.anomalies.get_or_create(&Departs { deviation: how.word() }).inc();
                }
            }
        }
    }
}

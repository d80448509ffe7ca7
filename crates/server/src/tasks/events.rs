//! Enters what happened into the log, and counts what waits.

use std::sync::Arc;

use crate::app::App;

/// Most events that are counted.
const COUNTED: u32 = 1000;

pub(super) async fn enter(app: Arc<App>) {
    let Err(err) = app.pipeline.enter_events().await else {
        app.metrics.events_waiting.set(0);
        return;
    };
    let waiting = app.store.waiting_events(COUNTED).await.map_or(0, |waiting| waiting.len());
    let before = app.metrics.events_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    // Said once: while the log is away, this comes twice a second.
    match before {
        0 => tracing::warn!(error = %err, waiting, "what happened is not in the log yet; nothing is lost"),
        _ => tracing::debug!(error = %err, waiting, "what happened is still not in the log"),
    }
}

//! Puts on record what happened, and lets records go whose time is over.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;

/// Records that are forgotten at once: a write of this size holds nobody up.
const FORGOTTEN: u32 = 1000;

pub(super) async fn record(app: Arc<App>) {
    let recorded = app.put_on_record().await;
    let before = app.metrics.audit_failing.set(i64::from(recorded.is_err()));
    match recorded {
        // Said once: this comes every second.
        Err(err) if before == 0 => {
            tracing::warn!(error = %err, "what happened is not on record yet; nothing is lost")
        }
        Err(err) => tracing::debug!(error = %err, "what happened is still not on record"),
        Ok(()) => {}
    }
}

pub(super) async fn forget(app: Arc<App>) {
    let span = Duration::from_secs(u64::from(app.limits.audit_days) * 24 * 3600);
    let Some(before) = app.clock.now().minus(span) else { return };
    loop {
        match app.store.forget_records(before, FORGOTTEN).await {
            Ok(FORGOTTEN) => {}
            Ok(_) => return,
            Err(err) => return tracing::warn!(error = %err, "records stay longer than they should"),
        }
    }
}

//! Beats while the store answers, and counts who would go on with it.

use std::sync::Arc;

use crate::app::App;

pub(super) async fn beat(app: Arc<App>) {
    // An error is an answer too: who supervises ends a server that hangs, and
    // ending one whose disk is full would mend nothing.
    if let Err(err) = app.store.answers().await {
        tracing::warn!(error = %err, "the store is in trouble");
    }
    app.pulse.beat();
}

pub(super) async fn successor(app: Arc<App>) {
    match app.store.has_successor().await {
        Ok(there) => {
            app.metrics.successor.set(there.into());
        }
        Err(err) => tracing::warn!(error = %err, "whether a standby waits is not known"),
    }
}

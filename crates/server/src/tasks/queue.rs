//! Counts how long the queues are, and how the keys stand.

use std::sync::Arc;

use crate::app::App;

pub(super) async fn measure(app: Arc<App>) {
    app.metrics.keys(&app.dispatcher.states());
    match app.store.queue_depths().await {
        Ok(depths) => app.metrics.queues(&depths, app.dispatcher.running(), app.clock.now()),
        Err(err) => tracing::warn!(error = %err, "the queues cannot be measured"),
    }
}

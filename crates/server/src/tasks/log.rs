//! Counts how the log stands, and keeps the freshness document new.

use std::sync::Arc;

use crate::app::App;

pub(super) async fn log(app: Arc<App>) {
    if let Some(status) = app.published.status() {
        app.metrics.log(&status);
    }
    if let Err(err) = app.freshen().await {
        tracing::warn!(error = %err, "no new freshness document is made; the last one stays");
    }
}

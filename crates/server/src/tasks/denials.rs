//! Tells who was denied what.

use std::sync::Arc;

use crate::app::App;

pub(super) async fn tell(app: Arc<App>) {
    if let Err(err) = app.tell_denials(false).await {
        tracing::warn!(error = %err, "who was denied what is not on record yet; it is counted on");
    }
}

/// Before the server stops: what is counted in memory would be forgotten.
pub(crate) async fn tell_all(app: Arc<App>) {
    if let Err(err) = app.tell_denials(true).await {
        tracing::warn!(error = %err, "who was denied what in the last hour is not on record");
    }
}

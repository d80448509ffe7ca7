//! Follows what other processes change in the store.

use std::sync::Arc;

use crate::app::App;

pub(super) async fn follow(app: Arc<App>) {
    if let Err(err) = app.catalog.refresh(app.store.as_ref()).await {
        tracing::warn!(error = %err, "the catalog is not refreshed; the last one stays");
    }
}

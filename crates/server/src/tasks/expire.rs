//! Throws away uploads that nobody finished.

use std::sync::Arc;

use crate::app::App;

pub(super) async fn expire(app: Arc<App>) {
    match app.store.expire(app.clock.now()).await {
        Ok(0) => {}
        Ok(uploads) => tracing::info!(uploads, "unfinished uploads thrown away"),
        Err(err) => tracing::warn!(error = %err, "unfinished uploads are not thrown away"),
    }
}

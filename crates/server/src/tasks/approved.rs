//! Signs releases that enough people have agreed to, and closes requests
//! that have expired. What a crash left between the last approval and the
//! signature is found here.

use std::sync::Arc;

use crate::app::App;

pub(super) async fn approved(app: Arc<App>) {
    if let Err(err) = app.finish_waiting().await {
        tracing::warn!(error = %err, "signing requests wait");
    }
}

//! Signs releases and files that enough people have agreed to, and closes
//! requests that have expired. What a crash left between the last approval
//! and the signature is found here.

use std::sync::Arc;

use crate::app::App;

pub(super) async fn approved(app: Arc<App>) {
    // Neither waits for the other.
    for tried in [app.resume_agreed().await, app.finish_waiting().await] {
        if let Err(err) = tried {
            tracing::warn!(error = %err, "signing requests wait");
        }
    }
}

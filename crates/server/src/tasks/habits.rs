//! Writes down what was learned of how keys are used, and forgets what is
//! long over.

use std::sync::Arc;

use crate::app::App;

/// Writes down what was learned.
pub(crate) async fn keep(app: Arc<App>) {
    if let Err(err) = app.pipeline.keep_habits(app.clock.now()).await {
        tracing::warn!(error = %err, "what is usual is not written down yet; it is known all the same");
    }
}

pub(super) async fn forget(app: Arc<App>) {
    if let Err(err) = app.pipeline.forget_habits(app.clock.now()).await {
        tracing::warn!(error = %err, "habits stay longer than they should");
    }
}

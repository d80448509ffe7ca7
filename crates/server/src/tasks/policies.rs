//! Closes policy proposals that nobody agreed to in time, and measures how
//! the policy in force stands.

use std::sync::Arc;

use crate::app::App;

pub(super) async fn expire(app: Arc<App>) {
    app.metrics.policy(&app.pipeline.policy_standing());
    match app.pipeline.expire_policies(app.clock.now()).await {
        Ok(0) => {}
        Ok(proposals) => tracing::info!(proposals, "policy proposals expired"),
        Err(err) => tracing::warn!(error = %err, "policy proposals that expired are not closed"),
    }
}

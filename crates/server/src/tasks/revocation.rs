//! Measures how far the newest revocation has come.

use std::sync::Arc;

use firmseal_store::{StoreError, TrustKind};

use crate::app::App;

pub(super) async fn measure(app: Arc<App>) {
    if let Err(err) = look(&app).await {
        tracing::warn!(error = %err, "how far the newest revocation has come cannot be measured");
    }
}

async fn look(app: &App) -> Result<(), StoreError> {
    if let Some(newest) = app.store.newest_trust_document(TrustKind::Revocation).await? {
        let (heard, all) = app.store.heard(newest.published).await?;
        app.metrics.revocation(newest.published, heard, all);
    }
    Ok(())
}

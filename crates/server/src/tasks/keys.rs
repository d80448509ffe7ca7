//! Writes down how often keys were used, measures how they stand, and
//! destroys those whose day has come.

use std::sync::Arc;

use firmseal_sign::DestroyedKey;

use crate::app::App;

/// Writes uses down.
pub(super) async fn note(app: Arc<App>) {
    if let Err(err) = app.pipeline.note_uses().await {
        tracing::warn!(error = %err, "how often keys were used is not written down yet; limits hold all the same");
    }
}

/// Destroys keys whose day has come, and measures how all of them stand.
pub(super) async fn look(app: Arc<App>) {
    for outcome in app.pipeline.destroy_due(app.clock.now()).await {
        match outcome {
            Ok(DestroyedKey { name, note }) => {
                tracing::warn!(key = %name, note, "the private half of a signing key was destroyed");
            }
            Err(err) => tracing::error!(error = %err, "a signing key is not destroyed; it is tried again"),
        }
    }
    match app.keys().await {
        Ok(keys) => {
            for key in &keys {
                if let Some(held) = app.pipeline.keyring().key(&key.name) {
                    app.metrics.key(key, held.uses(), held.hanging());
                    app.metrics.key_hosts(key.name.as_str(), &held.places());
                }
            }
        }
        Err(err) => tracing::warn!(error = %err, "how keys stand is not known"),
    }
}

/// Says in the log what a person should do about keys: at the start and once a day.
pub(crate) async fn warn(app: Arc<App>) {
    let Ok(keys) = app.keys().await else { return };
    for key in keys {
        for warning in &key.warnings {
            tracing::warn!(key = %key.name, owner = key.owner, warning, "a signing key needs somebody");
        }
    }
}

/// Before the server ends: what was granted and not used goes back.
pub(crate) async fn settle_keys(app: Arc<App>) {
    if let Err(err) = app.pipeline.settle_keys(app.clock.now()).await {
        tracing::warn!(error = %err, "uses of keys that were granted and not made are lost");
    }
}

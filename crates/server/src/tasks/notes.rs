//! Writes down when devices were last here.

use std::sync::Arc;

use crate::app::App;

pub(crate) async fn write_notes(app: Arc<App>) {
    let notes = app.presence.take_notes();
    if notes.is_empty() {
        return;
    }
    // Notes that cannot be written are dropped, not kept: the devices will
    // come again, and memory stays bounded while the store is away.
    if let Err(err) = app.store.touch(notes).await {
        tracing::warn!(error = %err, "when devices were last seen is not written down");
    }
}

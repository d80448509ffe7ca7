//! Throws away uploads that nobody finished, and forgets tokens that have
//! ended.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;

/// How many tokens are forgotten at once: others write as well.
const SOME: u32 = 1000;
/// How long a token is known after its end: the clock of a machine that takes
/// over may be slower, and other settings may give it longer.
const AFTER: Duration = Duration::from_secs(3600);

pub(super) async fn expire(app: Arc<App>) {
    match app.store.expire(app.clock.now()).await {
        Ok(0) => {}
        Ok(uploads) => tracing::info!(uploads, "unfinished uploads thrown away"),
        Err(err) => tracing::warn!(error = %err, "unfinished uploads are not thrown away"),
    }
    // Nothing has ended before time began.
    let Some(over) = app.clock.now().minus(AFTER) else { return };
    loop {
        match app.store.forget_tokens(over, SOME).await {
            Ok(SOME) => {}
            Ok(_) => break,
            Err(err) => {
                tracing::warn!(error = %err, "used tokens that have ended are not forgotten");
                break;
            }
        }
    }
}

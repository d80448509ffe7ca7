//! Looks whether certificate files changed: every few seconds, and at once
//! on SIGHUP.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::tls::ReloadingTls;

const EVERY: Duration = Duration::from_secs(2);

pub(super) async fn watch(tls: Vec<Arc<ReloadingTls>>, mut stop: watch::Receiver<bool>) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    loop {
        let hung_up = async {
            match hangup.as_mut() {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::time::sleep(EVERY) => {}
            _ = hung_up => tracing::info!("looking for new tls files"),
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let listeners = tls.clone();
        // Small files, but files: reading them may block.
        let looked = tokio::task::spawn_blocking(move || {
            for listener in listeners {
                listener.reload();
            }
        });
        if looked.await.is_err() {
            tracing::error!("looking for new tls files failed");
        }
    }
}

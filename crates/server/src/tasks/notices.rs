//! Tells receivers of notices what is on record, each in order and at its
//! own pace.

use std::sync::Arc;
use std::time::Duration;

use firmseal_notify::{NotifyError, Sink, SinkSettings};
use firmseal_store::StoreError;
use tokio::sync::watch;

use crate::app::App;
use crate::metrics::Notice;

/// How often a receiver is told what is new.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait after failures.
const LONGEST: Duration = Duration::from_secs(300);
/// Records that are read at once.
const ROUND: u32 = 64;

/// A receiver of notices, and what it wants to hear of.
pub(crate) struct Receiver {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) settings: SinkSettings,
}

/// Why a receiver was not told.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Notify(#[from] NotifyError),
}

pub(super) async fn tell(app: Arc<App>, receiver: Receiver, mut stop: watch::Receiver<bool>) {
    let (mut wait, mut failing, mut told) = (Duration::ZERO, false, None);
    let name = receiver.sink.name();
    loop {
        tokio::select! {
            _ = tokio::time::sleep(wait) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let done = tokio::select! {
            done = round(&app, &receiver, &mut told) => Some(done),
            _ = stop.wait_for(|stop| *stop) => None,
        };
        match done {
            // Nobody waits for a receiver that is slow: what was on its way is
            // told again after the next start, and nothing before it.
            None => return keep(&app, name, told).await,
            Some(Ok(())) => {
                if failing {
                    tracing::info!(receiver = name, "a receiver of notices is back");
                }
                (wait, failing) = (EVERY, false);
            }
            Some(Err(err)) => {
                keep(&app, name, told).await;
                // Said once for each outage; the metric says how long.
                if !failing {
                    tracing::warn!(receiver = name, error = %err, "a receiver of notices is not told; nothing is lost");
                }
                (wait, failing) = ((wait * 2).clamp(EVERY, LONGEST), true);
            }
        }
    }
}

/// Tells a receiver everything that it has not been told; `told` is the
/// number of the last record that it was. May be cut anywhere.
async fn round(app: &App, receiver: &Receiver, told: &mut Option<u64>) -> Result<(), Untold> {
    let name = receiver.sink.name();
    let count = |outcome| {
        app.metrics.notices.get_or_create(&Notice { receiver: name.to_owned(), outcome }).inc();
    };
    let mut at = match *told {
        Some(at) => at,
        None => app.store.told(name).await?,
    };
    loop {
        let records = app.store.records_after(at, ROUND).await?;
        if records.is_empty() {
            return Ok(());
        }
        for record in records {
            if receiver.settings.wants(record.action) {
                if let Err(err) = receiver.sink.deliver(&record).await {
                    count("failed");
                    return Err(err.into());
                }
                count("delivered");
            }
            at = record.number;
            *told = Some(at);
        }
        // Once for all of them: whoever is killed before it repeats these.
        app.store.set_told(name, at).await?;
    }
}

/// Notes how far a receiver was told.
async fn keep(app: &App, name: &str, told: Option<u64>) {
    let Some(told) = told else { return };
    if let Err(err) = app.store.set_told(name, told).await {
        tracing::warn!(receiver = name, error = %err, "a receiver of notices may be told some records twice");
    }
}

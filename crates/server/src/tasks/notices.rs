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
    let (mut wait, mut failing) = (Duration::ZERO, false);
    loop {
        tokio::select! {
            _ = tokio::time::sleep(wait) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let name = receiver.sink.name();
        match round(&app, &receiver).await {
            Ok(()) => {
                if failing {
                    tracing::info!(receiver = name, "a receiver of notices is back");
                }
                (wait, failing) = (EVERY, false);
            }
            Err(err) => {
                // Said once for each outage; the metric says how long.
                if !failing {
                    tracing::warn!(receiver = name, error = %err, "a receiver of notices is not told; nothing is lost");
                }
                (wait, failing) = ((wait * 2).clamp(EVERY, LONGEST), true);
            }
        }
    }
}

/// Tells a receiver everything that it has not been told.
async fn round(app: &App, receiver: &Receiver) -> Result<(), Untold> {
    let name = receiver.sink.name();
    let count = |outcome| {
        app.metrics.notices.get_or_create(&Notice { receiver: name.to_owned(), outcome }).inc();
    };
    let mut told = app.store.told(name).await?;
    loop {
        let records = app.store.records_after(told, ROUND).await?;
        let Some(last) = records.last().map(|record| record.number) else { return Ok(()) };
        for record in &records {
            if receiver.settings.wants(record.action) {
                if let Err(err) = receiver.sink.deliver(record).await {
                    count("failed");
                    // What was told before this one is not told again.
                    app.store.set_told(name, told).await?;
                    return Err(err.into());
                }
                count("delivered");
            }
            told = record.number;
        }
        app.store.set_told(name, last).await?;
    }
}

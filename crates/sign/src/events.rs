//! What happened, on its way from the store into the log.

use firmseal_keys::{Log, LogError};
use firmseal_store::StoreError;
use futures_util::future::join_all;

use crate::pipeline::Pipeline;

/// Events that are entered at once: with witnesses, they share a checkpoint.
const ROUND: u32 = 64;

/// Why events wait. None is lost.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log does not take them.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Pipeline {
    /// Enters events that wait into the log; how many there were.
    ///
    /// Cut between the entry and its note, an event is entered again: the
    /// log tells of everything, and may tell it twice.
    pub async fn enter_events(&self) -> Result<usize, EventError> {
        // Two at once would tell everything twice.
        let _entering = self.entering.lock().await;
        let mut count = 0;
        loop {
            let waiting = self.store().waiting_events(ROUND).await?;
            if waiting.is_empty() {
                return Ok(count);
            }
            let leaves: Vec<_> = waiting.iter().map(|waiting| waiting.event.encode()).collect();
            let entries = join_all(leaves.iter().map(|leaf| self.log().append(leaf))).await;
            let (mut entered, mut failure) = (Vec::with_capacity(waiting.len()), None);
            for (waiting, entry) in waiting.iter().zip(entries) {
                match entry {
                    Ok(index) => entered.push((waiting.number, index)),
                    Err(error) => failure = Some(error),
                }
            }
            count += entered.len();
            self.store().events_entered(entered).await?;
            if let Some(error) = failure {
                return Err(error.into());
            }
        }
    }
}

//! Back-off: patience with a server that comes and goes.

use std::time::Duration;

use firmseal_api::client::ClientError;
use uuid::Uuid;

use crate::error::{CliError, Result};

/// Attempts in a row that may fail without any progress between them; with
/// the waits below, half a minute to a minute.
const ATTEMPTS: u32 = 9;
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(16);

/// Counts failures since the last progress.
#[derive(Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    pub fn new() -> Backoff {
        Backoff::default()
    }

    /// Something was achieved: patience begins anew.
    pub fn progress(&mut self) {
        self.failures = 0;
    }

    /// Waits after a failure that another attempt may mend; gives the error
    /// back where it may not, or where patience has run out.
    pub async fn wait(&mut self, error: ClientError) -> Result {
        if !error.is_transient() {
            return Err(error.into());
        }
        match self.pause() {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            None => Err(CliError::from(error)
                .hint("run the same command again later: it goes on where this one stopped")),
        }
    }

    /// Counts a failure that waiting does not mend; `false` once patience
    /// has run out.
    pub fn count(&mut self) -> bool {
        self.failures += 1;
        self.failures < ATTEMPTS
    }

    /// The next pause: doubling, and each client a different part of it, so
    /// that a server that comes back is not met by all at once.
    fn pause(&mut self) -> Option<Duration> {
        if !self.count() {
            return None;
        }
        let whole = FIRST.saturating_mul(1 << (self.failures - 1)).min(LONGEST);
        // A random UUID is the randomness at hand; its top bits are random.
        let part = (Uuid::new_v4().as_u128() >> 112) as u32;
        Some(whole / 2 + whole / 2 * part / (1 << 16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_end_and_begin_anew() {
        let mut backoff = Backoff::new();
        let pauses: Vec<Duration> = std::iter::from_fn(|| backoff.pause()).collect();
        assert_eq!(pauses.len(), ATTEMPTS as usize - 1);
        for (index, pause) in pauses.iter().enumerate() {
            let whole = FIRST.saturating_mul(1 << index).min(LONGEST);
            assert!(whole / 2 <= *pause && *pause <= whole, "{index}: {pause:?}");
        }
        backoff.progress();
        assert!(backoff.pause().is_some());
    }
}

//! Logged intents: the token that opens a key.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use firmseal_manifest::Intent;

/// Why something could not be logged. Nothing was done for it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log could not write.
    #[error("the log cannot be written: {0}")]
    Storage(String),
    /// Too few witnesses stand behind the log, or they know another one.
    /// The words name witnesses and nothing of this machine.
    #[error("the log is not witnessed: {0}")]
    Unwitnessed(String),
}

/// An append-only log: of intents, and of what came of them.
///
/// Contract: when `append` returns an index, the leaf at that index is
/// durable: it survives a power cut one instruction later. If `append`
/// fails, the leaf may or may not be in the log; the caller uses no key
/// and may append again, which makes another entry.
pub trait Log: Send + Sync {
    /// Appends one leaf and returns its index.
    fn append(&self, leaf: &[u8]) -> impl Future<Output = Result<u64, LogError>> + Send;
}

/// An entry on its way, into a log behind a pointer.
pub type Appending<'a> = Pin<Box<dyn Future<Output = Result<u64, LogError>> + Send + 'a>>;

/// [`Log`] as an object, for `Arc<dyn DynLog>`. Every log is one, and the
/// object is itself a [`Log`].
pub trait DynLog: Send + Sync {
    /// As [`Log::append`].
    fn dyn_append<'a>(&'a self, leaf: &'a [u8]) -> Appending<'a>;
}

impl<L: Log> DynLog for L {
    fn dyn_append<'a>(&'a self, leaf: &'a [u8]) -> Appending<'a> {
        Box::pin(self.append(leaf))
    }
}

impl Log for dyn DynLog + '_ {
    async fn append(&self, leaf: &[u8]) -> Result<u64, LogError> {
        self.dyn_append(leaf).await
    }
}

impl<L: Log + ?Sized> Log for Arc<L> {
    async fn append(&self, leaf: &[u8]) -> Result<u64, LogError> {
        (**self).append(leaf).await
    }
}

/// Proof that a value was durably logged before anything was done with it.
///
/// There is no other constructor than [`Logged::append`], and no `Clone`:
/// one entry opens a key once.
#[derive(Debug)]
pub struct Logged<T> {
    value: T,
    index: u64,
}

impl Logged<Intent> {
    /// Logs an intent.
    pub async fn append(log: &(impl Log + ?Sized), intent: Intent) -> Result<Logged<Intent>, LogError> {
        let index = log.append(&intent.encode()).await?;
        Ok(Logged { value: intent, index })
    }
}

impl<T> Logged<T> {
    /// What was logged.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Where it stands in the log.
    pub fn index(&self) -> u64 {
        self.index
    }
}

//! Continuity: whether a store can be worked with, and who would go on with
//! it.

use async_trait::async_trait;

use crate::StoreError;

/// What whoever watches over a server asks of its store.
#[async_trait]
pub trait Continuity: Send + Sync {
    /// Goes the way of a write, then of a read, then of an entry of the log,
    /// and changes nothing. Where it does not come back, neither do they;
    /// where there is much to do, it does all the same.
    async fn answers(&self) -> Result<(), StoreError>;

    /// Whether a process waits to go on with this store when this one ends.
    async fn has_successor(&self) -> Result<bool, StoreError>;
}

//! Sinks: where notices go.

use async_trait::async_trait;
use firmseal_fleet::AuditRecord;

use crate::error::NotifyError;

/// A receiver of notices.
///
/// Contract: when `deliver` returns `Ok`, the receiver has taken the record
/// over, as far as its protocol says so. It may be called again with a record
/// that was delivered before. It ends within seconds, whoever is silent.
#[async_trait]
pub trait Sink: Send + Sync {
    /// The receiver's name, as settings, metrics and positions know it.
    fn name(&self) -> &str;

    /// Delivers a record.
    async fn deliver(&self, record: &AuditRecord) -> Result<(), NotifyError>;
}

//! Timestamps over signatures: that a signature existed at a time, as an
//! authority outside says.

use std::future::Future;
use std::pin::Pin;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::{ArtifactId, Digest};

use crate::error::PipelineError;
use crate::pipeline::Pipeline;

/// Why there is no timestamp: what each authority said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no timestamp: {0}")]
pub struct StampError(pub String);

/// A timestamp on its way.
pub type Stamping<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, StampError>> + Send + 'a>>;

/// Authorities that give timestamps.
///
/// Contract of `stamp`: what it returns was verified, over exactly this
/// SHA-256 and fresh; it ends within a bounded time, whatever the
/// authorities do; it may be asked again.
pub trait Timestamps: Send + Sync {
    /// A token (RFC 3161 §2.4.2) over a SHA-256.
    fn stamp(&self, digest: Digest) -> Stamping<'_>;

    /// Whether a signature without a timestamp leaves here.
    fn is_required(&self) -> bool;
}

impl Pipeline {
    /// Has a signature stamped: over the SHA-256 of its bytes. The token is
    /// durable on return. Nothing, where no authority is configured, or none
    /// answers and a timestamp is not required.
    pub async fn timestamp(&self, signature: &[u8]) -> Result<Vec<ArtifactId>, PipelineError> {
        let Some(timestamps) = self.timestamps.as_deref() else { return Ok(Vec::new()) };
        match timestamps.stamp(RustCrypto.digest(signature)).await {
            Ok(token) => Ok(vec![ArtifactId(self.store().put_bytes(token.into()).await?)]),
            Err(error) if timestamps.is_required() => Err(error.into()),
            Err(_) => Ok(Vec::new()),
        }
    }
}

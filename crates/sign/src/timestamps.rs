//! Timestamps over signatures: that a signature existed at a time, as an
//! authority outside says.

use std::future::Future;
use std::pin::Pin;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::{ArtifactId, Digest};

use crate::error::PipelineError;
use crate::pipeline::Pipeline;

/// What an authority that was asked for a timestamp came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampAnswer {
    /// The authority, as the settings name it.
    pub authority: String,
    /// Why it gave none, if it did not.
    pub refused: Option<String>,
}

/// What asking for a timestamp came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// The token (RFC 3161 §2.4.2), where somebody gave one.
    pub token: Option<Vec<u8>>,
    /// Who was asked, in that order.
    pub answers: Vec<StampAnswer>,
}

/// Why there is no timestamp: what each authority said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no timestamp: {0}")]
pub struct StampError(pub String);

/// A timestamp on its way.
pub type Stamping<'a> = Pin<Box<dyn Future<Output = Stamped> + Send + 'a>>;

/// Authorities that give timestamps.
///
/// Contract of `stamp`: the token was verified, over exactly this SHA-256 and
/// fresh; it ends within a bounded time, whatever the authorities do; it may
/// be asked again.
pub trait Timestamps: Send + Sync {
    /// A token over a SHA-256.
    fn stamp(&self, digest: Digest) -> Stamping<'_>;

    /// Whether a signature without a timestamp leaves here.
    fn is_required(&self) -> bool;
}

impl Pipeline {
    /// Has a signature stamped: over the SHA-256 of its bytes. The token is
    /// durable on return. Nothing, where no authority is configured, or none
    /// answers and a timestamp is not required. `answers` says what each did,
    /// whatever comes of it: somebody has to see to one that fails.
    pub(crate) async fn timestamp(
        &self,
        signature: &[u8],
        answers: &mut Vec<StampAnswer>,
    ) -> Result<Vec<ArtifactId>, PipelineError> {
        let Some(timestamps) = self.timestamps.as_deref() else { return Ok(Vec::new()) };
        let stamped = timestamps.stamp(RustCrypto.digest(signature)).await;
        answers.extend(stamped.answers);
        match stamped.token {
            Some(token) => Ok(vec![ArtifactId(self.store().put_bytes(token.into()).await?)]),
            None if timestamps.is_required() => Err(StampError(listed(answers)).into()),
            None => Ok(Vec::new()),
        }
    }
}

fn listed(answers: &[StampAnswer]) -> String {
    let said = answers.iter().filter_map(|StampAnswer { authority, refused }| {
        refused.as_ref().map(|why| format!("{authority}: {why}"))
    });
    said.collect::<Vec<_>>().join("; ")
}

//! Trust documents: published, served, in force.

use bytes::Bytes;
use firmseal_api::trust::PublishedRoot;
use firmseal_sign::TrustError;

use super::App;
use crate::error::ApiError;

impl From<TrustError> for ApiError {
    fn from(err: TrustError) -> ApiError {
        let why = err.to_string();
        let refused = |hint: &str| ApiError::Refused { why: why.clone(), hint: hint.to_owned() };
        match err {
            TrustError::Store(err) => err.into(),
            TrustError::Refused { .. } => {
                refused("nothing was published; the newest document and its roles say who must sign")
            }
            TrustError::Taken { .. } => ApiError::Conflict(why),
            TrustError::OutOfTurn { .. } => {
                refused("nothing was published; publish one document after another")
            }
            TrustError::NoFirst(_) | TrustError::OtherAnchor(_) => ApiError::Internal(why),
        }
    }
}

impl App {
    /// Publishes a root document. When this returns it is durable, and
    /// releases are signed and verified under it.
    pub(crate) async fn publish_root(&self, operator: &str, bytes: Bytes) -> Result<PublishedRoot, ApiError> {
        let version = self.pipeline.publish_root(bytes, operator, self.clock.now()).await?;
        tracing::info!(version, operator, "root document published");
        Ok(PublishedRoot { version })
    }
}

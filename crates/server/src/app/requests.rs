//! Signing requests that wait for people.

use std::sync::Arc;
use std::time::Duration;

use firmseal_api::requests as api;
use firmseal_api::signatures::SignatureRequest;
use firmseal_core::KeyId;
use firmseal_fleet::{ApprovalSignature, Caller, JobState, RequestState, SigningRequest};
use firmseal_manifest::{ArtifactId, Digest, RequestId};
use firmseal_sign::{NewApproval, Signed};

use super::App;
use crate::error::ApiError;
use crate::wire;

/// How long whoever changes something waits for what comes of it.
const WAIT: Duration = Duration::from_secs(20);

impl App {
    pub(crate) async fn signing_request(&self, id: RequestId) -> Result<SigningRequest, ApiError> {
        let request = self.store.signing_request(id).await?;
        request.ok_or_else(|| ApiError::NotFound(format!("signing request {id}")))
    }

    /// A request as it is shown: with who has agreed, and who is missing.
    pub(crate) async fn request_out(&self, request: SigningRequest) -> Result<api::SigningRequest, ApiError> {
        let approvals = self.store.approvals(request.id).await?;
        let missing = match request.state {
            RequestState::Waiting => self.pipeline.missing_approvals(&request).await?,
            _ => 0,
        };
        Ok(wire::request_out(request, approvals, missing))
    }

    /// Takes an approval; with the last one that is missing the release is
    /// signed.
    pub(crate) async fn approve(
        self: Arc<Self>,
        operator: &Caller,
        id: RequestId,
        approve: api::Approve,
    ) -> Result<api::SigningRequest, ApiError> {
        let now = self.clock.now();
        let brought = NewApproval {
            key: KeyId(approve.key.0),
            signature: signature_in(approve.signature),
            brought_by: operator.name.clone(),
        };
        let taken = self.pipeline.approve(id, brought, now).await;
        let approval = taken.map_err(|error| self.denied(operator, error))?;
        let operator = operator.name.as_str();
        tracing::info!(request = %id, holder = approval.holder, key = %approval.key, operator, "approved");
        // The approval is kept whatever becomes of this; the task behind
        // tries again.
        let watch = self.dispatcher.watch(id);
        match self.pipeline.align(&self.signing_request(id).await?, now).await {
            Ok(Some(true)) => {
                self.dispatcher.wake();
                // Whoever brought the last one sees what came of it, unless
                // its keys are out of reach.
                let _ = tokio::time::timeout(WAIT.min(self.limits.request() / 2), watch).await;
            }
            Ok(Some(false)) => {}
            Ok(None) => match self.pipeline.finish(id, now).await {
                Ok(Some(signed)) => self.finished(&signed, operator),
                Ok(None) => {}
                Err(err) => tracing::warn!(request = %id, error = %err, "approved, and not signed yet"),
            },
            Err(err) => tracing::warn!(request = %id, error = %err, "approved, and not signed yet"),
        }
        self.request_out(self.signing_request(id).await?).await
    }

    fn finished(&self, signed: &Signed, operator: &str) {
        if !signed.stored {
            self.published(&signed.release, operator, "release signed");
        }
    }

    /// Takes back the approvals that somebody brought.
    pub(crate) async fn withdraw_approvals(&self, operator: &str, id: RequestId) -> Result<(), ApiError> {
        let withdrawn = self.store.remove_approvals(id, operator).await?;
        tracing::info!(request = %id, operator, withdrawn, "approvals withdrawn");
        Ok(())
    }

    /// Takes a request back before it is signed.
    pub(crate) async fn cancel_request(&self, operator: &str, id: RequestId) -> Result<(), ApiError> {
        self.store.close_signing_request(id, RequestState::Cancelled).await?;
        tracing::info!(request = %id, operator, "signing request cancelled");
        // Its job, if it is one, ends with it.
        match self.resume(id, JobState::Waiting).await {
            Ok(()) | Err(ApiError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The same, for whoever knows it as an order on its way.
    pub(super) async fn cancel_order(
        &self,
        operator: &str,
        id: RequestId,
    ) -> Result<SignatureRequest, ApiError> {
        let watch = self.dispatcher.watch(id);
        self.cancel_request(operator, id).await?;
        let _ = tokio::time::timeout(WAIT.min(self.limits.request() / 2), watch).await;
        self.signature_request(id, Duration::ZERO).await
    }

    /// A payload, bill of materials or evidence of a request, for whoever has to look
    /// at it.
    pub(crate) async fn request_payload(
        &self,
        id: RequestId,
        payload: ArtifactId,
    ) -> Result<Digest, ApiError> {
        let request = self.signing_request(id).await?;
        let sboms = [request.sbom, request.previous_sbom];
        let of_it = request.components.iter().any(|component| component.payload == payload.0);
        match of_it || sboms.contains(&Some(payload.0)) || request.evidence.contains(&payload) {
            true => Ok(payload.0),
            false => Err(ApiError::NotFound(format!("payload {payload} of signing request {id}"))),
        }
    }

    /// Has the files signed that enough people have agreed to.
    pub(crate) async fn resume_agreed(&self) -> Result<(), ApiError> {
        for (request, err) in self.pipeline.resume_agreed(self.clock.now()).await? {
            tracing::warn!(%request, error = %err, "approved, and not signed yet");
        }
        self.dispatcher.wake();
        Ok(())
    }

    /// Signs releases that enough people have agreed to.
    pub(crate) async fn finish_waiting(&self) -> Result<(), ApiError> {
        for (request, finished) in self.pipeline.finish_waiting(self.clock.now()).await? {
            match finished {
                Ok(signed) => self.finished(&signed, &signed.release.requester),
                Err(err) => tracing::warn!(%request, error = %err, "approved, and not signed yet"),
            }
        }
        self.dispatcher.wake();
        Ok(())
    }
}

pub(super) fn signature_in(signature: api::ApprovalSignature) -> ApprovalSignature {
    match signature {
        api::ApprovalSignature::Cose { signature } => ApprovalSignature::Cose { signature: signature.0 },
        api::ApprovalSignature::Ssh { signature } => ApprovalSignature::Ssh { signature: signature.0 },
        api::ApprovalSignature::Webauthn { authenticator, client, signature } => {
            ApprovalSignature::Webauthn {
                authenticator: authenticator.0,
                client: client.0,
                signature: signature.0,
            }
        }
    }
}

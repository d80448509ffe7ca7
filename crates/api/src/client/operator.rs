//! What operators call.

use std::time::Duration;

use bytes::Bytes;
use firmseal_manifest::{ArtifactId, DeviceId, ProductId, ReleaseId, RequestId, RolloutId, UploadId};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use uuid::Uuid;

use super::signatures::WAY;
use super::{Client, ClientError, escape, paged, queried};
use crate::access::{CreateOperatorToken, NewOperatorToken, OperatorToken, SignIn};
use crate::audit::{AuditQuery, AuditRecord, LogEntries, LogQuery};
use crate::encoding::{Page, PageQuery};
use crate::enrolment::{CreateToken, Token, TokenRecord};
use crate::fleet::{CreateRollout, Device, DeviceReport, Outcome, Rollout};
use crate::registry::{Artifact, CreateUpload, Product, Upload};
use crate::requests::{Approve, Ordered, RequestState, SigningRequest};
use crate::signing::{CreateRelease, PrepareRollback, Release};
use crate::trust::{PublishedRevocation, PublishedRoot};
use crate::{BYTES_TYPE, ENVELOPE_TYPE, IDEMPOTENCY_KEY, PREFER, ROOT_TYPE, UPLOAD_OFFSET};

/// The calls of an operator, with a token or a client certificate.
#[derive(Clone, Copy, Debug)]
pub struct OperatorClient<'a>(pub(super) &'a Client);

impl OperatorClient<'_> {
    /// Audit records, newest first.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditRecord>, ClientError> {
        self.0.get(&queried("/v1/audit", query)?).await
    }

    /// Entries of the log with their proofs, for auditors.
    pub async fn log_entries(&self, query: &LogQuery) -> Result<LogEntries, ClientError> {
        self.0.get(&queried("/v1/audit/entries", query)?).await
    }

    /// The record of a policy decision, as the log has its digest.
    pub async fn decision(&self, id: &ArtifactId) -> Result<Bytes, ClientError> {
        self.0.document(&format!("/v1/audit/decisions/{id}")).await
    }

    /// Makes a product.
    pub async fn create_product(&self, product: &Product) -> Result<Product, ClientError> {
        self.0.call(Method::POST, "/v1/products", Some(product)).await
    }

    /// All products.
    pub async fn products(&self, page: &PageQuery) -> Result<Page<Product>, ClientError> {
        self.0.get(&paged("/v1/products", page)).await
    }

    /// One product.
    pub async fn product(&self, id: &ProductId) -> Result<Product, ClientError> {
        self.0.get(&format!("/v1/products/{id}")).await
    }

    /// Begins an upload, or finds it where it broke off.
    pub async fn create_upload(&self, upload: &CreateUpload) -> Result<Upload, ClientError> {
        self.0.call(Method::POST, "/v1/uploads", Some(upload)).await
    }

    /// Where an upload stands.
    pub async fn upload(&self, id: UploadId) -> Result<Upload, ClientError> {
        self.0.get(&format!("/v1/uploads/{id}")).await
    }

    /// Sends the next piece. When it returns the piece is durable.
    pub async fn append(&self, id: UploadId, offset: u64, piece: Bytes) -> Result<Upload, ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(BYTES_TYPE));
        headers.insert(UPLOAD_OFFSET, HeaderValue::from(offset));
        let answer = self.0.send(Method::PATCH, &format!("/v1/uploads/{id}"), headers, piece).await?;
        let bytes = self.0.read(answer, super::JSON_MAX).await?;
        serde_json::from_slice(&bytes).map_err(|err| ClientError::Answer(err.to_string()))
    }

    /// Turns a whole upload into an artifact.
    pub async fn complete(&self, id: UploadId) -> Result<Artifact, ClientError> {
        self.0.call(Method::POST, &format!("/v1/uploads/{id}/complete"), None::<&()>).await
    }

    /// One artifact.
    pub async fn artifact(&self, id: ArtifactId) -> Result<Artifact, ClientError> {
        self.0.get(&format!("/v1/artifacts/{id}")).await
    }

    /// Artifacts, newest first.
    pub async fn artifacts(&self, page: &PageQuery) -> Result<Page<Artifact>, ClientError> {
        self.0.get(&paged("/v1/artifacts", page)).await
    }

    /// Makes a release, and waits for it as long as this client waits for any
    /// answer. The same key with the same request returns the same release,
    /// however often it is sent.
    pub async fn create_release(
        &self,
        idempotency_key: &str,
        release: &CreateRelease,
    ) -> Result<Ordered, ClientError> {
        self.order("/v1/releases", idempotency_key, release, None).await
    }

    /// The same, with an answer after this time at the latest, whatever has
    /// come of it by then. The same again goes on waiting.
    pub async fn create_release_within(
        &self,
        idempotency_key: &str,
        release: &CreateRelease,
        wait: Duration,
    ) -> Result<Ordered, ClientError> {
        self.order("/v1/releases", idempotency_key, release, Some(wait)).await
    }

    /// Has a roll-back of a release signed ahead.
    pub async fn prepare_rollback(
        &self,
        of: ReleaseId,
        idempotency_key: &str,
        wish: &PrepareRollback,
    ) -> Result<Ordered, ClientError> {
        self.order(&format!("/v1/releases/{of}/rollback"), idempotency_key, wish, None).await
    }

    async fn order(
        &self,
        path: &str,
        idempotency_key: &str,
        wish: &impl Serialize,
        wait: Option<Duration>,
    ) -> Result<Ordered, ClientError> {
        let mut headers = HeaderMap::new();
        let key = HeaderValue::try_from(idempotency_key)
            .map_err(|_| ClientError::Address("idempotency key".to_owned(), "use printable ASCII"))?;
        headers.insert(IDEMPOTENCY_KEY, key);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // An answer that takes longer than this client waits is none.
        let wait = wait.unwrap_or(Duration::MAX).min(self.0.timeout.saturating_sub(WAY));
        if let Ok(value) = HeaderValue::try_from(format!("wait={}", wait.as_secs())) {
            headers.insert(PREFER, value);
        }
        let unread = |err: serde_json::Error| ClientError::Answer(err.to_string());
        let body = serde_json::to_vec(wish).map_err(unread)?;
        let answer = self.0.send(Method::POST, path, headers, body.into()).await?;
        let waits = answer.status() == StatusCode::ACCEPTED;
        let bytes = self.0.read(answer, super::JSON_MAX).await?;
        match waits {
            // Only what waits for people has a manifest.
            true => serde_json::from_slice(&bytes)
                .map(Ordered::Request)
                .or_else(|_| serde_json::from_slice(&bytes).map(Ordered::Open))
                .map_err(unread),
            false => serde_json::from_slice(&bytes).map(Ordered::Release).map_err(unread),
        }
    }

    /// Signing requests, newest first: in a state, or all.
    pub async fn signing_requests(
        &self,
        state: Option<RequestState>,
        page: &PageQuery,
    ) -> Result<Page<SigningRequest>, ClientError> {
        let state = state.and_then(|state| serde_json::to_value(state).ok());
        let path = match state.as_ref().and_then(|state| state.as_str()) {
            Some(state) => format!("/v1/requests?state={state}"),
            None => "/v1/requests".to_owned(),
        };
        self.0.get(&paged(&path, page)).await
    }

    /// One signing request.
    pub async fn signing_request(&self, id: RequestId) -> Result<SigningRequest, ClientError> {
        self.0.get(&format!("/v1/requests/{id}")).await
    }

    /// The envelope that a request is about, without signatures.
    pub async fn unsigned_envelope(&self, id: RequestId) -> Result<Bytes, ClientError> {
        self.0.document(&format!("/v1/requests/{id}/envelope")).await
    }

    /// A bill of materials that a request is about.
    pub async fn sbom(&self, id: RequestId, sbom: ArtifactId) -> Result<Bytes, ClientError> {
        let path = format!("/v1/requests/{id}/payloads/{sbom}");
        let answer = self.0.send(Method::GET, &path, HeaderMap::new(), Bytes::new()).await?;
        self.0.read(answer, super::JSON_MAX).await
    }

    /// Agrees to a signing request.
    pub async fn approve(&self, id: RequestId, approve: &Approve) -> Result<SigningRequest, ClientError> {
        self.0.call(Method::POST, &format!("/v1/requests/{id}/approvals"), Some(approve)).await
    }

    /// Takes back the approvals that this operator brought.
    pub async fn withdraw_approvals(&self, id: RequestId) -> Result<SigningRequest, ClientError> {
        self.0.call(Method::POST, &format!("/v1/requests/{id}/approvals/withdraw"), None::<&()>).await
    }

    /// Takes a signing request back.
    pub async fn cancel_request(&self, id: RequestId) -> Result<SigningRequest, ClientError> {
        self.0.call(Method::POST, &format!("/v1/requests/{id}/cancel"), None::<&()>).await
    }

    /// Stores a release that was signed offline. The envelope does not say
    /// which build made it; the caller does.
    pub async fn import_release(
        &self,
        product: &ProductId,
        build: &str,
        commit: &str,
        envelope: Bytes,
    ) -> Result<Release, ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(ENVELOPE_TYPE));
        let mut path = format!("/v1/releases/import?product={product}&build=");
        escape(build, &mut path);
        path.push_str("&commit=");
        escape(commit, &mut path);
        let answer = self.0.send(Method::POST, &path, headers, envelope).await?;
        let bytes = self.0.read(answer, super::JSON_MAX).await?;
        serde_json::from_slice(&bytes).map_err(|err| ClientError::Answer(err.to_string()))
    }

    /// Releases, newest first: of one product, or of all.
    pub async fn releases(
        &self,
        product: Option<&ProductId>,
        page: &PageQuery,
    ) -> Result<Page<Release>, ClientError> {
        self.0.get(&paged(&of("/v1/releases", product), page)).await
    }

    /// One release, with everything an export needs.
    pub async fn release(&self, id: ReleaseId) -> Result<Release, ClientError> {
        self.0.get(&format!("/v1/releases/{id}")).await
    }

    /// A release's envelope.
    pub async fn envelope(&self, id: ReleaseId) -> Result<Bytes, ClientError> {
        self.0.document(&format!("/v1/releases/{id}/envelope")).await
    }

    /// A version of the root document, for bundles.
    pub async fn root(&self, version: u64) -> Result<Bytes, ClientError> {
        self.0.document(&format!("/v1/roots/{version}")).await
    }

    /// Publishes a root document that follows the newest one. The same
    /// document again changes nothing.
    pub async fn publish_root(&self, document: Bytes) -> Result<PublishedRoot, ClientError> {
        self.publish("/v1/roots", document).await
    }

    /// Publishes a revocation. The same document again changes nothing.
    pub async fn publish_revocation(&self, document: Bytes) -> Result<PublishedRevocation, ClientError> {
        self.publish("/v1/revocations", document).await
    }

    /// The newest revocation; not found where there is none.
    pub async fn revocation(&self) -> Result<Bytes, ClientError> {
        self.0.document("/v1/revocation").await
    }

    /// The newest freshness document; not found where there is none.
    pub async fn freshness(&self) -> Result<Bytes, ClientError> {
        self.0.document("/v1/freshness").await
    }

    async fn publish<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        document: Bytes,
    ) -> Result<T, ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(ROOT_TYPE));
        let answer = self.0.send(Method::POST, path, headers, document).await?;
        let bytes = self.0.read(answer, super::JSON_MAX).await?;
        serde_json::from_slice(&bytes).map_err(|err| ClientError::Answer(err.to_string()))
    }

    /// Withdraws a release: nobody is offered it any more.
    pub async fn withdraw_release(&self, id: ReleaseId) -> Result<Release, ClientError> {
        self.0.call(Method::POST, &format!("/v1/releases/{id}/withdraw"), None::<&()>).await
    }

    /// Begins a rollout.
    pub async fn create_rollout(&self, rollout: &CreateRollout) -> Result<Rollout, ClientError> {
        self.0.call(Method::POST, "/v1/rollouts", Some(rollout)).await
    }

    /// Rollouts, newest first.
    pub async fn rollouts(&self, page: &PageQuery) -> Result<Page<Rollout>, ClientError> {
        self.0.get(&paged("/v1/rollouts", page)).await
    }

    /// One rollout.
    pub async fn rollout(&self, id: RolloutId) -> Result<Rollout, ClientError> {
        self.0.get(&format!("/v1/rollouts/{id}")).await
    }

    /// Where each device of a rollout stands.
    pub async fn outcomes(&self, id: RolloutId, page: &PageQuery) -> Result<Page<Outcome>, ClientError> {
        self.0.get(&paged(&format!("/v1/rollouts/{id}/outcomes"), page)).await
    }

    /// Stops a rollout's offers.
    pub async fn halt_rollout(&self, id: RolloutId) -> Result<Rollout, ClientError> {
        self.0.call(Method::POST, &format!("/v1/rollouts/{id}/halt"), None::<&()>).await
    }

    /// Lets a halted rollout go on.
    pub async fn resume_rollout(&self, id: RolloutId) -> Result<Rollout, ClientError> {
        self.0.call(Method::POST, &format!("/v1/rollouts/{id}/resume"), None::<&()>).await
    }

    /// Devices, newest first: of one product, or of all.
    pub async fn devices(
        &self,
        product: Option<&ProductId>,
        page: &PageQuery,
    ) -> Result<Page<Device>, ClientError> {
        self.0.get(&paged(&of("/v1/devices", product), page)).await
    }

    /// One device.
    pub async fn device(&self, id: DeviceId) -> Result<Device, ClientError> {
        self.0.get(&format!("/v1/devices/{id}")).await
    }

    /// A device's reports, newest first.
    pub async fn device_reports(
        &self,
        id: DeviceId,
        page: &PageQuery,
    ) -> Result<Page<DeviceReport>, ClientError> {
        self.0.get(&paged(&format!("/v1/devices/{id}/reports"), page)).await
    }

    /// Revokes a device: it gets nothing from here on.
    pub async fn revoke_device(&self, id: DeviceId) -> Result<Device, ClientError> {
        self.0.call(Method::POST, &format!("/v1/devices/{id}/revoke"), None::<&()>).await
    }

    /// Lifts the hold that a refusal put on a release for this device.
    pub async fn retry_release(&self, id: DeviceId, release: ReleaseId) -> Result<Device, ClientError> {
        self.0.call(Method::POST, &format!("/v1/devices/{id}/retry/{release}"), None::<&()>).await
    }

    /// Makes a one-time enrolment token.
    pub async fn create_enrolment_token(&self, token: &CreateToken) -> Result<Token, ClientError> {
        self.0.call(Method::POST, "/v1/enrolment-tokens", Some(token)).await
    }

    /// Enrolment tokens, newest first, without their secrets.
    pub async fn enrolment_tokens(&self, page: &PageQuery) -> Result<Page<TokenRecord>, ClientError> {
        self.0.get(&paged("/v1/enrolment-tokens", page)).await
    }

    /// Ends an enrolment token: it enrols nobody from here on.
    pub async fn revoke_enrolment_token(&self, id: ArtifactId) -> Result<TokenRecord, ClientError> {
        self.0.call(Method::POST, &format!("/v1/enrolment-tokens/{id}/revoke"), None::<&()>).await
    }

    /// The identity providers at which people sign in. Needs no token.
    pub async fn sign_ins(&self) -> Result<Page<SignIn>, ClientError> {
        self.0.get("/v1/sign-in").await
    }

    /// Makes an operator token.
    pub async fn create_operator_token(
        &self,
        token: &CreateOperatorToken,
    ) -> Result<NewOperatorToken, ClientError> {
        self.0.call(Method::POST, "/v1/operator-tokens", Some(token)).await
    }

    /// All operator tokens, without their secrets.
    pub async fn operator_tokens(&self) -> Result<Page<OperatorToken>, ClientError> {
        self.0.get("/v1/operator-tokens").await
    }

    /// Revokes an operator token.
    pub async fn revoke_operator_token(&self, id: Uuid) -> Result<OperatorToken, ClientError> {
        self.0.call(Method::POST, &format!("/v1/operator-tokens/{id}/revoke"), None::<&()>).await
    }
}

/// A list, narrowed to a product where one is given.
fn of(path: &str, product: Option<&ProductId>) -> String {
    match product {
        Some(product) => format!("{path}?product={product}"),
        None => path.to_owned(),
    }
}

//! What pipelines call for signatures of artifacts.

use std::time::Duration;

use firmseal_manifest::{ArtifactId, KeyName, RequestId};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{ClientError, Download, JSON_MAX, OperatorClient, queried};
use crate::encoding::Page;
use crate::requests::Approve;
use crate::signatures::{
    CreateSignature, CreateSignatures, SignatureAnswer, SignatureAnswers, SignatureProof, SignatureQuery,
    SignatureRequest,
};
use crate::{IDEMPOTENCY_KEY, PREFER};

/// Kept back of the time that an answer may take, for the way there and back.
pub(super) const WAY: Duration = Duration::from_secs(5);

impl OperatorClient<'_> {
    /// Asks for a signature, and waits for it up to a while; less, where this
    /// client does not wait that long for any answer. The same key with the
    /// same request is the same request, however often it is sent.
    ///
    /// What comes back may be at its end or not: its state says so. A refusal
    /// by gate or policy is an answer too, with its reasons.
    pub async fn create_signature(
        &self,
        idempotency_key: &str,
        wish: &CreateSignature,
        wait: Duration,
    ) -> Result<SignatureRequest, ClientError> {
        let mut headers = idempotent(idempotency_key)?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.prefer(&mut headers, wait);
        let unread = |err: serde_json::Error| ClientError::Answer(err.to_string());
        let body = serde_json::to_vec(wish).map_err(unread)?;
        let answer = self.0.exchange(Method::POST, "/v1/signatures", headers, body.into()).await?;
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let refused = answer.status() == StatusCode::UNPROCESSABLE_ENTITY && kind == Some("application/json");
        if !answer.status().is_success() && !refused {
            return Err(self.0.refusal(answer).await);
        }
        serde_json::from_slice(&self.0.read(answer, JSON_MAX).await?).map_err(unread)
    }

    /// Asks for signatures of up to [`BATCH_MAX`](crate::signatures::BATCH_MAX)
    /// files in one request, each as [`create_signature`](Self::create_signature)
    /// would; the answers come in the same order. The key is that of all of
    /// them.
    pub async fn create_signatures(
        &self,
        idempotency_key: &str,
        requests: Vec<CreateSignature>,
        wait: Duration,
    ) -> Result<Vec<SignatureAnswer>, ClientError> {
        self.create_part(idempotency_key, CreateSignatures { requests, parts: Vec::new() }, wait).await
    }

    /// The same for one of several parts, which have one key together.
    pub async fn create_part(
        &self,
        idempotency_key: &str,
        wishes: CreateSignatures,
        wait: Duration,
    ) -> Result<Vec<SignatureAnswer>, ClientError> {
        let asked = wishes.requests.len();
        let mut headers = idempotent(idempotency_key)?;
        self.prefer(&mut headers, wait);
        let path = "/v1/signatures/batch";
        let SignatureAnswers { answers } =
            self.0.call_with(Method::POST, path, headers, Some(&wishes)).await?;
        match answers.len() == asked {
            true => Ok(answers),
            false => Err(ClientError::Answer(format!("{} answers to {asked} requests", answers.len()))),
        }
    }

    fn prefer(&self, headers: &mut HeaderMap, wait: Duration) {
        let wait = wait.min(self.0.timeout.saturating_sub(WAY)).as_secs();
        if let (1.., Ok(value)) = (wait, HeaderValue::try_from(format!("wait={wait}"))) {
            headers.insert(PREFER, value);
        }
    }

    /// One request for a signature; waits up to a while if it is queued.
    pub async fn signature(&self, id: RequestId, wait: Duration) -> Result<SignatureRequest, ClientError> {
        let mut headers = HeaderMap::new();
        self.prefer(&mut headers, wait);
        self.0.call_with(Method::GET, &format!("/v1/signatures/{id}"), headers, None::<&()>).await
    }

    /// Requests for signatures, newest first.
    pub async fn signatures(&self, query: &SignatureQuery) -> Result<Page<SignatureRequest>, ClientError> {
        self.0.get(&queried("/v1/signatures", query)?).await
    }

    /// The signature on record of a key over bytes with this fingerprint, as
    /// the request that it was made for.
    pub async fn signature_by(
        &self,
        key: &KeyName,
        tbs: ArtifactId,
    ) -> Result<SignatureRequest, ClientError> {
        self.0.get(&format!("/v1/keys/{key}/signatures/{tbs}")).await
    }

    /// The proof that the intent behind a signature stands in the log.
    pub async fn signature_proof(&self, id: RequestId) -> Result<SignatureProof, ClientError> {
        self.0.get(&format!("/v1/signatures/{id}/proof")).await
    }

    /// The file with the signature attached: as large as firmware is, so it
    /// comes in pieces, from `offset` on. Whoever asks again for the rest of
    /// one that broke off names its ETag.
    pub async fn signed_file(
        &self,
        id: RequestId,
        offset: u64,
        etag: Option<&str>,
    ) -> Result<Download, ClientError> {
        self.0.download(&format!("/v1/signatures/{id}/file"), offset, None, etag).await
    }

    /// The file that is to be signed, for whoever has to look at it.
    pub async fn file_to_sign(
        &self,
        id: RequestId,
        offset: u64,
        etag: Option<&str>,
    ) -> Result<Download, ClientError> {
        self.0.download(&format!("/v1/signatures/{id}/artifact"), offset, None, etag).await
    }

    /// Brings an approval.
    pub async fn approve_signature(
        &self,
        id: RequestId,
        approve: &Approve,
    ) -> Result<SignatureRequest, ClientError> {
        self.0.call(Method::POST, &format!("/v1/signatures/{id}/approvals"), Some(approve)).await
    }

    /// Takes back the approvals that this caller brought.
    pub async fn withdraw_signature_approvals(&self, id: RequestId) -> Result<SignatureRequest, ClientError> {
        self.0.call(Method::POST, &format!("/v1/signatures/{id}/approvals/withdraw"), None::<&()>).await
    }

    /// Takes a request back before it is signed.
    pub async fn cancel_signature(&self, id: RequestId) -> Result<SignatureRequest, ClientError> {
        self.0.call(Method::POST, &format!("/v1/signatures/{id}/cancel"), None::<&()>).await
    }

    /// Ends the hold on a request.
    pub async fn release_signature(&self, id: RequestId) -> Result<SignatureRequest, ClientError> {
        self.0.call(Method::POST, &format!("/v1/signatures/{id}/release"), None::<&()>).await
    }
}

fn idempotent(key: &str) -> Result<HeaderMap, ClientError> {
    let key = HeaderValue::try_from(key)
        .map_err(|_| ClientError::Address("idempotency key".to_owned(), "use printable ASCII"))?;
    Ok(HeaderMap::from_iter([(http::HeaderName::from_static(IDEMPOTENCY_KEY), key)]))
}

//! Signatures of artifacts, for pipelines and whoever watches them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use firmseal_api::encoding::PageQuery;
use firmseal_api::requests::Approve;
use firmseal_api::signatures::{
    CreateSignature, CreateSignatures, PARTS_MAX, SignatureAnswers, SignatureProof, SignatureQuery,
    SignatureRequest,
};
use firmseal_api::{BYTES_TYPE, PREFER, Page, Problem};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::Job;
use firmseal_manifest::{ArtifactId, KeyName, RequestId};
use firmseal_store::JobFilter;
use http::{HeaderMap, StatusCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::releases::idempotency_key;
use crate::app::signatures::{Asked, WAIT_MAX};
use crate::app::{App, detached, scope};
use crate::error::ApiError;
use crate::http::auth::{Approver, Officer, Onlooker, Operator, Repeating, Signer};
use crate::http::extract::{Id, Ids, Json, Params, page};
use crate::http::request::Called;
use crate::wire;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create_signature, list_signatures))
        .routes(routes!(create_signatures))
        .routes(routes!(get_signature))
        .routes(routes!(get_file_to_sign))
        .routes(routes!(get_signed_file))
        .routes(routes!(get_signature_by))
        .routes(routes!(get_signature_proof))
        .routes(routes!(approve_signature))
        .routes(routes!(withdraw_signature_approvals))
        .routes(routes!(cancel_signature))
        .routes(routes!(release_signature))
}

/// How long the caller would wait: `Prefer: wait=SECONDS` (RFC 7240 §4.3).
/// What is not understood is as if it were not there.
pub(super) fn wait(headers: &HeaderMap) -> Duration {
    preferred(headers).unwrap_or_default()
}

/// The same, where it was asked for.
pub(super) fn preferred(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let seconds = preferences.flat_map(|value| value.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let named = name.trim().eq_ignore_ascii_case("wait");
        named.then(|| value.trim().trim_matches('"').parse::<u32>().ok()).flatten()
    });
    seconds.map(|seconds| Duration::from_secs(seconds.into()).min(WAIT_MAX))
}

/// Asks for a signature. The same idempotency key with the same request is
/// the same request, and bytes that were signed before are not signed again:
/// the answer is then 200 and the signature on record. Without
/// `Prefer: wait=SECONDS` the answer comes at once.
#[utoipa::path(post, path = "/v1/signatures", tag = "signing", request_body = CreateSignature,
    params(("idempotency-key" = String, Header), ("prefer" = Option<String>, Header)),
    responses((status = 200, body = SignatureRequest), (status = 201, body = SignatureRequest),
        (status = 202, body = SignatureRequest),
        (status = 422, content((SignatureRequest = "application/json"), (Problem = "application/problem+json"))),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["signer"])))]
async fn create_signature(
    State(app): State<Arc<App>>,
    operator: Repeating<Signer>,
    headers: HeaderMap,
    Json(wish): Json<CreateSignature>,
) -> Result<Response, ApiError> {
    let key = idempotency_key(&headers)?;
    scope::channel(&operator, &wish.product, &wish.channel)?;
    let caller = operator.bind(&app, &key).await?;
    let wait = wait(&headers).min(app.limits.request() / 2);
    let (status, request) = match app.create_signature(caller, &key, wish, wait).await? {
        Asked::Made(request) => (StatusCode::CREATED, request),
        Asked::Known(request) => (StatusCode::OK, request),
        Asked::Open(request) => (StatusCode::ACCEPTED, request),
        Asked::Refused(request) => (StatusCode::UNPROCESSABLE_ENTITY, request),
    };
    Ok((status, Answer(request)).into_response())
}

/// Asks for signatures of up to 64 files, each as `POST /v1/signatures` would
/// alone; the answers come in the same order. Where one lies outside what the
/// caller may ask for, none is handed in. The idempotency key is that of all
/// of them: the same key with the same requests is the same batch. More files
/// are asked for in parts, each of which names all of them.
#[utoipa::path(post, path = "/v1/signatures/batch", tag = "signing", request_body = CreateSignatures,
    params(("idempotency-key" = String, Header), ("prefer" = Option<String>, Header)),
    responses((status = 200, body = SignatureAnswers), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["signer"])))]
async fn create_signatures(
    State(app): State<Arc<App>>,
    operator: Repeating<Signer>,
    Extension(called): Extension<Called>,
    headers: HeaderMap,
    Json(CreateSignatures { requests, parts }): Json<CreateSignatures>,
) -> Result<Answer<SignatureAnswers>, ApiError> {
    let key = idempotency_key(&headers)?;
    for wish in &requests {
        scope::channel(&operator, &wish.product, &wish.channel)?;
    }
    let Batch { key, purpose } = Batch::of(key, &requests, &parts)?;
    let caller = operator.bind(&app, &purpose).await?;
    let wait = wait(&headers).min(app.limits.request() / 2);
    let came_to = app.create_signatures(caller, &key, requests, wait).await?;
    let answers = came_to.into_iter().map(|came_to| wire::signature_answer_out(came_to, &called.0));
    Ok(Answer(SignatureAnswers { answers: answers.collect() }))
}

/// What a batch is called, and what a token is used for that asks for it.
struct Batch {
    key: String,
    purpose: String,
}

impl Batch {
    /// A token that is good for one batch is good for just this one: under
    /// the same key a longer one would ask for more. Parts name each other
    /// from the first on, so whoever finds the token can send those again and
    /// no others.
    fn of(key: String, requests: &[CreateSignature], parts: &[String]) -> Result<Batch, ApiError> {
        let unwritten = |err: serde_json::Error| ApiError::Internal(err.to_string());
        let own = RustCrypto.digest(&serde_json::to_vec(requests).map_err(unwritten)?).to_string();
        if parts.is_empty() {
            return Ok(Batch { purpose: format!("{key} {own}"), key });
        }
        if parts.len() > PARTS_MAX {
            return Err(ApiError::Malformed(format!("parts: at most {PARTS_MAX}")));
        }
        let Some(number) = parts.iter().position(|part| *part == own) else {
            let why = format!("parts: these requests have the digest {own}, which is none of them");
            return Err(ApiError::Malformed(why));
        };
        let all = RustCrypto.digest(&serde_json::to_vec(parts).map_err(unwritten)?);
        Ok(Batch { purpose: format!("{key} {all}"), key: format!("{key}/{number}") })
    }
}

/// Requests for signatures, newest first.
#[utoipa::path(get, path = "/v1/signatures", tag = "signing", params(SignatureQuery),
    responses((status = 200, body = Page<SignatureRequest>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"]), ("operator" = ["officer"])))]
async fn list_signatures(
    State(app): State<Arc<App>>,
    operator: Operator<Onlooker>,
    Params(query): Params<SignatureQuery>,
) -> Result<Answer<Page<SignatureRequest>>, ApiError> {
    let wish = PageQuery { after: query.after, limit: query.limit };
    let (wanted, limit) = page(&wish, |text| text.parse::<RequestId>().ok())?;
    let filter = JobFilter {
        state: query.state.map(wire::signature_state_in),
        product: query.product,
        signing_key: query.key,
        requester: query.requester,
    };
    let mut found = app.store.jobs(filter, wanted).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|job| job.id.to_string());
    let mut items = Vec::with_capacity(found.len());
    let ours = |job: &Job| scope::job(&operator, job).is_ok();
    for job in found.into_iter().filter(ours) {
        let signature = app.signature_of(&job).await?;
        items.push(app.signature_out(job, signature).await?);
    }
    Ok(Answer(Page { items, next }))
}

/// One request, with its signature once there is one.
#[utoipa::path(get, path = "/v1/signatures/{request}", tag = "signing",
    params(("request" = String, Path), ("prefer" = Option<String>, Header)),
    responses((status = 200, body = SignatureRequest), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"]), ("operator" = ["officer"])))]
async fn get_signature(
    State(app): State<Arc<App>>,
    operator: Operator<Onlooker>,
    Id(id): Id<RequestId>,
    headers: HeaderMap,
) -> Result<Answer<SignatureRequest>, ApiError> {
    app.confine_job(&operator, id).await?;
    let wait = wait(&headers).min(app.limits.request() / 2);
    Ok(Answer(app.signature_request(id, wait).await?))
}

/// The file that is to be signed, or was, for whoever has to look at it.
#[utoipa::path(get, path = "/v1/signatures/{request}/artifact", tag = "signing", params(("request" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"]), ("operator" = ["officer"])))]
async fn get_file_to_sign(
    State(app): State<Arc<App>>,
    operator: Operator<Onlooker>,
    Id(id): Id<RequestId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    app.confine_job(&operator, id).await?;
    app.blob(app.file_to_sign(id).await?, &headers, BYTES_TYPE, "operator").await
}

/// The file with the signature attached, in formats with a place for it.
#[utoipa::path(get, path = "/v1/signatures/{request}/file", tag = "signing", params(("request" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"]), ("operator" = ["officer"])))]
async fn get_signed_file(
    State(app): State<Arc<App>>,
    operator: Operator<Onlooker>,
    Id(id): Id<RequestId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    app.confine_job(&operator, id).await?;
    app.blob(app.signed_file(id).await?, &headers, BYTES_TYPE, "operator").await
}

/// The signature on record of a key over bytes with this fingerprint, as the
/// request that it was made for: how tools find by digest what was signed.
#[utoipa::path(get, path = "/v1/keys/{key}/signatures/{tbs}", tag = "signing",
    params(("key" = String, Path), ("tbs" = String, Path)),
    responses((status = 200, body = SignatureRequest), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"]), ("operator" = ["officer"])))]
async fn get_signature_by(
    State(app): State<Arc<App>>,
    operator: Operator<Onlooker>,
    Ids(key, tbs): Ids<KeyName, ArtifactId>,
) -> Result<Answer<SignatureRequest>, ApiError> {
    Ok(Answer(app.signature_by(&operator, &key, tbs.0).await?))
}

/// The proof that the intent behind a signature stands in the log.
#[utoipa::path(get, path = "/v1/signatures/{request}/proof", tag = "signing", params(("request" = String, Path)),
    responses((status = 200, body = SignatureProof), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"]), ("operator" = ["officer"])))]
async fn get_signature_proof(
    State(app): State<Arc<App>>,
    operator: Operator<Onlooker>,
    Id(id): Id<RequestId>,
) -> Result<Answer<SignatureProof>, ApiError> {
    app.confine_job(&operator, id).await?;
    Ok(Answer(app.signature_proof(id).await?))
}

/// Agrees to a signature: a signature over the Statement of the request by
/// the key of an approver. With the last one that is missing the request is
/// carried out.
#[utoipa::path(post, path = "/v1/signatures/{request}/approvals", tag = "signing", request_body = Approve,
    params(("request" = String, Path)),
    responses((status = 200, body = SignatureRequest), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["approver"])))]
async fn approve_signature(
    State(app): State<Arc<App>>,
    operator: Operator<Approver>,
    Id(id): Id<RequestId>,
    Json(approve): Json<Approve>,
) -> Result<Answer<SignatureRequest>, ApiError> {
    app.confine_job(&operator, id).await?;
    let work = async move { app.approve_signature(&operator, id, approve).await };
    Ok(Answer(detached(work).await?))
}

/// Takes back the approvals that this operator brought, as long as the
/// request waits.
#[utoipa::path(post, path = "/v1/signatures/{request}/approvals/withdraw", tag = "signing", params(("request" = String, Path)),
    responses((status = 200, body = SignatureRequest), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["approver"])))]
async fn withdraw_signature_approvals(
    State(app): State<Arc<App>>,
    operator: Operator<Approver>,
    Id(id): Id<RequestId>,
) -> Result<Answer<SignatureRequest>, ApiError> {
    app.confine_job(&operator, id).await?;
    Ok(Answer(app.withdraw_signature_approvals(&operator.name, id).await?))
}

/// Takes a request back before it is signed.
#[utoipa::path(post, path = "/v1/signatures/{request}/cancel", tag = "signing", params(("request" = String, Path)),
    responses((status = 200, body = SignatureRequest), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["signer"])))]
async fn cancel_signature(
    State(app): State<Arc<App>>,
    operator: Operator<Signer>,
    Id(id): Id<RequestId>,
) -> Result<Answer<SignatureRequest>, ApiError> {
    app.confine_job(&operator, id).await?;
    Ok(Answer(app.cancel_signature(&operator.caller, id).await?))
}

/// Ends the hold on a request. Nobody ends that on the own one.
#[utoipa::path(post, path = "/v1/signatures/{request}/release", tag = "signing", params(("request" = String, Path)),
    responses((status = 200, body = SignatureRequest), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["officer"])))]
async fn release_signature(
    State(app): State<Arc<App>>,
    operator: Operator<Officer>,
    Id(id): Id<RequestId>,
) -> Result<Answer<SignatureRequest>, ApiError> {
    app.confine_job(&operator, id).await?;
    Ok(Answer(app.release_hold(&operator.caller, id).await?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_that_is_not_understood_is_none() {
        for (text, seconds) in [
            ("wait=10", 10),
            ("respond-async, wait=10", 10),
            ("WAIT = \"7\"; foo=bar", 7),
            ("wait=61", 60),
            ("wait=99999999999", 0),
            ("wait=-1", 0),
            ("wait", 0),
            ("handling=lenient", 0),
            ("", 0),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, text.parse().unwrap());
            assert_eq!(wait(&headers), Duration::from_secs(seconds), "{text}");
        }
        assert_eq!(wait(&HeaderMap::new()), Duration::ZERO);
    }
}

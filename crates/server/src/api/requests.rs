//! Signing requests, for everybody who may have to agree.
//!
//! Whoever may look may bring an approval: what counts is the key that
//! signed it, which the root document knows, and not who carries it here.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::Response;
use firmseal_api::encoding::PageQuery;
use firmseal_api::requests::{Approve, RequestState, SigningRequest};
use firmseal_api::{BYTES_TYPE, ENVELOPE_TYPE, Page, Problem};
use firmseal_manifest::{ArtifactId, RequestId};
use http::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, detached, scope};
use crate::error::ApiError;
use crate::http::auth::{Approver, Operator, Reader, Signer};
use crate::http::extract::{Id, Ids, Json, Params, page};
use crate::wire;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_requests))
        .routes(routes!(get_request))
        .routes(routes!(get_unsigned))
        .routes(routes!(get_request_payload))
        .routes(routes!(approve))
        .routes(routes!(withdraw_approvals))
        .routes(routes!(cancel_request))
}

/// In which state, and which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Listed {
    /// Only requests in this state.
    #[param(value_type = Option<String>)]
    state: Option<RequestState>,
    /// The `next` of the page before.
    after: Option<String>,
    /// At most this many items, 1 to 1000; 100 if absent.
    limit: Option<u32>,
}

/// Signing requests, newest first.
#[utoipa::path(get, path = "/v1/requests", tag = "signing", params(Listed),
    responses((status = 200, body = Page<SigningRequest>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn list_requests(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
    Params(query): Params<Listed>,
) -> Result<Answer<Page<SigningRequest>>, ApiError> {
    let wish = PageQuery { after: query.after, limit: query.limit };
    let (wanted, limit) = page(&wish, |text| text.parse::<RequestId>().ok())?;
    let mut found = app.store.signing_requests(query.state.map(wire::request_state_in), wanted).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|request| request.id.to_string());
    let mut items = Vec::with_capacity(found.len());
    for request in found.into_iter().filter(|request| scope::request(&operator, request).is_ok()) {
        items.push(app.request_out(request).await?);
    }
    Ok(Answer(Page { items, next }))
}

/// One signing request.
#[utoipa::path(get, path = "/v1/requests/{request}", tag = "signing", params(("request" = String, Path)),
    responses((status = 200, body = SigningRequest), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn get_request(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
    Id(id): Id<RequestId>,
) -> Result<Answer<SigningRequest>, ApiError> {
    let found = app.signing_request(id).await?;
    scope::request(&operator, &found)?;
    Ok(Answer(app.request_out(found).await?))
}

/// The envelope that will be signed, without signatures.
#[utoipa::path(get, path = "/v1/requests/{request}/envelope", tag = "signing", params(("request" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/suit-envelope+cose"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn get_unsigned(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
    Id(id): Id<RequestId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let found = app.signing_request(id).await?;
    scope::request(&operator, &found)?;
    app.blob(found.unsigned, &headers, ENVELOPE_TYPE, "operator").await
}

/// A payload that will be released, for whoever has to look at it first.
#[utoipa::path(get, path = "/v1/requests/{request}/payloads/{payload}", tag = "signing",
    params(("request" = String, Path), ("payload" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn get_request_payload(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
    Ids(id, payload): Ids<RequestId, ArtifactId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    app.confine_request(&operator, id).await?;
    app.blob(app.request_payload(id, payload).await?, &headers, BYTES_TYPE, "operator").await
}

/// Agrees to a signing request: a signature over its Statement by the key of
/// an approver. With the last one that is missing the release is signed.
#[utoipa::path(post, path = "/v1/requests/{request}/approvals", tag = "signing", request_body = Approve,
    params(("request" = String, Path)),
    responses((status = 200, body = SigningRequest), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["approver"])))]
async fn approve(
    State(app): State<Arc<App>>,
    operator: Operator<Approver>,
    Id(id): Id<RequestId>,
    Json(approve): Json<Approve>,
) -> Result<Answer<SigningRequest>, ApiError> {
    app.confine_request(&operator, id).await?;
    let work = async move { app.approve(&operator, id, approve).await };
    Ok(Answer(detached(work).await?))
}

/// Takes back the approvals that this operator brought, while the request
/// waits.
#[utoipa::path(post, path = "/v1/requests/{request}/approvals/withdraw", tag = "signing", params(("request" = String, Path)),
    responses((status = 200, body = SigningRequest), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["approver"])))]
async fn withdraw_approvals(
    State(app): State<Arc<App>>,
    operator: Operator<Approver>,
    Id(id): Id<RequestId>,
) -> Result<Answer<SigningRequest>, ApiError> {
    app.confine_request(&operator, id).await?;
    app.withdraw_approvals(&operator.name, id).await?;
    Ok(Answer(app.request_out(app.signing_request(id).await?).await?))
}

/// Takes a signing request back before it is signed.
#[utoipa::path(post, path = "/v1/requests/{request}/cancel", tag = "signing", params(("request" = String, Path)),
    responses((status = 200, body = SigningRequest), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["signer"])))]
async fn cancel_request(
    State(app): State<Arc<App>>,
    operator: Operator<Signer>,
    Id(id): Id<RequestId>,
) -> Result<Answer<SigningRequest>, ApiError> {
    app.confine_request(&operator, id).await?;
    app.cancel_request(&operator.name, id).await?;
    Ok(Answer(app.request_out(app.signing_request(id).await?).await?))
}

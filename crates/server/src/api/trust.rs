//! Trust documents, on every listener: whoever checks releases reads them.

use std::sync::Arc;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use firmseal_api::trust::{PublishedRevocation, PublishedRoot};
use firmseal_api::{Problem, ROOT_TYPE};
use firmseal_core::limits::{REVOCATION_MAX, ROOT_MAX};
use http::header;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, detached, scope};
use crate::error::ApiError;
use crate::http::auth::{Alarm, Officer, Operator, Reader, RenewingDevice};
use crate::http::extract::{Segment, expect_type, read};

pub(crate) fn operator_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(publish_root))
        .routes(routes!(operator_root))
        .routes(routes!(publish_revocation))
        .routes(routes!(operator_revocation))
}

pub(crate) fn device_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(device_root)).routes(routes!(device_revocation))
}

pub(crate) fn public_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(public_root)).routes(routes!(public_revocation))
}

/// Publishes the root document that follows the newest: signed as that one
/// demands and as it demands itself. The same document again changes nothing.
#[utoipa::path(post, path = "/v1/roots", tag = "trust",
    request_body(content = Vec<u8>, content_type = "application/cbor"),
    responses((status = 200, body = PublishedRoot), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["officer"])))]
async fn publish_root(
    State(app): State<Arc<App>>,
    operator: Operator<Officer>,
    request: Request<Body>,
) -> Result<Answer<PublishedRoot>, ApiError> {
    scope::everything(&operator, "a root document")?;
    expect_type(&request, ROOT_TYPE)?;
    let document = read(request.into_body(), ROOT_MAX, app.limits.stall()).await?;
    let work = async move { app.publish_root(&operator.name, document).await };
    Ok(Answer(detached(work).await?))
}

/// A version of the root document, which exported bundles carry.
#[utoipa::path(get, path = "/v1/roots/{version}", tag = "trust", params(("version" = u64, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/cbor"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn operator_root(
    State(app): State<Arc<App>>,
    _: Operator<Reader>,
    Segment(version): Segment,
) -> Result<Response, ApiError> {
    root(&app, &version)
}

/// A version of the root document; the certificate may have expired.
#[utoipa::path(get, path = "/v1/roots/{version}", tag = "trust", params(("version" = u64, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/cbor"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("device" = ["expired"])))]
async fn device_root(
    State(app): State<Arc<App>>,
    _: RenewingDevice,
    Segment(version): Segment,
) -> Result<Response, ApiError> {
    root(&app, &version)
}

/// A version of the root document.
#[utoipa::path(get, path = "/v1/roots/{version}", tag = "trust", params(("version" = u64, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/cbor"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(()))]
async fn public_root(State(app): State<Arc<App>>, Segment(version): Segment) -> Result<Response, ApiError> {
    root(&app, &version)
}

/// Publishes a revocation that follows the newest: signed by the revocation
/// role, with every entry of the one before it. Rollouts of what it takes
/// away are halted. The same document again changes nothing.
// Operators halt rollouts and revoke devices at night; what this document
// takes away, its signatures decide and not its bearer.
#[utoipa::path(post, path = "/v1/revocations", tag = "trust",
    request_body(content = Vec<u8>, content_type = "application/cbor"),
    responses((status = 200, body = PublishedRevocation), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["operator"]), ("operator" = ["officer"])))]
async fn publish_revocation(
    State(app): State<Arc<App>>,
    operator: Operator<Alarm>,
    request: Request<Body>,
) -> Result<Answer<PublishedRevocation>, ApiError> {
    scope::everything(&operator, "a revocation")?;
    expect_type(&request, ROOT_TYPE)?;
    let document = read(request.into_body(), REVOCATION_MAX, app.limits.stall()).await?;
    let work = async move { app.publish_revocation(&operator.name, document).await };
    Ok(Answer(detached(work).await?))
}

/// The newest revocation.
#[utoipa::path(get, path = "/v1/revocation", tag = "trust",
    responses((status = 200, body = Vec<u8>, content_type = "application/cbor"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn operator_revocation(State(app): State<Arc<App>>, _: Operator<Reader>) -> Result<Response, ApiError> {
    revocation(&app)
}

/// The newest revocation; the certificate may have expired.
#[utoipa::path(get, path = "/v1/revocation", tag = "trust",
    responses((status = 200, body = Vec<u8>, content_type = "application/cbor"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("device" = ["expired"])))]
async fn device_revocation(State(app): State<Arc<App>>, _: RenewingDevice) -> Result<Response, ApiError> {
    revocation(&app)
}

/// The newest revocation.
#[utoipa::path(get, path = "/v1/revocation", tag = "trust",
    responses((status = 200, body = Vec<u8>, content_type = "application/cbor"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(()))]
async fn public_revocation(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    revocation(&app)
}

fn revocation(app: &App) -> Result<Response, ApiError> {
    let trust = app.pipeline.trust();
    let document = trust.revocation().ok_or_else(|| ApiError::NotFound("revocation".to_owned()))?;
    Ok(([(header::CONTENT_TYPE, ROOT_TYPE)], document.clone()).into_response())
}

fn root(app: &App, version: &str) -> Result<Response, ApiError> {
    let number = version
        .parse()
        .map_err(|_| ApiError::Malformed("the version of a root document is a number from 1".to_owned()))?;
    let document = app.root(number).ok_or_else(|| ApiError::NotFound(format!("root document {number}")))?;
    Ok(([(header::CONTENT_TYPE, ROOT_TYPE)], document).into_response())
}

//! The public log as C2SP tlog-tiles 0.1.0 serves it, and freshness
//! documents.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use firmseal_api::{BYTES_TYPE, Problem, ROOT_TYPE};
use http::header;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::error::ApiError;
use crate::http::auth::{Operator, Reader, RenewingDevice};
use crate::http::extract::Segment;

const NOTE_TYPE: &str = "text/plain; charset=utf-8";
/// "The checkpoint [...] SHOULD be cached for at most a few seconds"
/// (tlog-tiles): a client must not be behind for long.
const MOMENT: &str = "public, max-age=2";
/// Tiles never change: "they SHOULD have long caching headers".
const FOR_EVER: &str = "public, max-age=31536000, immutable";

pub(crate) fn public_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(checkpoint)).routes(routes!(tile)).routes(routes!(public_freshness))
}

pub(crate) fn operator_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(operator_freshness))
}

pub(crate) fn device_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(device_freshness))
}

/// The newest checkpoint, a signed note with the cosignatures of the
/// witnesses.
#[utoipa::path(get, path = "/log/checkpoint", tag = "log",
    responses((status = 200, body = String), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(()))]
async fn checkpoint(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    Ok(answer(app.checkpoint().await?, NOTE_TYPE, MOMENT))
}

/// A tile (`LEVEL/INDEX`) or a bundle of entries (`entries/INDEX`), in whole
/// or up to a width (`.p/WIDTH`).
#[utoipa::path(get, path = "/log/tile/{*tile}", tag = "log", params(("tile" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(()))]
async fn tile(State(app): State<Arc<App>>, Segment(tile): Segment) -> Result<Response, ApiError> {
    Ok(answer(app.tile(&format!("tile/{tile}")).await?, BYTES_TYPE, FOR_EVER))
}

/// A recent checkpoint with the version of the newest revocation.
#[utoipa::path(get, path = "/v1/freshness", tag = "trust",
    responses((status = 200, body = Vec<u8>, content_type = "application/cbor"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(()))]
async fn public_freshness(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    Ok(answer(app.freshness()?, ROOT_TYPE, MOMENT))
}

/// A recent checkpoint with the version of the newest revocation, which
/// exported bundles carry.
#[utoipa::path(get, path = "/v1/freshness", tag = "trust",
    responses((status = 200, body = Vec<u8>, content_type = "application/cbor"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn operator_freshness(State(app): State<Arc<App>>, _: Operator<Reader>) -> Result<Response, ApiError> {
    Ok(answer(app.freshness()?, ROOT_TYPE, "no-store"))
}

/// A recent checkpoint with the version of the newest revocation. The
/// device's certificate may have expired.
#[utoipa::path(get, path = "/v1/freshness", tag = "trust",
    responses((status = 200, body = Vec<u8>, content_type = "application/cbor"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("device" = ["expired"])))]
async fn device_freshness(State(app): State<Arc<App>>, _: RenewingDevice) -> Result<Response, ApiError> {
    Ok(answer(app.freshness()?, ROOT_TYPE, "no-store"))
}

fn answer(body: Bytes, kind: &'static str, cached: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cached)], body).into_response()
}

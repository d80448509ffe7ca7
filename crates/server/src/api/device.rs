//! What devices call.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::Response;
use firmseal_api::enrolment::{Enrol, Enrolled, Renew, Renewed};
use firmseal_api::updates::{Poll, PollAnswer, Reports, ReportsAnswer};
use firmseal_api::{BYTES_TYPE, ENVELOPE_TYPE, Problem};
use firmseal_manifest::ReleaseId;
use http::HeaderMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::app::delivery::payload_name;
use crate::error::ApiError;
use crate::http::auth::{AuthenticatedDevice, RenewingDevice};
use crate::http::extract::{Id, Json, Segment};

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(enrol))
        .routes(routes!(renew))
        .routes(routes!(poll))
        .routes(routes!(reports))
        .routes(routes!(envelope))
        .routes(routes!(payload))
}

/// Exchanges a one-time token for a certificate.
#[utoipa::path(post, path = "/v1/enrol", tag = "enrolment", request_body = Enrol,
    responses((status = 200, body = Enrolled), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("enrolment" = [])))]
async fn enrol(State(app): State<Arc<App>>, Json(enrol): Json<Enrol>) -> Result<Answer<Enrolled>, ApiError> {
    Ok(Answer(app.enrol(enrol).await?))
}

/// Gets the next certificate; the present one may have expired.
#[utoipa::path(post, path = "/v1/renew", tag = "enrolment", request_body = Renew,
    responses((status = 200, body = Renewed), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("device" = ["expired"])))]
async fn renew(
    State(app): State<Arc<App>>,
    RenewingDevice(known): RenewingDevice,
    Json(renew): Json<Renew>,
) -> Result<Answer<Renewed>, ApiError> {
    Ok(Answer(app.renew(known, renew).await?))
}

/// Says what the device is and what happened; gets what it should do.
#[utoipa::path(post, path = "/v1/poll", tag = "updates", request_body = Poll,
    responses((status = 200, body = PollAnswer), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("device" = [])))]
async fn poll(
    State(app): State<Arc<App>>,
    AuthenticatedDevice(known): AuthenticatedDevice,
    Json(poll): Json<Poll>,
) -> Result<Answer<PollAnswer>, ApiError> {
    Ok(Answer(app.poll(known, poll).await?))
}

/// Says what happened, without asking for anything.
#[utoipa::path(post, path = "/v1/reports", tag = "updates", request_body = Reports,
    responses((status = 200, body = ReportsAnswer), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("device" = [])))]
async fn reports(
    State(app): State<Arc<App>>,
    AuthenticatedDevice(known): AuthenticatedDevice,
    Json(reports): Json<Reports>,
) -> Result<Answer<ReportsAnswer>, ApiError> {
    Ok(Answer(app.reports(known, reports.reports).await?))
}

/// The envelope of the release that this device is offered.
#[utoipa::path(get, path = "/v1/releases/{release}/envelope", tag = "updates", params(("release" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/suit-envelope+cose"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("device" = [])))]
async fn envelope(
    State(app): State<Arc<App>>,
    AuthenticatedDevice(known): AuthenticatedDevice,
    Id(id): Id<ReleaseId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    app.blob(app.envelope_for(&known, id)?, &headers, ENVELOPE_TYPE, "device").await
}

/// A payload, or with `.tree` its block tree, of the release that this
/// device is offered.
#[utoipa::path(get, path = "/payloads/{payload}", tag = "updates",
    params(("payload" = String, Path), ("range" = Option<String>, Header), ("if-range" = Option<String>, Header)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("device" = [])))]
async fn payload(
    State(app): State<Arc<App>>,
    AuthenticatedDevice(known): AuthenticatedDevice,
    Segment(name): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (digest, tree) = payload_name(&name)?;
    app.blob(app.payload_for(&known, digest, tree)?, &headers, BYTES_TYPE, "device").await
}

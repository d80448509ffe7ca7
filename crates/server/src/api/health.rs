//! Health, readiness and metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use firmseal_api::Problem;
use http::header;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, scope};
use crate::error::ApiError;
use crate::http::auth::{Auditor, Operator};

pub(crate) fn operator_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

pub(crate) fn public_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(healthz))
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String)), security(()))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// The store answers, and every key that signs here can be reached.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = String), (status = 503, body = Problem, content_type = "application/problem+json")),
    security(()))]
async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, ApiError> {
    app.ready().await.map_err(|why| ApiError::Busy(why.to_owned()))?;
    Ok("ready\n")
}

/// Metrics in the OpenMetrics text form.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"])))]
async fn metrics(State(app): State<Arc<App>>, operator: Operator<Auditor>) -> Result<Response, ApiError> {
    scope::everything(&operator, "the state of the server")?;
    let text =
        app.metrics.text().ok_or_else(|| ApiError::Internal("metrics cannot be written".to_owned()))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

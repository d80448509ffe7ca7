//! Operators' own tokens, and payloads as operators export them.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::Response;
use firmseal_api::access::{CreateOperatorToken, NewOperatorToken, OperatorToken, SignIn};
use firmseal_api::{BYTES_TYPE, Page, Problem};
use http::HeaderMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::app::delivery::payload_name;
use crate::error::ApiError;
use crate::http::auth::{Admin, Operator, Reader};
use crate::http::extract::{Json, Segment};

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create_operator_token, list_operator_tokens))
        .routes(routes!(revoke_operator_token))
        .routes(routes!(list_sign_ins))
        .routes(routes!(get_payload))
}

/// Makes an operator token; its secret is in this answer only.
#[utoipa::path(post, path = "/v1/operator-tokens", tag = "access", request_body = CreateOperatorToken,
    responses((status = 200, body = NewOperatorToken), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["admin"])))]
async fn create_operator_token(
    State(app): State<Arc<App>>,
    operator: Operator<Admin>,
    Json(wish): Json<CreateOperatorToken>,
) -> Result<Answer<NewOperatorToken>, ApiError> {
    Ok(Answer(app.create_operator_token(&operator, wish).await?))
}

/// All operator tokens, without secrets.
#[utoipa::path(get, path = "/v1/operator-tokens", tag = "access",
    responses((status = 200, body = Page<OperatorToken>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["admin"])))]
async fn list_operator_tokens(
    State(app): State<Arc<App>>,
    operator: Operator<Admin>,
) -> Result<Answer<Page<OperatorToken>>, ApiError> {
    Ok(Answer(Page { items: app.operator_tokens(&operator).await?, next: None }))
}

/// Revokes an operator token, for good.
#[utoipa::path(post, path = "/v1/operator-tokens/{token}/revoke", tag = "access", params(("token" = String, Path)),
    responses((status = 200, body = OperatorToken), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["admin"])))]
async fn revoke_operator_token(
    State(app): State<Arc<App>>,
    operator: Operator<Admin>,
    Segment(id): Segment,
) -> Result<Answer<OperatorToken>, ApiError> {
    let id = id.parse().map_err(|_| ApiError::Malformed("a token's id is a UUID".to_owned()))?;
    Ok(Answer(app.revoke_operator_token(&operator, id).await?))
}

/// The identity providers at which people sign in.
#[utoipa::path(get, path = "/v1/sign-in", tag = "access",
    responses((status = 200, body = Page<SignIn>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(()))]
async fn list_sign_ins(State(app): State<Arc<App>>) -> Answer<Page<SignIn>> {
    Answer(Page { items: app.identities.sign_in(), next: None })
}

/// A payload of a verified release, or with `.tree` its block tree.
#[utoipa::path(get, path = "/payloads/{payload}", tag = "updates", params(("payload" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn get_payload(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
    Segment(name): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (digest, tree) = payload_name(&name)?;
    app.blob(app.operator_payload(&operator, digest, tree).await?, &headers, BYTES_TYPE, "operator").await
}

//! Signing keys, for operators.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use firmseal_api::keys::{ChangeKey, DestroyKey, DisableKey, KeyUsage, SigningKey};
use firmseal_api::{Page, Problem};
use firmseal_fleet::Time;
use firmseal_manifest::KeyName;
use firmseal_sign::{KeyOrder, Requester};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, detached, scope};
use crate::error::ApiError;
use crate::http::auth::{Officer, Operator, Reader};
use crate::http::extract::{Id, Json, Params};

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_keys))
        .routes(routes!(get_key))
        .routes(routes!(enable_key))
        .routes(routes!(disable_key))
        .routes(routes!(destroy_key))
        .routes(routes!(keep_key))
}

/// Which period.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Period {
    /// From this hour on; a week before the end if absent.
    #[param(value_type = Option<String>)]
    from: Option<Time>,
    /// Until this hour; with the current one if absent.
    #[param(value_type = Option<String>)]
    until: Option<Time>,
}

/// Every signing key that is or was one here, by name.
#[utoipa::path(get, path = "/v1/keys", tag = "keys",
    responses((status = 200, body = Page<SigningKey>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn list_keys(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
) -> Result<Answer<Page<SigningKey>>, ApiError> {
    let mut items = app.keys().await?;
    items.retain(|key| scope::lists_key(&operator.scope, key));
    Ok(Answer(Page { items, next: None }))
}

/// A signing key, with its uses by hour, product and caller.
#[utoipa::path(get, path = "/v1/keys/{key}", tag = "keys", params(("key" = String, Path), Period),
    responses((status = 200, body = KeyUsage), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn get_key(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
    Id(name): Id<KeyName>,
    Params(period): Params<Period>,
) -> Result<Answer<KeyUsage>, ApiError> {
    scope::key(&operator, &name)?;
    Ok(Answer(app.key(&name, period.from, period.until).await?))
}

/// Lets a key sign again that was disabled, or takes its end back.
#[utoipa::path(post, path = "/v1/keys/{key}/enable", tag = "keys", params(("key" = String, Path)), request_body = ChangeKey,
    responses((status = 200, body = SigningKey), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["officer"])))]
async fn enable_key(
    State(app): State<Arc<App>>,
    officer: Operator<Officer>,
    Id(name): Id<KeyName>,
    Json(change): Json<ChangeKey>,
) -> Result<Answer<SigningKey>, ApiError> {
    order(app, officer, name, KeyOrder::Enable, change.why).await
}

/// Ends that a key signs: at once, or from a day on.
#[utoipa::path(post, path = "/v1/keys/{key}/disable", tag = "keys", params(("key" = String, Path)), request_body = DisableKey,
    responses((status = 200, body = SigningKey), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["officer"])))]
async fn disable_key(
    State(app): State<Arc<App>>,
    officer: Operator<Officer>,
    Id(name): Id<KeyName>,
    Json(change): Json<DisableKey>,
) -> Result<Answer<SigningKey>, ApiError> {
    order(app, officer, name, KeyOrder::Disable { at: change.at }, change.why).await
}

/// Has the private half of a disabled key destroyed in some days. The
/// registry keeps the public half.
#[utoipa::path(post, path = "/v1/keys/{key}/destroy", tag = "keys", params(("key" = String, Path)), request_body = DestroyKey,
    responses((status = 200, body = SigningKey), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["officer"])))]
async fn destroy_key(
    State(app): State<Arc<App>>,
    officer: Operator<Officer>,
    Id(name): Id<KeyName>,
    Json(change): Json<DestroyKey>,
) -> Result<Answer<SigningKey>, ApiError> {
    let destroy = app.destroy_in(change.days)?;
    order(app, officer, name, destroy, change.why).await
}

/// Cancels that a key is destroyed, until the day has come. It stays
/// disabled.
#[utoipa::path(post, path = "/v1/keys/{key}/keep", tag = "keys", params(("key" = String, Path)), request_body = ChangeKey,
    responses((status = 200, body = SigningKey), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["officer"])))]
async fn keep_key(
    State(app): State<Arc<App>>,
    officer: Operator<Officer>,
    Id(name): Id<KeyName>,
    Json(change): Json<ChangeKey>,
) -> Result<Answer<SigningKey>, ApiError> {
    order(app, officer, name, KeyOrder::Keep, change.why).await
}

async fn order(
    app: Arc<App>,
    officer: Operator<Officer>,
    name: KeyName,
    order: KeyOrder,
    why: String,
) -> Result<Answer<SigningKey>, ApiError> {
    scope::everything(&officer, "a signing key")?;
    let by = Requester(officer.caller);
    // To its end even if the officer goes away: what the store was told and
    // what is in force here must not differ.
    let work = async move { app.order_key(&name, order, &by, &why).await };
    Ok(Answer(detached(work).await?))
}

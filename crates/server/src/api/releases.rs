//! Releases, for operators.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use firmseal_api::encoding::PageQuery;
use firmseal_api::requests::SigningRequest;
use firmseal_api::signatures::SignatureRequest;
use firmseal_api::signing::{CreateRelease, PrepareRollback, Release};
use firmseal_api::{ENVELOPE_TYPE, IDEMPOTENCY_KEY, Page, Problem};
use firmseal_manifest::{ProductId, ReleaseId};
use firmseal_sign::Requester;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::signatures::preferred;
use crate::app::releases::{Order, Origin};
use crate::app::{App, detached, scope};
use crate::error::ApiError;
use crate::http::auth::{Operator, Reader, Repeating, Signer};
use crate::http::extract::{Id, Json, Params, expect_type, page, paged_if, read};
use crate::wire;

/// How long an order is waited for, unless the caller says.
const WAIT: Duration = Duration::from_secs(30);

/// An order that is not a release yet.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum OnItsWay {
    /// It waits for approvals, or was closed without a release.
    Waiting(Box<SigningRequest>),
    /// It is queued or held.
    Open(Box<SignatureRequest>),
}

/// Longest envelope, in bytes.
const ENVELOPE_MAX: usize = firmseal_core::limits::ENVELOPE_MAX;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create_release, list_releases))
        .routes(routes!(import_release))
        .routes(routes!(get_release))
        .routes(routes!(get_envelope))
        .routes(routes!(prepare_rollback))
        .routes(routes!(withdraw_release))
}

/// Of which product, and which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Listed {
    /// Only releases of this product.
    #[param(value_type = Option<String>)]
    pub(crate) product: Option<ProductId>,
    /// The `next` of the page before.
    pub(crate) after: Option<String>,
    /// At most this many items; 100 if absent.
    pub(crate) limit: Option<u32>,
}

/// What an envelope cannot say about itself.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Imported {
    /// The product it is for.
    #[param(value_type = String)]
    product: ProductId,
    /// The build that made it.
    #[serde(default)]
    build: String,
    /// The commit it was built from.
    #[serde(default)]
    commit: String,
}

/// Signs artifacts into a release: 201 and the release, or 200 where the same
/// key with the same request has made it before. Where people have to agree
/// first, the answer is 202 and the request that waits for them. Where its
/// keys or the log are out of reach, or a security officer has to let it go,
/// the answer is 202 as well, and what `GET /v1/signatures/{request}` says of
/// the order, with the reasons: it stays in the queue, and the same request
/// asks for it again. `Prefer: wait=SECONDS` says how long the answer may
/// take; 30 seconds if absent.
#[utoipa::path(post, path = "/v1/releases", tag = "signing", request_body = CreateRelease,
    params(("idempotency-key" = String, Header), ("prefer" = Option<String>, Header)),
    responses((status = 200, body = Release), (status = 201, body = Release), (status = 202, body = OnItsWay),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["signer"])))]
async fn create_release(
    State(app): State<Arc<App>>,
    operator: Repeating<Signer>,
    headers: HeaderMap,
    Json(wish): Json<CreateRelease>,
) -> Result<Response, ApiError> {
    let key = idempotency_key(&headers)?;
    scope::channel(&operator, &wish.product, &wish.channel)?;
    let requester = Requester(operator.bind(&app, &key).await?);
    let wait = patience(&app, &headers);
    ordered(&app, app.create_release(requester, &key, wish, wait).await?).await
}

/// Signs a roll-back of a release ahead: an earlier release's payloads,
/// which devices take once this one was revoked.
#[utoipa::path(post, path = "/v1/releases/{release}/rollback", tag = "signing", request_body = PrepareRollback,
    params(("release" = String, Path), ("idempotency-key" = String, Header), ("prefer" = Option<String>, Header)),
    responses((status = 200, body = Release), (status = 201, body = Release), (status = 202, body = OnItsWay),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["signer"])))]
async fn prepare_rollback(
    State(app): State<Arc<App>>,
    operator: Repeating<Signer>,
    Id(of): Id<ReleaseId>,
    headers: HeaderMap,
    Json(wish): Json<PrepareRollback>,
) -> Result<Response, ApiError> {
    let key = idempotency_key(&headers)?;
    app.confine_release(&operator, of).await?;
    let requester = Requester(operator.bind(&app, &key).await?);
    let wait = patience(&app, &headers);
    ordered(&app, app.prepare_rollback(requester, &key, of, wish, wait).await?).await
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<String, ApiError> {
    let key = headers.get(IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok());
    key.map(str::to_owned).ok_or_else(|| {
        ApiError::Malformed(
            "idempotency-key: a signing request has one, so that repeating it is safe".to_owned(),
        )
    })
}

/// How long the caller would wait for an order.
fn patience(app: &App, headers: &HeaderMap) -> Duration {
    preferred(headers).unwrap_or(WAIT).min(app.limits.request() / 2)
}

async fn ordered(app: &App, ordered: Order) -> Result<Response, ApiError> {
    let open = match ordered {
        Order::Made(release) => {
            return Ok((StatusCode::CREATED, Answer(wire::release_out(*release))).into_response());
        }
        Order::Known(release) => return Ok(Answer(wire::release_out(*release)).into_response()),
        Order::Waiting(request) => OnItsWay::Waiting(Box::new(app.request_out(*request).await?)),
        Order::Open(job) => OnItsWay::Open(Box::new(app.signature_out(*job, None).await?)),
    };
    Ok((StatusCode::ACCEPTED, Answer(open)).into_response())
}

/// Takes in an envelope that was signed offline; its payloads are uploaded
/// before.
#[utoipa::path(post, path = "/v1/releases/import", tag = "signing", params(Imported),
    request_body(content = Vec<u8>, content_type = "application/suit-envelope+cose"),
    responses((status = 200, body = Release), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["signer"])))]
async fn import_release(
    State(app): State<Arc<App>>,
    operator: Repeating<Signer>,
    Params(query): Params<Imported>,
    request: Request<Body>,
) -> Result<Answer<Release>, ApiError> {
    expect_type(&request, ENVELOPE_TYPE)?;
    scope::product(&operator, &query.product)?;
    let envelope = read(request.into_body(), ENVELOPE_MAX, app.limits.stall()).await?;
    let requester = Requester(operator.bind(&app, &crate::tls::sha256(&envelope).to_string()).await?);
    let origin = Origin { product: query.product, build: query.build, commit: query.commit };
    let work = async move { app.import_release(requester, envelope, origin).await };
    Ok(Answer(wire::release_out(detached(work).await?)))
}

/// Releases, newest first.
#[utoipa::path(get, path = "/v1/releases", tag = "signing", params(Listed),
    responses((status = 200, body = Page<Release>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn list_releases(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
    Params(query): Params<Listed>,
) -> Result<Answer<Page<Release>>, ApiError> {
    let wish = PageQuery { after: query.after, limit: query.limit };
    let (wanted, limit) = page(&wish, |text| text.parse::<ReleaseId>().ok())?;
    let found = app.store.releases(query.product.as_ref(), wanted).await?;
    let ours = |release: &firmseal_fleet::Release| scope::release(&operator, release).is_ok();
    Ok(Answer(paged_if(found, limit, |release| release.id.to_string(), ours, wire::release_out)))
}

/// One release, with all that an export needs.
#[utoipa::path(get, path = "/v1/releases/{release}", tag = "signing", params(("release" = String, Path)),
    responses((status = 200, body = Release), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn get_release(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
    Id(id): Id<ReleaseId>,
) -> Result<Answer<Release>, ApiError> {
    let found = app.store.release(id).await?;
    scope::release(&operator, &found)?;
    Ok(Answer(wire::release_out(found)))
}

/// A release's envelope.
#[utoipa::path(get, path = "/v1/releases/{release}/envelope", tag = "signing", params(("release" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/suit-envelope+cose"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn get_envelope(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
    Id(id): Id<ReleaseId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let release = app.store.release(id).await?;
    scope::release(&operator, &release)?;
    app.blob(release.envelope, &headers, ENVELOPE_TYPE, "operator").await
}

/// Takes a release back: it is offered to nobody any more.
#[utoipa::path(post, path = "/v1/releases/{release}/withdraw", tag = "signing", params(("release" = String, Path)),
    responses((status = 200, body = Release), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["operator"])))]
async fn withdraw_release(
    State(app): State<Arc<App>>,
    operator: Operator<crate::http::auth::FleetOperator>,
    Id(id): Id<ReleaseId>,
) -> Result<Answer<Release>, ApiError> {
    app.confine_release(&operator, id).await?;
    Ok(Answer(wire::release_out(app.withdraw_release(&operator.name, id).await?)))
}

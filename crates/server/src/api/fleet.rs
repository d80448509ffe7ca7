//! Devices, rollouts and enrolment tokens.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use firmseal_api::encoding::PageQuery;
use firmseal_api::enrolment::{CreateToken, Token, TokenRecord};
use firmseal_api::fleet::{CreateRollout, Device, DeviceReport, Outcome, Rollout};
use firmseal_api::{Page, Problem};
use firmseal_fleet::{ReportId, RolloutState};
use firmseal_manifest::{ArtifactId, DeviceId, ProductId, ReleaseId, RolloutId, ids};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, scope};
use crate::error::ApiError;
use crate::http::auth::{Auditor, FleetOperator, Operator};
use crate::http::extract::{Id, Ids, Json, Params, page, paged, paged_if};
use crate::wire;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create_rollout, list_rollouts))
        .routes(routes!(get_rollout))
        .routes(routes!(list_outcomes))
        .routes(routes!(halt_rollout))
        .routes(routes!(resume_rollout))
        .routes(routes!(list_devices))
        .routes(routes!(get_device))
        .routes(routes!(list_reports))
        .routes(routes!(revoke_device))
        .routes(routes!(retry_release))
        .routes(routes!(create_token, list_tokens))
        .routes(routes!(end_token))
}

/// Of which product, and which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Listed {
    /// Only devices of this product.
    #[param(value_type = Option<String>)]
    product: Option<ProductId>,
    /// The `next` of the page before.
    after: Option<String>,
    /// At most this many items; 100 if absent.
    limit: Option<u32>,
}

/// Begins a rollout of a verified release. While it is active, the same wish
/// again answers with it.
#[utoipa::path(post, path = "/v1/rollouts", tag = "fleet", request_body = CreateRollout,
    responses((status = 200, body = Rollout), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["operator"])))]
async fn create_rollout(
    State(app): State<Arc<App>>,
    operator: Operator<FleetOperator>,
    Json(wish): Json<CreateRollout>,
) -> Result<Answer<Rollout>, ApiError> {
    app.confine_release(&operator, wish.release).await?;
    Ok(Answer(wire::rollout_out(app.create_rollout(&operator.name, wish).await?)))
}

/// Rollouts, newest first.
#[utoipa::path(get, path = "/v1/rollouts", tag = "fleet", params(PageQuery),
    responses((status = 200, body = Page<Rollout>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"])))]
async fn list_rollouts(
    State(app): State<Arc<App>>,
    operator: Operator<Auditor>,
    Params(query): Params<PageQuery>,
) -> Result<Answer<Page<Rollout>>, ApiError> {
    let (wanted, limit) = page(&query, |text| text.parse::<RolloutId>().ok())?;
    let found = app.store.rollouts(wanted).await?;
    // Of a rollout only the product is at hand; its channel is its release's.
    let mut ours = Vec::with_capacity(found.len());
    for rollout in &found {
        let release = app.store.release(rollout.release).await?;
        if scope::release(&operator, &release).is_ok() {
            ours.push(rollout.id);
        }
    }
    let ours = |rollout: &firmseal_fleet::Rollout| ours.contains(&rollout.id);
    Ok(Answer(paged_if(found, limit, |rollout| rollout.id.to_string(), ours, wire::rollout_out)))
}

/// One rollout.
#[utoipa::path(get, path = "/v1/rollouts/{rollout}", tag = "fleet", params(("rollout" = String, Path)),
    responses((status = 200, body = Rollout), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"])))]
async fn get_rollout(
    State(app): State<Arc<App>>,
    operator: Operator<Auditor>,
    Id(id): Id<RolloutId>,
) -> Result<Answer<Rollout>, ApiError> {
    app.confine_rollout(&operator, id).await?;
    Ok(Answer(wire::rollout_out(app.store.rollout(id).await?)))
}

/// Where each device of a rollout stands, by device.
#[utoipa::path(get, path = "/v1/rollouts/{rollout}/outcomes", tag = "fleet",
    params(("rollout" = String, Path), PageQuery),
    responses((status = 200, body = Page<Outcome>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"])))]
async fn list_outcomes(
    State(app): State<Arc<App>>,
    operator: Operator<Auditor>,
    Id(id): Id<RolloutId>,
    Params(query): Params<PageQuery>,
) -> Result<Answer<Page<Outcome>>, ApiError> {
    let (wanted, limit) = page(&query, |text| text.parse::<DeviceId>().ok())?;
    app.confine_rollout(&operator, id).await?;
    let outcomes = app.outcomes(id, wanted).await?;
    Ok(Answer(paged(outcomes, limit, |outcome| outcome.device.to_string(), |outcome| outcome)))
}

/// Stops a rollout's offers.
#[utoipa::path(post, path = "/v1/rollouts/{rollout}/halt", tag = "fleet", params(("rollout" = String, Path)),
    responses((status = 200, body = Rollout), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["operator"])))]
async fn halt_rollout(
    State(app): State<Arc<App>>,
    operator: Operator<FleetOperator>,
    Id(id): Id<RolloutId>,
) -> Result<Answer<Rollout>, ApiError> {
    app.confine_rollout(&operator, id).await?;
    Ok(Answer(wire::rollout_out(app.set_rollout(&operator.name, id, RolloutState::Halted).await?)))
}

/// Lets a halted rollout go on.
#[utoipa::path(post, path = "/v1/rollouts/{rollout}/resume", tag = "fleet", params(("rollout" = String, Path)),
    responses((status = 200, body = Rollout), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["operator"])))]
async fn resume_rollout(
    State(app): State<Arc<App>>,
    operator: Operator<FleetOperator>,
    Id(id): Id<RolloutId>,
) -> Result<Answer<Rollout>, ApiError> {
    app.confine_rollout(&operator, id).await?;
    Ok(Answer(wire::rollout_out(app.set_rollout(&operator.name, id, RolloutState::Active).await?)))
}

/// Devices, newest first.
#[utoipa::path(get, path = "/v1/devices", tag = "fleet", params(Listed),
    responses((status = 200, body = Page<Device>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"])))]
async fn list_devices(
    State(app): State<Arc<App>>,
    operator: Operator<Auditor>,
    Params(query): Params<Listed>,
) -> Result<Answer<Page<Device>>, ApiError> {
    let wish = PageQuery { after: query.after, limit: query.limit };
    let (wanted, limit) = page(&wish, |text| text.parse::<DeviceId>().ok())?;
    let found = app.store.devices(query.product.as_ref(), wanted).await?;
    let ours = |device: &firmseal_fleet::Device| operator.scope.takes_product(&device.product);
    let cursor = |device: &firmseal_fleet::Device| device.id.to_string();
    Ok(Answer(paged_if(found, limit, cursor, ours, |device| shown(&app, device))))
}

/// One device.
#[utoipa::path(get, path = "/v1/devices/{device}", tag = "fleet", params(("device" = String, Path)),
    responses((status = 200, body = Device), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"])))]
async fn get_device(
    State(app): State<Arc<App>>,
    operator: Operator<Auditor>,
    Id(id): Id<DeviceId>,
) -> Result<Answer<Device>, ApiError> {
    app.confine_device(&operator, id).await?;
    Ok(Answer(shown(&app, app.store.device(id).await?)))
}

/// A device's reports, newest first.
#[utoipa::path(get, path = "/v1/devices/{device}/reports", tag = "fleet",
    params(("device" = String, Path), PageQuery),
    responses((status = 200, body = Page<DeviceReport>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"])))]
async fn list_reports(
    State(app): State<Arc<App>>,
    operator: Operator<Auditor>,
    Id(id): Id<DeviceId>,
    Params(query): Params<PageQuery>,
) -> Result<Answer<Page<DeviceReport>>, ApiError> {
    let (wanted, limit) = page(&query, |text| text.parse().ok().map(ReportId))?;
    app.confine_device(&operator, id).await?;
    let found = app.store.reports(id, wanted).await?;
    let wire = |report| DeviceReport { device: id, report: wire::report_out(report) };
    Ok(Answer(paged(found, limit, |report| report.id.to_string(), wire)))
}

/// Revokes a device: it gets nothing from here on.
#[utoipa::path(post, path = "/v1/devices/{device}/revoke", tag = "fleet", params(("device" = String, Path)),
    responses((status = 200, body = Device), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["operator"])))]
async fn revoke_device(
    State(app): State<Arc<App>>,
    operator: Operator<FleetOperator>,
    Id(id): Id<DeviceId>,
) -> Result<Answer<Device>, ApiError> {
    app.confine_device(&operator, id).await?;
    Ok(Answer(shown(&app, app.revoke_device(&operator.name, id).await?)))
}

/// Lifts the hold that a refusal put on a release for this device.
#[utoipa::path(post, path = "/v1/devices/{device}/retry/{release}", tag = "fleet",
    params(("device" = String, Path), ("release" = String, Path)),
    responses((status = 200, body = Device), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["operator"])))]
async fn retry_release(
    State(app): State<Arc<App>>,
    operator: Operator<FleetOperator>,
    Ids(device, release): Ids<DeviceId, ReleaseId>,
) -> Result<Answer<Device>, ApiError> {
    app.confine_device(&operator, device).await?;
    Ok(Answer(shown(&app, app.retry_release(&operator.name, device, release).await?)))
}

/// Makes an enrolment token.
#[utoipa::path(post, path = "/v1/enrolment-tokens", tag = "enrolment", request_body = CreateToken,
    responses((status = 200, body = Token), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["operator"])))]
async fn create_token(
    State(app): State<Arc<App>>,
    operator: Operator<FleetOperator>,
    Json(wish): Json<CreateToken>,
) -> Result<Answer<Token>, ApiError> {
    scope::product(&operator, &wish.product)?;
    Ok(Answer(app.create_enrolment_token(&operator.name, wish).await?))
}

/// Enrolment tokens, newest first, without secrets.
#[utoipa::path(get, path = "/v1/enrolment-tokens", tag = "enrolment", params(PageQuery),
    responses((status = 200, body = Page<TokenRecord>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["operator"])))]
async fn list_tokens(
    State(app): State<Arc<App>>,
    operator: Operator<FleetOperator>,
    Params(query): Params<PageQuery>,
) -> Result<Answer<Page<TokenRecord>>, ApiError> {
    let (wanted, limit) = page(&query, ids::parse_digest)?;
    let found = app.store.tokens(wanted).await?;
    let ours = |token: &firmseal_fleet::EnrolmentToken| operator.scope.takes_product(&token.product);
    Ok(Answer(paged_if(found, limit, |token| token.hash.to_string(), ours, wire::token_out)))
}

/// Ends an enrolment token: it enrols nobody from here on.
#[utoipa::path(post, path = "/v1/enrolment-tokens/{hash}/revoke", tag = "enrolment", params(("hash" = String, Path)),
    responses((status = 200, body = TokenRecord), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["operator"])))]
async fn end_token(
    State(app): State<Arc<App>>,
    operator: Operator<FleetOperator>,
    Id(id): Id<ArtifactId>,
) -> Result<Answer<TokenRecord>, ApiError> {
    scope::product(&operator, &app.store.token(&id.0).await?.product)?;
    Ok(Answer(wire::token_out(app.end_enrolment_token(&operator.name, id.0).await?)))
}

fn shown(app: &App, device: firmseal_fleet::Device) -> Device {
    let seen = app.presence.last_seen(&device.id);
    wire::device_out(device, seen)
}

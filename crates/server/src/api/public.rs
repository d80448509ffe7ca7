//! What anybody may read: released envelopes, payloads and roots.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::Response;
use firmseal_api::encoding::PageQuery;
use firmseal_api::signing::Release;
use firmseal_api::{BYTES_TYPE, ENVELOPE_TYPE, Page, Problem};
use firmseal_fleet::ReleaseState;
use firmseal_manifest::ReleaseId;
use http::HeaderMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::releases::Listed;
use crate::app::App;
use crate::app::delivery::payload_name;
use crate::error::ApiError;
use crate::http::extract::{Id, Params, Segment, page, paged};
use crate::wire;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_releases))
        .routes(routes!(get_release))
        .routes(routes!(get_envelope))
        .routes(routes!(get_payload))
}

/// Who asked for a signature is nobody's business out here.
fn released(release: firmseal_fleet::Release) -> Release {
    let mut release = wire::release_out(release);
    release.requester.clear();
    release
}

/// Verified releases, newest first. A page may hold fewer than its limit.
#[utoipa::path(get, path = "/v1/releases", tag = "signing", params(Listed),
    responses((status = 200, body = Page<Release>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(()))]
async fn list_releases(
    State(app): State<Arc<App>>,
    Params(query): Params<Listed>,
) -> Result<Answer<Page<Release>>, ApiError> {
    let wish = PageQuery { after: query.after, limit: query.limit };
    let (wanted, limit) = page(&wish, |text| text.parse::<ReleaseId>().ok())?;
    let found = app.store.releases(query.product.as_ref(), wanted).await?;
    let mut page = paged(found, limit, |release| release.id.to_string(), released);
    page.items.retain(|release| release.state == firmseal_api::signing::ReleaseState::Verified);
    Ok(Answer(page))
}

/// One verified release.
#[utoipa::path(get, path = "/v1/releases/{release}", tag = "signing", params(("release" = String, Path)),
    responses((status = 200, body = Release), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(()))]
async fn get_release(
    State(app): State<Arc<App>>,
    Id(id): Id<ReleaseId>,
) -> Result<Answer<Release>, ApiError> {
    Ok(Answer(released(verified(&app, id).await?)))
}

/// A verified release's envelope.
#[utoipa::path(get, path = "/v1/releases/{release}/envelope", tag = "signing", params(("release" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/suit-envelope+cose"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(()))]
async fn get_envelope(
    State(app): State<Arc<App>>,
    Id(id): Id<ReleaseId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    app.blob(verified(&app, id).await?.envelope, &headers, ENVELOPE_TYPE, "public").await
}

/// A payload of a verified release, or with `.tree` its block tree.
#[utoipa::path(get, path = "/payloads/{payload}", tag = "updates", params(("payload" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(()))]
async fn get_payload(
    State(app): State<Arc<App>>,
    Segment(name): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (digest, tree) = payload_name(&name)?;
    app.blob(app.public_payload(digest, tree).await?, &headers, BYTES_TYPE, "public").await
}

async fn verified(app: &App, id: ReleaseId) -> Result<firmseal_fleet::Release, ApiError> {
    let release = app.store.release(id).await?;
    if release.state != ReleaseState::Verified {
        return Err(ApiError::NotFound(format!("release {id}")));
    }
    Ok(release)
}

//! Products, uploads, artifacts.

use std::sync::Arc;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use firmseal_api::encoding::PageQuery;
use firmseal_api::registry::{Artifact, CreateUpload, Product, Upload};
use firmseal_api::{BYTES_TYPE, Page, Problem, UPLOAD_LENGTH, UPLOAD_OFFSET};
use firmseal_manifest::{ArtifactId, ProductId, UploadId};
use http::{HeaderValue, StatusCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, detached, scope};
use crate::error::ApiError;
use crate::http::auth::{Admin, Carrying, Operator, Reader, Signer};
use crate::http::extract::{Id, Json, Params, expect_type, page, paged_if};
use crate::wire;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create_product, list_products))
        .routes(routes!(get_product))
        .routes(routes!(create_upload))
        .routes(routes!(get_upload, append))
        .routes(routes!(complete))
        .routes(routes!(list_artifacts))
        .routes(routes!(get_artifact))
}

/// Makes a product.
#[utoipa::path(post, path = "/v1/products", tag = "registry", request_body = Product,
    responses((status = 200, body = Product), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["admin"])))]
async fn create_product(
    State(app): State<Arc<App>>,
    operator: Operator<Admin>,
    Json(product): Json<Product>,
) -> Result<Answer<Product>, ApiError> {
    scope::product(&operator, &product.id)?;
    Ok(Answer(app.create_product(&operator, product).await?))
}

/// Products, newest first.
#[utoipa::path(get, path = "/v1/products", tag = "registry", params(PageQuery),
    responses((status = 200, body = Page<Product>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn list_products(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
    Params(query): Params<PageQuery>,
) -> Result<Answer<Page<Product>>, ApiError> {
    let (wanted, limit) = page(&query, |text| text.parse::<ProductId>().ok())?;
    let found = app.store.products(wanted).await?;
    let ours = |product: &firmseal_fleet::Product| operator.scope.takes_product(&product.id);
    Ok(Answer(paged_if(found, limit, |product| product.id.to_string(), ours, wire::product_out)))
}

/// One product.
#[utoipa::path(get, path = "/v1/products/{product}", tag = "registry", params(("product" = String, Path)),
    responses((status = 200, body = Product), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn get_product(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
    Id(id): Id<ProductId>,
) -> Result<Answer<Product>, ApiError> {
    scope::product(&operator, &id)?;
    Ok(Answer(wire::product_out(app.store.product(&id).await?)))
}

/// Begins an upload.
#[utoipa::path(post, path = "/v1/uploads", tag = "registry", request_body = CreateUpload,
    responses((status = 201, body = Upload), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["signer"])))]
async fn create_upload(
    State(app): State<Arc<App>>,
    operator: Carrying<Signer>,
    Json(wish): Json<CreateUpload>,
) -> Result<Response, ApiError> {
    let upload = app.create_upload(&operator.name, wish).await?;
    Ok((StatusCode::CREATED, placed(upload)).into_response())
}

/// Where an upload stands; HEAD answers with the headers alone.
#[utoipa::path(get, path = "/v1/uploads/{upload}", tag = "registry", params(("upload" = String, Path)),
    responses((status = 200, body = Upload, headers(("upload-offset" = u64), ("upload-length" = u64))),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["signer"])))]
async fn get_upload(
    State(app): State<Arc<App>>,
    operator: Operator<Signer>,
    Id(id): Id<UploadId>,
) -> Result<Response, ApiError> {
    Ok(placed(app.upload_of(&operator.name, id).await?))
}

/// Sends the next piece.
#[utoipa::path(patch, path = "/v1/uploads/{upload}", tag = "registry",
    params(("upload" = String, Path), ("upload-offset" = u64, Header)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Upload, headers(("upload-offset" = u64), ("upload-length" = u64))),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["signer"])))]
async fn append(
    State(app): State<Arc<App>>,
    operator: Carrying<Signer>,
    Id(id): Id<UploadId>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    expect_type(&request, BYTES_TYPE)?;
    let offset = request.headers().get(UPLOAD_OFFSET).and_then(|value| value.to_str().ok());
    let offset = offset
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| ApiError::Malformed("upload-offset: say where this piece begins".to_owned()))?;
    Ok(placed(app.append(&operator.name, id, offset, request.into_body()).await?))
}

/// Turns a whole upload into an artifact.
#[utoipa::path(post, path = "/v1/uploads/{upload}/complete", tag = "registry", params(("upload" = String, Path)),
    responses((status = 200, body = Artifact), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["signer"])))]
async fn complete(
    State(app): State<Arc<App>>,
    operator: Carrying<Signer>,
    Id(id): Id<UploadId>,
) -> Result<Answer<Artifact>, ApiError> {
    let work = async move { app.complete(&operator.name, id).await };
    Ok(Answer(wire::artifact_out(detached(work).await?)))
}

/// Artifacts, newest first. They belong to no product: whoever is confined
/// to some finds those that they uploaded.
#[utoipa::path(get, path = "/v1/artifacts", tag = "registry", params(PageQuery),
    responses((status = 200, body = Page<Artifact>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn list_artifacts(
    State(app): State<Arc<App>>,
    operator: Operator<Reader>,
    Params(query): Params<PageQuery>,
) -> Result<Answer<Page<Artifact>>, ApiError> {
    let (wanted, limit) = page(&query, |text| text.parse::<ArtifactId>().ok())?;
    let found = app.store.artifacts(wanted).await?;
    let open = operator.scope.is_open();
    let ours = |artifact: &firmseal_fleet::Artifact| open || artifact.uploaded_by == operator.name;
    Ok(Answer(paged_if(found, limit, |artifact| artifact.id.to_string(), ours, wire::artifact_out)))
}

/// One artifact.
#[utoipa::path(get, path = "/v1/artifacts/{artifact}", tag = "registry", params(("artifact" = String, Path)),
    responses((status = 200, body = Artifact), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"])))]
async fn get_artifact(
    State(app): State<Arc<App>>,
    _: Operator<Reader>,
    Id(id): Id<ArtifactId>,
) -> Result<Answer<Artifact>, ApiError> {
    Ok(Answer(wire::artifact_out(app.store.artifact(&id).await?)))
}

/// An upload, with its place in the headers too, where HEAD shows it.
fn placed(upload: firmseal_store::Upload) -> Response {
    let (offset, length) = (upload.offset, upload.announced.size);
    let mut response = Answer(wire::upload_out(upload)).into_response();
    response.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from(offset));
    response.headers_mut().insert(UPLOAD_LENGTH, HeaderValue::from(length));
    response
}

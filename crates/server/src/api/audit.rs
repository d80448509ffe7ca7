//! The audit trail, for auditors.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use firmseal_api::audit::{AuditQuery, AuditRecord, LogEntries, LogQuery};
use firmseal_api::encoding::PageQuery;
use firmseal_api::{Page, Problem};
use firmseal_manifest::ArtifactId;
use firmseal_store::AuditFilter;
use http::header;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, scope};
use crate::error::ApiError;
use crate::http::auth::{Auditor, Operator};
use crate::http::extract::{Id, Params, page, paged};
use crate::wire;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_audit_records))
        .routes(routes!(list_log_entries))
        .routes(routes!(get_decision))
}

/// Audit records, newest first. They tell what had happened when this was
/// asked; while the log takes no entries, what stands on record.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(AuditQuery),
    responses((status = 200, body = Page<AuditRecord>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"])))]
async fn list_audit_records(
    State(app): State<Arc<App>>,
    operator: Operator<Auditor>,
    Params(query): Params<AuditQuery>,
) -> Result<Answer<Page<AuditRecord>>, ApiError> {
    let AuditQuery { from, before, by, action, product, key, request, artifact, build, commit, after, limit } =
        query;
    let (wanted, limit) = page(&PageQuery { after, limit }, |text| text.parse().ok())?;
    let filter = AuditFilter { from, before, by, action, product, key, request, artifact, build, commit };
    let found = app.audit_records(filter, wanted).await?;
    let mut page = paged(found, limit, |record| record.number.to_string(), |record| record);
    // A page of somebody who is confined may be short, and is not the last.
    page.items.retain(|record| scope::lists_record(&operator.scope, record));
    let items = page.items.into_iter().map(wire::audit::record_out).collect();
    Ok(Answer(Page { items, next: page.next }))
}

/// Entries of the log with their proofs, for an export that is verified
/// offline.
#[utoipa::path(get, path = "/v1/audit/entries", tag = "audit", params(LogQuery),
    responses((status = 200, body = LogEntries), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"])))]
async fn list_log_entries(
    State(app): State<Arc<App>>,
    operator: Operator<Auditor>,
    Params(query): Params<LogQuery>,
) -> Result<Answer<LogEntries>, ApiError> {
    scope::everything(&operator, "the log")?;
    Ok(Answer(app.log_entries(query).await?))
}

/// The record of a decision: what a policy was asked, and what it answered; or
/// what gate, format, evidence or key refused, what was read of it, and why.
#[utoipa::path(get, path = "/v1/audit/decisions/{decision}", tag = "audit", params(("decision" = String, Path)),
    responses((status = 200, body = serde_json::Value), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"])))]
async fn get_decision(
    State(app): State<Arc<App>>,
    operator: Operator<Auditor>,
    Id(id): Id<ArtifactId>,
) -> Result<Response, ApiError> {
    let (decision, bytes) = app.decision(id).await?;
    let (product, channel) = decision.about();
    scope::channel(&operator, product, channel)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

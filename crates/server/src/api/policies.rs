//! Policies, for those who write them, agree to them, and are held to them.
//!
//! A policy concerns every product: whoever is confined to some neither
//! changes nor reads one.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use firmseal_api::encoding::PageQuery;
use firmseal_api::policies::{
    Policies, Policy, PolicyActivation, PolicyProposal, ProposePolicy, RecordedDecision,
};
use firmseal_api::requests::Approve;
use firmseal_api::{Page, Problem};
use firmseal_manifest::ArtifactId;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, detached, scope};
use crate::error::ApiError;
use crate::http::auth::{Approver, Officer, Onlooker, Operator, Overseer};
use crate::http::extract::{Id, Json, Params, page};

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_policies))
        .routes(routes!(propose_policy))
        .routes(routes!(get_policy))
        .routes(routes!(approve_policy))
        .routes(routes!(activate_policy))
        .routes(routes!(withdraw_policy))
        .routes(routes!(list_decisions))
}

/// What is said to whoever is confined to some products.
const POLICY: &str = "a policy";

/// The policy in force, what is proposed, and what was in force.
#[utoipa::path(get, path = "/v1/policies", tag = "policies",
    responses((status = 200, body = Policies), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"]), ("operator" = ["officer"])))]
async fn list_policies(
    State(app): State<Arc<App>>,
    operator: Operator<Onlooker>,
) -> Result<Answer<Policies>, ApiError> {
    scope::everything(&operator, POLICY)?;
    Ok(Answer(app.policies().await?))
}

/// Proposes a policy: it is read strictly, and has to say what its own
/// examples want. It is in force once enough approvers have agreed and an
/// officer activates it. The same policy again is the same proposal.
#[utoipa::path(post, path = "/v1/policies", tag = "policies", request_body = ProposePolicy,
    responses((status = 201, body = PolicyProposal), (status = 200, body = PolicyProposal),
        (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["officer"])))]
async fn propose_policy(
    State(app): State<Arc<App>>,
    officer: Operator<Officer>,
    Json(wish): Json<ProposePolicy>,
) -> Result<(StatusCode, Answer<PolicyProposal>), ApiError> {
    scope::everything(&officer, POLICY)?;
    let (proposal, new) = detached(app.propose_policy(officer.caller, wish)).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Answer(proposal)))
}

/// A policy with its text, by its digest, or by that of the rules that a
/// record of a signature names.
#[utoipa::path(get, path = "/v1/policies/{policy}", tag = "policies", params(("policy" = String, Path)),
    responses((status = 200, body = Policy), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["signer"]), ("operator" = ["approver"]), ("operator" = ["officer"])))]
async fn get_policy(
    State(app): State<Arc<App>>,
    operator: Operator<Onlooker>,
    Id(policy): Id<ArtifactId>,
) -> Result<Answer<Policy>, ApiError> {
    scope::everything(&operator, POLICY)?;
    Ok(Answer(app.policy(policy.0).await?))
}

/// Agrees to the open proposal of a policy: a signature over its Statement by
/// the key of an approver of all products and channels.
#[utoipa::path(post, path = "/v1/policies/{policy}/approvals", tag = "policies", request_body = Approve,
    params(("policy" = String, Path)),
    responses((status = 200, body = PolicyProposal), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["approver"])))]
async fn approve_policy(
    State(app): State<Arc<App>>,
    operator: Operator<Approver>,
    Id(policy): Id<ArtifactId>,
    Json(approve): Json<Approve>,
) -> Result<Answer<PolicyProposal>, ApiError> {
    scope::everything(&operator, POLICY)?;
    let work = async move { app.approve_policy(&operator, policy.0, approve).await };
    Ok(Answer(detached(work).await?))
}

/// Puts a policy in force that enough people have agreed to. One that is in
/// force already stays so.
#[utoipa::path(post, path = "/v1/policies/{policy}/activate", tag = "policies", params(("policy" = String, Path)),
    responses((status = 200, body = PolicyActivation), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["officer"])))]
async fn activate_policy(
    State(app): State<Arc<App>>,
    officer: Operator<Officer>,
    Id(policy): Id<ArtifactId>,
) -> Result<Answer<PolicyActivation>, ApiError> {
    scope::everything(&officer, POLICY)?;
    // To its end even if the officer goes away: what the store was told and
    // what decides here must not differ.
    let work = async move { app.activate_policy(&officer.name, policy.0).await };
    Ok(Answer(detached(work).await?))
}

/// Takes the open proposal of a policy back.
#[utoipa::path(post, path = "/v1/policies/{policy}/withdraw", tag = "policies", params(("policy" = String, Path)),
    responses((status = 200, body = PolicyProposal), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["officer"])))]
async fn withdraw_policy(
    State(app): State<Arc<App>>,
    officer: Operator<Officer>,
    Id(policy): Id<ArtifactId>,
) -> Result<Answer<PolicyProposal>, ApiError> {
    scope::everything(&officer, POLICY)?;
    let work = async move { app.withdraw_policy(&officer.name, policy.0).await };
    Ok(Answer(detached(work).await?))
}

/// Decisions as they were recorded, newest first: questions with the answers
/// that they got. A page may be short and not the last.
#[utoipa::path(get, path = "/v1/decisions", tag = "policies", params(PageQuery),
    responses((status = 200, body = Page<RecordedDecision>), (status = "default", body = Problem, content_type = "application/problem+json")),
    security(("operator" = ["auditor"]), ("operator" = ["officer"])))]
async fn list_decisions(
    State(app): State<Arc<App>>,
    operator: Operator<Overseer>,
    Params(query): Params<PageQuery>,
) -> Result<Answer<Page<RecordedDecision>>, ApiError> {
    let (wanted, limit) = page(&query, |text| text.parse().ok())?;
    Ok(Answer(app.decisions(&operator, wanted, limit).await?))
}

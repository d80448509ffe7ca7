//! Policies: proposed, agreed to, put in force; and what was decided.

use std::collections::BTreeSet;
use std::sync::Arc;

use firmseal_api::policies as api;
use firmseal_api::requests::Approve;
use firmseal_core::KeyId;
use firmseal_fleet::audit::AuditAction;
use firmseal_fleet::{AuditRecord, Caller, PolicyProposal, ProposalState};
use firmseal_keys::DynLog;
use firmseal_manifest::{ArtifactId, Digest, Leaf, PolicyDocument, PolicyFile};
use firmseal_sign::pipeline::rules_under;
use firmseal_sign::{NewApproval, PolicyChangeError, PolicyError, PolicyStanding, Recorded, Requester};
use firmseal_store::{AuditFilter, Page};

use super::requests::signature_in;
use super::{App, scope};
use crate::error::ApiError;
use crate::wire::policies::{activation_out, proposal_out};

/// What a list shows at most.
const SHOWN: u32 = 100;
/// What a page of decisions holds at most, in bytes.
const DECISIONS_MAX: usize = 2 << 20;

impl From<PolicyChangeError> for ApiError {
    fn from(err: PolicyChangeError) -> ApiError {
        let why = err.to_string();
        let refused = |hint: &str| ApiError::Refused { why: why.clone(), hint: hint.to_owned() };
        match err {
            PolicyChangeError::Store(err) => err.into(),
            PolicyChangeError::Why => ApiError::Malformed(why),
            PolicyChangeError::Unreadable(PolicyError(_)) => {
                refused("`firmseal policy check` says what is wrong, with file and line")
            }
            PolicyChangeError::Examples(_) | PolicyChangeError::NoExamples => {
                refused("`firmseal policy test` shows what the policy says, and how an example is written")
            }
            PolicyChangeError::NotProposed(policy) => {
                ApiError::NotFound(format!("open proposal of policy {policy}"))
            }
            PolicyChangeError::InForce(_)
            | PolicyChangeError::TooMany
            | PolicyChangeError::NotAgreed { .. }
            | PolicyChangeError::Stale
            | PolicyChangeError::Expired(_) => ApiError::Conflict(why),
            PolicyChangeError::NoApprovers | PolicyChangeError::TooFewApprovers { .. } => {
                refused("`firmseal root show` names the approvers; a new root document names more of them")
            }
            PolicyChangeError::Stranger(_)
            | PolicyChangeError::BadSignature
            | PolicyChangeError::Own(_)
            | PolicyChangeError::Revoked(_) => {
                refused("`firmseal root show` names the approvers and their keys")
            }
            PolicyChangeError::Broken(_) => {
                refused("docs/how-to/policy.md says how the stored policy is mended")
            }
            PolicyChangeError::Differs
            | PolicyChangeError::NoRoot(_)
            | PolicyChangeError::Root(_)
            | PolicyChangeError::Pipeline(_) => ApiError::Internal(why),
        }
    }
}

impl App {
    /// What is in force, proposed, and was in force.
    pub(crate) async fn policies(&self) -> Result<api::Policies, ApiError> {
        let (source, in_force, trouble) = match self.pipeline.policy_standing() {
            PolicyStanding::None => (api::PolicySource::None, None, None),
            PolicyStanding::Given(policy) => (api::PolicySource::File, Some(policy), None),
            PolicyStanding::Agreed(activation) => {
                (api::PolicySource::Approved, Some(activation.policy), None)
            }
            PolicyStanding::Broken(why) => (api::PolicySource::Broken, None, Some(why)),
        };
        let proposals = self.store.policy_proposals(None, Page::first(SHOWN)).await?;
        let activations = self.store.policy_activations(Page::first(SHOWN)).await?;
        Ok(api::Policies {
            source,
            in_force: in_force.map(ArtifactId),
            rules: ArtifactId(self.pipeline.rules()),
            trouble,
            proposals: self.proposals_out(proposals).await?,
            activations: activations.into_iter().map(activation_out).collect(),
        })
    }

    /// Says in the log which policy decides, and measures it: at the start.
    pub(crate) fn tell_policy(&self) {
        let standing = self.pipeline.policy_standing();
        match &standing {
            PolicyStanding::None => tracing::warn!("no policy is in force: the gate decides alone"),
            PolicyStanding::Given(policy) => tracing::warn!(
                %policy,
                "the policy is a file of the settings, which nobody agreed to; `firmseal policy propose` changes that"
            ),
            PolicyStanding::Agreed(activation) => tracing::info!(
                policy = %activation.policy,
                number = activation.number,
                "the policy in force is the one that people agreed to; one of the settings counts for nothing"
            ),
            PolicyStanding::Broken(why) => tracing::error!(why, "nothing is signed"),
        }
        self.metrics.policy(&standing);
    }

    /// A policy with its text, by its own digest or by that of the rules that
    /// it makes with the gate's.
    pub(crate) async fn policy(&self, digest: Digest) -> Result<api::Policy, ApiError> {
        let mut policy = digest;
        let mut proposals = self.store.proposals_of_policy(&policy).await?;
        if proposals.is_empty() {
            let all = self.store.policy_activations(Page::first(firmseal_store::page::PAGE_MAX)).await?;
            let named = all.into_iter().find(|own| rules_under(&own.policy) == digest);
            let none = || ApiError::NotFound(format!("policy {digest}"));
            policy = named.ok_or_else(none)?.policy;
            proposals = self.store.proposals_of_policy(&policy).await?;
        }
        let document = self.pipeline.policy_document(&policy).await?;
        let files = document.files.into_iter();
        Ok(api::Policy {
            policy: ArtifactId(policy),
            rules: ArtifactId(rules_under(&policy)),
            schema: document.schema,
            files: files.map(|PolicyFile { name, text }| api::PolicyFile { name, text }).collect(),
            proposals: self.proposals_out(proposals).await?,
        })
    }

    async fn proposals_out(
        &self,
        proposals: Vec<PolicyProposal>,
    ) -> Result<Vec<api::PolicyProposal>, ApiError> {
        let mut out = Vec::with_capacity(proposals.len());
        for proposal in proposals {
            out.push(self.proposal_out(proposal).await?);
        }
        Ok(out)
    }

    async fn proposal_out(&self, proposal: PolicyProposal) -> Result<api::PolicyProposal, ApiError> {
        let approvals = self.store.policy_approvals(proposal.id).await?;
        let missing = match proposal.state {
            // Without approvers in the root document, all of them.
            ProposalState::Open => match self.pipeline.missing_for_policy(&proposal).await {
                Err(PolicyChangeError::NoApprovers) => proposal.need,
                missing => missing?,
            },
            _ => 0,
        };
        Ok(proposal_out(proposal, approvals, missing))
    }

    /// Proposes a policy; whether it is new.
    pub(crate) async fn propose_policy(
        self: Arc<Self>,
        by: Caller,
        wish: api::ProposePolicy,
    ) -> Result<(api::PolicyProposal, bool), ApiError> {
        let files = wish.files.into_iter().map(|api::PolicyFile { name, text }| PolicyFile { name, text });
        let document = PolicyDocument::new(wish.schema, files.collect())
            .map_err(|err| ApiError::Malformed(format!("the policy {err}")))?;
        let (by, now) = (Requester(by), self.clock.now());
        let (proposal, new) = self.pipeline.propose_policy(&document, &by, &wish.why, now).await?;
        if new {
            tracing::warn!(policy = %proposal.policy, proposal = %proposal.id, officer = by.name, "policy proposed");
        }
        Ok((self.proposal_out(proposal).await?, new))
    }

    /// Takes an approval.
    pub(crate) async fn approve_policy(
        self: Arc<Self>,
        operator: &Caller,
        policy: Digest,
        approve: Approve,
    ) -> Result<api::PolicyProposal, ApiError> {
        let brought = NewApproval {
            key: KeyId(approve.key.0),
            signature: signature_in(approve.signature),
            brought_by: operator.name.clone(),
        };
        let taken = self.pipeline.approve_policy(&policy, brought, self.clock.now()).await;
        let (proposal, approval) = taken.map_err(|error| self.denied(operator, error))?;
        let operator = &operator.name;
        tracing::info!(%policy, holder = approval.holder, key = %approval.key, operator, "policy approved");
        self.proposal_out(proposal).await
    }

    /// Puts a policy in force.
    pub(crate) async fn activate_policy(
        self: Arc<Self>,
        by: &str,
        policy: Digest,
    ) -> Result<api::PolicyActivation, ApiError> {
        let activation = self.pipeline.activate_policy(&policy, by, self.clock.now()).await?;
        tracing::warn!(%policy, number = activation.number, officer = by, "policy in force");
        self.metrics.policy(&self.pipeline.policy_standing());
        Ok(activation_out(activation))
    }

    /// Takes a proposal back.
    pub(crate) async fn withdraw_policy(
        self: Arc<Self>,
        by: &str,
        policy: Digest,
    ) -> Result<api::PolicyProposal, ApiError> {
        let proposal = self.pipeline.withdraw_policy(&policy, self.clock.now()).await?;
        tracing::info!(%policy, proposal = %proposal.id, officer = by, "policy proposal withdrawn");
        self.proposal_out(proposal).await
    }

    /// Decisions of the records behind one, newest first. A page reads no
    /// more records than its limit, and may be short.
    pub(crate) async fn decisions(
        self: &Arc<Self>,
        caller: &Caller,
        page: Page<u64>,
        limit: usize,
    ) -> Result<firmseal_api::Page<api::RecordedDecision>, ApiError> {
        let mut records = self.audit_records(AuditFilter::default(), page).await?;
        let more = records.len() > limit;
        records.truncate(limit);
        let (mut items, mut seen, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
        let mut next = None;
        for (left, record) in (0..records.len()).rev().zip(&records) {
            for digest in self.decision_of(caller, record).await? {
                if !seen.insert(digest) {
                    continue;
                }
                // What no policy decided, no policy decides again.
                if let Some((Recorded::Decided(_), record)) = self.decision_record(digest).await? {
                    bytes += record.len();
                    let record = serde_json::from_slice(&record);
                    let record = record.map_err(|err| ApiError::Internal(err.to_string()))?;
                    items.push(api::RecordedDecision { digest: ArtifactId(digest), record });
                }
            }
            if (left == 0 && more) || (left > 0 && bytes > DECISIONS_MAX) {
                next = Some(record.number.to_string());
                break;
            }
        }
        Ok(firmseal_api::Page { items, next })
    }

    /// Where the decision behind a record may stand, if it is the caller's
    /// business.
    async fn decision_of(&self, caller: &Caller, record: &AuditRecord) -> Result<Vec<Digest>, ApiError> {
        if !scope::lists_record(&caller.scope, record) {
            return Ok(Vec::new());
        }
        if let Some(decision) = record.subject.decision {
            return Ok(vec![decision.0]);
        }
        let (AuditAction::ReleaseSigned, Some(release)) = (record.action, record.subject.release) else {
            return Ok(Vec::new());
        };
        // The intent names it, among the leaves of its images.
        let index = self.store.release(release).await?.log_index;
        let leaves = self.log.dyn_read(index, 1).await;
        let leaves = leaves.map_err(|err| ApiError::Internal(err.to_string()))?;
        let intent = leaves.first().and_then(|leaf| Leaf::decode(leaf)?.intent().cloned());
        Ok(intent.map(|intent| intent.context).unwrap_or_default())
    }
}

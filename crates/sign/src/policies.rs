//! Policies as something that is governed: proposed by an officer, agreed to
//! by approvers, put in force, and verified again whenever they are read.
//!
//! A change of the policy is never asked of the policy: one that permits
//! nothing can be replaced, by the same people and in the same way. Whose
//! word counts, the root document says, and no file of the place.

use std::collections::BTreeSet;
use std::time::Duration;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{KeyId, Refusal, RoleEntry, Root, StatementPurpose, statement};
use firmseal_fleet::{Approval, PolicyActivation, PolicyProposal, ProposalState, Time};
use firmseal_manifest::cbor::Writer;
use firmseal_manifest::policy_document::DOCUMENT_MAX;
use firmseal_manifest::{Digest, PolicyDocument, RequestId, SignedStatement, Statement};
use firmseal_store::{Page, StoreError};

use crate::error::PipelineError;
use crate::order::Requester;
use crate::pipeline::Pipeline;
use crate::policy::PolicyError;
use crate::trust::Chain;
use crate::waiting::{NewApproval, agreement, approver_key, is_own};

/// How many people agree to a policy at least, none of whom proposed it. The
/// root document may ask for more, and nothing for fewer.
pub const APPROVALS_MIN: u32 = 2;
/// Proposals that are open at once: people have to read them.
pub const PROPOSALS_MAX: usize = 32;
/// Longest reason, in bytes.
pub const WHY_MAX: usize = 512;
/// How long people have to agree.
const OPEN_FOR: Duration = Duration::from_secs(14 * 24 * 3600);

/// Why a policy is not proposed, not agreed to or not put in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyChangeError {
    /// It cannot be read.
    #[error("the policy cannot be read: {0}")]
    Unreadable(PolicyError),
    /// It says something else than its own examples.
    #[error("the policy does not say what its own examples want: {0}")]
    Examples(String),
    /// It has no examples.
    #[error("the policy has no examples; nobody could tell what it is meant to say")]
    NoExamples,
    /// Words that nobody can be shown.
    #[error("why: 1 to {WHY_MAX} bytes without control characters")]
    Why,
    /// It is in force.
    #[error("policy {0} is in force already")]
    InForce(Digest),
    /// Nobody proposed it, or not any more.
    #[error("no proposal of policy {0} is open; propose it first")]
    NotProposed(Digest),
    /// Too much is open.
    #[error("{PROPOSALS_MAX} policy proposals are open; decide on some of them first")]
    TooMany,
    /// The root document does not say who agrees to policies.
    #[error(
        "the root document names no approvers for all products and channels, so nobody can agree to a policy"
    )]
    NoApprovers,
    /// It names too few.
    #[error("{need} people have to agree to a policy, and the root document names {have} who could")]
    TooFewApprovers {
        /// How many have to.
        need: u32,
        /// How many could.
        have: usize,
    },
    /// Too few have agreed.
    #[error("{have} of {need} people have agreed to this policy")]
    NotAgreed {
        /// How many have.
        have: u32,
        /// How many have to.
        need: u32,
    },
    /// Another policy came first.
    #[error("another policy was put in force since this one was proposed; propose it again")]
    Stale,
    /// It took too long.
    #[error("the proposal of policy {0} has expired; propose it again")]
    Expired(Digest),
    /// The policy in force is not what it should be.
    #[error("the policy in force does not verify, and is not replaced before somebody has looked: {0}")]
    Broken(String),
    /// No approver of everything has this key.
    #[error("no approver of all products and channels has the key {0}")]
    Stranger(KeyId),
    /// The signature is by somebody else, or over something else.
    #[error("the signature does not verify over the Statement of this proposal; approve it again")]
    BadSignature,
    /// Nobody approves the own proposal.
    #[error("{0} proposed this policy; somebody else has to agree to it")]
    Own(String),
    /// A revoked key agrees to nothing.
    #[error("key {0} was revoked")]
    Revoked(KeyId),
    /// What was put in force is not what people agreed to.
    #[error("its activation is not what people agreed to")]
    Differs,
    /// Nobody knows whose word counted.
    #[error("root document {0}, under which it was agreed to, is not in the chain")]
    NoRoot(u64),
    /// The root document in force cannot be read back.
    #[error("the root document in force: {0}")]
    Root(#[from] Refusal),
    /// Storage.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Anything else that the pipeline says.
    #[error(transparent)]
    Pipeline(Box<PipelineError>),
}

impl From<PipelineError> for PolicyChangeError {
    fn from(error: PipelineError) -> PolicyChangeError {
        match error {
            PipelineError::Store(error) => PolicyChangeError::Store(error),
            other => PolicyChangeError::Pipeline(Box::new(other)),
        }
    }
}

/// What approvers of a policy sign. All sign the same bytes, which name the
/// proposal: nobody's word is taken for another one, nor for another server.
pub fn policy_statement(proposal: &PolicyProposal, root: &Root<'_>) -> Statement {
    let mut terms = Writer::new();
    terms.array(3).text("firmseal/policy-change").uint(proposal.need.into()).text(&proposal.why);
    let mut change = Writer::new();
    change.array(2);
    match &proposal.base {
        Some(base) => change.bytes(base.as_bytes()),
        None => change.null(),
    };
    change.bytes(proposal.policy.as_bytes());
    Statement {
        purpose: StatementPurpose::Policy,
        environment: root.environment(),
        lineage: *root.lineage(),
        request: proposal.id,
        manifest: proposal.policy,
        // No key signs by it.
        signers: Vec::new(),
        previous: proposal.base,
        expiry: proposal.expiry,
        header: RustCrypto.digest(&terms.finish()),
        difference: RustCrypto.digest(&change.finish()),
        policy: proposal.base.unwrap_or(Digest([0; 32])),
        requester: proposal.proposer_id,
    }
}

/// The role whose holders agree to policies: the one that approves every
/// product on every channel, since that is what a policy concerns.
fn role<'a>(root: &Root<'a>) -> Result<RoleEntry<'a>, PolicyChangeError> {
    root.approvers("", None).map_err(|refusal| match refusal {
        Refusal::RoleMissing => PolicyChangeError::NoApprovers,
        other => other.into(),
    })
}

/// How many have to agree.
fn needed(role: &RoleEntry<'_>) -> u32 {
    u32::try_from(role.threshold()).unwrap_or(u32::MAX).max(APPROVALS_MIN)
}

/// Whose approval it is, if it counts under a root document: an approver of
/// everything who did not propose this, and signed exactly this.
fn holder_of(
    proposal: &PolicyProposal,
    approval: &Approval,
    root: &Root<'_>,
) -> Result<String, PolicyChangeError> {
    let key = KeyId(approval.key);
    let public = approver_key(root, &key)?.ok_or(PolicyChangeError::Stranger(key))?;
    let signed = SignedStatement {
        statement: policy_statement(proposal, root),
        signatures: vec![agreement(&approval.signature, &public)],
    };
    let mut holder = None;
    let encoded = signed.encode().map_err(PipelineError::KeyUnfit)?;
    match statement::approvers(&encoded, &role(root)?, |name, _| holder = Some(name.to_owned()), &RustCrypto)
    {
        Ok(()) => {}
        Err(Refusal::BadSignature | Refusal::Malformed(_)) => return Err(PolicyChangeError::BadSignature),
        Err(other) => return Err(other.into()),
    }
    let holder = holder.ok_or(PolicyChangeError::Stranger(key))?;
    match is_own(&proposal.proposer_id, root, &holder) {
        true => Err(PolicyChangeError::Own(holder)),
        false => Ok(holder),
    }
}

/// SHA-256 of the Statement with these signatures.
fn agreed(
    proposal: &PolicyProposal,
    approvals: &[Approval],
    root: &Root<'_>,
) -> Result<Digest, PolicyChangeError> {
    let mut signed = SignedStatement { statement: policy_statement(proposal, root), signatures: Vec::new() };
    for approval in approvals {
        let key = KeyId(approval.key);
        let public = approver_key(root, &key)?.ok_or(PolicyChangeError::Stranger(key))?;
        signed.signatures.push(agreement(&approval.signature, &public));
    }
    Ok(RustCrypto.digest(&signed.encode().map_err(PipelineError::KeyUnfit)?))
}

/// Checks an activation that was read: those who agreed were enough, by the
/// root document that was in force then.
pub(crate) fn check(
    activation: &PolicyActivation,
    proposal: &PolicyProposal,
    chain: &Chain,
) -> Result<(), PolicyChangeError> {
    let document = chain.version(activation.root).ok_or(PolicyChangeError::NoRoot(activation.root))?;
    let root = Root::decode(document)?;
    let same = (proposal.id, proposal.policy, proposal.base)
        == (activation.proposal, activation.policy, activation.previous);
    if !same || agreed(proposal, &activation.approvals, &root)? != activation.agreed {
        return Err(PolicyChangeError::Differs);
    }
    let mut holders = BTreeSet::new();
    for approval in &activation.approvals {
        holders.insert(holder_of(proposal, approval, &root)?);
    }
    let (have, need) = (count(&holders), needed(&role(&root)?).max(proposal.need));
    match have >= need {
        true => Ok(()),
        false => Err(PolicyChangeError::NotAgreed { have, need }),
    }
}

fn count(holders: &BTreeSet<String>) -> u32 {
    u32::try_from(holders.len()).unwrap_or(u32::MAX)
}

impl Pipeline {
    /// Reads a policy strictly, and has it answer its own examples.
    pub fn try_policy(&self, document: &PolicyDocument) -> Result<(), PolicyChangeError> {
        let unreadable = PolicyChangeError::Unreadable;
        let none = || unreadable(PolicyError("this program reads no policies".to_owned()));
        let reader = self.policy_reader().ok_or_else(none)?;
        reader.read(document).map_err(unreadable)?;
        let tried = reader.try_out(document).map_err(unreadable)?;
        if tried.cases == 0 {
            return Err(PolicyChangeError::NoExamples);
        }
        match tried.failed.is_empty() {
            true => Ok(()),
            false => Err(PolicyChangeError::Examples(tried.failed.join("; "))),
        }
    }

    /// Proposes a policy. What is proposed already stays as it was proposed;
    /// the flag says whether it is new.
    pub async fn propose_policy(
        &self,
        document: &PolicyDocument,
        by: &Requester,
        why: &str,
        now: Time,
    ) -> Result<(PolicyProposal, bool), PolicyChangeError> {
        if why.trim().is_empty() || why.len() > WHY_MAX || why.chars().any(char::is_control) {
            return Err(PolicyChangeError::Why);
        }
        self.try_policy(document)?;
        let _one = self.changing_policy.lock().await;
        self.expire_policies(now).await?;
        let policy = document.digest();
        let base = self.store().policy_in_force().await?.map(|activation| activation.policy);
        if base == Some(policy) {
            // Its bytes are what its digest says: where they were damaged,
            // this mends them.
            if self.policy_trouble().is_some() {
                self.store().put_bytes(document.encode().into()).await?;
                self.load_policy().await?;
            }
            return Err(match self.policy_trouble() {
                Some(why) => PolicyChangeError::Broken(why),
                None => PolicyChangeError::InForce(policy),
            });
        }
        let open = self.open_proposals().await?;
        if let Some(known) = open.iter().find(|known| known.policy == policy) {
            return Ok((known.clone(), false));
        }
        if open.len() >= PROPOSALS_MAX {
            return Err(PolicyChangeError::TooMany);
        }
        let bytes = self.root();
        let root = Root::decode(&bytes)?;
        let role = role(&root)?;
        let need = needed(&role);
        let others: BTreeSet<_> = role
            .keys()
            .filter_map(|(index, _)| role.holder(index))
            .filter(|holder| !is_own(&by.id(), &root, holder))
            .collect();
        if others.len() < need as usize {
            return Err(PolicyChangeError::TooFewApprovers { need, have: others.len() });
        }
        // Durable before the proposal names it.
        self.store().put_bytes(document.encode().into()).await?;
        let proposal = PolicyProposal {
            id: RequestId::new(),
            policy,
            base,
            need,
            proposer: by.name.clone(),
            proposer_id: by.id(),
            why: why.to_owned(),
            expiry: now.plus(OPEN_FOR).millis() / 1000,
            created: now,
            state: ProposalState::Open,
        };
        self.store().insert_policy_proposal(proposal.clone()).await?;
        Ok((proposal, true))
    }

    /// The open proposal of a policy, by the time of now.
    async fn proposed(&self, policy: &Digest, now: Time) -> Result<PolicyProposal, PolicyChangeError> {
        let mut all = self.store().proposals_of_policy(policy).await?.into_iter();
        let open = all.find(|proposal| proposal.state == ProposalState::Open);
        let open = open.ok_or(PolicyChangeError::NotProposed(*policy))?;
        if now.millis() / 1000 > open.expiry {
            self.store().close_policy_proposal(open.id, ProposalState::Expired).await?;
            return Err(PolicyChangeError::Expired(*policy));
        }
        Ok(open)
    }

    async fn open_proposals(&self) -> Result<Vec<PolicyProposal>, StoreError> {
        let page = Page::first(firmseal_store::page::PAGE_MAX);
        self.store().policy_proposals(Some(ProposalState::Open), page).await
    }

    /// Closes proposals that took too long; how many there were.
    pub async fn expire_policies(&self, now: Time) -> Result<usize, StoreError> {
        let mut closed = 0;
        for proposal in self.open_proposals().await? {
            if now.millis() / 1000 > proposal.expiry {
                self.store().close_policy_proposal(proposal.id, ProposalState::Expired).await?;
                closed += 1;
            }
        }
        Ok(closed)
    }

    /// Takes an approval, if an approver signed exactly the Statement of the
    /// open proposal of this policy.
    pub async fn approve_policy(
        &self,
        policy: &Digest,
        brought: NewApproval,
        now: Time,
    ) -> Result<(PolicyProposal, Approval), PolicyChangeError> {
        let proposal = self.proposed(policy, now).await?;
        let NewApproval { key, signature, brought_by } = brought;
        if self.trust().revokes_key(&key).is_some() {
            return Err(PolicyChangeError::Revoked(key));
        }
        let mut approval =
            Approval { holder: String::new(), key: key.0, signature, brought_by, created: now };
        let document = self.root();
        approval.holder = holder_of(&proposal, &approval, &Root::decode(&document)?)?;
        self.store().insert_policy_approval(proposal.id, approval.clone()).await?;
        Ok((proposal, approval))
    }

    /// The approvals of a proposal that count under the root document in
    /// force, one of each holder, and how many are needed.
    async fn counted(&self, proposal: &PolicyProposal) -> Result<(Vec<Approval>, u32), PolicyChangeError> {
        let (document, trust) = (self.root(), self.trust());
        let root = Root::decode(&document)?;
        let need = needed(&role(&root)?).max(proposal.need);
        let (mut counted, mut holders) = (Vec::new(), BTreeSet::new());
        for approval in self.store().policy_approvals(proposal.id).await? {
            // Roots and revocations may have come since it was taken.
            if trust.revokes_key(&KeyId(approval.key)).is_some() {
                continue;
            }
            match holder_of(proposal, &approval, &root) {
                Ok(holder) => {
                    if holders.insert(holder) {
                        counted.push(approval);
                    }
                }
                // It counted once, under other keys.
                Err(
                    PolicyChangeError::Stranger(_)
                    | PolicyChangeError::BadSignature
                    | PolicyChangeError::Own(_),
                ) => {}
                Err(other) => return Err(other),
            }
        }
        Ok((counted, need))
    }

    /// How many more people have to agree.
    pub async fn missing_for_policy(&self, proposal: &PolicyProposal) -> Result<u32, PolicyChangeError> {
        let (counted, need) = self.counted(proposal).await?;
        Ok(need.saturating_sub(u32::try_from(counted.len()).unwrap_or(u32::MAX)))
    }

    /// Puts a policy in force that enough people have agreed to. When this
    /// returns it is durable, and decides from the next request on. The one
    /// in force again is the same activation.
    pub async fn activate_policy(
        &self,
        policy: &Digest,
        by: &str,
        now: Time,
    ) -> Result<PolicyActivation, PolicyChangeError> {
        let _one = self.changing_policy.lock().await;
        if let Some(why) = self.policy_trouble() {
            return Err(PolicyChangeError::Broken(why));
        }
        let newest = self.store().policy_in_force().await?;
        let proposal = match (self.proposed(policy, now).await, &newest) {
            (Err(PolicyChangeError::NotProposed(_)), Some(newest)) if newest.policy == *policy => {
                return Ok(newest.clone());
            }
            (proposal, _) => proposal?,
        };
        if proposal.base != newest.as_ref().map(|newest| newest.policy) {
            self.store().close_policy_proposal(proposal.id, ProposalState::Superseded).await?;
            return Err(PolicyChangeError::Stale);
        }
        let (approvals, need) = self.counted(&proposal).await?;
        let have = u32::try_from(approvals.len()).unwrap_or(u32::MAX);
        if have < need {
            return Err(PolicyChangeError::NotAgreed { have, need });
        }
        // Read again: this program may be another one than that which took
        // the proposal.
        let document = self.policy_document(policy).await?;
        self.try_policy(&document)?;
        let chain = self.trust();
        let agreed = agreed(&proposal, &approvals, &Root::decode(chain.root())?)?;
        let activation = PolicyActivation {
            number: newest.map_or(0, |newest| newest.number) + 1,
            policy: *policy,
            previous: proposal.base,
            proposal: proposal.id,
            root: chain.root_version(),
            approvals,
            agreed,
            by: by.to_owned(),
            time: now,
        };
        check(&activation, &proposal, &chain)?;
        self.store().activate_policy(activation.clone()).await?;
        // Durable from here on. If we crash now, the next start puts the same
        // one in force; the same call does it below.
        self.load_policy().await?;
        Ok(activation)
    }

    /// Takes a proposal back.
    pub async fn withdraw_policy(
        &self,
        policy: &Digest,
        now: Time,
    ) -> Result<PolicyProposal, PolicyChangeError> {
        let proposal = self.proposed(policy, now).await?;
        self.store().close_policy_proposal(proposal.id, ProposalState::Withdrawn).await?;
        Ok(PolicyProposal { state: ProposalState::Withdrawn, ..proposal })
    }

    /// A policy's document, which is what its digest says.
    pub async fn policy_document(&self, policy: &Digest) -> Result<PolicyDocument, PolicyChangeError> {
        let bytes = self.store().read_all(policy, DOCUMENT_MAX as u64).await?;
        let corrupt = || StoreError::corrupt(format!("policy {policy}"));
        let document = PolicyDocument::decode(&bytes).map_err(|_| corrupt())?;
        match document.digest() == *policy {
            true => Ok(document),
            false => Err(corrupt().into()),
        }
    }
}

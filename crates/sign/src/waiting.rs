//! Waiting for people: a release that is made but for its signatures, the
//! approvals that come in, and what happens when there are enough.
//!
//! Nothing is signed for a release before its approvers agreed, but for
//! images in formats with a signature of their own: the manifest names what
//! that signature made, so it comes first, under an entry of its own.

use std::time::Duration;

use firmseal_core::crypto::RustCrypto;
use firmseal_core::evidence::holder_id;
use firmseal_core::limits::ENVELOPE_MAX;
use firmseal_core::{KeyId, Refusal, Role, Root, statement};
use firmseal_fleet::{Approval, ApprovalSignature, Release, RequestState, SigningRequest, Time};
use firmseal_manifest::{Agreement, Digest, ProductId, PublicKey, RequestId, Signature, SignedStatement};
use firmseal_store::{Begin, Claim, Page};
use firmseal_trust::RootSpec;

use crate::attempts::Attempts;
use crate::draft::Draft;
use crate::error::PipelineError;
use crate::gate::GateRefusal;
use crate::judging::Again;
use crate::order::Order;
use crate::pipeline::{Pipeline, Signed};
use crate::release_job::Errand;
use crate::review::{self, Difference, Side};

/// Most requests of a product that wait at once: people have to read them,
/// and each holds a number.
pub const WAITING_MAX: usize = 64;
/// Requests that are read at once.
const PAGE: u32 = 256;
/// How long people have to agree.
const APPROVED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// What people have agreed to, with their signatures.
pub(crate) struct Agreed<'a> {
    pub(crate) request: &'a SigningRequest,
    pub(crate) statement: SignedStatement,
}

/// A request that came to its end, or why it could not.
pub type Finished = Result<Signed, PipelineError>;

/// What somebody brings: a signature under the Statement of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewApproval {
    /// The key that signed.
    pub key: KeyId,
    /// The signature.
    pub signature: ApprovalSignature,
    /// Who brings it. That counts for nothing: the key does.
    pub brought_by: String,
}

/// Why an approval is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// There is no such request.
    #[error("there is no signing request {0}")]
    Unknown(RequestId),
    /// It waits no more.
    #[error("signing request {0} waits no more: it is {1}")]
    Closed(RequestId, &'static str),
    /// No approver of the product has this key.
    #[error("no approver of product `{product}` has the key {key}")]
    Stranger {
        /// The key.
        key: KeyId,
        /// The product.
        product: String,
    },
    /// The signature is by somebody else, or over something else.
    #[error("the signature does not verify over the Statement of this request; approve it again")]
    BadSignature,
    /// Nobody approves the own request.
    #[error("{0} asked for this release; somebody else has to agree to it")]
    Own(String),
    /// A revoked key agrees to nothing.
    #[error("key {0} was revoked")]
    Revoked(KeyId),
}

/// The state in words.
fn word(state: RequestState) -> &'static str {
    match state {
        RequestState::Waiting => "waiting",
        RequestState::Signed => "signed",
        RequestState::Cancelled => "cancelled",
        RequestState::Superseded => "superseded",
        RequestState::Expired => "expired",
    }
}

impl Pipeline {
    /// Every request that waits: of one product, or of all.
    async fn all_waiting(&self, product: Option<&ProductId>) -> Result<Vec<SigningRequest>, PipelineError> {
        let (mut found, mut page) = (Vec::new(), Page::first(PAGE));
        loop {
            let some = self.store().signing_requests(Some(RequestState::Waiting), page).await?;
            let Some(last) = some.last().map(|request| request.id) else { return Ok(found) };
            found
                .extend(some.into_iter().filter(|own| product.is_none_or(|product| own.product == *product)));
            page = Page::after(last, PAGE);
        }
    }

    /// The highest sequence number of a product's requests that wait; 0 if
    /// none does. Refused where no further one may.
    pub(crate) async fn last_waiting(&self, product: &ProductId) -> Result<u64, PipelineError> {
        let waiting = self.all_waiting(Some(product)).await?;
        if waiting.len() >= WAITING_MAX {
            return Err(PipelineError::TooManyWait(product.to_string()));
        }
        Ok(waiting.iter().map(|request| request.sequence).max().unwrap_or(0))
    }

    /// The request for approvals of a draft, with what people have to see.
    pub(crate) async fn request(
        &self,
        draft: &Draft,
        order: &Order,
        claim: &Claim,
        latest: Option<&Release>,
        need: u32,
        now: Time,
    ) -> Result<SigningRequest, PipelineError> {
        let product = self.store().product(&draft.product).await?;
        let keys = self.usable_keys(&product, now)?;
        let manifest = draft.spec(&product, keys).assemble()?;
        let unsigned = manifest.seal(&[])?;
        let before = match latest {
            Some(release) => {
                let envelope = self.store().read_all(&release.envelope, ENVELOPE_MAX as u64).await?;
                Some(Side::read(&envelope)?)
            }
            None => None,
        };
        let previous_sbom = latest.and_then(|release| release.sbom);
        let sboms = [self.sbom(previous_sbom).await?, self.sbom(draft.sbom).await?];
        let (after, evidence) = (Side::read(&unsigned)?, draft.evidence.clone());
        let difference = Difference { before, after, sboms, evidence };
        Ok(SigningRequest {
            id: claim.request,
            key: draft.key.clone(),
            fingerprint: order.fingerprint(),
            product: draft.product.clone(),
            channel: draft.channel.clone(),
            version: draft.version.clone(),
            sequence: draft.sequence,
            epoch: draft.epoch,
            components: draft.components.clone(),
            leaves: draft.leaves.clone(),
            manifest: manifest.digest(),
            unsigned: self.store().put_bytes(unsigned.into()).await?,
            previous: latest.map(|release| release.manifest),
            header: review::header(&draft.headers),
            difference: difference.digest(),
            policy: draft.policy,
            decision: draft.decision,
            need,
            signers: keys.ids(),
            requester: draft.requester.clone(),
            requester_id: draft.requester_id,
            build: draft.build.clone(),
            commit: draft.commit.clone(),
            rollback_of: draft.rollback_of,
            sbom: draft.sbom,
            evidence: draft.evidence.clone(),
            previous_sbom,
            expiry: now.plus(APPROVED_FOR).millis() / 1000,
            state: RequestState::Waiting,
            created: now,
        })
    }

    /// A request that waits and has not expired; one that has is closed.
    async fn waiting(&self, id: RequestId, now: Time) -> Result<SigningRequest, PipelineError> {
        let request = self.store().signing_request(id).await?;
        let request = request.ok_or(PipelineError::Approval(ApprovalError::Unknown(id)))?;
        let state = match request.state {
            RequestState::Waiting if now.millis() / 1000 > request.expiry => {
                self.store().close_signing_request(id, RequestState::Expired).await?;
                RequestState::Expired
            }
            state => state,
        };
        match state {
            RequestState::Waiting => Ok(request),
            state => Err(ApprovalError::Closed(id, word(state)).into()),
        }
    }

    /// Takes an approval, if an approver of the product signed exactly the
    /// Statement of this request.
    pub async fn approve(
        &self,
        id: RequestId,
        brought: NewApproval,
        now: Time,
    ) -> Result<Approval, PipelineError> {
        let request = self.waiting(id, now).await?;
        let document = self.root();
        let root = Root::decode(&document)?;
        let NewApproval { key, signature, brought_by } = brought;
        let product = request.product.to_string();
        let stranger = || PipelineError::from(ApprovalError::Stranger { key, product: product.clone() });
        if self.trust().revokes_key(&key).is_some() {
            return Err(ApprovalError::Revoked(key).into());
        }
        let public = approver_key(&root, &key)?.ok_or_else(stranger)?;
        let signed = SignedStatement {
            statement: review::statement(&request, &root),
            signatures: vec![agreement(&signature, &public)],
        };
        let mut holder = None;
        let taken = statement::approvers(
            &signed.encode()?,
            &root.approvers(&product, Some(request.channel.as_str()))?,
            |name, _| holder = Some(name.to_owned()),
            &RustCrypto,
        );
        match taken {
            Ok(()) => {}
            Err(Refusal::BadSignature | Refusal::Malformed(_)) => {
                return Err(ApprovalError::BadSignature.into());
            }
            Err(other) => return Err(other.into()),
        }
        let holder = holder.ok_or_else(stranger)?;
        if is_own(&request.requester_id, &root, &holder) {
            return Err(ApprovalError::Own(holder).into());
        }
        let approval = Approval { holder, key: key.0, signature, brought_by, created: now };
        self.store().insert_approval(id, approval.clone()).await?;
        Ok(approval)
    }

    /// The Statement with every approval that counts under the root in
    /// force, and how many more holders have to agree.
    async fn agreed(&self, request: &SigningRequest) -> Result<(SignedStatement, usize), PipelineError> {
        let document = self.root();
        let trust = self.trust();
        let root = Root::decode(&document)?;
        let product = request.product.as_str();
        let role = root.approvers(product, Some(request.channel.as_str()))?;
        let demanded = if root.demands(product).approvals { role.threshold() } else { 0 };
        let need = demanded.max(request.need as usize);
        let mut signed =
            SignedStatement { statement: review::statement(request, &root), signatures: Vec::new() };
        let mut holders = std::collections::BTreeSet::new();
        for approval in self.store().approvals(request.id).await? {
            // Roots and revocations may have come since it was taken.
            let key = KeyId(approval.key);
            if trust.revokes_key(&key).is_some() {
                continue;
            }
            let Some(public) = approver_key(&root, &key)? else { continue };
            let one = SignedStatement {
                statement: signed.statement.clone(),
                signatures: vec![agreement(&approval.signature, &public)],
            };
            let mut holder = None;
            let counts = statement::approvers(
                &one.encode()?,
                &role,
                |name, _| holder = Some(name.to_owned()),
                &RustCrypto,
            );
            // Whose key it is now, not whose it was when the approval came:
            // a rotation may have given it to whoever asked.
            if let (Ok(()), Some(holder)) = (counts, holder)
                && !is_own(&request.requester_id, &root, &holder)
                && holders.insert(holder)
            {
                signed.signatures.extend(one.signatures);
            }
        }
        // More than enough would only make the envelope longer.
        signed.signatures.truncate(need);
        Ok((signed, need.saturating_sub(holders.len())))
    }

    /// How many more people have to agree.
    pub async fn missing_approvals(&self, request: &SigningRequest) -> Result<usize, PipelineError> {
        Ok(self.agreed(request).await?.1)
    }

    /// Signs a request that enough people have agreed to; `None` where they
    /// have not yet. May be repeated, and is after a crash.
    pub async fn finish(&self, id: RequestId, now: Time) -> Result<Option<Signed>, PipelineError> {
        let errand = Errand::of_nobody(Attempts::unwatched(self.attempt_limit()));
        self.finish_for(id, &errand, now).await
    }

    /// The same, for an errand.
    pub(crate) async fn finish_for(
        &self,
        id: RequestId,
        errand: &Errand,
        now: Time,
    ) -> Result<Option<Signed>, PipelineError> {
        let product = self.waiting(id, now).await?.product;
        let turn = self.turn(&product);
        let _turn = turn.lock().await;
        // Looked at once it is our turn: while another release of the product
        // was signed, people may have changed their minds.
        let request = self.waiting(id, now).await?;
        let (statement, missing) = self.agreed(&request).await?;
        if missing > 0 {
            return Ok(None);
        }
        let claim = match self.store().begin(self.claimed(&request, errand.is_job(), now)).await? {
            Begin::Fresh(claim) => claim,
            Begin::Stored(finished) => {
                // Cut between the release and this.
                self.store().close_signing_request(id, RequestState::Signed).await?;
                let release = self.store().release_of_request(finished.request).await?;
                return Ok(release.map(|release| Signed { release, stored: true }));
            }
            Begin::InFlight { .. } => return Ok(None),
            Begin::Conflict { request } => return Err(PipelineError::KeyReused(request)),
        };
        let approvals = u32::try_from(statement.signatures.len()).unwrap_or(u32::MAX);
        let mut draft = Draft::again(&request, errand.attempts.clone());
        let again = self.judge_again(&request, approvals, errand, now).await;
        if matches!(again, Ok(Again::NotNow)) {
            let _ = self.store().abandon(&claim).await;
            return Ok(None);
        }
        if let Ok(Again::Permit(record)) = &again {
            draft.decision = Some(*record);
        }
        let agreed = Agreed { request: &request, statement };
        let made = match again {
            Ok(_) => self.complete(&draft, &claim, Some(agreed), now).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(release) => {
                // The release is there, whatever becomes of this: the next
                // round finds it and closes the request.
                let _ = self.store().close_signing_request(id, RequestState::Signed).await;
                Ok(Some(Signed { release, stored: false }))
            }
            Err(error) => {
                let _ = self.store().abandon(&claim).await;
                // What devices would refuse now they would refuse again: with
                // the request open, each round would use the keys once more.
                // Nor does a security epoch that was overtaken come back.
                if matches!(
                    error,
                    PipelineError::Superseded(_)
                        | PipelineError::Refused(_)
                        | PipelineError::Gate(GateRefusal::Epoch { .. } | GateRefusal::EpochRoot { .. })
                ) {
                    self.store().close_signing_request(id, RequestState::Superseded).await?;
                }
                Err(error)
            }
        }
    }

    /// Signs every request that enough people have agreed to, and closes
    /// those that have expired. What a crash left is found here. One that
    /// cannot be signed now holds no other up: why not stands beside its id.
    /// One that is a job goes back into the queue instead.
    pub async fn finish_waiting(&self, now: Time) -> Result<Vec<(RequestId, Finished)>, PipelineError> {
        let mut finished = Vec::new();
        for request in self.all_waiting(None).await? {
            match self.align(&request, now).await {
                Ok(None) => {}
                Ok(Some(_)) => continue,
                Err(error) => {
                    finished.push((request.id, Err(error)));
                    continue;
                }
            }
            match self.finish(request.id, now).await {
                Ok(None) | Err(PipelineError::Approval(ApprovalError::Closed(..))) => {}
                Ok(Some(signed)) => finished.push((request.id, Ok(signed))),
                Err(error) => finished.push((request.id, Err(error))),
            }
        }
        Ok(finished)
    }
}

/// Whether a holder asked for this: by name, or by one of the keys.
pub(crate) fn is_own(requester: &Digest, root: &Root<'_>, holder: &str) -> bool {
    *requester == holder_id(holder, &RustCrypto)
        || root.roles().any(|role| {
            role.keys()
                .any(|(index, key)| role.holder(index) == Some(holder) && key.id(&RustCrypto).0 == *requester)
        })
}

/// The public half of an approver's key, as the root document has it.
pub(crate) fn approver_key(root: &Root<'_>, id: &KeyId) -> Result<Option<PublicKey>, PipelineError> {
    let spec = RootSpec::of(root).map_err(|error| PipelineError::Root(error.to_string()))?;
    let approvers = spec.roles.into_iter().filter(|role| role.role == Role::Approver);
    let mut keys = approvers.flat_map(|role| role.holders).flat_map(|holder| holder.keys);
    Ok(keys.find(|key| key.id() == *id))
}

pub(crate) fn agreement(signature: &ApprovalSignature, key: &PublicKey) -> Agreement {
    match signature {
        ApprovalSignature::Cose { signature } => {
            Agreement::Cose { key: key.clone(), signature: Signature(signature.clone()) }
        }
        ApprovalSignature::Ssh { signature } => Agreement::Ssh(signature.clone()),
        ApprovalSignature::Webauthn { authenticator, client, signature } => Agreement::WebAuthn {
            key: key.id(),
            authenticator: authenticator.clone(),
            client: client.clone(),
            signature: signature.clone(),
        },
    }
}

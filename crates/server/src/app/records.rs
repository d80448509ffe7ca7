//! Records: what an event or a signature tells, with who and what it was
//! about, as the store knows it.

use std::collections::BTreeSet;

use firmseal_fleet::audit::{AuditAction, AuditSubject, AuditedCredential, Circumstances, Outcome};
use firmseal_fleet::{
    Asked, AuditRecord, CallerKind, CredentialId, Deviation, Job, JobKind, KeyPhase, KeyRecord,
    PolicyProposal, Reason, Release, ReleaseComponent, Signature, SigningRequest,
};
use firmseal_manifest::{self as manifest, ArtifactId, Digest, End, Event, KeyId, Leaf, RequestId, Ruling};
use firmseal_store::{Page, StoreError, TrustKind};
use uuid::Uuid;

use super::App;

impl App {
    /// A record of a signature.
    pub(super) fn signed(&self, signature: Signature, asked: Option<Box<Asked>>) -> AuditRecord {
        let mut record = self.record(AuditAction::ArtifactSigned, signature.log_index);
        record.time = signature.finished;
        record.subject = AuditSubject {
            request: Some(signature.request),
            product: Some(signature.product),
            channel: Some(signature.channel),
            version: Some(signature.version.to_string()),
            digest: Some(signature.artifact),
            artifacts: [signature.artifact].into_iter().chain(signature.signed).collect(),
            key: Some(signature.key),
            key_id: Some(ArtifactId(signature.key_id)),
            fallback: signature.fallback,
            policy: Some(ArtifactId(signature.policy)),
            decision: signature.decision.map(ArtifactId),
            ..record.subject
        };
        if let Some(asked) = asked {
            record.subject.build = Some(asked.build);
            record.subject.commit = Some(asked.commit);
            record.caller = Some(asked.caller);
        }
        record
    }

    /// A record of an event; `None` for one that another record tells.
    pub(super) async fn told(
        &self,
        event: Event,
        log_index: u64,
        circumstances: Option<Circumstances>,
    ) -> Result<Option<AuditRecord>, StoreError> {
        let mut record = match event {
            Event::Requested { request, manifest, .. } => {
                let mut record = self.about(request, AuditAction::SigningRequested, log_index).await?;
                record.subject.digest = Some(ArtifactId(manifest));
                record
            }
            Event::Policy { number, policy, .. } => self.policy_activated(number, policy, log_index).await?,
            Event::Approved { request, manifest, key } => {
                let mut record = self.about(request, AuditAction::Approved, log_index).await?;
                let mut approvals = self.store.approvals(request).await?;
                approvals.extend(self.store.job_approvals(request).await?);
                approvals.extend(self.store.policy_approvals(request).await?);
                let approval = approvals.into_iter().find(|approval| approval.key == key.0);
                record.caller = None;
                // One that was taken back meanwhile has left no name; its key
                // is in the root document.
                record.by = approval.as_ref().map(|approval| approval.holder.clone());
                record.time = approval.map_or(record.time, |approval| approval.created);
                record.subject.digest = Some(ArtifactId(manifest));
                record.subject.key_id = Some(ArtifactId(key.0));
                record
            }
            Event::Unapproved { request, key } => {
                let mut record = self.about(request, AuditAction::ApprovalWithdrawn, log_index).await?;
                (record.caller, record.by) = (None, None);
                record.subject.key_id = Some(ArtifactId(key.0));
                record
            }
            // The signature or the release is on record itself, as is why a
            // request was refused.
            Event::Closed { end: End::Signed, .. } | Event::Decided { ruling: Ruling::Agreed, .. } => {
                return Ok(None);
            }
            Event::Closed { request, .. } => {
                let mut record = self.about(request, AuditAction::SigningClosed, log_index).await?;
                record.outcome = Outcome::Failure;
                record
            }
            Event::Released { manifest, .. } => {
                let release = self.store.release_of_manifest(&manifest).await?;
                self.of_release(release, manifest, AuditAction::ReleaseSigned, log_index).await?
            }
            Event::Retired { manifest, .. } => {
                let release = self.store.release_of_manifest(&manifest).await?;
                let mut record =
                    self.of_release(release, manifest, AuditAction::ReleaseRetired, log_index).await?;
                // Who asked for it is not who took it back.
                (record.caller, record.by, record.time) = (None, None, self.clock.now());
                record
            }
            Event::Root { version, document } => {
                self.published_as(TrustKind::Root, version, document, log_index).await?
            }
            Event::Revocation { version, document } => {
                self.published_as(TrustKind::Revocation, version, document, log_index).await?
            }
            Event::Rollout { rollout, manifest, phase } => {
                let release = self.store.release_of_manifest(&manifest).await?;
                let mut record =
                    self.of_release(release, manifest, AuditAction::RolloutChanged, log_index).await?;
                (record.caller, record.time) = (None, self.clock.now());
                record.by = match phase {
                    manifest::Phase::Active => Some(self.store.rollout(rollout).await?.created_by),
                    manifest::Phase::Halted | manifest::Phase::Finished => None,
                };
                record
            }
            Event::Decided { request, decision, ruling } => {
                let action = match ruling {
                    Ruling::Held => AuditAction::SigningHeld,
                    Ruling::Released => AuditAction::HoldReleased,
                    _ => AuditAction::SigningDecided,
                };
                let mut record = self.about(request, action, log_index).await?;
                if ruling == Ruling::Refused {
                    record.outcome = Outcome::Failure;
                }
                if ruling == Ruling::Released {
                    record.caller = None;
                    record.by = self.store.job(request).await?.and_then(|job| job.progress.released_by);
                }
                // Zeros stand for no record: those of before had none where
                // the gate decided.
                let is_kept = decision != Digest([0; 32]);
                record.subject.decision = is_kept.then_some(ArtifactId(decision));
                // The job may have gone on since, for other reasons.
                if is_kept && let Some(reasons) = self.reasons_of(decision).await? {
                    record.reasons = reasons;
                }
                record
            }
            Event::Key { key, by, change, .. } => {
                let mut record = self.record(AuditAction::KeyChanged, log_index);
                record.subject.key_id = Some(ArtifactId(key.0));
                let word = KeyPhase::from(change).word();
                let known = self.known_key(&key).await?;
                record.subject.key = known.as_ref().map(|known| known.name.to_string());
                // Somebody else may have changed it since: then the words that
                // are kept are theirs.
                let state = known.map(|known| known.state).filter(|state| state.by_id == by);
                record.by = state.as_ref().map(|state| state.by.clone());
                record.reasons = vec![Reason::new(word, state.map_or(word.to_owned(), |state| state.why))];
                record
            }
            Event::Unusual { request, key, how } => {
                let mut record = self.about(request, AuditAction::Anomaly, log_index).await?;
                self.used(&mut record, request, key).await?;
                let how = Deviation::of_bits(how);
                record.reasons = how.iter().map(|how| Reason::new(how.word(), how.why())).collect();
                record
            }
            Event::Attempt { request, intent, outcome } => {
                let mut record = self.about(request, AuditAction::SigningAttempted, intent).await?;
                if let Some(key) = self.announced_key(intent).await? {
                    self.used(&mut record, request, key).await?;
                }
                record.outcome = match outcome {
                    manifest::Outcome::Failed => Outcome::Failure,
                    manifest::Outcome::Unknown => Outcome::Unknown,
                };
                record
            }
            Event::Credential { credential, .. } => {
                self.of_credential(credential, AuditAction::CredentialCreated, log_index).await?
            }
            Event::Revoked { credential, .. } => {
                self.of_credential(credential, AuditAction::CredentialRevoked, log_index).await?
            }
            Event::Product { product, .. } => {
                let mut record = self.record(AuditAction::ProductCreated, log_index);
                record.subject.digest = Some(ArtifactId(product));
                record
            }
            Event::Denied { count, .. } => {
                let mut record = self.record(AuditAction::AccessDenied, log_index);
                record.outcome = Outcome::Failure;
                record.subject.count = Some(count);
                record
            }
        };
        if let Some(circumstances) = circumstances {
            fill_from_circumstances(&mut record, circumstances);
        }
        Ok(Some(record))
    }

    async fn known_key(&self, key: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.store.key_records().await?.into_iter().find(|known| known.key == key.0))
    }

    /// Says which key it was: that of the request, or one that stood in.
    async fn used(&self, record: &mut AuditRecord, request: RequestId, key: KeyId) -> Result<(), StoreError> {
        record.subject.key_id = Some(ArtifactId(key.0));
        if let Some(known) = self.known_key(&key).await? {
            let name = Some(known.name.to_string());
            // A release has several keys, and none of them stands in.
            let job = self.store.job(request).await?;
            let of_file = job.is_none_or(|job| matches!(job.asked.kind, JobKind::Artifact(_)));
            record.subject.fallback = of_file && record.subject.key != name;
            record.subject.key = name;
        }
        Ok(())
    }

    /// The one key that an intent of the log announces, if it is one.
    async fn announced_key(&self, intent: u64) -> Result<Option<KeyId>, StoreError> {
        let leaves = self.log.dyn_read(intent, 1).await;
        let leaves = leaves.map_err(|err| StoreError::Unavailable {
            doing: "read the log".to_owned(),
            why: err.to_string(),
        })?;
        let intent = leaves.first().and_then(|leaf| Leaf::decode(leaf)?.intent().cloned());
        Ok(intent.and_then(|intent| <[KeyId; 1]>::try_from(intent.keys).ok()).map(|[key]| key))
    }

    /// A record with nothing in it yet.
    fn record(&self, action: AuditAction, log_index: u64) -> AuditRecord {
        AuditRecord {
            number: 0,
            time: self.clock.now(),
            action,
            outcome: Outcome::Success,
            caller: None,
            by: None,
            reasons: Vec::new(),
            subject: AuditSubject { log_index: Some(log_index), ..AuditSubject::default() },
        }
    }

    /// A record about a signing request, as its requester's doing.
    async fn about(
        &self,
        request: RequestId,
        action: AuditAction,
        log_index: u64,
    ) -> Result<AuditRecord, StoreError> {
        let mut record = self.record(action, log_index);
        record.subject.request = Some(request);
        if let Some(job) = self.store.job(request).await? {
            fill_from_job(&mut record, job);
        }
        if let Some(found) = self.store.signing_request(request).await? {
            fill_from_request(&mut record, found);
        }
        if let Some(proposal) = self.store.policy_proposal(request).await? {
            fill_from_proposal(&mut record, proposal);
        }
        Ok(record)
    }

    /// Why something was not permitted, by the record of the decision.
    async fn reasons_of(&self, decision: Digest) -> Result<Option<Vec<Reason>>, StoreError> {
        Ok(self.decision_record(decision).await?.and_then(|(recorded, _)| recorded.reasons()))
    }

    async fn policy_activated(
        &self,
        number: u64,
        policy: Digest,
        log_index: u64,
    ) -> Result<AuditRecord, StoreError> {
        let mut record = self.record(AuditAction::PolicyActivated, log_index);
        record.subject.version = Some(format!("policy {number}"));
        record.subject.digest = Some(ArtifactId(policy));
        let page = Page { after: number.checked_add(1), limit: 1 };
        let found = self.store.policy_activations(page).await?.into_iter().next();
        if let Some(activation) = found.filter(|found| found.number == number) {
            record.subject.request = Some(activation.proposal);
            record.time = activation.time;
            let holders: Vec<_> = activation.approvals.into_iter().map(|approval| approval.holder).collect();
            record.reasons =
                vec![Reason::new("policy-approvals", format!("agreed to by {}", holders.join(", ")))];
            record.by = Some(activation.by);
        }
        Ok(record)
    }

    async fn of_credential(
        &self,
        id: Uuid,
        action: AuditAction,
        log_index: u64,
    ) -> Result<AuditRecord, StoreError> {
        let mut record = self.record(action, log_index);
        let known = self.store.credential_of(CredentialId(id)).await?;
        record.subject.credential = known.map(AuditedCredential::from);
        Ok(record)
    }

    async fn of_release(
        &self,
        release: Option<Release>,
        manifest: Digest,
        action: AuditAction,
        log_index: u64,
    ) -> Result<AuditRecord, StoreError> {
        let Some(release) = release else {
            let mut record = self.record(action, log_index);
            record.subject.digest = Some(ArtifactId(manifest));
            return Ok(record);
        };
        let mut record = self.about(release.request, action, log_index).await?;
        record.time = release.created;
        record.by = record.by.or(Some(release.requester));
        record.reasons.clear();
        record.subject = AuditSubject {
            release: Some(release.id),
            product: Some(release.product),
            channel: Some(release.channel),
            version: Some(release.version.to_string()),
            digest: Some(ArtifactId(manifest)),
            artifacts: files_of(&release.components),
            build: Some(release.build),
            commit: Some(release.commit),
            ..record.subject
        };
        Ok(record)
    }

    async fn published_as(
        &self,
        kind: TrustKind,
        version: u64,
        document: Digest,
        log_index: u64,
    ) -> Result<AuditRecord, StoreError> {
        let mut record = self.record(AuditAction::TrustPublished, log_index);
        record.subject.version = Some(format!("{} {version}", kind.name()));
        record.subject.digest = Some(ArtifactId(document));
        if let Some(published) = self.store.trust_document(kind, version).await? {
            record.by = Some(published.published_by);
            record.time = published.published;
        }
        Ok(record)
    }
}

/// What was handed in, and what devices install of it.
fn files_of(components: &[ReleaseComponent]) -> Vec<ArtifactId> {
    let both = components.iter().flat_map(|component| [component.artifact, ArtifactId(component.payload)]);
    both.collect::<BTreeSet<_>>().into_iter().collect()
}

fn fill_from_circumstances(record: &mut AuditRecord, known: Circumstances) {
    let Circumstances { time, caller, product, reasons } = known;
    (record.time, record.subject.product, record.reasons) = (time, product, reasons);
    if caller.as_ref().is_some_and(|caller| caller.kind == CallerKind::Local) {
        record.reasons.push(Reason::new("local", "in the store's own files, with no server between"));
    }
    record.caller = caller;
}

fn fill_from_job(record: &mut AuditRecord, job: Job) {
    let Job { asked, progress, .. } = job;
    if record.action == AuditAction::SigningRequested {
        record.time = asked.created;
    } else {
        record.reasons = progress.reasons;
        record.subject.decision = progress.decision.map(ArtifactId);
    }
    record.subject = AuditSubject {
        product: Some(asked.product),
        channel: Some(asked.channel),
        version: Some(asked.version.to_string()),
        artifacts: match asked.kind {
            JobKind::Artifact(order) => vec![order.artifact],
            JobKind::Release(order) => order.components.into_iter().map(|(_, artifact)| artifact).collect(),
        },
        key: Some(asked.signing_key),
        build: Some(asked.build),
        commit: Some(asked.commit),
        ..std::mem::take(&mut record.subject)
    };
    record.caller = Some(asked.caller);
}

fn fill_from_proposal(record: &mut AuditRecord, proposal: PolicyProposal) {
    match record.action {
        AuditAction::SigningRequested => {
            (record.action, record.time) = (AuditAction::PolicyProposed, proposal.created);
        }
        AuditAction::SigningClosed => record.action = AuditAction::PolicyClosed,
        _ => {}
    }
    record.by = (record.action == AuditAction::PolicyProposed).then_some(proposal.proposer);
    record.reasons = vec![Reason::new("policy-proposal", proposal.why)];
    record.subject.digest = Some(ArtifactId(proposal.policy));
}

fn fill_from_request(record: &mut AuditRecord, request: SigningRequest) {
    if record.action == AuditAction::SigningRequested {
        record.time = request.created;
    }
    if record.caller.is_none() {
        record.by = Some(request.requester);
    }
    record.subject = AuditSubject {
        product: Some(request.product),
        channel: Some(request.channel),
        version: Some(request.version.to_string()),
        digest: Some(ArtifactId(request.manifest)),
        artifacts: files_of(&request.components),
        policy: Some(ArtifactId(request.policy)),
        build: Some(request.build),
        commit: Some(request.commit),
        ..std::mem::take(&mut record.subject)
    };
}

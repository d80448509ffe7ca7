//! Releases: signed here or brought in, and verified before anything else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use firmseal_api::signatures::Reason;
use firmseal_api::signing::{CreateRelease, PrepareRollback};
use firmseal_fleet::{Caller, CameTo, Job, JobState, Priority, Release, ReleaseState, SigningRequest, Time};
use firmseal_keys::{LogError, Logged};
use firmseal_manifest::{ChannelName, Digest, Intent, ProductId, Purpose, ReleaseId, RequestId};
use firmseal_sign::{
    ApprovalError, GateRefusal, Order as Wish, OrderedComponent, PipelineError, RequestKey, Requester,
    verify_release,
};
use firmseal_store::{Begin, Claim, Inserted, NewRequest, Reservation, StoreError};

use super::App;
use super::catalog::Catalog;
use super::signatures::{deadline, too_many};
use crate::error::ApiError;
use crate::metrics::Outcome;
use crate::tls::sha256;
use crate::wire::priority_in;

/// Longest idempotency key, build id and commit, in bytes.
const KEY_MAX: usize = 128;
const TEXT_MAX: usize = 256;
const PARAMETERS_MAX: usize = 32;
/// Longest value of a parameter, and of all together: certificates in PEM.
const VALUE_MAX: usize = 16 * 1024;
/// How long an import is claimed when its worker is never heard of again.
const LEASE: Duration = Duration::from_secs(15 * 60);

/// What only the person who brings a release in can say about it.
pub(crate) struct Origin {
    pub(crate) product: ProductId,
    pub(crate) build: String,
    pub(crate) commit: String,
}

/// What an order came to.
pub(crate) enum Order {
    /// A release, made now.
    Made(Box<Release>),
    /// A release that was there before.
    Known(Box<Release>),
    /// It waits for approvals, or was closed without a release.
    Waiting(Box<SigningRequest>),
    /// It is queued, or held.
    Open(Box<Job>),
}

impl From<PipelineError> for ApiError {
    fn from(err: PipelineError) -> ApiError {
        ApiError::from(&err)
    }
}

impl From<&PipelineError> for ApiError {
    fn from(err: &PipelineError) -> ApiError {
        let why = err.to_string();
        let reasons = err.reasons().into_iter().map(|own| Reason { rule: own.rule, why: own.why }).collect();
        let hint = |hint: &str| hint.to_owned();
        match err {
            PipelineError::Store(err) => err.clone().into(),
            PipelineError::InFlight(_)
            | PipelineError::TooManyWait(_)
            | PipelineError::Proof(_)
            | PipelineError::Stamp(_)
            | PipelineError::Log(LogError::Unwitnessed(_)) => ApiError::Busy(why),
            PipelineError::Log(LogError::Storage(_)) => {
                tracing::error!(why, "no signature");
                ApiError::Busy("nothing was signed: the log cannot be written".to_owned())
            }
            PipelineError::Log(LogError::Leaf(_)) => ApiError::Refused {
                why,
                hint: hint("ask an administrator for a key that this server's log can count for"),
            },
            PipelineError::KeyReused(_) | PipelineError::Gate(GateRefusal::VersionExists { .. }) => {
                ApiError::Conflict(why)
            }
            PipelineError::Gate(_) | PipelineError::Policy { .. } | PipelineError::Held { .. } => {
                ApiError::Ruled { why, reasons }
            }
            PipelineError::NoVerdict(_) | PipelineError::TooFewApprovers { .. } => {
                tracing::error!(why, "no verdict");
                ApiError::Refused { why, hint: hint("a security officer has to look at the policy") }
            }
            PipelineError::Approval(ApprovalError::Unknown(_)) => ApiError::NotFound(why),
            PipelineError::Approval(ApprovalError::Closed(..)) | PipelineError::Superseded(_) => {
                ApiError::Conflict(why)
            }
            PipelineError::Approval(_) => ApiError::Refused {
                why,
                hint: hint("`firmseal root show` names the approvers and their keys"),
            },
            PipelineError::Format { .. }
            | PipelineError::PayloadDiffers(_)
            | PipelineError::Sbom(..)
            | PipelineError::Evidence(..)
            | PipelineError::Refused(_)
            | PipelineError::Author(_) => ApiError::Refused {
                why,
                hint: hint("nothing was released; `firmseal inspect` shows the file"),
            },
            PipelineError::OutOfScope(_) => {
                ApiError::Refused { why, hint: hint("ask with a credential that is meant for it") }
            }
            PipelineError::NoSuchKey(_) => {
                ApiError::Refused { why, hint: hint("`firmseal keys list` shows the keys of this server") }
            }
            PipelineError::NoArtifactKey { .. }
            | PipelineError::NoReleaseKey(_)
            | PipelineError::KeyRevoked { .. }
            | PipelineError::NotEntitled { .. }
            | PipelineError::BothKinds { .. }
            | PipelineError::NoWitnesses(_)
            | PipelineError::TooFewWitnesses { .. }
            | PipelineError::KeyUnfit(_) => {
                ApiError::Refused { why, hint: hint("an administrator configures keys for the product") }
            }
            PipelineError::KeyRefused(_) => ApiError::Refused {
                why,
                hint: hint("`firmseal keys usage NAME` shows how the key stands; a security officer decides"),
            },
            PipelineError::Key(firmseal_keys::SignError::Unavailable(_)) => {
                // The backend's own words name modules and tokens.
                tracing::error!(why, "no signature");
                ApiError::Busy("the key is out of reach".to_owned())
            }
            PipelineError::Key(_)
            | PipelineError::ReadBack(_)
            | PipelineError::Root(_)
            | PipelineError::Spool(_) => ApiError::Internal(why),
        }
    }
}

impl App {
    /// Makes a release, once however often it is asked for with one key.
    pub(crate) async fn create_release(
        &self,
        requester: Requester,
        key: &str,
        wish: CreateRelease,
        wait: Duration,
    ) -> Result<Order, ApiError> {
        check_text("the idempotency key", key, 1, KEY_MAX)?;
        check_text("build", &wish.build, 0, TEXT_MAX)?;
        check_text("commit", &wish.commit, 0, TEXT_MAX)?;
        check_parameters(&wish.parameters)?;
        let now = self.clock.now();
        let (priority, deadline) = (priority_in(wish.priority), deadline(wish.deadline_seconds, now)?);
        let order = Wish {
            key: Some(key.to_owned()),
            requester,
            product: wish.product,
            channel: wish.channel,
            version: wish.version,
            sequence: wish.sequence,
            epoch: wish.epoch,
            components: wish
                .components
                .into_iter()
                .map(|part| OrderedComponent { name: part.component, artifact: part.artifact })
                .collect(),
            sbom: wish.sbom,
            evidence: wish.evidence,
            parameters: wish.parameters.into_iter().collect(),
            build: wish.build,
            commit: wish.commit,
            rollback: None,
        };
        self.order(order, (priority, deadline), now, wait).await
    }

    /// Makes a roll-back that is signed ahead, as an order like any other.
    pub(crate) async fn prepare_rollback(
        &self,
        requester: Requester,
        key: &str,
        of: ReleaseId,
        wish: PrepareRollback,
        wait: Duration,
    ) -> Result<Order, ApiError> {
        check_text("the idempotency key", key, 1, KEY_MAX)?;
        let key = Some(key.to_owned());
        let order = self.pipeline.rollback_order(requester, key, of, wish.to).await?;
        let now = self.clock.now();
        self.order(order, (Priority::default(), deadline(None, now)?), now, wait).await
    }

    /// Makes an order a job, and hands that in.
    async fn order(
        &self,
        order: Wish,
        (priority, deadline): (Priority, Time),
        now: Time,
        wait: Duration,
    ) -> Result<Order, ApiError> {
        let caller = order.requester.0.clone();
        let job = self.pipeline.release_job(order, priority, deadline, now).await;
        self.carry_out(job.map_err(|error| self.denied(&caller, error))?, wait).await
    }

    /// Hands an order in, once however often it is sent, and waits for it up
    /// to a while.
    async fn carry_out(&self, job: Job, wait: Duration) -> Result<Order, ApiError> {
        let (mut id, mut fresh) = (job.id, true);
        // Before it is handed in, so that nothing is missed.
        let mut watch = self.dispatcher.watch(id);
        let ends = Instant::now() + wait;
        match self.dispatcher.submit(job).await? {
            Inserted::Fresh => {}
            Inserted::Conflict { request } => return Err(PipelineError::KeyReused(request).into()),
            Inserted::TooMany { open } => return Err(too_many(open)),
            Inserted::Same(there) => {
                (id, fresh) = (there.id, false);
                watch = self.dispatcher.watch(id);
                if there.progress.state == JobState::Refused {
                    // What stood in the way may be gone: gate and policy are
                    // asked again.
                    self.resume(id, JobState::Refused).await?;
                }
            }
        }
        let (job, error) = loop {
            let (job, _) = self.looked_up(id).await?;
            if job.progress.state != JobState::Queued {
                break (job, None);
            }
            let left = ends.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, &mut watch).await {
                Ok(Ok(carried)) => break (carried.job.clone(), carried.error.clone()),
                // It ended elsewhere, and is looked up.
                Ok(Err(_)) => watch = self.dispatcher.watch(id),
                Err(_) => break (self.looked_up(id).await?.0, None),
            }
        };
        self.ordered(job, fresh, error.as_deref()).await
    }

    /// What became of an order.
    async fn ordered(&self, job: Job, fresh: bool, error: Option<&PipelineError>) -> Result<Order, ApiError> {
        let closed = async |job: &Job| match self.store.signing_request(job.id).await? {
            Some(request) => Ok(Order::Waiting(Box::new(request))),
            None => {
                let (state, id) = (job.progress.state.word(), job.id);
                Err(ApiError::Conflict(format!("signing request {id} is {state}; order it anew")))
            }
        };
        match (job.progress.state, job.progress.came_to) {
            (JobState::Signed, Some(CameTo::Release(release))) => {
                let release = Box::new(self.store.release(release).await?);
                Ok(if fresh { Order::Made(release) } else { Order::Known(release) })
            }
            // Whatever it waits for stands in its reasons: an error would say
            // that nothing comes of it.
            (JobState::Queued | JobState::Held, _) => Ok(Order::Open(Box::new(job))),
            (JobState::Refused, _) => Err(match error {
                Some(error) => error.into(),
                None => {
                    let reasons = job.progress.reasons.into_iter();
                    let reasons: Vec<_> =
                        reasons.map(|own| Reason { rule: own.rule, why: own.why }).collect();
                    let why = reasons.iter().map(|own| own.why.as_str()).collect::<Vec<_>>().join("; ");
                    ApiError::Ruled { why, reasons }
                }
            }),
            _ => closed(&job).await,
        }
    }

    /// Queues a job again, if it is in this state.
    pub(super) async fn resume(&self, id: RequestId, from: JobState) -> Result<(), ApiError> {
        match self.store.resume_job(id, from, self.clock.now(), None, Vec::new()).await {
            Ok(()) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.dispatcher.wake();
        Ok(())
    }

    pub(crate) fn published(&self, release: &Release, operator: &str, what: &str) {
        published(&self.catalog, release, operator, what);
    }

    fn count_verification(&self, outcome: &'static str) {
        self.metrics.verifications.get_or_create(&Outcome { outcome }).inc();
    }

    /// Takes in an envelope that was signed elsewhere. Its payloads must
    /// have been uploaded. The same envelope again is the same release.
    pub(crate) async fn import_release(
        &self,
        requester: Requester,
        envelope: Bytes,
        origin: Origin,
    ) -> Result<Release, ApiError> {
        check_text("build", &origin.build, 0, TEXT_MAX)?;
        check_text("commit", &origin.commit, 0, TEXT_MAX)?;
        let now = self.clock.now();
        let digest = sha256(&envelope);
        let request = NewRequest {
            id: RequestId::new(),
            key: RequestKey::Import(digest).stored(),
            fingerprint: digest,
            requester: requester.name.clone(),
            now,
            lease: LEASE,
            alone: false,
        };
        let claim = match self.store.begin(request).await? {
            Begin::Fresh(claim) => claim,
            Begin::Stored(finished) => {
                let found = self.store.release_of_request(finished.request).await?;
                return found.ok_or_else(|| ApiError::NotFound("release of this import".to_owned()));
            }
            Begin::InFlight { request, .. } => {
                return Err(ApiError::Busy(format!("import {request} is being carried out")));
            }
            Begin::Conflict { request } => {
                return Err(ApiError::Conflict(format!("import {request} has this key")));
            }
        };
        let outcome = self.take_in(&requester, &envelope, origin, &claim, now).await;
        let release = match outcome {
            Ok(release) => release,
            Err(err) => {
                self.count_verification("refused");
                // The first error is the one to tell; the claim runs out.
                let _ = self.store.abandon(&claim).await;
                return Err(err);
            }
        };
        let result = release.id.to_string().into_bytes();
        self.store.finish(&claim, result, Some(release.clone())).await?;
        self.count_verification("verified");
        self.published(&release, &requester.name, "release imported");
        Ok(release)
    }

    async fn take_in(
        &self,
        requester: &Requester,
        envelope: &Bytes,
        origin: Origin,
        claim: &Claim,
        now: Time,
    ) -> Result<Release, ApiError> {
        let product = self.store.product(&origin.product).await?;
        let latest = self.store.latest_release(&product.id).await?;
        // A device that runs the latest release is the one that must accept
        // this.
        let trust = self.pipeline.trust();
        let verified =
            verify_release(self.store.as_ref(), &product, &trust, latest.as_ref(), envelope).await?;
        let channel: ChannelName =
            verified.channel.parse().map_err(|err: firmseal_manifest::WordError| ApiError::Refused {
                why: err.to_string(),
                hint: "sign it again for a channel with a usable name".to_owned(),
            })?;
        // Which channel it is for only the envelope says.
        super::scope::channel(requester, &product.id, &channel)?;
        let reservation = Reservation {
            product: product.id.clone(),
            channel: channel.clone(),
            version: verified.version.clone(),
            sequence: verified.sequence,
        };
        self.store.reserve(claim, reservation, now).await?;
        // The keys were used elsewhere; what is logged here is that it came
        // in, by whom, so that nothing is offered without an entry.
        let intent = Intent {
            purpose: Purpose::Release,
            subject: verified.manifest,
            keys: Vec::new(),
            delegation: None,
            statements: Vec::new(),
            requester: requester.id(),
            policy: firmseal_sign::gate::policy(),
            context: Vec::new(),
        };
        let logged =
            Logged::append(&self.log, intent).await.map_err(|err| ApiError::Internal(err.to_string()))?;
        Ok(Release {
            id: ReleaseId::new(),
            product: product.id,
            channel,
            version: verified.version,
            sequence: verified.sequence,
            epoch: verified.epoch,
            components: verified.components,
            manifest: verified.manifest,
            envelope: self.store.put_bytes(envelope.clone()).await?,
            sbom: None,
            evidence: Vec::new(),
            state: ReleaseState::Verified,
            build: origin.build,
            commit: origin.commit,
            request: claim.request,
            requester: requester.name.clone(),
            log_index: logged.index(),
            created: now,
        })
    }

    /// Takes a release back: no poll offers it from here on.
    pub(crate) async fn withdraw_release(&self, operator: &str, id: ReleaseId) -> Result<Release, ApiError> {
        self.store.set_release_state(id, ReleaseState::Withdrawn).await?;
        self.catalog.refresh(self.store.as_ref()).await?;
        tracing::info!(release = %id, operator, "release withdrawn");
        Ok(self.store.release(id).await?)
    }

    /// The blob behind a verified release's payload or tree, for anybody.
    pub(crate) async fn public_payload(&self, payload: Digest, tree: bool) -> Result<Digest, ApiError> {
        self.payload_in(&[ReleaseState::Verified], payload, tree, |_| true).await
    }

    /// The same for operators, who also carry what an owner has yet to agree
    /// to.
    pub(crate) async fn operator_payload(
        &self,
        caller: &Caller,
        payload: Digest,
        tree: bool,
    ) -> Result<Digest, ApiError> {
        let states = [ReleaseState::Verified, ReleaseState::Signed];
        self.payload_in(&states, payload, tree, |release| super::scope::release(caller, release).is_ok())
            .await
    }

    async fn payload_in(
        &self,
        states: &[ReleaseState],
        payload: Digest,
        tree: bool,
        ours: impl Fn(&Release) -> bool,
    ) -> Result<Digest, ApiError> {
        for (release, hash_blocks) in self.catalog.holders(&payload) {
            let release = self.store.release(release).await?;
            if states.contains(&release.state) && ours(&release) {
                return Ok(if tree { hash_blocks } else { payload });
            }
        }
        Err(ApiError::NotFound(format!("published payload {payload}")))
    }
}

pub(super) fn check_text(what: &str, text: &str, min: usize, max: usize) -> Result<(), ApiError> {
    if text.len() < min || text.len() > max || text.chars().any(char::is_control) {
        return Err(ApiError::Malformed(format!("{what}: {min} to {max} bytes without control characters")));
    }
    Ok(())
}

/// Parameters of a format: lines are for values alone.
pub(super) fn check_parameters(parameters: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if parameters.len() > PARAMETERS_MAX {
        return Err(ApiError::Malformed(format!("parameters: at most {PARAMETERS_MAX}")));
    }
    for name in parameters.keys() {
        check_text("parameter", name, 1, TEXT_MAX)?;
    }
    let strange = |value: &String| value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r'));
    if parameters.values().map(String::len).sum::<usize>() > VALUE_MAX || parameters.values().any(strange) {
        let what = format!("parameters: values of {VALUE_MAX} bytes at most, together, in lines of text");
        return Err(ApiError::Malformed(what));
    }
    Ok(())
}

/// Says that there is a release, and offers it.
pub(super) fn published(catalog: &Catalog, release: &Release, operator: &str, what: &str) {
    tracing::info!(
        release = %release.id,
        product = %release.product,
        version = %release.version,
        sequence = release.sequence,
        request = %release.request,
        build = release.build,
        commit = release.commit,
        log_index = release.log_index,
        operator,
        "{what}"
    );
    catalog.shelve(release);
}

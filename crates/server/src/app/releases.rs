//! Releases: signed here or brought in, and verified before anything else.

use std::time::Instant;

use bytes::Bytes;
use firmseal_api::signatures::Reason;
use firmseal_api::signing::{CreateRelease, PrepareRollback};
use firmseal_fleet::{Caller, Release, ReleaseState, Time};
use firmseal_keys::{LogError, Logged};
use firmseal_manifest::{ChannelName, Digest, Intent, ProductId, Purpose, ReleaseId, RequestId};
use firmseal_sign::{
    ApprovalError, GateRefusal, KeyRefusal, Order, Ordered, OrderedComponent, PipelineError, RequestKey,
    Requester, verify_release,
};
use firmseal_store::{Begin, Claim, NewRequest, Reservation};

use super::App;
use crate::error::ApiError;
use crate::metrics::Outcome;
use crate::tls::sha256;

/// Longest idempotency key, build id and commit, in bytes.
const KEY_MAX: usize = 128;
const TEXT_MAX: usize = 256;
const PARAMETERS_MAX: usize = 32;
/// How long an import is claimed when its worker is never heard of again.
const LEASE: std::time::Duration = std::time::Duration::from_secs(15 * 60);

/// What only the person who brings a release in can say about it.
pub(crate) struct Origin {
    pub(crate) product: ProductId,
    pub(crate) build: String,
    pub(crate) commit: String,
}

impl From<PipelineError> for ApiError {
    fn from(err: PipelineError) -> ApiError {
        let why = err.to_string();
        let reasons = err.reasons().into_iter().map(|own| Reason { rule: own.rule, why: own.why }).collect();
        let hint = |hint: &str| hint.to_owned();
        match err {
            PipelineError::Store(err) => err.into(),
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
            PipelineError::KeyRefused(KeyRefusal::HourlyLimit { seconds, .. }) => {
                ApiError::KeyLimit { why, seconds }
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
    ) -> Result<Ordered, ApiError> {
        check_text("the idempotency key", key, 1, KEY_MAX)?;
        check_text("build", &wish.build, 0, TEXT_MAX)?;
        check_text("commit", &wish.commit, 0, TEXT_MAX)?;
        if wish.parameters.len() > PARAMETERS_MAX {
            return Err(ApiError::Malformed(format!("parameters: at most {PARAMETERS_MAX}")));
        }
        for (name, value) in &wish.parameters {
            check_text("parameter", name, 1, TEXT_MAX)?;
            check_text("parameter", value, 0, TEXT_MAX)?;
        }
        let order = Order {
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
        self.carry_out(order).await
    }

    /// Makes a roll-back that is signed ahead, as an order like any other.
    pub(crate) async fn prepare_rollback(
        &self,
        requester: Requester,
        key: &str,
        of: ReleaseId,
        wish: PrepareRollback,
    ) -> Result<Ordered, ApiError> {
        check_text("the idempotency key", key, 1, KEY_MAX)?;
        let key = Some(key.to_owned());
        self.carry_out(self.pipeline.rollback_order(requester, key, of, wish.to).await?).await
    }

    async fn carry_out(&self, order: Order) -> Result<Ordered, ApiError> {
        let began = Instant::now();
        let ordered = self.pipeline.release(&order, self.clock.now()).await;
        let outcome = match &ordered {
            Ok(Ordered::Signed(signed)) if signed.stored => "stored",
            Ok(Ordered::Signed(_)) => "signed",
            Ok(Ordered::Waiting(_)) => "waiting",
            Err(err) if err.is_refusal() => "refused",
            Err(_) => "failed",
        };
        self.metrics.signing("release", outcome);
        if let Err(PipelineError::Refused(_)) = &ordered {
            self.count_verification("refused");
        }
        let ordered = ordered?;
        match &ordered {
            Ordered::Signed(signed) => {
                if !signed.stored {
                    self.metrics.signed_after("release", began.elapsed().as_secs_f64());
                    self.count_verification("verified");
                }
                self.published(&signed.release, &order.requester.name, "release signed");
            }
            Ordered::Waiting(request) => tracing::info!(
                request = %request.id,
                product = %request.product,
                version = %request.version,
                manifest = %request.manifest,
                operator = order.requester.name,
                "approvals are asked for"
            ),
        }
        Ok(ordered)
    }

    pub(crate) fn published(&self, release: &Release, operator: &str, what: &str) {
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
        self.catalog.shelve(release);
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

//! The pipeline: from an order to a release in the registry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use firmseal_core::Refusal;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_evidence::materials::SBOM_MAX;
use firmseal_evidence::{Builders, Materials};
use firmseal_fleet::{Product, Reason, Release, ReleaseState, SigningRequest, Time};
use firmseal_keys::DynLog;
use firmseal_manifest::cbor::Writer;
use firmseal_manifest::{AuthorError, Digest, ProductId, ReleaseId, RequestId};
use firmseal_store::{Begin, Claim, NewRequest, Store, StoreError};

use crate::attempts::Attempts;
use crate::component::Examined;
use crate::delegated::Meant;
use crate::device::{self, Floors};
use crate::draft::Draft;
use crate::error::PipelineError;
use crate::gate::{self, GateRefusal};
use crate::judging::Judged;
use crate::key_rules::KeyPurpose;
use crate::keyring::Keyring;
use crate::keys::Keys;
use crate::order::Order;
use crate::policy::{Policy, PolicyReader};
use crate::policy_in_force::InForce;
use crate::proofs::Proofs;
use crate::release_job::Errand;
use crate::request_key::RequestKey;
use crate::signing_key::{Ask, KeyUse, SigningKey};
use crate::timestamps::Timestamps;
use crate::trust::Live;
use crate::turns::Turns;
use crate::usual::Usual;
use crate::waiting::Agreed;

/// How long a request stays claimed when its worker is never heard of
/// again. Long enough for the largest artifact, short enough for a person.
pub(crate) const LEASE: Duration = Duration::from_secs(15 * 60);

/// Longest time that a key has for one signature of a job. What comes later
/// is not looked at: the attempt is unknown, and another follows.
const ATTEMPT: Duration = Duration::from_secs(30);

/// The one way from an order to a release.
pub struct Pipeline {
    store: Arc<dyn Store>,
    log: Arc<dyn DynLog>,
    proofs: Option<Arc<dyn Proofs>>,
    pub(crate) builders: Arc<Builders>,
    pub(crate) timestamps: Option<Arc<dyn Timestamps>>,
    trust: Live,
    keyring: Keyring,
    /// One order of a product at a time in this process: sequence numbers
    /// rise, and of two orders that raced for one the store would turn the
    /// second away, where here it waits.
    turns: Mutex<HashMap<ProductId, Arc<tokio::sync::Mutex<()>>>>,
    /// Held by whoever enters events into the log.
    pub(crate) entering: tokio::sync::Mutex<()>,
    pub(crate) policy: RwLock<InForce>,
    pub(crate) policy_reader: Option<Arc<dyn PolicyReader>>,
    /// One change of the policy at a time.
    pub(crate) changing_policy: tokio::sync::Mutex<()>,
    /// One change of a key's state at a time: the store and what is known here
    /// change in the same order.
    pub(crate) changing_keys: tokio::sync::Mutex<()>,
    attempt: Duration,
    /// One job at a time signs the same bytes with the same key: the next
    /// one finds the signature.
    pub(crate) same_bytes: Turns<(Digest, Digest)>,
    pub(crate) usual: Usual,
}

/// What an order came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ordered {
    /// A release.
    Signed(Box<Signed>),
    /// A request that waits for approvals, or has been closed without a
    /// release.
    Waiting(Box<SigningRequest>),
}

impl Ordered {
    /// The release, if it is one already.
    pub fn signed(self) -> Option<Signed> {
        match self {
            Ordered::Signed(signed) => Some(*signed),
            Ordered::Waiting(_) => None,
        }
    }
}

/// A release, and whether it is new.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The release.
    pub release: Release,
    /// Whether it was signed for an earlier order with the same key.
    pub stored: bool,
}

impl Pipeline {
    /// A pipeline whose releases satisfy this root document, with the keys
    /// of a ring, or with one set of [`Keys`] for every product.
    pub fn new(
        store: Arc<dyn Store>,
        log: Arc<dyn DynLog>,
        root: Vec<u8>,
        keyring: impl Into<Keyring>,
    ) -> Pipeline {
        let trust = Live::anchored(root);
        Pipeline {
            store,
            log,
            proofs: None,
            builders: Arc::default(),
            timestamps: None,
            trust,
            keyring: keyring.into(),
            turns: Mutex::default(),
            entering: tokio::sync::Mutex::default(),
            policy: RwLock::default(),
            policy_reader: None,
            changing_policy: tokio::sync::Mutex::default(),
            changing_keys: tokio::sync::Mutex::default(),
            attempt: ATTEMPT,
            same_bytes: Turns::default(),
            usual: Usual::default(),
        }
    }

    /// Gives a product keys of its own.
    pub fn with_keys(mut self, product: ProductId, keys: Keys) -> Pipeline {
        self.keyring.set(product, keys);
        self
    }

    /// Gives the log witnesses: releases of products whose root demands it
    /// carry a birth proof.
    pub fn with_proofs(mut self, proofs: Arc<dyn Proofs>) -> Pipeline {
        self.proofs = Some(proofs);
        self
    }

    /// Names the builders whose statements about builds count.
    pub fn with_builders(mut self, builders: Builders) -> Pipeline {
        self.builders = Arc::new(builders);
        self
    }

    /// Gives keys longer, or less long, for one signature of a job.
    pub fn with_attempt_limit(mut self, limit: Duration) -> Pipeline {
        self.attempt = limit;
        self
    }

    pub(crate) fn attempt_limit(&self) -> Duration {
        self.attempt
    }

    /// Has signatures of artifacts stamped.
    pub fn with_timestamps(mut self, timestamps: Arc<dyn Timestamps>) -> Pipeline {
        self.timestamps = Some(timestamps);
        self
    }

    pub(crate) fn live(&self) -> &Live {
        &self.trust
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn log(&self) -> &dyn DynLog {
        &*self.log
    }

    pub(crate) fn proofs(&self) -> Option<&dyn Proofs> {
        self.proofs.as_deref()
    }

    /// The keys that sign for a product.
    pub fn keys(&self, product: &ProductId) -> &Keys {
        self.keyring.keys(product)
    }

    /// Every key that signs here.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Takes one use of a key. To be called before the intent is logged:
    /// nothing is announced that the key's rules do not permit.
    pub async fn claim(&self, key: &Arc<SigningKey>, ask: Ask<'_>) -> Result<KeyUse, PipelineError> {
        key.claim(self.store(), ask).await
    }

    /// Carries out an order, once however often it is sent. A release is
    /// durable on return, verified, and may be rolled out; where the root
    /// document demands approvals, what is durable is the request for them.
    pub async fn release(&self, order: &Order, now: Time) -> Result<Ordered, PipelineError> {
        let request = NewRequest {
            id: RequestId::new(),
            key: request_key(order).stored(),
            fingerprint: order.fingerprint(),
            requester: order.requester.name.clone(),
            now,
            lease: LEASE,
            alone: false,
        };
        let errand = Errand::of_nobody(Attempts::unwatched(self.attempt));
        self.release_for(order, request, &errand, now).await
    }

    /// The same, as the request that is given, for an errand.
    pub(crate) async fn release_for(
        &self,
        order: &Order,
        request: NewRequest,
        errand: &Errand,
        now: Time,
    ) -> Result<Ordered, PipelineError> {
        let key = request.key.clone();
        let claim = match self.store.begin(request).await? {
            Begin::Fresh(claim) => claim,
            Begin::Stored(finished) => {
                let release = self.store.release_of_request(finished.request).await?;
                let release = release.ok_or_else(|| {
                    StoreError::not_found(format!("release of signing request {}", finished.request))
                })?;
                return Ok(Ordered::Signed(Box::new(Signed { release, stored: true })));
            }
            Begin::InFlight { request, .. } => return Err(PipelineError::InFlight(request)),
            Begin::Conflict { request } => return Err(PipelineError::KeyReused(request)),
        };
        let ordered = self.carry_out(order, key, &claim, errand, now).await;
        if !matches!(ordered, Ok(Ordered::Signed(_))) {
            // While people think, nobody holds it. After an error, the error
            // is what the caller needs to know; a claim that cannot be given
            // back runs out by itself.
            let _ = self.store.abandon(&claim).await;
        }
        ordered
    }

    /// One order of a product at a time: whoever locks this has the turn.
    pub(crate) fn turn(&self, product: &ProductId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(product.clone()).or_default().clone()
    }

    /// The claim that a waiting request is carried out under.
    pub(crate) fn claimed(&self, request: &SigningRequest, alone: bool, now: Time) -> NewRequest {
        NewRequest {
            id: request.id,
            key: request.key.clone(),
            fingerprint: request.fingerprint,
            requester: request.requester.clone(),
            now,
            lease: LEASE,
            alone,
        }
    }

    async fn carry_out(
        &self,
        order: &Order,
        key: String,
        claim: &Claim,
        errand: &Errand,
        now: Time,
    ) -> Result<Ordered, PipelineError> {
        let turn = self.turn(&order.product);
        let _turn = turn.lock().await;
        // The same order again, while people think or after they decided.
        if let Some(request) = self.store.signing_request(claim.request).await? {
            return Ok(Ordered::Waiting(Box::new(request)));
        }

        let product = self.store.product(&order.product).await?;
        let latest = self.store.latest_release(&order.product).await?;
        let rolls_back = order.rollback.is_some();
        let epochs = self.epochs(&order.product, &order.channel, rolls_back, latest.as_ref()).await?;
        let mut sequence = gate::check_order(order, &product, latest.as_ref(), epochs)?;
        let keys = self.usable_keys(&product, now)?;
        let demands = self.demands(&order.product)?;
        let meant = Meant { product: &order.product, version: &order.version, epoch: order.epoch };
        self.check_entitled(keys, meant, latest.as_ref(), now).await?;

        let known = self.store.release_of_version(&order.product, &order.channel, &order.version).await?;
        if known.is_some() {
            let (version, channel) = (order.version.to_string(), order.channel.to_string());
            return Err(GateRefusal::VersionExists { version, channel }.into());
        }
        self.sbom(order.sbom.map(|sbom| sbom.0)).await?;
        let facts = self.facts_of(order).await?;
        // A roll-back brings payloads back that are signed already.
        let between = self.between(order, latest.as_ref()).await?;
        let (mut kept, mut read) = (Vec::new(), Vec::new());
        if let Some(between) = &between {
            for (record, component) in between.to.components.iter().zip(&product.components) {
                let (prepared, facts) = self.again(order, &product, component, record).await?;
                kept.push(prepared);
                read.push(facts);
            }
        }
        // Every component passes the gate before any key signs anything.
        let mut examined = Vec::with_capacity(order.components.len());
        let parts = order.components.iter().zip(&product.components);
        for (ordered, component) in parts.filter(|_| between.is_none()) {
            examined.push(self.examine(order, &product, component, ordered, keys).await?);
        }
        read.extend(examined.iter().map(|examined: &Examined| examined.facts.clone()));
        let judged = self.judge(claim.request, order, &product, (read, facts), errand, now).await?;
        let need = judged.as_ref().map_or(0, Judged::need);
        self.check_approvers(&order.product, &order.channel, need)?;
        let waits = demands.approvals || need > 0;
        if waits {
            let last = self.last_waiting(&order.product).await?;
            if order.sequence.is_none() {
                // Numbers of requests that wait are not given out again.
                sequence = sequence.max(last.saturating_add(1));
            }
        }
        // From here on keys are used. Somebody else may be signing for this
        // product through another pipeline, in a process of their own: the
        // store lets one of us at it. The other has used no key, and comes
        // again when the number is known to be free or taken.
        let mut draft = Draft::of(order, key, sequence, errand.attempts.clone());
        if let Some(judged) = &judged {
            (draft.policy, draft.decision) = (judged.rules, Some(judged.record));
        }
        draft.rollback_of = between.map(|between| between.of.manifest);
        self.store.reserve(claim, draft.reservation(), now).await?;
        kept.into_iter().for_each(|prepared| draft.add(prepared));
        for (examined, component) in examined.into_iter().zip(&product.components) {
            draft.add(self.prepare(order, &product, component, examined, keys, draft.under(now)).await?);
        }
        if waits {
            let request = self.request(&draft, order, claim, latest.as_ref(), need, now).await?;
            self.store.insert_signing_request(request.clone()).await?;
            return Ok(Ordered::Waiting(Box::new(request)));
        }
        let release = self.complete(&draft, claim, None, now).await?;
        Ok(Ordered::Signed(Box::new(Signed { release, stored: false })))
    }

    /// A software bill of materials in the store.
    pub(crate) async fn sbom(&self, blob: Option<Digest>) -> Result<Option<Materials>, PipelineError> {
        let Some(blob) = blob else { return Ok(None) };
        let bytes = self.store.read_all(&blob, SBOM_MAX as u64).await?;
        Materials::read(&bytes).map(Some).map_err(|error| PipelineError::Sbom(blob.to_string(), error))
    }

    /// The keys that sign for a product, if they may.
    pub(crate) fn usable_keys(&self, product: &Product, now: Time) -> Result<&Keys, PipelineError> {
        let keys = self.keys(&product.id);
        if keys.release.is_empty() {
            return Err(PipelineError::NoReleaseKey(product.id.to_string()));
        }
        keys.check(product, now)?;
        self.check_revoked(keys)?;
        Ok(keys)
    }

    /// Signs a release, verifies it as a device would, and puts it into the
    /// registry. Whoever calls has the product's turn.
    pub(crate) async fn complete(
        &self,
        draft: &Draft,
        claim: &Claim,
        agreed: Option<Agreed<'_>>,
        now: Time,
    ) -> Result<Release, PipelineError> {
        let product = self.store.product(&draft.product).await?;
        let latest = self.store.latest_release(&draft.product).await?;
        let first = |release: &Release| {
            PipelineError::Superseded(format!("release {} ({}) came first", release.id, release.version))
        };
        if let Some(later) = latest.as_ref().filter(|latest| latest.sequence >= draft.sequence) {
            return Err(first(later));
        }
        let same = self.store.release_of_version(&draft.product, &draft.channel, &draft.version).await?;
        if let Some(same) = same {
            return Err(first(&same));
        }
        self.check_epoch(draft, latest.as_ref()).await?;
        let keys = self.usable_keys(&product, now)?;
        let demands = self.demands(&draft.product)?;
        let meant = Meant { product: &draft.product, version: &draft.version, epoch: draft.epoch };
        self.check_entitled(keys, meant, latest.as_ref(), now).await?;
        let manifest = draft.spec(&product, keys).assemble()?;
        if let Some(Agreed { request, .. }) = &agreed
            && (manifest.digest() != request.manifest || keys.ids() != request.signers)
        {
            // What people agreed to is not what would be signed.
            return Err(PipelineError::Superseded("other keys sign for the product since then".to_owned()));
        }
        self.store.reserve(claim, draft.reservation(), now).await?;
        // One that nobody had to sign is no Statement.
        let statements = agreed.into_iter().map(|agreed| agreed.statement);
        let statements = statements.filter(|signed| !signed.signatures.is_empty()).collect();
        let ask = Ask { purpose: KeyPurpose::Release, product: &product, caller: &draft.requester, now };
        let (envelope, log_index) = self.seal(draft, demands, &manifest, statements, keys, ask).await?;

        // A device just below this release must accept it; the answer comes
        // from the same code that devices run.
        let floors =
            Floors { sequence: draft.sequence - 1, epoch: latest.map_or(0, |release| release.epoch) };
        let state = device::ask(&product, &self.trust(), floors, |device| {
            match firmseal_core::admit(&envelope, device, &RustCrypto) {
                // Signed ahead, it waits for a revocation; that is the last
                // thing that a device asks.
                Err(Refusal::RollbackEarly) if draft.rollback_of.is_some() => Ok(ReleaseState::Verified),
                // The owner agrees to what the vendor has signed. What a
                // device asks after that, the gate has asked.
                Err(Refusal::OwnerMissing) if demands.owner => Ok(ReleaseState::Signed),
                verdict => verdict.map(|_| ReleaseState::Verified),
            }
        })?;
        let release = Release {
            id: ReleaseId::new(),
            product: draft.product.clone(),
            channel: draft.channel.clone(),
            version: draft.version.clone(),
            sequence: draft.sequence,
            epoch: draft.epoch,
            components: draft.components.clone(),
            manifest: manifest.digest(),
            envelope: self.store.put_bytes(envelope.into()).await?,
            sbom: draft.sbom,
            evidence: draft.evidence.clone(),
            state,
            build: draft.build.clone(),
            commit: draft.commit.clone(),
            request: claim.request,
            requester: draft.requester.clone(),
            log_index,
            created: now,
        };
        let result = release.id.to_string().into_bytes();
        self.store.finish(claim, result, Some(release.clone())).await?;
        Ok(release)
    }
}

/// Digest of the gate's rules and of a policy beside them.
pub(crate) fn rules(policy: Option<&dyn Policy>) -> Digest {
    match policy {
        None => gate::policy(),
        Some(policy) => rules_under(&policy.digest()),
    }
}

/// Digest of the gate's rules with a policy beside them, as intents and
/// records have it.
pub fn rules_under(policy: &Digest) -> Digest {
    let mut out = Writer::new();
    out.array(2).bytes(gate::policy().as_bytes()).bytes(policy.as_bytes());
    RustCrypto.digest(&out.finish())
}

/// What makes an order the same order.
pub(crate) fn request_key(order: &Order) -> RequestKey<'_> {
    match &order.key {
        Some(key) => RequestKey::Chosen { requester: &order.requester.name, key },
        None => RequestKey::Order(order.fingerprint()),
    }
}

impl PipelineError {
    /// Which rules stand in the way, where it was rules.
    pub fn reasons(&self) -> Vec<Reason> {
        match self {
            PipelineError::Gate(refusal) => vec![Reason::new(refusal.rule(), refusal.to_string())],
            PipelineError::Policy { reasons, .. } | PipelineError::Held { reasons, .. } => reasons.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether the order itself is at fault, rather than the service.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            PipelineError::Gate(_)
                | PipelineError::Format { .. }
                | PipelineError::Author(AuthorError::PayloadSize { .. })
                | PipelineError::KeyReused(_)
                | PipelineError::Policy { .. }
                | PipelineError::Held { .. }
        )
    }
}

//! The pipeline: from an order to a release in the registry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use firmseal_core::crypto::RustCrypto;
use firmseal_fleet::product;
use firmseal_fleet::{Product, Release, ReleaseState, Time};
use firmseal_keys::{DynLog, DynSigner};
use firmseal_manifest::{AuthorError, Environment, ProductId, ReleaseId, ReleaseSpec, RequestId};
use firmseal_store::{Begin, Claim, NewRequest, Reservation, Store, StoreError};

use crate::component::Prepared;
use crate::device::{self, Floors};
use crate::error::PipelineError;
use crate::gate::{self, GateRefusal};
use crate::keys::Keys;
use crate::order::Order;
use crate::proofs::Proofs;
use crate::request_key::RequestKey;
use crate::sealing::Grounds;
use crate::trust::Live;

/// How long a request stays claimed when its worker is never heard of
/// again. Long enough for the largest artifact, short enough for a person.
const LEASE: Duration = Duration::from_secs(15 * 60);

/// The one way from an order to a release.
pub struct Pipeline {
    store: Arc<dyn Store>,
    log: Arc<dyn DynLog>,
    proofs: Option<Arc<dyn Proofs>>,
    trust: Live,
    default: Keys,
    products: HashMap<ProductId, Keys>,
    /// One order of a product at a time in this process: sequence numbers
    /// rise, and of two orders that raced for one the store would turn the
    /// second away, where here it waits.
    turns: Mutex<HashMap<ProductId, Arc<tokio::sync::Mutex<()>>>>,
}

/// What an order came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The release.
    pub release: Release,
    /// Whether it was signed for an earlier order with the same key.
    pub stored: bool,
}

impl Pipeline {
    /// A pipeline whose releases satisfy this root document. `default`
    /// signs for every product without keys of its own.
    pub fn new(store: Arc<dyn Store>, log: Arc<dyn DynLog>, root: Vec<u8>, default: Keys) -> Pipeline {
        let trust = Live::anchored(root);
        Pipeline {
            store,
            log,
            proofs: None,
            trust,
            default,
            products: HashMap::new(),
            turns: Mutex::default(),
        }
    }

    /// Gives a product keys of its own.
    pub fn with_keys(mut self, product: ProductId, keys: Keys) -> Pipeline {
        self.products.insert(product, keys);
        self
    }

    /// Gives the log witnesses: releases of products whose root demands it
    /// carry a birth proof.
    pub fn with_proofs(mut self, proofs: Arc<dyn Proofs>) -> Pipeline {
        self.proofs = Some(proofs);
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
        self.products.get(product).unwrap_or(&self.default)
    }

    /// Every key that signs here, some perhaps twice.
    pub fn signers(&self) -> impl Iterator<Item = &Arc<dyn DynSigner>> {
        let keys = std::iter::once(&self.default).chain(self.products.values());
        keys.flat_map(Keys::signers)
    }

    /// Carries out an order, once however often it is sent. On return the
    /// release is durable, verified, and may be rolled out.
    pub async fn release(&self, order: &Order, now: Time) -> Result<Signed, PipelineError> {
        let fingerprint = order.fingerprint();
        let key = match &order.key {
            Some(key) => RequestKey::Chosen { requester: &order.requester.name, key },
            None => RequestKey::Order(fingerprint),
        };
        let request = NewRequest {
            id: RequestId::new(),
            key: key.stored(),
            fingerprint,
            requester: order.requester.name.clone(),
            now,
            lease: LEASE,
        };
        let claim = match self.store.begin(request).await? {
            Begin::Fresh(claim) => claim,
            Begin::Stored(finished) => {
                let release = self.store.release_of_request(finished.request).await?;
                let release = release.ok_or_else(|| {
                    StoreError::not_found(format!("release of signing request {}", finished.request))
                })?;
                return Ok(Signed { release, stored: true });
            }
            Begin::InFlight { request, .. } => return Err(PipelineError::InFlight(request)),
            Begin::Conflict { request } => return Err(PipelineError::KeyReused(request)),
        };
        match self.carry_out(order, &claim, now).await {
            Ok(release) => Ok(Signed { release, stored: false }),
            Err(error) => {
                // The error is what the caller needs to know; a claim that
                // cannot be given back runs out by itself.
                let _ = self.store.abandon(&claim).await;
                Err(error)
            }
        }
    }

    async fn carry_out(&self, order: &Order, claim: &Claim, now: Time) -> Result<Release, PipelineError> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(order.product.clone()).or_default().clone()
        };
        let _turn = turn.lock().await;

        let product = self.store.product(&order.product).await?;
        let latest = self.store.latest_release(&order.product).await?;
        let sequence = gate::check_order(order, &product, latest.as_ref())?;
        let keys = self.keys(&order.product);
        if keys.release.is_empty() {
            return Err(PipelineError::NoReleaseKey(order.product.to_string()));
        }
        keys.check(&product)?;
        self.check_revoked(keys)?;
        let demands = self.demands(&order.product)?;

        let known = self.store.release_of_version(&order.product, &order.channel, &order.version).await?;
        if known.is_some() {
            let (version, channel) = (order.version.to_string(), order.channel.to_string());
            return Err(GateRefusal::VersionExists { version, channel }.into());
        }
        // Every component passes the gate before any key signs anything.
        let mut examined = Vec::with_capacity(order.components.len());
        for (ordered, component) in order.components.iter().zip(&product.components) {
            examined.push(self.examine(order, &product, component, ordered, keys).await?);
        }
        if let Some(proofs) = self.proofs() {
            proofs.stand().await?;
        }
        // From here on keys are used. Somebody else may be signing for this
        // product through another pipeline, in a process of their own: the
        // store lets one of us at it. The other has used no key, and comes
        // again when the number is known to be free or taken.
        let reservation = Reservation {
            product: order.product.clone(),
            channel: order.channel.clone(),
            version: order.version.clone(),
            sequence,
        };
        self.store.reserve(claim, reservation, now).await?;
        let mut prepared = Vec::with_capacity(examined.len());
        for (examined, component) in examined.into_iter().zip(&product.components) {
            prepared.push(self.prepare(order, &product, component, examined, keys).await?);
        }
        let manifest = spec(order, &product, sequence, &prepared).assemble()?;
        let leaves = prepared.iter().filter_map(|component| component.leaf).collect();
        let grounds = Grounds { leaves, statements: vec![] };
        let (envelope, log_index) = self.seal(order, demands, &manifest, grounds, keys).await?;

        // A device just below this release must accept it; the answer comes
        // from the same code that devices run.
        let floors = Floors { sequence: sequence - 1, epoch: latest.map_or(0, |release| release.epoch) };
        device::ask(&product, &self.trust(), floors, |device| {
            firmseal_core::admit(&envelope, device, &RustCrypto).map(|_| ())
        })?;
        let release = Release {
            id: ReleaseId::new(),
            product: order.product.clone(),
            channel: order.channel.clone(),
            version: order.version.clone(),
            sequence,
            epoch: order.epoch,
            components: prepared.into_iter().map(|component| component.record).collect(),
            manifest: manifest.digest(),
            envelope: self.store.put_bytes(envelope.into()).await?,
            state: ReleaseState::Verified,
            build: order.build.clone(),
            commit: order.commit.clone(),
            request: claim.request,
            requester: order.requester.name.clone(),
            log_index,
            created: now,
        };
        let result = release.id.to_string().into_bytes();
        self.store.finish(claim, result, Some(release.clone())).await?;
        Ok(release)
    }
}

fn spec(order: &Order, product: &Product, sequence: u64, components: &[Prepared]) -> ReleaseSpec {
    ReleaseSpec {
        environment: match product.environment {
            product::Environment::Test => Environment::Test,
            product::Environment::Production => Environment::Production,
        },
        vendor: product.vendor,
        class: product.class,
        product: order.product.clone(),
        channel: order.channel.clone(),
        version: order.version.clone(),
        sequence,
        epoch: order.epoch,
        delegation: 0,
        rollback_of: None,
        components: components.iter().map(|component| component.spec.clone()).collect(),
        description: None,
    }
}

impl PipelineError {
    /// Whether the order itself is at fault, rather than the service.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            PipelineError::Gate(_)
                | PipelineError::Format { .. }
                | PipelineError::Author(AuthorError::PayloadSize { .. })
                | PipelineError::KeyReused(_)
        )
    }
}

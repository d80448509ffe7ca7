//! The pipeline: from an order to a release in the registry.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use firmseal_core::BlockSize;
use firmseal_core::crypto::RustCrypto;
use firmseal_fleet::product::{self, ComponentSpec};
use firmseal_fleet::{Product, Release, ReleaseComponent, ReleaseState, Time};
use firmseal_formats::{Format, Inspection, Plan, Unsigned, Wanted};
use firmseal_keys::{DynLog, DynSigner, Logged, SignError, Signer};
use firmseal_manifest::{
    ArtifactId, AuthorError, Digest, Environment, Intent, PayloadTree, ProductId, PublicKey, Purpose,
    ReleaseId, ReleaseSpec, RequestId, Signature, Tbs, UnsignedManifest, author,
};
use firmseal_store::{Begin, Claim, NewRequest, Reservation, Store, StoreError};

use crate::device::{self, Floors};
use crate::error::PipelineError;
use crate::gate::{self, GateRefusal};
use crate::order::{Order, OrderedComponent};
use crate::request_key::RequestKey;
use crate::spool;
use crate::trust::Live;

/// How long a request stays claimed when its worker is never heard of
/// again. Long enough for the largest artifact, short enough for a person.
const LEASE: Duration = Duration::from_secs(15 * 60);

/// The keys that sign for a product.
#[derive(Clone, Default)]
pub struct Keys {
    /// Sign the manifest: as many holders as the root's threshold demands.
    pub release: Vec<Arc<dyn DynSigner>>,
    /// Signs the image itself where the format has a signature of its own.
    pub artifact: Option<Arc<dyn DynSigner>>,
}

/// The one way from an order to a release.
pub struct Pipeline {
    store: Arc<dyn Store>,
    log: Arc<dyn DynLog>,
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

/// A component that passed the gate; no key was used for it yet.
struct Examined {
    artifact: ArtifactId,
    file: Arc<File>,
    format: &'static dyn Format,
    /// The image without its signature, in formats that have one.
    unsigned: Option<Unsigned>,
}

/// A component on its way: its payload is in the store.
struct Prepared {
    record: ReleaseComponent,
    spec: author::ComponentSpec,
    /// The leaf of the image's own signing, where there was one.
    leaf: Option<Digest>,
}

impl Pipeline {
    /// A pipeline whose releases satisfy this root document. `default`
    /// signs for every product without keys of its own.
    pub fn new(store: Arc<dyn Store>, log: Arc<dyn DynLog>, root: Vec<u8>, default: Keys) -> Pipeline {
        let trust = Live::anchored(root);
        Pipeline { store, log, trust, default, products: HashMap::new(), turns: Mutex::default() }
    }

    /// Gives a product keys of its own.
    pub fn with_keys(mut self, product: ProductId, keys: Keys) -> Pipeline {
        self.products.insert(product, keys);
        self
    }

    pub(crate) fn live(&self) -> &Live {
        &self.trust
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The keys that sign for a product.
    pub fn keys(&self, product: &ProductId) -> &Keys {
        self.products.get(product).unwrap_or(&self.default)
    }

    /// Every key that signs here, some perhaps twice.
    pub fn signers(&self) -> impl Iterator<Item = &Arc<dyn DynSigner>> {
        let keys = std::iter::once(&self.default).chain(self.products.values());
        keys.flat_map(|keys| keys.release.iter().chain(&keys.artifact))
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
        check_keys(&product, keys)?;
        self.check_revoked(keys)?;

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
        let (envelope, log_index) = self.sign(order, &manifest, leaves, keys).await?;

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

    /// Reads one artifact and asks the gate about it. No key is used.
    async fn examine(
        &self,
        order: &Order,
        product: &Product,
        component: &ComponentSpec,
        ordered: &OrderedComponent,
        keys: &Keys,
    ) -> Result<Examined, PipelineError> {
        let file = Arc::new(spool::fetch(&*self.store, &ordered.artifact.0).await?);
        let format = firmseal_formats::find(&product.format)
            .map_err(|error| PipelineError::Format { component: component.name.clone(), error })?;
        let key = match format.embedding() {
            None => None,
            Some(_) => {
                let signer = keys.artifact.as_ref().ok_or_else(|| PipelineError::NoArtifactKey {
                    product: product.id.to_string(),
                    format: product.format.clone(),
                })?;
                Some(signer.public_key().clone())
            }
        };
        let (name, source) = (component.name.clone(), file.clone());
        let (version, epoch, parameters) = (order.version.clone(), order.epoch, order.parameters.clone());
        let unsigned = spool::blocking(move || {
            let (Some(embedding), Some(key)) = (format.embedding(), key) else { return Ok(None) };
            let wanted = Wanted { version, epoch, key: &key, parameters: &parameters };
            let prepared = embedding.prepare(&*source, &wanted);
            prepared.map(Some).map_err(|error| PipelineError::Format { component: name, error })
        })
        .await?;
        match &unsigned {
            Some(unsigned) => {
                let inspection = unsigned.inspection();
                gate::check_payload(order.said(), product, component, inspection, inspection.image_size)?;
            }
            None => {
                let (name, source) = (component.name.clone(), file.clone());
                let (inspection, size) = spool::blocking(move || {
                    let inspection = detected(format, &*source)
                        .map_err(|error| PipelineError::Format { component: name, error })?;
                    Ok((inspection, firmseal_formats::Source::len(&*source)?))
                })
                .await?;
                gate::check_payload(order.said(), product, component, &inspection, size)?;
            }
        }
        Ok(Examined { artifact: ordered.artifact, file, format, unsigned })
    }

    /// Signs the image itself where its format has a signature of its own,
    /// and stores payload and tree.
    async fn prepare(
        &self,
        order: &Order,
        product: &Product,
        component: &ComponentSpec,
        examined: Examined,
        keys: &Keys,
    ) -> Result<Prepared, PipelineError> {
        let Examined { artifact, file, format, unsigned } = examined;
        let (plan, leaf) = match (unsigned, &keys.artifact) {
            (Some(unsigned), Some(signer)) => {
                let signed = self.sign_image(order, component, format, &file, unsigned, &**signer).await?;
                (Some(signed.0), Some(signed.1))
            }
            _ => (None, None),
        };
        let block = block(component.block_size);
        let (name, written, source) = (component.name.clone(), plan.clone(), file.clone());
        let (inspection, payload) = spool::blocking(move || {
            let named = |error| PipelineError::Format { component: name.clone(), error };
            read(written.as_ref(), &source, |source| {
                let inspection = detected(format, source).map_err(named)?;
                Ok((inspection, spool::tree(source, block)?))
            })
            .map_err(named)?
        })
        .await?;
        gate::check_payload(order.said(), product, component, &inspection, payload.tree.size())?;

        let PayloadTree { digest, tree, hash_blocks } = payload;
        // A payload that is the artifact itself is in the store already.
        if let Some(plan) = plan {
            let source = spool::stream(move |each| each(&plan.over(&*file).map_err(std::io::Error::other)?));
            self.store.put(digest, tree.size(), source).await?;
        }
        let hash_blocks = self.store.put_bytes(hash_blocks.into()).await?;
        Ok(Prepared {
            record: ReleaseComponent {
                name: component.name.clone(),
                artifact,
                payload: digest,
                size: tree.size(),
                tree_root: *tree.root(),
                hash_blocks,
            },
            spec: author::ComponentSpec {
                name: component.name.clone(),
                size: tree.size(),
                digest,
                slot: None,
                block,
                tree_root: *tree.root(),
            },
            leaf,
        })
    }

    /// Signs the image itself: a signing of its own, logged before the
    /// release's.
    async fn sign_image(
        &self,
        order: &Order,
        component: &ComponentSpec,
        format: &'static dyn Format,
        file: &Arc<File>,
        unsigned: Unsigned,
        signer: &dyn DynSigner,
    ) -> Result<(Plan, Digest), PipelineError> {
        let header = unsigned.inspection().digest();
        let intent = Intent {
            purpose: Purpose::Artifact,
            subject: unsigned.tbs().fingerprint(),
            keys: vec![signer.public_key().id()],
            delegation: None,
            statements: Vec::new(),
            requester: order.requester.credential,
            policy: gate::policy(),
            context: vec![header],
        };
        let leaf = intent.leaf_hash();
        let logged = Logged::append(&*self.log, intent).await?;
        let signature = checked(signer, logged, unsigned.tbs().clone()).await?;

        let (name, source) = (component.name.clone(), file.clone());
        let plan = spool::blocking(move || {
            let named = |error| PipelineError::Format { component: name.clone(), error };
            let plan = unsigned.attach(&signature).map_err(named)?;
            let written = detected(format, &plan.over(&*source).map_err(named)?).map_err(named)?;
            // The image must still say what the gate saw, in a reading that
            // knows nothing of how it was made.
            if written.digest() != header || written.signatures.is_empty() {
                return Err(PipelineError::ReadBack(name));
            }
            Ok(plan)
        })
        .await?;
        Ok((plan, leaf))
    }

    /// Logs the intent and signs the manifest with every release key.
    async fn sign(
        &self,
        order: &Order,
        manifest: &UnsignedManifest,
        leaves: Vec<Digest>,
        keys: &Keys,
    ) -> Result<(Vec<u8>, u64), PipelineError> {
        let mut ids: Vec<_> = keys.release.iter().map(|signer| signer.public_key().id()).collect();
        ids.sort();
        let intent = Intent {
            purpose: Purpose::Release,
            subject: manifest.digest(),
            keys: ids,
            delegation: None,
            statements: Vec::new(),
            requester: order.requester.credential,
            policy: gate::policy(),
            context: leaves,
        };
        let (mut signatures, mut first): (Vec<(&PublicKey, Signature)>, _) = (Vec::new(), None);
        for signer in &keys.release {
            // Every use of a key has an entry of its own.
            let logged = Logged::append(&*self.log, intent.clone()).await?;
            let index = *first.get_or_insert(logged.index());
            debug_assert!(index <= logged.index());
            let key = signer.public_key();
            signatures.push((key, checked(&**signer, logged, manifest.to_be_signed(key)?).await?));
        }
        Ok((manifest.seal(&signatures)?, first.unwrap_or_default()))
    }
}

/// Signs, and checks the answer here as well: what leaves the pipeline does
/// not depend on every backend keeping its contract.
async fn checked(signer: &dyn DynSigner, logged: Logged<Intent>, tbs: Tbs) -> Result<Signature, SignError> {
    let signature = signer.sign(logged, tbs.clone()).await?;
    match firmseal_keys::verify(signer.public_key(), &tbs, &signature) {
        Ok(()) => Ok(signature),
        Err(_) => Err(SignError::BadSignature),
    }
}

/// Keys that everybody knows never sign for production.
fn check_keys(product: &Product, keys: &Keys) -> Result<(), GateRefusal> {
    if product.environment == product::Environment::Test {
        return Ok(());
    }
    for signer in keys.release.iter().chain(&keys.artifact) {
        if let Some(name) = firmseal_keys::known::development_key(signer.public_key()) {
            return Err(GateRefusal::DevelopmentKey { name });
        }
    }
    Ok(())
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

/// The block size in core's type.
pub(crate) fn block(size: product::BlockSize) -> BlockSize {
    match size {
        product::BlockSize::Small => BlockSize::B1024,
        product::BlockSize::Page => BlockSize::B4096,
    }
}

/// Inspects a file that must be of this format and of no other.
pub(crate) fn detected(
    format: &'static dyn Format,
    source: &dyn firmseal_formats::Source,
) -> Result<Inspection, firmseal_formats::FormatError> {
    let found = firmseal_formats::detect(source)?;
    // A product of raw payloads takes any file, one of a known format too:
    // its devices look at nothing but the bytes.
    let format = if format.name() == found.name() || format.embedding().is_none() { format } else { found };
    format.inspect(source)
}

/// Reads what will be installed: the plan's output, or the artifact itself.
fn read<T>(
    plan: Option<&Plan>,
    file: &File,
    read: impl FnOnce(&dyn firmseal_formats::Source) -> Result<T, PipelineError>,
) -> Result<Result<T, PipelineError>, firmseal_formats::FormatError> {
    Ok(match plan {
        Some(plan) => read(&plan.over(file)?),
        None => read(file),
    })
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

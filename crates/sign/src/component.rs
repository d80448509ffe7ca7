//! Components: from an artifact to a payload in the store.
//!
//! The gate is asked about what our own parsers read, before any key is
//! used and once more about what will be installed. Where a format carries
//! a signature of its own, the image is signed here, before the release.

use std::fs::File;
use std::sync::Arc;

use firmseal_core::BlockSize;
use firmseal_fleet::product::{self, ComponentSpec};
use firmseal_fleet::{Product, ReleaseComponent};
use firmseal_formats::{Format, Inspection, Plan, Unsigned, Wanted};
use firmseal_manifest::{ArtifactId, Digest, Intent, PayloadTree, Purpose};

use crate::draft::Under;
use crate::error::PipelineError;
use crate::gate;
use crate::judging::artifact_facts;
use crate::key_rules::KeyPurpose;
use crate::keys::Keys;
use crate::order::{Order, OrderedComponent};
use crate::pipeline::Pipeline;
use crate::policy::ArtifactFacts;
use crate::signing_key::{Ask, KeyUse};
use crate::spool;

/// A component that passed the gate; no key was used for it yet.
pub(crate) struct Examined {
    artifact: ArtifactId,
    file: Arc<File>,
    format: &'static dyn Format,
    /// The image without its signature, in formats that have one.
    unsigned: Option<Unsigned>,
    /// What a policy learns of it.
    pub(crate) facts: ArtifactFacts,
}

/// A component on its way: its payload is in the store.
pub(crate) struct Prepared {
    pub(crate) record: ReleaseComponent,
    /// Digest of what the format's parser read of it.
    pub(crate) header: Digest,
    /// The leaf of the image's own signing, where there was one.
    pub(crate) leaf: Option<Digest>,
}

impl Pipeline {
    /// Reads one artifact and asks the gate about it. No key is used.
    pub(crate) async fn examine(
        &self,
        order: &Order,
        product: &Product,
        component: &ComponentSpec,
        ordered: &OrderedComponent,
        keys: &Keys,
    ) -> Result<Examined, PipelineError> {
        let file = Arc::new(spool::fetch(self.store(), &ordered.artifact.0).await?);
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
        let facts = match &unsigned {
            Some(unsigned) => {
                let inspection = unsigned.inspection();
                gate::check_payload(order.said(), product, component, inspection, inspection.image_size)?;
                let source = file.clone();
                let size = spool::blocking(move || Ok(firmseal_formats::Source::len(&*source)?)).await?;
                artifact_facts(&component.name, ordered.artifact, inspection, size)
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
                artifact_facts(&component.name, ordered.artifact, &inspection, size)
            }
        };
        Ok(Examined { artifact: ordered.artifact, file, format, unsigned, facts })
    }

    /// Signs the image itself where its format has a signature of its own,
    /// and stores payload and tree.
    pub(crate) async fn prepare(
        &self,
        order: &Order,
        product: &Product,
        component: &ComponentSpec,
        examined: Examined,
        keys: &Keys,
        under: Under<'_>,
    ) -> Result<Prepared, PipelineError> {
        let Examined { artifact, file, format, unsigned, .. } = examined;
        let (plan, leaf) = match (unsigned, &keys.artifact) {
            (Some(unsigned), Some(key)) => {
                let (caller, now) = (&order.requester.name, under.now);
                let used =
                    self.claim(key, Ask { purpose: KeyPurpose::Artifact, product, caller, now }).await?;
                let signed = self.sign_image(under, component, format, &file, unsigned, used).await?;
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
            self.store().put(digest, tree.size(), source).await?;
        }
        let hash_blocks = self.store().put_bytes(hash_blocks.into()).await?;
        Ok(Prepared {
            record: ReleaseComponent {
                name: component.name.clone(),
                artifact,
                payload: digest,
                size: tree.size(),
                tree_root: *tree.root(),
                hash_blocks,
            },
            header: inspection.digest(),
            leaf,
        })
    }

    /// Signs the image itself: a signing of its own, logged before the
    /// release's.
    async fn sign_image(
        &self,
        under: Under<'_>,
        component: &ComponentSpec,
        format: &'static dyn Format,
        file: &Arc<File>,
        unsigned: Unsigned,
        used: KeyUse,
    ) -> Result<(Plan, Digest), PipelineError> {
        let header = unsigned.inspection().digest();
        let intent = Intent {
            purpose: Purpose::Artifact,
            subject: unsigned.tbs().fingerprint(),
            keys: vec![used.key().id()],
            delegation: None,
            statements: Vec::new(),
            requester: under.requester,
            policy: under.policy,
            context: [Some(header), under.decision, under.attempts.mark()].into_iter().flatten().collect(),
        };
        let leaf = intent.leaf_hash();
        let logged = under.attempts.log(self.log(), &used, intent).await?;
        let signature = under.attempts.sign(used, logged, unsigned.tbs().clone()).await?;

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

//! Artifact orders: one file to be signed, in its own format or beside it.
//!
//! What is signed is derived here, from bytes that the store has under their
//! digest; nobody hands in a digest.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::{
    Artifact, ArtifactOrder, Asked, Caller, Job, JobKind, Priority, Product, Progress, Time,
};
use firmseal_formats::{
    Format, FormatError, Inspection, Kept, LaidOut, Unsigned, Wanted, lay_out, lay_out_kept,
};
use firmseal_manifest::cbor::Writer;
use firmseal_manifest::{ArtifactId, ChannelName, Digest, ProductId, RequestId, Tbs};
use firmseal_store::StoreError;
use semver::Version;

use crate::error::PipelineError;
use crate::gate::{self, Epochs, GateRefusal, Said};
use crate::key_rules::KeyRefusal;
use crate::pipeline::Pipeline;
use crate::request_key::RequestKey;
use crate::signing_key::SigningKey;
use crate::spool;

/// What somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArtifactWish {
    /// The requester's idempotency key. Without one the wish is its own key.
    pub key: Option<String>,
    /// Who asks.
    pub caller: Caller,
    /// The product.
    pub product: ProductId,
    /// The channel.
    pub channel: ChannelName,
    /// The file.
    pub artifact: ArtifactId,
    /// The signing key, by name; the product's if absent.
    pub signing_key: Option<String>,
    /// The version.
    pub version: Version,
    /// The security epoch.
    pub epoch: u64,
    /// Parameters of the format.
    pub parameters: BTreeMap<String, String>,
    /// The CI's id of the build.
    pub build: String,
    /// The commit it was built from.
    pub commit: String,
    /// Build evidence.
    pub evidence: Vec<ArtifactId>,
    /// How urgent it is.
    pub priority: Priority,
    /// When it is of no use any more.
    pub deadline: Time,
}

impl ArtifactWish {
    /// Digest of everything that was asked for, but for the deadline: who
    /// asks again has not asked for something else.
    pub fn fingerprint(&self) -> Digest {
        let mut out = Writer::new();
        out.array(12).text("artifact");
        out.text(self.product.as_str()).text(self.channel.as_str()).text(&self.version.to_string());
        out.uint(self.epoch).bytes(self.artifact.0.as_bytes());
        match &self.signing_key {
            Some(key) => out.text(key),
            None => out.null(),
        };
        // An ordered map of text: its JSON is one spelling.
        out.text(&serde_json::to_string(&self.parameters).unwrap_or_default());
        out.text(&self.build).text(&self.commit).text(self.priority.word());
        out.array(self.evidence.len());
        for evidence in &self.evidence {
            out.bytes(evidence.0.as_bytes());
        }
        RustCrypto.digest(&out.finish())
    }
}

/// A file that was read; no key was used for it yet.
pub(crate) struct Examined {
    pub(crate) tbs: Tbs,
    pub(crate) inspection: Inspection,
    pub(crate) size: u64,
    /// In formats whose signatures stand in a file, this one or one beside it.
    pub(crate) embedded: Option<Embedded>,
}

/// What it takes to write the file that the signature stands in.
pub(crate) struct Embedded {
    pub(crate) file: Arc<File>,
    pub(crate) format: &'static dyn Format,
    pub(crate) unsigned: Arc<Unsigned>,
}

impl Pipeline {
    /// The job that a wish becomes. What can be refused at once is: a caller
    /// who is confined to something else, a product or file that nobody has,
    /// a key that does not sign here.
    pub async fn artifact_job(&self, wish: ArtifactWish, now: Time) -> Result<Job, PipelineError> {
        let scope = &wish.caller.scope;
        if !scope.takes_product(&wish.product) {
            return Err(PipelineError::OutOfScope(format!("product `{}`", wish.product)));
        }
        if !scope.takes_channel(&wish.channel) {
            return Err(PipelineError::OutOfScope(format!("channel `{}`", wish.channel)));
        }
        // Asked for at once, and heard in order.
        let store = self.store();
        let (product, artifact) = tokio::join!(store.product(&wish.product), store.artifact(&wish.artifact));
        let product = product?;
        artifact?;
        let key = self.key_for(&product, wish.signing_key.as_deref(), &wish.caller.name, now)?;
        if !scope.takes_key(key.name().as_str()) {
            return Err(PipelineError::OutOfScope(format!("signing key `{}`", key.name())));
        }
        let fingerprint = wish.fingerprint();
        let request_key = match &wish.key {
            Some(key) => RequestKey::Chosen { requester: &wish.caller.name, key },
            None => RequestKey::Order(fingerprint),
        };
        let asked = Asked {
            key: request_key.stored(),
            fingerprint,
            kind: JobKind::Artifact(ArtifactOrder { artifact: wish.artifact, key: wish.signing_key }),
            caller: wish.caller,
            product: wish.product,
            channel: wish.channel,
            version: wish.version,
            epoch: wish.epoch,
            parameters: wish.parameters,
            build: wish.build,
            commit: wish.commit,
            evidence: wish.evidence,
            signing_key: key.name().to_string(),
            priority: wish.priority,
            created: now,
            deadline: wish.deadline,
        };
        Ok(Job { id: RequestId::new(), asked, progress: Progress::default() })
    }

    /// Reads the file of a job, which the store was asked for, and lays out
    /// what a key would sign.
    pub(crate) async fn examine_artifact(
        &self,
        asked: &Asked,
        stored: Result<Artifact, StoreError>,
        product: &Product,
        key: &SigningKey,
    ) -> Result<Examined, PipelineError> {
        let format = firmseal_formats::find(&product.format).map_err(not_in_its_format)?;
        let public = key.public_key().clone();
        // Whatever the policy says, and if there is none. That a blind key
        // never signs for production its own rules say.
        if format.is_blind() && !key.rules().blind {
            return Err(KeyRefusal::NotBlind { key: key.name().clone() }.into());
        }
        // The store has a file under the SHA-256 of its bytes, which it
        // computed itself: of a raw file there is nothing else to be read.
        let stored = stored?;
        let artifact = stored.id;
        // The hash of such a file may be just what its own format signs: a
        // signature beside it would boot, with none of that format's rules.
        if format.embedding().is_none()
            && format.beside().is_none()
            && firmseal_formats::find(&stored.format)
                .is_ok_and(|own| own.embedding().is_some() && own.hashes_whole())
        {
            let what =
                format!("the file is a {} image: hand it in for a product of that format", stored.format);
            return Err(not_in_its_format(FormatError::Unsupported { format: format.name(), what }));
        }
        let size = stored.size;
        let (version, epoch) = (asked.version.clone(), asked.epoch);
        let parameters =
            asked.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let wanted = Wanted { version: version.clone(), epoch, key: &public, parameters: &parameters };
        let kept = Kept { sha256: &artifact.0, len: size, detected: &stored.format };
        let known = lay_out_kept(format, &kept, &wanted);
        if let Some(LaidOut { tbs, inspection, .. }) = known.map_err(not_in_its_format)? {
            return Ok(Examined { tbs, inspection, size, embedded: None });
        }
        let file = Arc::new(spool::fetch(self.store(), &artifact.0).await?);
        let source = file.clone();
        let laid_out = spool::blocking(move || {
            let wanted = Wanted { version, epoch, key: &public, parameters: &parameters };
            lay_out(format, &*source, &wanted).map_err(not_in_its_format)
        });
        let LaidOut { tbs, inspection, unsigned } = laid_out.await?;
        let embedded = unsigned.map(|unsigned| Embedded { file, format, unsigned: Arc::new(unsigned) });
        Ok(Examined { tbs, size: inspection.image_size, inspection, embedded })
    }
}

pub(crate) fn not_in_its_format(error: firmseal_formats::FormatError) -> PipelineError {
    PipelineError::Format { component: "file".to_owned(), error }
}

/// The gate's rules for one file: those of payloads, for one of the product's
/// components, and those of the security epoch.
pub(crate) fn check(
    asked: &Asked,
    product: &Product,
    examined: &Examined,
    epochs: Epochs,
) -> Result<(), GateRefusal> {
    let said = Said { version: &asked.version, epoch: asked.epoch };
    gate::check_file(said, product, &examined.inspection, examined.size)?;
    gate::check_epoch(asked.epoch, epochs)
}

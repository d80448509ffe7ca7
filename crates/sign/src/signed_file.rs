//! The file that a signature stands in, the signed one or one beside it: read
//! back and kept.

use firmseal_fleet::{Artifact, Time};
use firmseal_formats::{Inspection, Plan, attach, inspect};
use firmseal_manifest::{ArtifactId, Digest, Signature};

use crate::artifact::{Embedded, Examined, not_in_its_format};
use crate::error::PipelineError;
use crate::pipeline::Pipeline;
use crate::spool;

impl Pipeline {
    /// Writes the signature into the file, or into one of its own beside it,
    /// where the format has a place for it, and stores that as an artifact.
    pub(crate) async fn attach(
        &self,
        requester: &str,
        examined: &Examined,
        value: &Signature,
        now: Time,
    ) -> Result<Option<ArtifactId>, PipelineError> {
        let Some(embedded) = &examined.embedded else { return Ok(None) };
        let Written { plan, inspection, digest, size } = written(embedded, value).await?;
        let source = embedded.file.clone();
        let bytes = spool::stream(move |each| each(&plan.over(&*source).map_err(std::io::Error::other)?));
        self.store().put(digest, size, bytes).await?;
        let id = ArtifactId(digest);
        let artifact = Artifact {
            id,
            size,
            format: inspection.format.clone(),
            inspection: serde_json::to_value(&inspection).unwrap_or_default(),
            uploaded_by: requester.to_owned(),
            created: now,
        };
        self.store().insert_artifact(artifact).await?;
        Ok(Some(id))
    }

    /// Whether a signature that was made before, put into the file of this
    /// request, gives the file that was kept then. What a key signs of a file
    /// need not say everything that was asked for: a certificate, whether
    /// the signatures of others stay.
    pub(crate) async fn is_same_file(
        &self,
        examined: &Examined,
        before: &firmseal_fleet::Signature,
    ) -> Result<bool, PipelineError> {
        let Some(embedded) = &examined.embedded else { return Ok(true) };
        let written = written(embedded, &Signature(before.value.clone())).await?;
        Ok(before.signed == Some(ArtifactId(written.digest)))
    }
}

/// A file with its signature, read back.
struct Written {
    plan: Plan,
    inspection: Inspection,
    digest: Digest,
    size: u64,
}

async fn written(embedded: &Embedded, value: &Signature) -> Result<Written, PipelineError> {
    let (format, source) = (embedded.format, embedded.file.clone());
    let (unsigned, value) = (embedded.unsigned.clone(), value.clone());
    spool::blocking(move || {
        let plan = attach(format, &unsigned, &*source, &value).map_err(not_in_its_format)?;
        let file = plan.over(&*source).map_err(not_in_its_format)?;
        // A signature's file is of no firmware format: it is kept as what it is.
        let inspection = inspect(&file).map_err(not_in_its_format)?;
        let (digest, size) = spool::digest(&file)?;
        Ok(Written { plan, inspection, digest, size })
    })
    .await
}

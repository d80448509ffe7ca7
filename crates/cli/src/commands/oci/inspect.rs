//! `firmseal oci inspect`: an image as a registry has it.

use clap::Args;
use firmseal_oci::Reference;
use serde_json::json;

use super::Access;
use crate::error::{CliError, Result};
use crate::output::Output;
use crate::record::Record;

/// Show an image and what refers to it
///
/// Nothing of it is verified.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal oci inspect registry.example.com/nodes/worker:1.4.0 --authority ca.pem
  firmseal --json oci inspect 127.0.0.1:5000/worker:1.4.0")]
pub struct Inspect {
    /// The image: HOST/REPOSITORY, with a tag or a digest
    image: Reference,
    #[command(flatten)]
    access: Access,
}

impl Inspect {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        let registry = self.access.registry(&self.image)?;
        let about = |error| CliError::from(error).about(&self.image);
        let image = registry.image(&self.image).await.map_err(about)?;
        let referrers = registry.referrers(&image.digest).await.map_err(about)?;
        let inspection = firmseal_formats::inspect(&image.bytes.to_vec())?;
        let listed: Vec<_> = referrers
            .iter()
            .map(|own| json!({ "digest": own.digest.as_str(), "artifact_type": own.artifact_type }))
            .collect();
        let value = json!({
            "image": self.image.pinned(&image.digest).to_string(),
            "inspection": inspection,
            "referrers": listed,
        });
        output.value(&value, || {
            let record = Record::new()
                .row("image", self.image.pinned(&image.digest))
                .maybe("version", inspection.version.as_ref())
                .maybe("target", inspection.target.as_ref());
            let record =
                inspection.fields.iter().fold(record, |record, own| record.row(&own.name, &own.value));
            let row = |record: Record, own: &firmseal_oci::Referrer| {
                record.row("referrer", format!("{} {}", own.digest, own.artifact_type))
            };
            referrers.iter().fold(record, row).print()
        })
    }
}

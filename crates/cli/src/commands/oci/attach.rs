//! `firmseal oci attach`: a bundle goes to its image.

use std::path::PathBuf;

use clap::Args;
use firmseal_oci::{Reference, attach};
use serde_json::json;

use super::{Access, text};
use crate::error::{CliError, Result};
use crate::output::Output;
use crate::record::Record;

/// Longest bundle.
const BUNDLE_MAX: u64 = 4 * 1024 * 1024;

/// Bring a bundle to its image
///
/// The bundle has to be about this image; it becomes an artifact that refers
/// to it. Where the registry lists what refers to what, that is all; elsewhere
/// the tag `sha256-...` is the list, into which it is written beside what others
/// have there. Doing it again changes nothing. Attestations (SLSA provenance,
/// bills of materials) are brought in the same way.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal oci attach registry.example.com/nodes/worker:1.4.0 --bundle image.sigstore.json --authority ca.pem
  firmseal oci attach 127.0.0.1:5000/worker@sha256:… --bundle provenance.sigstore.json")]
pub struct Attach {
    /// The image: HOST/REPOSITORY, with a tag or a digest
    image: Reference,
    /// The bundle, as `firmseal sign` wrote it
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    #[command(flatten)]
    access: Access,
}

impl Attach {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        let bundle = text(&self.bundle, BUNDLE_MAX)?;
        let registry = self.access.registry(&self.image)?;
        let done = attach(&registry, &self.image, bundle.into_bytes()).await;
        let done = done.map_err(|error| CliError::from(error).about(&self.image))?;
        let value = json!({
            "image": self.image.pinned(&done.image).to_string(),
            "referrer": done.referrer.as_str(),
            "listed_by": if done.is_listed { "registry" } else { "tag" },
        });
        output.value(&value, || {
            Record::new()
                .row("image", self.image.pinned(&done.image))
                .row("referrer", &done.referrer)
                .row("listed by", if done.is_listed { "the registry" } else { "a tag" })
                .print()
        })
    }
}

//! `firmseal artifact`: the bytes that builds made.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use firmseal_api::registry::Artifact;
use firmseal_manifest::ArtifactId;

use super::block_on;
use super::listing::Listing;
use crate::error::Result;
use crate::output::Output;
use crate::profile::Profile;
use crate::record::Record;
use crate::units::Size;
use crate::upload::{Source, upload};

/// Upload, list and show artifacts
#[derive(Subcommand)]
#[command(after_help = "Example:
  firmseal artifact upload build/firmware.bin")]
pub enum Artifacts {
    /// Upload a file
    ///
    /// An artifact is named by its SHA-256 and never changes. An upload that
    /// was interrupted goes on where it stopped when the command runs again.
    #[command(after_help = "Examples:
  firmseal artifact upload build/firmware.bin
  ID=$(firmseal artifact upload build/firmware.bin --json | jq -r .id)")]
    Upload {
        /// The file
        file: PathBuf,
    },
    /// List artifacts, newest first
    #[command(after_help = "Example:
  firmseal artifact list --limit 20")]
    List(Listing),
    /// Show an artifact, and what its format says about it
    #[command(after_help = "Example:
  firmseal artifact show 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    Show {
        /// The artifact's SHA-256
        artifact: ArtifactId,
    },
}

impl Artifacts {
    /// Runs the subcommand.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        block_on(async {
            let artifact = match self {
                Artifacts::Upload { file } => upload(&client, Source::open(&file)?, output).await?,
                Artifacts::Show { artifact } => client.operator().artifact(artifact).await?,
                Artifacts::List(listing) => {
                    let page = async |page| client.operator().artifacts(&page).await;
                    let artifacts = listing.fetch(output, page).await?;
                    return output.table(
                        &artifacts,
                        &["ARTIFACT", "SIZE", "FORMAT", "UPLOADED", "BY"],
                        |artifact| {
                            vec![
                                artifact.id.to_string(),
                                artifact.size.to_string(),
                                artifact.format.clone(),
                                artifact.created.to_string(),
                                artifact.uploaded_by.clone(),
                            ]
                        },
                    );
                }
            };
            output.value(&artifact, || print(&artifact))
        })
    }
}

fn print(artifact: &Artifact) -> String {
    let mut record = Record::new()
        .row("artifact", artifact.id)
        .row("size", Size(artifact.size))
        .row("format", &artifact.format)
        .row("uploaded", format_args!("{} by {}", artifact.created, artifact.uploaded_by));
    // What the format read is the format's to name; simple values are shown
    // here, all of them with --json.
    for (name, value) in artifact.inspection.as_object().into_iter().flatten() {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Number(number) => number.to_string(),
            serde_json::Value::Bool(bool) => bool.to_string(),
            _ => continue,
        };
        if name != "format" {
            record = record.row(name.replace('_', " "), text);
        }
    }
    record.print()
}

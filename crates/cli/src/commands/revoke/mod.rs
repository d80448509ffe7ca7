//! `firmseal revoke`: keys and releases that no longer count.

pub(super) mod author;
mod key;
mod show;
pub(super) mod strands;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use firmseal_core::limits::REVOCATION_MAX;
use firmseal_manifest::ReleaseId;
use serde_json::json;

use super::block_on;
use crate::error::Result;
use crate::output::Output;
use crate::profile::Profile;
use crate::record::Record;
use crate::trust;
use author::Author;

/// Take keys and releases away from devices
///
/// A revocation is a signed document. Each one carries every entry of the one
/// before it on, and devices that know it install nothing that it takes away;
/// what they run and have confirmed goes on running.
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal revoke key 4f1c… --last-good 812@log.example/1 -o request.cbor
  firmseal revoke release rel-0197c0de-0000-7000-8000-000000000001 -o rev.cbor
  firmseal revoke publish rev.cbor
  firmseal revoke show")]
pub enum Revoke {
    /// Write the revocation that takes a key away
    Key(key::Key),
    /// Write the revocation that takes releases away
    Release(Release),
    /// Write the newest revocation again under the next number, for new keys
    Renew(Renew),
    /// Publish a signed revocation
    ///
    /// Rollouts of what it takes away are halted at once, those releases are
    /// marked, and keys that it names sign nothing any more. Devices fetch it
    /// after their next poll. The same document again changes nothing.
    #[command(after_help = "Example:
  firmseal revoke publish rev.cbor")]
    Publish {
        /// The signed document
        file: PathBuf,
    },
    /// Show a revocation: the server's newest, or one in a file
    Show(show::Show),
}

/// Write the revocation that takes releases away
///
/// Devices that know it neither install them nor keep them on trial.
#[derive(Args)]
#[command(after_help = "Example:
  firmseal revoke release rel-0197c0de-0000-7000-8000-000000000001 --key pkcs11:token=duty \\
    --secret prompt --anchor root.cbor --log revocations -o rev.cbor")]
pub struct Release {
    /// The releases
    #[arg(required = true)]
    releases: Vec<ReleaseId>,
    #[command(flatten)]
    author: Author,
}

/// Write the newest revocation again under the next number, for new keys
///
/// After a root document has given the revocation role other keys, devices
/// that hold it take the entries only when those keys have signed them.
#[derive(Args)]
#[command(after_help = "Example:
  firmseal revoke renew --key pkcs11:token=duty --secret prompt --anchor root.cbor \\
    --log revocations -o rev.cbor")]
pub struct Renew {
    #[command(flatten)]
    author: Author,
}

impl Revoke {
    /// Runs the subcommand.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        match self {
            Revoke::Publish { file } => {
                let document = trust::read(&file, REVOCATION_MAX)?;
                let client = Profile::read(profile)?.client()?;
                block_on(async {
                    let published = client.operator().publish_revocation(document).await?;
                    output.value(&published, || {
                        let mut record =
                            Record::new().row("published", format_args!("revocation {}", published.version));
                        for release in &published.releases {
                            record = record.row("revoked", release);
                        }
                        for rollout in &published.rollouts {
                            record = record.row("halted", rollout);
                        }
                        record.print()
                    })
                })
            }
            Revoke::Show(show) => show.run(profile, output),
            Revoke::Key(key) => block_on(key.run(profile, output)),
            Revoke::Release(release) => block_on(release.run(profile, output)),
            Revoke::Renew(renew) => block_on(async {
                let client = Profile::read(profile)?.client()?;
                let draft = renew.author.draft(&client).await?;
                renew.author.write(draft, json!({}), output).await
            }),
        }
    }
}

impl Release {
    async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        let mut draft = self.author.draft(&client).await?;
        for id in &self.releases {
            let release = client.operator().release(*id).await?;
            draft.spec.take_release(release.manifest.0);
        }
        self.author.write(draft, json!({ "taken": self.releases }), output).await
    }
}

//! `firmseal release`: what was signed, and what became of it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand};
use firmseal_api::client::Client;
use firmseal_api::fleet::Rollout;
use firmseal_api::signing::{CreateRelease, Release, ReleaseComponent, ReleaseState};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Digest, Envelope};
use firmseal_manifest::{ArtifactId, ChannelName, ProductId, ReleaseId};
use semver::Version;
use serde::Serialize;

use super::listing::{Listing, all};
use super::sign::Assignment;
use super::tally::Tally;
use super::{block_on, export, import};
use crate::error::{CliError, Kind, Result};
use crate::newfile;
use crate::output::Output;
use crate::profile::Profile;
use crate::record::Record;
use crate::units::Size;
use crate::upload::{Source, upload};

/// Make, show, export and withdraw releases
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal release create --product gateway --version 1.4.0 --epoch 1 --component main=firmware.bin
  firmseal release show rel-0197c0de-0000-7000-8000-000000000001
  firmseal release export rel-0197c0de-0000-7000-8000-000000000001 -o gateway.bundle")]
pub enum Releases {
    /// Make a release: upload its files, have them signed
    ///
    /// The server inspects the artifacts, logs the request, signs and
    /// verifies the result as a device would. The same command again returns
    /// the same release: its idempotency key is derived from all it asks for.
    #[command(disable_version_flag = true)]
    #[command(after_help = "Examples:
  firmseal release create --product gateway --version 1.4.0 --epoch 1 --component main=firmware.bin
  firmseal release create --product gateway --version 1.4.0 --epoch 1 --component main=firmware.bin \\
      --channel beta --build \"$CI_JOB_ID\" --commit \"$(git rev-parse HEAD)\" --json
  firmseal release create --product sensor --version 2.0.0 --epoch 3 --sequence 40 \\
      --component app=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    Create(Box<Create>),
    /// List releases, newest first
    #[command(after_help = "Examples:
  firmseal release list
  firmseal release list --product gateway --limit 5")]
    List {
        /// Only those of this product
        #[arg(long, value_name = "NAME")]
        product: Option<ProductId>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show all there is to know about a release
    ///
    /// Who built it, who asked for it, where it is logged, who signed it,
    /// which rollouts offer it and how that went.
    #[command(after_help = "Example:
  firmseal release show rel-0197c0de-0000-7000-8000-000000000001")]
    Show {
        /// The release
        release: ReleaseId,
    },
    /// Write a release's envelope to a file
    #[command(after_help = "Example:
  firmseal release envelope rel-0197c0de-0000-7000-8000-000000000001 -o gateway.suit")]
    Envelope {
        /// The release
        release: ReleaseId,
        /// The file to write; it must not exist
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Write a release into one file, for devices without a network
    Export(export::Export),
    /// Take in a release that was signed offline
    Import(import::Import),
    /// Take a release back: it is offered to nobody any more, for good
    #[command(after_help = "Example:
  firmseal release withdraw rel-0197c0de-0000-7000-8000-000000000001")]
    Withdraw {
        /// The release
        release: ReleaseId,
    },
}

/// Make a release
#[derive(Args)]
pub struct Create {
    /// The product
    #[arg(long, value_name = "NAME")]
    product: ProductId,
    /// The channel
    #[arg(long, value_name = "NAME", default_value = "stable")]
    channel: ChannelName,
    /// The version, for people (semver)
    #[arg(long, value_name = "VERSION")]
    version: Version,
    /// The security epoch
    #[arg(long, value_name = "N")]
    epoch: u64,
    /// The sequence number; the next free one if left out
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// A component and what goes into it: a file, or an artifact's SHA-256
    #[arg(long, value_name = "NAME=FILE|SHA256", required = true)]
    component: Vec<Filling>,
    /// A parameter of the product's firmware format
    #[arg(long = "param", value_name = "NAME=VALUE")]
    parameters: Vec<Assignment>,
    /// The CI's id of the build
    #[arg(long, value_name = "ID", default_value = "")]
    build: String,
    /// The commit it was built from
    #[arg(long, value_name = "ID", default_value = "")]
    commit: String,
    /// Makes repeating safe; derived from everything else if left out
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// `NAME=FILE` or `NAME=SHA256`.
#[derive(Clone)]
struct Filling {
    name: String,
    content: Content,
}

#[derive(Clone)]
enum Content {
    File(PathBuf),
    Artifact(ArtifactId),
}

impl FromStr for Filling {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Filling, &'static str> {
        match text.split_once('=') {
            Some((name, content)) if !name.is_empty() && !content.is_empty() => {
                // A file of such a name is still reachable as ./SHA256.
                let content = match content.parse() {
                    Ok(artifact) => Content::Artifact(artifact),
                    Err(_) => Content::File(content.into()),
                };
                Ok(Filling { name: name.to_owned(), content })
            }
            _ => Err("write NAME=FILE or NAME=SHA256"),
        }
    }
}

impl Releases {
    /// Runs the subcommand.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        block_on(async {
            match self {
                Releases::Create(create) => create.run(&client, output).await,
                Releases::List { product, listing } => {
                    let page = async |page| client.operator().releases(product.as_ref(), &page).await;
                    let releases = listing.fetch(output, page).await?;
                    let headings = ["RELEASE", "PRODUCT", "VERSION", "CHANNEL", "SEQUENCE", "EPOCH", "STATE"];
                    output.table(&releases, &headings, |release| {
                        vec![
                            release.id.to_string(),
                            release.product.to_string(),
                            release.version.to_string(),
                            release.channel.to_string(),
                            release.sequence.to_string(),
                            release.epoch.to_string(),
                            state(release.state).to_owned(),
                        ]
                    })
                }
                Releases::Show { release } => {
                    let shown = Shown::fetch(&client, release).await?;
                    output.value(&shown, || shown.print())
                }
                Releases::Envelope { release, output: path } => {
                    let (_, envelope) = fetch_envelope(&client, release).await?;
                    newfile::write(&path, newfile::PUBLIC, &envelope)?;
                    output.note(format_args!("{}: {} bytes", path.display(), envelope.len()));
                    Ok(())
                }
                Releases::Export(export) => export.run(&client, output).await,
                Releases::Import(import) => import.run(&client, output).await,
                Releases::Withdraw { release } => {
                    let release = client.operator().withdraw_release(release).await?;
                    output.value(&release, || print(&release).print())
                }
            }
        })
    }
}

/// A release that was asked for, with the key that asks for it again.
#[derive(Serialize)]
struct Made<'a> {
    idempotency_key: &'a str,
    #[serde(flatten)]
    release: &'a Release,
}

impl Create {
    async fn run(self, client: &Client, output: &Output) -> Result {
        // A wrong name is found before files are sent. The server decides;
        // this only saves the wait.
        client.operator().product(&self.product).await?;
        let mut components = Vec::new();
        for filling in &self.component {
            let artifact = match &filling.content {
                Content::Artifact(artifact) => *artifact,
                Content::File(path) => upload(client, Source::open(path)?, output).await?.id,
            };
            components.push(ReleaseComponent { component: filling.name.clone(), artifact });
        }
        let wish = CreateRelease {
            product: self.product,
            channel: self.channel,
            version: self.version,
            sequence: self.sequence,
            epoch: self.epoch,
            components,
            build: self.build,
            commit: self.commit,
            parameters: self.parameters.into_iter().map(|given| (given.name, given.value)).collect(),
        };
        let key = match self.idempotency_key {
            Some(key) => key,
            None => derived_key(&wish)?,
        };
        output.note(format_args!("idempotency key {key}"));
        let release = client.operator().create_release(&key, &wish).await?;
        if release.state == ReleaseState::Withdrawn {
            output.note(
                "this release was made before and withdrawn; a new one needs another --idempotency-key",
            );
        }
        output.value(&Made { idempotency_key: &key, release: &release }, || print(&release).print())
    }
}

/// A key of everything that is asked for, so that a pipeline that repeats a
/// step gets the release of the first time.
fn derived_key(wish: &CreateRelease) -> Result<String> {
    // Field by field in the order of the type: the same wish has one text.
    let text = serde_json::to_vec(wish).map_err(|error| CliError::new(Kind::Unexpected, error))?;
    Ok(format!("cli-{}", RustCrypto.digest(&text)))
}

/// A release and its envelope, which must be the one that was recorded.
pub async fn fetch_envelope(client: &Client, id: ReleaseId) -> Result<(Release, Vec<u8>)> {
    let release = client.operator().release(id).await?;
    let envelope = client.operator().envelope(id).await?;
    if RustCrypto.digest(&envelope) != release.envelope.0 {
        return Err(CliError::new(
            Kind::Refused,
            format_args!("the envelope of {id} is not the recorded one"),
        )
        .hint("the answer was damaged, or the server's record was changed"));
    }
    Ok((release, envelope.to_vec()))
}

/// The one record of a release.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    release: Release,
    signatures: Vec<Signed>,
    rollouts: Vec<Offered>,
}

/// A signature as the envelope claims it. `firmseal verify` checks it.
#[derive(Serialize)]
struct Signed {
    algorithm: String,
    key: Option<String>,
}

/// A rollout and how it went.
#[derive(Serialize)]
struct Offered {
    #[serde(flatten)]
    rollout: Rollout,
    outcomes: Tally,
}

impl Shown {
    async fn fetch(client: &Client, id: ReleaseId) -> Result<Shown> {
        let (release, envelope) = fetch_envelope(client, id).await?;
        let signatures = Envelope::decode(&envelope)?
            .signatures()
            .map(|signature| Signed {
                algorithm: format!("{:?}", signature.algorithm()),
                key: signature.key_id().and_then(Digest::from_slice).map(|key| key.to_string()),
            })
            .collect();
        let operator = client.operator();
        let mut rollouts = Vec::new();
        for rollout in all(async |page| operator.rollouts(&page).await).await? {
            if rollout.release == id {
                let outcomes = all(async |page| operator.outcomes(rollout.id, &page).await).await?;
                rollouts.push(Offered { rollout, outcomes: Tally::of(&outcomes) });
            }
        }
        Ok(Shown { release, signatures, rollouts })
    }

    fn print(&self) -> String {
        let mut record = print(&self.release);
        for signed in &self.signatures {
            let key = signed.key.as_deref().unwrap_or("a key it does not name");
            record = record.row("signed with", format_args!("{} by {key}", signed.algorithm));
        }
        if self.rollouts.is_empty() {
            record = record.row("rollouts", "none");
        }
        for offered in &self.rollouts {
            let rollout = &offered.rollout;
            let line = format!(
                "{}, {}: {}",
                rollout.id,
                super::rollout::state(rollout.state),
                offered.outcomes.line()
            );
            record = record.row("rollout", line);
            for refusals in &offered.outcomes.refusals {
                let message = refusals.message.as_deref().unwrap_or("without a message");
                let code = refusals.code.map(|code| format!("refusal {code}: ")).unwrap_or_default();
                record = record.row("", format_args!("{code}{} devices: {message}", refusals.devices));
            }
        }
        record.print()
    }
}

/// Whether and to whom it may be offered.
fn state(state: ReleaseState) -> &'static str {
    match state {
        ReleaseState::Signed => "signed",
        ReleaseState::Verified => "verified",
        ReleaseState::Withdrawn => "withdrawn",
    }
}

/// A release as people read it.
pub fn print(release: &Release) -> Record {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let mut record = Record::new()
        .row("release", release.id)
        .row("product", &release.product)
        .row("version", &release.version)
        .row("channel", &release.channel)
        .row("sequence", release.sequence)
        .row("epoch", release.epoch)
        .row("state", state(release.state))
        .maybe("build", given(&release.build))
        .maybe("commit", given(&release.commit))
        .row("requested", format_args!("{} by {}", release.created, release.requester))
        .row("request", release.request)
        .row("log index", release.log_index)
        .row("manifest", release.manifest)
        .row("envelope", release.envelope);
    for payload in &release.components {
        record = record
            .row(format!("component {}", payload.component), Size(payload.size))
            .row("  artifact", payload.artifact)
            .row("  payload", payload.payload)
            .row("  tree root", payload.tree_root);
    }
    record
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_a_file_or_an_artifact() {
        let hex = "ab".repeat(32);
        let is_artifact =
            |text: &str| matches!(text.parse::<Filling>().unwrap().content, Content::Artifact(_));
        assert!(is_artifact(&format!("main={hex}")));
        assert!(!is_artifact(&format!("main=./{hex}")));
        assert!(!is_artifact("main=a=b.bin"));
        for bad in ["main", "main=", "=x", ""] {
            assert!(bad.parse::<Filling>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_same_wish_has_the_same_key() {
        let wish = |epoch| CreateRelease {
            product: "gw".parse().unwrap(),
            channel: "stable".parse().unwrap(),
            version: Version::new(1, 0, 0),
            sequence: None,
            epoch,
            components: Vec::new(),
            build: String::new(),
            commit: String::new(),
            parameters: Default::default(),
        };
        assert_eq!(derived_key(&wish(1)).unwrap(), derived_key(&wish(1)).unwrap());
        assert_ne!(derived_key(&wish(1)).unwrap(), derived_key(&wish(2)).unwrap());
        assert!(derived_key(&wish(1)).unwrap().len() <= 128);
    }
}

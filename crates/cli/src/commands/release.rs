//! `firmseal release`: what was signed, and what became of it.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use firmseal_api::client::Client;
use firmseal_api::fleet::Rollout;
use firmseal_api::signing::{Release, ReleaseState};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Digest, Envelope};
use firmseal_manifest::{KeyName, ProductId, ReleaseId};
use firmseal_sign::rollback::rolls_back;
use serde::Serialize;

use super::listing::{Listing, all};
use super::order::Order;
use super::tally::Tally;
use super::{block_on, export, import, rollback};
use crate::error::{CliError, Kind, Result};
use crate::newfile;
use crate::output::Output;
use crate::profile::Profile;
use crate::record::Record;
use crate::units::Size;

/// Make, show, export and withdraw releases, and prepare their roll-back
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal release create --product gateway --version 1.4.0 --epoch 1 --component main=firmware.bin
  firmseal release show rel-0197c0de-0000-7000-8000-000000000001
  firmseal release export rel-0197c0de-0000-7000-8000-000000000001 -o gateway.bundle")]
pub enum Releases {
    /// Make a release: upload its files, have them signed
    Create(Box<Order>),
    /// Have a roll-back of the newest release signed ahead
    PrepareRollback(rollback::PrepareRollback),
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

impl Releases {
    /// Runs the subcommand.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        block_on(async {
            match self {
                Releases::Create(order) => order.run(&client, output).await,
                Releases::PrepareRollback(wish) => wish.run(&client, output).await,
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
    /// Of a roll-back that was signed ahead: the manifest that must have
    /// been revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    rolls_back: Option<String>,
    rollouts: Vec<Offered>,
}

/// A signature as the envelope claims it. `firmseal verify` checks it.
#[derive(Serialize)]
struct Signed {
    algorithm: String,
    key: Option<String>,
    /// What the server calls the key, if it is one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<KeyName>,
    /// What somebody should look at, about the key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
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
        let operator = client.operator();
        let keys = operator.keys().await?.items;
        let signatures = Envelope::decode(&envelope)?
            .signatures()
            .map(|signature| {
                let key = signature.key_id().and_then(Digest::from_slice).map(|key| key.to_string());
                let known = keys.iter().find(|known| Some(&known.id) == key.as_ref());
                let mut warnings = known.map(|known| known.warnings.clone()).unwrap_or_default();
                if let Some(known) = known.filter(|known| known.state != "enabled") {
                    warnings.push(format!("it is {} since {}: {}", known.state, known.since, known.why));
                }
                let name = known.map(|known| known.name.clone());
                Signed { algorithm: format!("{:?}", signature.algorithm()), key, name, warnings }
            })
            .collect();
        let mut rollouts = Vec::new();
        for rollout in all(async |page| operator.rollouts(&page).await).await? {
            if rollout.release == id {
                let outcomes = all(async |page| operator.outcomes(rollout.id, &page).await).await?;
                rollouts.push(Offered { rollout, outcomes: Tally::of(&outcomes) });
            }
        }
        let rolls_back = rolls_back(&envelope)?.map(|manifest| manifest.to_string());
        Ok(Shown { release, signatures, rolls_back, rollouts })
    }

    fn print(&self) -> String {
        let before = self.rolls_back.as_ref();
        let before = before.map(|manifest| format!("{manifest}, and installs once that is revoked"));
        let mut record = print(&self.release).maybe("rolls back", before);
        for signed in &self.signatures {
            let key = signed.key.as_deref().unwrap_or("a key it does not name");
            let name = signed.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            record = record.row("signed with", format_args!("{} by {key}{name}", signed.algorithm));
            for warning in &signed.warnings {
                record = record.row("  warning", warning);
            }
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
        ReleaseState::Revoked => "revoked",
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
        .row("envelope", release.envelope)
        .maybe("sbom", release.sbom);
    for document in &release.evidence {
        record = record.row("evidence", document);
    }
    for payload in &release.components {
        record = record
            .row(format!("component {}", payload.component), Size(payload.size))
            .row("  artifact", payload.artifact)
            .row("  payload", payload.payload)
            .row("  tree root", payload.tree_root);
    }
    record
}

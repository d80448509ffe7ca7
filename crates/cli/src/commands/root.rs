//! `firmseal root`: root documents, published and shown.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use firmseal_core::Root;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::limits::ROOT_MAX;
use firmseal_manifest::Digest;
use firmseal_trust::change::{changes, demands, of_both, of_products};
use firmseal_trust::{RootError, RootSpec, revoke};
use serde::Serialize;
use serde_json::{Value, json};

use super::block_on;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::profile::Profile;
use crate::record::Record;
use crate::trust;

/// Publish and show root documents
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal root show
  firmseal root show root-2.cbor --against root-1.cbor
  firmseal root publish root-2.cbor")]
pub enum Roots {
    /// Publish the root document that follows the newest
    ///
    /// It is signed as the newest one demands and as it demands itself. From
    /// then on releases are signed and verified under it, and devices fetch it
    /// after their next poll. The same document again changes nothing.
    #[command(after_help = "Example:
  firmseal root publish root-2.cbor")]
    Publish {
        /// The signed document
        file: PathBuf,
    },
    /// Show a root document: who may do what, and what it changes
    Show(Show),
}

/// Show a root document: who may do what, and what it changes
///
/// Without a file, the server's newest one, its whole chain verified. A file
/// is verified under its own root role, and under the one before it where
/// that is given; one without signatures is shown as it would be signed.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal root show
  firmseal root show --version 1 --json
  firmseal root show root-2.cbor --against root-1.cbor")]
pub struct Show {
    /// A document in a file
    file: Option<PathBuf>,
    /// This version of the server's
    #[arg(long, value_name = "N", conflicts_with = "file")]
    version: Option<u64>,
    /// The document before the one in the file
    #[arg(long, value_name = "FILE", requires = "file")]
    against: Option<PathBuf>,
}

impl Roots {
    /// Runs the subcommand.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        match self {
            Roots::Publish { file } => {
                let document = trust::read(&file, ROOT_MAX)?;
                let client = Profile::read(profile)?.client()?;
                block_on(async {
                    let published = client.operator().publish_root(document).await?;
                    if !published.revocation_stands {
                        output.note(
                            "the newest revocation was signed by keys that this document replaces: \
                             sign its entries again with `firmseal revoke renew`, or devices will not take them",
                        );
                    }
                    for release in &published.refused {
                        output.note(format_args!(
                            "{release} is being rolled out, and devices that hold this document refuse it: \
                             sign its artifacts again as a new release"
                        ));
                    }
                    output.value(&published, || {
                        Record::new()
                            .row("published", format_args!("root document {}", published.version))
                            .print()
                    })
                })
            }
            Roots::Show(show) => show.run(profile, output),
        }
    }
}

impl Show {
    fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let (document, before) = match &self.file {
            Some(path) => {
                let read = |path: &PathBuf| trust::read(path, ROOT_MAX);
                (read(path)?, self.against.as_ref().map(read).transpose()?)
            }
            None => {
                let client = Profile::read(profile)?.client()?;
                let chain = super::block_on_value(trust::served(&client))?;
                let version = self.version.unwrap_or(chain.root_version());
                let document = chain.version(version).cloned().ok_or_else(|| {
                    let newest = chain.root_version();
                    CliError::new(Kind::NotFound, format_args!("there is no root document {version}"))
                        .hint(format!("the newest one of this server is {newest}"))
                })?;
                (document, version.checked_sub(1).and_then(|before| chain.version(before)).cloned())
            }
        };
        let about = |error: CliError| match &self.file {
            Some(path) => error.about(path.display()),
            None => error,
        };
        let shown = Shown::of(&document, before.as_deref()).map_err(about)?;
        output.value(&shown, || shown.print())
    }
}

/// A root document as it is shown.
#[derive(Serialize)]
struct Shown {
    version: u64,
    lineage: String,
    environment: &'static str,
    digest: String,
    roles: Vec<Role>,
    minimum_epoch: u64,
    demands: Vec<String>,
    closed_logs: Vec<Value>,
    sequence_resets: Vec<Value>,
    /// Under what it was verified.
    verified: String,
    /// What it changes; absent where the one before it is not at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Role {
    role: &'static str,
    threshold: u64,
    /// Whether a holder counts only with a key of each kind.
    both_kinds: bool,
    products: Vec<String>,
    /// Of approvers, the channels that they are for; none for the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<String>,
    holders: Vec<Holder>,
}

#[derive(Serialize)]
struct Holder {
    name: String,
    keys: Vec<String>,
}

impl Shown {
    fn of(document: &[u8], before: Option<&[u8]>) -> Result<Shown> {
        let root = Root::decode(document)?;
        let spec = RootSpec::of(&root)?;
        // What is handed to those who will sign it has no signature at all.
        let unsigned = spec.assemble()?.unsigned().map_err(RootError::Key)? == document;
        let before = before.map(Root::decode).transpose()?;
        let verified = match &before {
            _ if unsigned => "not signed yet: nobody vouches for it".to_owned(),
            None => {
                root.verify(&RustCrypto)?;
                "by its own root role".to_owned()
            }
            Some(before) => {
                before.successor(document, &RustCrypto)?;
                format!("by its own root role and that of version {}", before.version())
            }
        };
        let changes = match &before {
            None => None,
            Some(before) => {
                Some(changes(&RootSpec::of(before)?, &spec).iter().map(ToString::to_string).collect())
            }
        };
        // What holds for products that no entry names, said or not.
        let mut said = vec![demands(&root.demands(""))];
        let named = spec.demands.iter().filter(|own| !own.products.is_empty());
        said.extend(named.map(|own| format!("{}{}", demands(&own.demands), of_products(&own.products))));
        let holder = |holder: &firmseal_trust::Holder| Holder {
            name: holder.name.clone(),
            keys: holder.keys.iter().map(|key| key.id().to_string()).collect(),
        };
        Ok(Shown {
            version: spec.version,
            lineage: spec.lineage.iter().map(|byte| format!("{byte:02x}")).collect(),
            environment: match spec.environment {
                firmseal_core::Environment::Test => "test",
                firmseal_core::Environment::Production => "production",
            },
            digest: root.digest(&RustCrypto).to_string(),
            roles: spec
                .roles
                .iter()
                .map(|role| Role {
                    role: revoke::name(role.role),
                    threshold: role.threshold,
                    both_kinds: role.both_kinds,
                    products: role.products.iter().map(ToString::to_string).collect(),
                    channels: role.channels.iter().map(ToString::to_string).collect(),
                    holders: role.holders.iter().map(holder).collect(),
                })
                .collect(),
            minimum_epoch: spec.minimum_epoch,
            demands: said,
            closed_logs: spec
                .closed_logs
                .iter()
                .map(|log| {
                    let hash: Digest = log.hash;
                    json!({ "origin": log.origin, "key": log.key.id().to_string(), "size": log.size, "hash": hash.to_string() })
                })
                .collect(),
            sequence_resets: spec
                .sequence_resets
                .iter()
                .map(|(product, sequence)| json!({ "product": product.as_str(), "sequence": sequence }))
                .collect(),
            verified,
            changes,
        })
    }

    fn print(&self) -> String {
        let mut record = Record::new()
            .row("root document", self.version)
            .row("environment", self.environment)
            .row("lineage", &self.lineage)
            .row("digest", &self.digest)
            .row("verified", &self.verified);
        for role in &self.roles {
            let named = |word: &str, names: &[String]| match names.is_empty() {
                true => String::new(),
                false => format!(" {word} {}", names.join(", ")),
            };
            let of = named("for", &role.products) + &named("on", &role.channels);
            let needed = format!("{} of {} holders", role.threshold, role.holders.len());
            let kinds = of_both(role.both_kinds);
            record = record.row(format!("role {}", role.role), format_args!("{needed}{of}{kinds}"));
            for holder in &role.holders {
                for key in &holder.keys {
                    record = record.row(format!("  {}", holder.name), key);
                }
            }
        }
        record = record.row("lowest epoch", self.minimum_epoch);
        for said in &self.demands {
            record = record.row("demands", said);
        }
        for log in &self.closed_logs {
            let line = format!("{} closed at {} entries", text(&log["origin"]), log["size"]);
            record = record.row("log", line);
        }
        for reset in &self.sequence_resets {
            let line = format!("{} to {}", text(&reset["product"]), reset["sequence"]);
            record = record.row("sequence reset", line);
        }
        match &self.changes {
            Some(changes) if changes.is_empty() => record = record.row("changes", "nothing but the number"),
            Some(changes) => {
                for change in changes {
                    record = record.row("changes", change);
                }
            }
            None => {}
        }
        record.print()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

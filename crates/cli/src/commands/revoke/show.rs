//! `firmseal revoke show`: what a revocation takes away.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::limits::{REVOCATION_MAX, ROOT_MAX};
use firmseal_core::{Environment, Root, Trust};
use firmseal_manifest::KeyId;
use firmseal_sign::Chain;
use firmseal_trust::change::roles_of;
use firmseal_trust::{RevocationSpec, RootSpec};
use serde::Serialize;

use crate::commands::block_on_value;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::profile::Profile;
use crate::record::Record;
use crate::trust;

/// Show a revocation: the server's newest, or one in a file
///
/// A file is verified under the server's root documents, or under the one
/// given with --root, which needs no server. One without signatures is a
/// request: it is shown as it would be signed.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal revoke show
  firmseal revoke show rev.cbor --json
  firmseal revoke show request.cbor --root root-2.cbor")]
pub struct Show {
    /// A document or request in a file
    file: Option<PathBuf>,
    /// The root document to verify it under, instead of the server's
    #[arg(long, value_name = "FILE", requires = "file")]
    root: Option<PathBuf>,
}

/// A revocation as it is shown.
#[derive(Serialize)]
struct Shown {
    version: u64,
    environment: &'static str,
    /// Under what it was verified.
    verified: String,
    keys: Vec<Key>,
    releases: Vec<Taken>,
}

#[derive(Serialize)]
struct Key {
    key: String,
    /// What it was in the newest root document that knows it.
    roles: Vec<String>,
    last_good: Vec<String>,
    allowed: Vec<String>,
    /// The newest revocation does not say this.
    new: bool,
}

#[derive(Serialize)]
struct Taken {
    manifest: String,
    /// The newest revocation does not say this.
    new: bool,
}

/// A document, and what is known beside it.
struct Known {
    spec: RevocationSpec,
    /// The newest first.
    roots: Vec<RootSpec>,
    newest: Option<RevocationSpec>,
    verified: String,
}

impl Show {
    /// Runs the command.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let document = self.file.as_ref().map(|path| trust::read(path, REVOCATION_MAX)).transpose()?;
        let known = match (&document, &self.root) {
            (Some(document), Some(root)) => under(&trust::read(root, ROOT_MAX)?, document),
            _ => {
                let client = Profile::read(profile)?.client()?;
                served(&block_on_value(trust::served(&client))?, document.as_ref())
            }
        };
        let known = known.map_err(|error| match &self.file {
            Some(path) => error.about(path.display()),
            None => error,
        })?;
        let shown = Shown::of(&known);
        output.value(&shown, || shown.print())
    }
}

const UNSIGNED: &str = "not signed yet: nobody vouches for it";

/// What one root document says of a document.
fn under(root: &[u8], document: &[u8]) -> Result<Known> {
    let root = Root::decode(root)?;
    root.verify(&RustCrypto)?;
    let (spec, verified) = match RevocationSpec::of_unsigned(document) {
        Some(spec) => (spec, UNSIGNED.to_owned()),
        None => {
            let revocation = root.revocation(document, &RustCrypto)?;
            (RevocationSpec::of(&revocation, &root), format!("under root document {}", root.version()))
        }
    };
    Ok(Known { spec, roots: vec![RootSpec::of(&root)?], newest: None, verified })
}

/// What a server's documents say of one in a file, or of the newest.
fn served(chain: &Chain, document: Option<&Bytes>) -> Result<Known> {
    let roots = chain.roots().iter().rev().map(|root| Ok(RootSpec::of(&Root::decode(root)?)?));
    let roots = roots.collect::<Result<Vec<RootSpec>>>()?;
    let spec = |chain: &Chain| {
        chain.ask(|trust: Trust<'_>| {
            Ok(trust.revocation.map(|revocation| RevocationSpec::of(revocation, trust.root)))
        })
    };
    let newest = spec(chain)?;
    let nothing = || CliError::new(Kind::NotFound, "nothing was revoked here");
    let stands = |chain: &Chain| match chain.revocation_stands() {
        true => "under the newest root document".to_owned(),
        false => {
            "under an earlier root document: sign its entries again with `firmseal revoke renew`".to_owned()
        }
    };
    let Some(document) = document else {
        let (spec, verified) = (newest.clone().ok_or_else(nothing)?, stands(chain));
        return Ok(Known { spec, roots, newest, verified });
    };
    if let Some(spec) = RevocationSpec::of_unsigned(document) {
        return Ok(Known { spec, roots, newest, verified: UNSIGNED.to_owned() });
    }
    let with = Chain::verify(chain.roots().to_vec(), Some(document.clone()))?.ok_or_else(nothing)?;
    let (spec, verified) = (spec(&with)?.ok_or_else(nothing)?, stands(&with));
    Ok(Known { spec, roots, newest, verified })
}

impl Shown {
    fn of(known: &Known) -> Shown {
        let spec = &known.spec;
        let roles = |key: &KeyId| {
            let held = known.roots.iter().map(|root| roles_of(root, key)).find(|roles| !roles.is_empty());
            held.into_iter().flatten().map(|(_, role)| role).collect()
        };
        let newest = known.newest.as_ref();
        Shown {
            version: spec.version,
            environment: match spec.environment {
                Environment::Test => "test",
                Environment::Production => "production",
            },
            verified: known.verified.clone(),
            keys: spec
                .keys
                .iter()
                .map(|entry| Key {
                    key: entry.key.to_string(),
                    roles: roles(&entry.key),
                    last_good: entry.last_good.iter().map(|(log, index)| format!("{index}@{log}")).collect(),
                    allowed: entry.allowed.iter().map(ToString::to_string).collect(),
                    new: newest.is_some_and(|newest| !newest.keys.contains(entry)),
                })
                .collect(),
            releases: spec
                .releases
                .iter()
                .map(|manifest| Taken {
                    manifest: manifest.to_string(),
                    new: newest.is_some_and(|newest| !newest.releases.contains(manifest)),
                })
                .collect(),
        }
    }

    fn print(&self) -> String {
        let mark = |new: bool| if new { "+ " } else { "" };
        let mut record = Record::new()
            .row("revocation", self.version)
            .row("environment", self.environment)
            .row("verified", &self.verified);
        for key in &self.keys {
            let roles = if key.roles.is_empty() { "no role here".to_owned() } else { key.roles.join(", ") };
            record = record.row("key", format_args!("{}{} ({roles})", mark(key.new), key.key));
            for good in &key.last_good {
                record = record.row("  kept up to", good);
            }
            for manifest in &key.allowed {
                record = record.row("  kept", manifest);
            }
        }
        for release in &self.releases {
            record = record.row("release", format_args!("{}{}", mark(release.new), release.manifest));
        }
        record.print()
    }
}

//! `firmseal audit`: who signed what, when, with what, and who allowed it.

mod export;
mod files;
mod verify;

use std::fs::File;
use std::path::Path;

use clap::{Args, Subcommand};
use firmseal_api::audit::{AuditOutcome, AuditQuery, AuditRecord};
use firmseal_fleet::Time;
use firmseal_fleet::audit::AuditAction;
use firmseal_manifest::{ArtifactId, ProductId, RequestId};

use super::block_on;
use super::content::Content;
use super::listing::Listing;
use crate::error::{Result, file};
use crate::output::Output;
use crate::own_key::sha256;
use crate::profile::Profile;

/// Show who signed what, when, with what, and who allowed it
///
/// The server's audit trail, newest first. What a record tells stands in the
/// log, at the index that it names: `firmseal monitor` reads it there, with
/// nobody's word between. Needs the role auditor.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal audit
  firmseal audit --product router --action artifact-signed --from 2026-11-01T00:00:00Z
  firmseal audit --artifact gateway-1.4.0.bin
  firmseal audit --action credential-created
  firmseal audit --request req-0197c0de-0000-7000-8000-000000000001
  firmseal --json audit --by github:acme/router:refs/heads/main > november.json")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Audit {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

/// What else can be done with it.
#[derive(Subcommand)]
enum Command {
    /// Write the records of a period down, with proofs, for an auditor
    Export(export::Export),
    /// Judge an export, offline
    Verify(verify::Verify),
}

/// Which records are shown.
#[derive(Args)]
struct List {
    /// Only from this time on
    #[arg(long, value_name = "TIME")]
    from: Option<Time>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    before: Option<Time>,
    /// Only what this caller did
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Only this: `artifact-signed`, `release-signed`, `signing-decided`, ...
    #[arg(long, value_name = "ACTION")]
    action: Option<AuditAction>,
    /// Only about this product
    #[arg(long)]
    product: Option<ProductId>,
    /// Only about this signing key
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Only about this signing request
    #[arg(long)]
    request: Option<RequestId>,
    /// Only about this file, as it was handed in or as it was signed: the
    /// file, or its SHA-256
    #[arg(long, value_name = "FILE|SHA256")]
    artifact: Option<Content>,
    /// Only about this build, by the CI's id
    #[arg(long, value_name = "ID")]
    build: Option<String>,
    /// Only about this commit
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

impl Audit {
    /// Runs the command.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        match self.command {
            None => self.list.run(profile, output),
            Some(Command::Export(command)) => command.run(profile, output),
            Some(Command::Verify(command)) => command.run(output),
        }
    }
}

impl List {
    fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let List { from, before, by, action, product, key, request, artifact, build, commit, listing } = self;
        let artifact = artifact.map(digest).transpose()?;
        let client = Profile::read(profile)?.client()?;
        let query = AuditQuery {
            from,
            before,
            by,
            action,
            product,
            key,
            request,
            artifact,
            build,
            commit,
            ..AuditQuery::default()
        };
        block_on(async {
            let records = listing.fetch(output, async |page| {
                let query = AuditQuery { after: page.after, limit: page.limit, ..query.clone() };
                client.operator().audit(&query).await
            });
            let headings = ["NUMBER", "TIME", "ACTION", "OUTCOME", "BY", "ABOUT", "KEY", "LOG"];
            output.table(&records.await?, &headings, row)
        })
    }
}

/// Which artifact it is; nothing is uploaded.
fn digest(content: Content) -> Result<ArtifactId> {
    match content {
        Content::Artifact(artifact) => Ok(artifact),
        Content::File(path) => {
            let mut source = File::open(&path).map_err(file(&path))?;
            sha256(&mut source).map(ArtifactId).map_err(file(&path))
        }
    }
}

fn row(record: &AuditRecord) -> Vec<String> {
    let outcome = match record.outcome {
        AuditOutcome::Success => "success",
        AuditOutcome::Failure => "failure",
        AuditOutcome::Unknown => "unknown",
    };
    let shown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let product = record.product.as_ref().map(ToString::to_string);
    let about = match (product, &record.version) {
        (Some(product), Some(version)) => Some(format!("{product} {version}")),
        (product, version) => product.or(version.clone()).or(record.digest.map(|digest| digest.to_string())),
    };
    let credential = record.credential.as_ref().map(|own| {
        let roles: Vec<_> = own.roles.iter().map(|role| role.as_str()).collect();
        format!("credential of {}: {}", own.holder, roles.join(", "))
    });
    let denied =
        record.count.and_then(|count| Some(format!("{}, {count} times", record.reasons.first()?.rule)));
    let about = about.or(credential).or(denied);
    let key = match (&record.key, record.fallback) {
        (Some(key), true) => Some(format!("{key} (stand-in)")),
        (key, _) => key.clone(),
    };
    vec![
        record.number.to_string(),
        record.time.to_string(),
        record.action.word().to_owned(),
        outcome.to_owned(),
        shown(record.by.clone()),
        shown(about),
        shown(key),
        shown(record.log_index.map(|index| index.to_string())),
    ]
}

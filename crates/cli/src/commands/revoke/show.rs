//! `firmseal revoke show`: what a revocation takes away.

use std::path::Path;

use firmseal_core::limits::REVOCATION_MAX;
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

/// A revocation as it is shown.
#[derive(Serialize)]
struct Shown {
    version: u64,
    environment: &'static str,
    /// Devices that hold the newest root document take it.
    stands: bool,
    keys: Vec<Key>,
    releases: Vec<String>,
}

#[derive(Serialize)]
struct Key {
    key: String,
    /// What it was in the newest root document that knows it.
    roles: Vec<String>,
    last_good: Vec<String>,
    allowed: Vec<String>,
}

/// Runs the command.
pub fn run(path: Option<&Path>, profile: Option<&Path>, output: &Output) -> Result {
    let client = Profile::read(profile)?.client()?;
    let mut chain = block_on_value(trust::served(&client))?;
    if let Some(path) = path {
        let document = trust::read(path, REVOCATION_MAX)?;
        chain = Chain::verify(chain.roots().to_vec(), Some(document))
            .map_err(|error| CliError::from(error).about(path.display()))?
            .unwrap_or(chain);
    }
    if chain.revocation().is_none() {
        return Err(CliError::new(Kind::NotFound, "nothing was revoked here"));
    }
    let shown = Shown::of(&chain)?;
    output.value(&shown, || shown.print())
}

impl Shown {
    fn of(chain: &Chain) -> Result<Shown> {
        let roots = chain.roots().iter().rev().map(|root| Ok(RootSpec::of(&Root::decode(root)?)?));
        let roots = roots.collect::<Result<Vec<RootSpec>>>()?;
        let spec = chain.ask(|trust: Trust<'_>| {
            Ok(trust.revocation.map(|revocation| RevocationSpec::of(revocation, trust.root)))
        })?;
        let spec = spec.ok_or_else(|| CliError::new(Kind::NotFound, "nothing was revoked here"))?;
        let roles = |key: &KeyId| {
            let known = roots.iter().map(|root| roles_of(root, key)).find(|roles| !roles.is_empty());
            known.into_iter().flatten().map(|(_, role)| role).collect()
        };
        Ok(Shown {
            version: spec.version,
            environment: match spec.environment {
                Environment::Test => "test",
                Environment::Production => "production",
            },
            stands: chain.revocation_stands(),
            keys: spec
                .keys
                .iter()
                .map(|entry| Key {
                    key: entry.key.to_string(),
                    roles: roles(&entry.key),
                    last_good: entry.last_good.iter().map(|(log, index)| format!("{index}@{log}")).collect(),
                    allowed: entry.allowed.iter().map(ToString::to_string).collect(),
                })
                .collect(),
            releases: spec.releases.iter().map(ToString::to_string).collect(),
        })
    }

    fn print(&self) -> String {
        let stands = match self.stands {
            true => "under the newest root document",
            false => "under an earlier root document: sign it again with `firmseal revoke renew`",
        };
        let mut record = Record::new()
            .row("revocation", self.version)
            .row("environment", self.environment)
            .row("verified", stands);
        for key in &self.keys {
            let roles = if key.roles.is_empty() { "no role here".to_owned() } else { key.roles.join(", ") };
            record = record.row("key", format_args!("{} ({roles})", key.key));
            for good in &key.last_good {
                record = record.row("  kept up to", good);
            }
            for manifest in &key.allowed {
                record = record.row("  kept", manifest);
            }
        }
        for manifest in &self.releases {
            record = record.row("release", manifest);
        }
        record.print()
    }
}

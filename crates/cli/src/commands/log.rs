//! `firmseal log`: the log of a place, as others need to know it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use firmseal_manifest::{KeyError, PublicKey};
use firmseal_store_local::LocalStore;
use serde_json::json;

use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::place::{Place, layout};
use crate::record::Record;

/// Show the log of a place
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal log show
  firmseal log add-key /srv/firmseal")]
pub enum Logs {
    /// Show the log's keys, for witnesses, monitors and root documents
    Show(Show),
    /// Have the log's checkpoints signed with ML-DSA-87 as well
    AddKey(AddKey),
}

/// Have the log's checkpoints signed with ML-DSA-87 as well
///
/// Beside Ed25519 and ML-DSA-44, which every log has, for readers who want
/// the larger parameters. C2SP assigns it no type: only Firmseal verifies it,
/// others pass it over. The server must not be running.
#[derive(Args)]
#[command(after_help = "Example:
  firmseal log add-key /srv/firmseal")]
pub struct AddKey {
    /// The place that `firmseal init` made
    #[arg(default_value = "firmseal")]
    place: PathBuf,
}

/// Show the log's keys, for witnesses, monitors and root documents
///
/// The server may be running. Verifier keys go into the settings of
/// witnesses and monitors; origin and public key into the root document, as
/// the name and key of a holder of the role `log`. Checkpoints are signed
/// with each of the keys; the first is Ed25519, which devices verify.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal log show
  firmseal --json log show /srv/firmseal")]
pub struct Show {
    /// The place that `firmseal init` made
    #[arg(default_value = "firmseal")]
    place: PathBuf,
}

impl Logs {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        match self {
            Logs::Show(command) => command.run(output),
            Logs::AddKey(command) => command.run(output),
        }
    }
}

impl Show {
    fn run(self, output: &Output) -> Result {
        let place = Place::open(&self.place)?;
        let keys = LocalStore::log_keys(&place.path(layout::STORE))?;
        let [key, beside @ ..] = keys.as_slice() else {
            return Err(CliError::new(Kind::NotFound, "the log has no key yet")
                .hint("start the server once: the log makes its keys when it is first opened"));
        };
        let public = PublicKey::from_ed25519(*key.ed25519().ok_or(KeyError::Malformed)?)?;
        let (id, pem) = (public.id().to_string(), public.to_pem()?);
        let beside: Vec<_> = beside.iter().map(ToString::to_string).collect();
        let value = json!({
            "origin": key.name(),
            "key": key.to_string(),
            "beside": beside,
            "id": id,
            "pem": pem,
        });
        output.value(&value, || {
            let record = Record::new().row("origin", key.name()).row("verifier key", key).row("key id", &id);
            let record = beside.iter().fold(record, |record, key| record.row("beside it", key));
            format!("{}{pem}", record.print())
        })
    }
}

impl AddKey {
    fn run(self, output: &Output) -> Result {
        let key = LocalStore::add_ml_dsa_87(&Place::open(&self.place)?.path(layout::STORE))?.to_string();
        output.value(&json!({ "key": key }), || Record::new().row("verifier key", &key).print())
    }
}

//! `firmseal log`: the log of a place, as others need to know it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use firmseal_manifest::PublicKey;
use firmseal_store_local::LocalStore;
use serde_json::json;

use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::place::{Place, layout};
use crate::record::Record;

/// Show the log of a place
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal log show")]
pub enum Logs {
    /// Show the log's key, for witnesses, monitors and root documents
    Show(Show),
}

/// Show the log's key, for witnesses, monitors and root documents
///
/// The server may be running. The verifier key goes into the settings of
/// witnesses and monitors; origin and public key into the root document, as
/// the name and key of a holder of the role `log`.
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
        }
    }
}

impl Show {
    fn run(self, output: &Output) -> Result {
        let place = Place::open(&self.place)?;
        let key = LocalStore::log_key(&place.path(layout::STORE))?.ok_or_else(|| {
            CliError::new(Kind::NotFound, "the log has no key yet")
                .hint("start the server once: the log makes its key when it is first opened")
        })?;
        let public = PublicKey::from_ed25519(*key.public())?;
        let (id, pem) = (public.id().to_string(), public.to_pem()?);
        let value = json!({ "origin": key.name(), "key": key.to_string(), "id": id, "pem": pem });
        output.value(&value, || {
            let record = Record::new().row("origin", key.name()).row("verifier key", &key).row("key id", &id);
            format!("{}{pem}", record.print())
        })
    }
}

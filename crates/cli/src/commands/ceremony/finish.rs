//! `firmseal ceremony finish`: the signed document, and the record's end.

use std::path::PathBuf;

use clap::Args;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_keys::Logged;
use firmseal_manifest::{Intent, KeyId};
use firmseal_sign::PipelineError;
use firmseal_trust::Ceremony;
use serde_json::json;

use super::Stated;
use super::directory::Directory;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::place::Place;
use crate::record::Record;

/// Put the signed document together, verified as devices do
///
/// Refuses while a threshold is not met. The record gets its last entry;
/// with --log its digest goes into the log of a place as well, where it can
/// be shown to have stood.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal ceremony finish root-2 -o root-2.cbor
  firmseal ceremony finish root-2 -o root-2.cbor --log /srv/firmseal
  firmseal ceremony finish rescue --payloads rescue.bundle -o rescue-signed.bundle")]
pub struct Finish {
    /// The ceremony's directory
    directory: PathBuf,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The bundle that a release came from: its payloads go into the new one
    #[arg(long, value_name = "BUNDLE")]
    payloads: Option<PathBuf>,
    /// A place whose log gets the record's digest; its server must not be
    /// running
    #[arg(long, value_name = "PLACE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    stated: Stated,
}

impl Finish {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        let mut directory = Directory::open(&self.directory)?;
        // Before anything is written: a place that is not there is a slip.
        let place = self.log.as_deref().map(Place::open).transpose()?;
        if self.payloads.is_some() != directory.ceremony().request().release().is_some() {
            return Err(CliError::new(
                Kind::Usage,
                "a release is finished with --payloads, and nothing else is",
            ));
        }
        let document = directory.finish(&self.output, self.payloads.as_deref(), &self.stated.clerk())?;
        let digest = directory.record().digest();
        let index = match place {
            None => None,
            Some(place) => {
                let store = place.store()?;
                let intent = Intent { context: vec![digest], ..used(directory.ceremony()) };
                let logged = Logged::append(store.intents(), intent).await.map_err(PipelineError::Log)?;
                Some(logged.index())
            }
        };
        let value = json!({
            "document": self.output,
            "sha256": RustCrypto.digest(&document).to_string(),
            "record": directory.record_file(),
            "record_digest": digest.to_string(),
            "log_index": index,
        });
        output.value(&value, || {
            // Of a release the envelope was signed; the file has more in it.
            let (file, of) = match self.payloads {
                Some(_) => ("bundle", "sha-256 of the envelope"),
                None => ("document", "sha-256"),
            };
            Record::new()
                .row(file, self.output.display())
                .row(of, RustCrypto.digest(&document))
                .row("record", directory.record_file().display())
                .row("record digest", format_args!("{digest}   write it into the binder"))
                .maybe("log entry", index)
                .print()
        })
    }
}

/// The entry of a ceremony that has ended: what was signed, by which keys.
fn used(ceremony: &Ceremony) -> Intent {
    let mut keys: Vec<KeyId> = ceremony.signers().collect();
    keys.sort();
    Intent { keys, ..ceremony.request().intent(&KeyId(ceremony.request().subject())) }
}

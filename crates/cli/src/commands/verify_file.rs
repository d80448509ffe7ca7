//! `firmseal verify --public`: a file in a firmware format against a key.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use firmseal_formats::{Format, Inspection, Parameters, Wanted};
use firmseal_manifest::PublicKey;
use semver::Version;
use serde_json::json;

use super::assignment::Given;
use super::attach::signature;
use super::sign::public_key;
use crate::attached::{Readable, from_tools, held};
use crate::error::{CliError, Kind, Result, file};
use crate::opened::opened;
use crate::output::Output;
use crate::record::Record;

/// Which key, and where the signature is.
#[derive(Args)]
pub struct FileCheck {
    /// The public key that has to have signed the file, PEM
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "root", "product", "sequence", "epoch", "device", "owner", "revocation", "freshness", "payload",
    ])]
    public: Option<PathBuf>,
    /// The signature, where it stands beside the file
    #[arg(long, value_name = "FILE", requires = "public")]
    signature: Option<PathBuf>,
    /// The firmware format; told from the file unless said
    #[arg(long, value_name = "NAME", requires = "public")]
    format: Option<String>,
    /// A parameter that changes what is signed of a file, where the signature
    /// does not say it itself: padding
    #[arg(long = "param", value_name = "NAME=VALUE|NAME=@FILE", requires = "public")]
    parameters: Vec<Given>,
    /// The device's private key, PEM, for a file that is encrypted for it: what
    /// is signed is the plaintext
    #[arg(long, value_name = "FILE", requires = "public", conflicts_with = "signature")]
    decrypt_key: Option<PathBuf>,
}

impl FileCheck {
    /// Checks a file.
    pub fn run(&self, path: &Path, output: &Output) -> Result {
        let usage = |what: &str| CliError::new(Kind::Usage, what);
        // One of the two is there: clap has seen to it.
        let public = self.public.as_deref().ok_or_else(|| usage("name the key with --public"))?;
        let (key, source) = (public_key(public)?, File::open(path).map_err(file(path))?);
        let format = match &self.format {
            Some(name) => firmseal_formats::find(name).map_err(|error| CliError::new(Kind::Usage, error))?,
            None => firmseal_formats::detect(&source)
                .map_err(|error| CliError::from(error).about(path.display()))?,
        };
        let about = |error: CliError| error.about(path.display());
        if !self.parameters.is_empty() && (format.embedding().is_some() || format.beside().is_some()) {
            return Err(usage("signatures of this format say how they were made; leave --param out"));
        }
        let inspection = match (format.embedding(), format.beside(), &self.signature) {
            (Some(_), _, None) => self.inside(format, &source, &key).map_err(about)?,
            (Some(_), _, Some(_)) => {
                return Err(usage("signatures of this format stand in the file; leave --signature out"));
            }
            (None, _, None) => {
                return Err(usage(
                    "signatures of this format stand beside the file: name it with --signature",
                ));
            }
            (None, Some(beside), Some(own)) => {
                let inspection = beside.read(&File::open(own).map_err(file(own))?, &source);
                let inspection = inspection.map_err(|error| CliError::from(error).about(own.display()))?;
                held(&inspection, &key).map_err(|error| error.about(own.display()))?;
                inspection
            }
            (None, None, Some(own)) => {
                let parameters: Parameters =
                    self.parameters.iter().map(|own| (own.name.as_str(), own.value.as_str())).collect();
                let wanted =
                    Wanted { version: Version::new(0, 0, 0), epoch: 0, key: &key, parameters: &parameters };
                let readable = Readable::read(format, &source, &wanted).map_err(about)?;
                let value = from_tools(key.algorithm(), signature(own)?);
                value.and_then(|value| readable.check(&value)).map_err(|error| error.about(own.display()))?;
                readable.laid_out().inspection.clone()
            }
        };
        let value = json!({ "valid": true, "key": key.id().to_string(), "inspection": inspection });
        output.value(&value, || {
            let record = Record::new()
                .row("valid", path.display())
                .row("format", &inspection.format)
                .maybe("version", inspection.version.as_ref())
                .maybe("epoch", inspection.epoch)
                .row("key", key.id());
            inspection.fields.iter().fold(record, |record, own| record.row(&own.name, &own.value)).print()
        })
    }

    fn inside(&self, format: &dyn Format, source: &File, key: &PublicKey) -> Result<Inspection> {
        let inspection = match &self.decrypt_key {
            Some(device) => opened(format, source, device)?,
            None => format.inspect(source)?,
        };
        held(&inspection, key)?;
        Ok(inspection)
    }
}

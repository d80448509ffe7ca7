//! `firmseal digest`: what a key signs of a file, for a key that is asked
//! elsewhere.

use std::fs::File;
use std::path::PathBuf;

use clap::Args;
use firmseal_formats::{Parameters, Wanted};
use firmseal_manifest::{PublicKey, Tbs};
use semver::Version;
use serde_json::json;

use super::assignment::Given;
use super::sign::public_key;
use crate::attached::Readable;
use crate::error::{CliError, Kind, Result, file};
use crate::newfile;
use crate::output::Output;
use crate::record::Record;

/// Derive what a key signs of a file, without a server
///
/// For keys that other tools ask: the bytes go to them, and `firmseal attach`
/// writes their signature into the file. ECDSA and RSA-PSS keys sign a
/// digest, Ed25519 and ML-DSA keys a short message.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal digest app.bin --format mcuboot --public key.pem --version 1.4.0 --epoch 1 \\
      --param header-size=512 --param slot-size=0x60000 -o app.digest
  openssl pkeyutl -sign -inkey key.pem -pkeyopt digest:sha256 -in app.digest -out app.sig
  firmseal attach app.bin --format mcuboot --public key.pem --version 1.4.0 --epoch 1 \\
      --param header-size=512 --param slot-size=0x60000 --signature app.sig -o app.signed.bin")]
pub struct Digest {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// Write the bytes that the key signs there
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How a file is read: what a product and an order say where a server knows
/// them.
#[derive(Args)]
pub struct Reading {
    /// The firmware format; told from the file unless said: a binary that is
    /// still to be wrapped needs it
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// The public key, PEM: it says what is signed, and stands in the file
    #[arg(long, value_name = "FILE")]
    public: PathBuf,
    /// The version (semver); in formats that have one
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    /// The security epoch; in formats that have one
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    /// A parameter of the format
    #[arg(long = "param", value_name = "NAME=VALUE|NAME=@FILE")]
    parameters: Vec<Given>,
}

impl Reading {
    /// Reads the file, and hands it on with its key.
    pub fn read<T>(
        &self,
        path: &std::path::Path,
        then: impl FnOnce(&Readable<'_>, &PublicKey) -> Result<T>,
    ) -> Result<T> {
        let source = File::open(path).map_err(file(path))?;
        let key = public_key(&self.public)?;
        let format = match &self.format {
            Some(name) => firmseal_formats::find(name).map_err(|error| CliError::new(Kind::Usage, error))?,
            None => firmseal_formats::detect(&source)?,
        };
        // What stands beside a file says nothing of either.
        let numbered = format.embedding().filter(|embedding| embedding.numbers());
        let (version, epoch) = match (&self.version, self.epoch, numbered) {
            (Some(version), Some(epoch), _) => (version.clone(), epoch),
            (version, epoch, None) => (version.clone().unwrap_or(Version::new(0, 0, 0)), epoch.unwrap_or(0)),
            (_, _, Some(_)) => {
                let what = format!("--version and --epoch are needed for format {}", format.name());
                return Err(CliError::new(Kind::Usage, what));
            }
        };
        let parameters: Parameters =
            self.parameters.iter().map(|own| (own.name.as_str(), own.value.as_str())).collect();
        let wanted = Wanted { version, epoch, key: &key, parameters: &parameters };
        let readable =
            Readable::read(format, &source, &wanted).map_err(|error| error.about(path.display()))?;
        then(&readable, &key)
    }
}

impl Digest {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        if let Some(path) = &self.output {
            newfile::free(path)?;
        }
        self.reading.read(&self.file, |readable, key| {
            let laid_out = readable.laid_out();
            let (kind, bytes): (&str, &[u8]) = match &laid_out.tbs {
                Tbs::Message(message) => ("message", message),
                Tbs::Sha256(digest) => ("sha256", digest),
                Tbs::Sha384(digest) => ("sha384", digest),
                Tbs::Pkcs1(digest) | Tbs::PssMax(digest) => ("sha256", digest),
            };
            let padding = match &laid_out.tbs {
                Tbs::Pkcs1(_) => Some("pkcs1"),
                Tbs::PssMax(_) => Some("pss-max"),
                _ => None,
            };
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            if let Some(path) = &self.output {
                newfile::write(path, newfile::PUBLIC, bytes)?;
            }
            // A message is a whole image, and who has it in a file need not read it.
            let shown = match (&laid_out.tbs, &self.output) {
                (Tbs::Message(message), Some(_)) => format!("{} bytes", message.len()),
                _ => hex.clone(),
            };
            let inspection = &laid_out.inspection;
            let value = json!({
                "kind": kind,
                "value": hex,
                "padding": padding,
                "tbs": laid_out.tbs.fingerprint().to_string(),
                "key": key.id().to_string(),
                "inspection": inspection,
            });
            output.value(&value, || {
                Record::new()
                    .row("format", &inspection.format)
                    .row("size", inspection.image_size)
                    .maybe("version", inspection.version.as_ref())
                    .maybe("epoch", inspection.epoch)
                    .row("key", key.id())
                    .row(kind, &shown)
                    .maybe("padding", padding)
                    .print()
            })
        })
    }
}

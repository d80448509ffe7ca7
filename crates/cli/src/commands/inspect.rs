//! `firmseal inspect`: what a file says of itself.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;

use clap::Args;
use firmseal_core::Envelope;
use firmseal_core::limits::ENVELOPE_MAX;
use firmseal_formats::{Inspection, Load};
use firmseal_manifest::chain::CHAIN_MAX;
use firmseal_manifest::{DelegationChain, bundle, print};
use serde_json::json;

use crate::error::{CliError, Kind, Result, file};
use crate::opened::opened;
use crate::output::Output;
use crate::record::Record;

/// Show what a firmware file, envelope, bundle or delegation says of itself
///
/// Nothing is verified: that is `firmseal verify`. The kind of file is told
/// from its content, unless a format is named.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal inspect firmware.bin
  firmseal inspect app.encrypted.bin --decrypt-key device.key
  firmseal inspect root.img --format dmverity
  firmseal inspect release.suit
  firmseal inspect other-makers.suit
  firmseal inspect ci.delegation
  firmseal inspect release.bundle --json")]
pub struct Inspect {
    /// The file
    file: PathBuf,
    /// The firmware format; told from the file unless said
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// The device's private key, PEM, for a firmware file that is encrypted for
    /// it: shows what the device reads
    #[arg(long, value_name = "FILE")]
    decrypt_key: Option<PathBuf>,
}

impl Inspect {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        let about = |error: CliError| error.about(self.file.display());
        let mut input = File::open(&self.file).map_err(file(&self.file))?;
        if input.metadata().map_err(file(&self.file))?.is_dir() {
            return Err(CliError::new(Kind::Local, "is a directory").about(self.file.display()));
        }
        let mut head = [0; 32];
        let count = read_some(&mut input, &mut head).map_err(file(&self.file))?;
        input.rewind().map_err(file(&self.file))?;
        if count == 0 {
            return Err(about(CliError::new(Kind::Refused, "the file is empty")));
        }
        if self.format.is_some() || self.decrypt_key.is_some() {
            let format = match &self.format {
                Some(name) => {
                    firmseal_formats::find(name).map_err(|error| CliError::new(Kind::Usage, error))?
                }
                None => firmseal_formats::detect(&input).map_err(|error| about(error.into()))?,
            };
            let inspection = match &self.decrypt_key {
                Some(key) => opened(format, &input, key).map_err(about)?,
                None => format.inspect(&input).map_err(|error| about(error.into()))?,
            };
            return output.value(&inspection, || firmware(&inspection));
        }
        let head = &head[..count];
        // Tag 107 in its shortest form; a text of the bundle's length. Envelopes of
        // other makers are a format.
        if head.starts_with(&[0xd8, 0x6b])
            && firmseal_formats::is_release(&input).map_err(|error| about(error.into()))?
        {
            let mut bytes = Vec::new();
            input.take(ENVELOPE_MAX as u64 + 1).read_to_end(&mut bytes).map_err(file(&self.file))?;
            return envelope(&bytes, output).map_err(about);
        }
        if bundle::is_bundle(head) {
            let head =
                bundle::read_head(&mut input).map_err(|error| about(CliError::new(Kind::Refused, error)))?;
            output.note(format_args!(
                "bundle with {} root documents, an envelope and its payloads from byte {}",
                head.news.roots.len(),
                head.offset
            ));
            return envelope(&head.envelope, output).map_err(about);
        }
        // An array of up to three byte strings: few files begin so, and none
        // that is read as firmware is a delegation in whole.
        if matches!(head[0], 0x81..=0x83) {
            let mut bytes = Vec::new();
            let read = (&mut input).take(CHAIN_MAX as u64 + 1).read_to_end(&mut bytes);
            read.map_err(file(&self.file))?;
            if let Ok(chain) = DelegationChain::decode(&bytes) {
                return delegation(&bytes, &chain, output).map_err(about);
            }
            input.rewind().map_err(file(&self.file))?;
        }
        let inspection = firmseal_formats::inspect(&input).map_err(|error| about(error.into()))?;
        output.value(&inspection, || firmware(&inspection))
    }
}

fn read_some(input: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match input.read(&mut buffer[count..])? {
            0 => break,
            some => count += some,
        }
    }
    Ok(count)
}

fn envelope(bytes: &[u8], output: &Output) -> Result {
    let decoded = Envelope::decode(bytes)?;
    let printed = print::envelope(bytes).map_err(|error| CliError::new(Kind::Refused, error))?;
    let value = json!({
        "kind": "envelope",
        "size": bytes.len(),
        "manifest_digest": decoded.manifest_digest().to_string(),
        "envelope": printed,
    });
    output.value(&value, || {
        format!("envelope of {} bytes, release {}\n{printed}", bytes.len(), decoded.manifest_digest())
    })
}

fn delegation(bytes: &[u8], chain: &DelegationChain, output: &Output) -> Result {
    let printed = print::delegation(bytes).map_err(|error| CliError::new(Kind::Refused, error))?;
    let key = chain.key().to_string();
    let value = json!({
        "kind": "delegation",
        "key": key,
        "index": chain.index(),
        "links": printed,
    });
    output.value(&value, || format!("delegation {} to key {key}\n{printed}", chain.index()))
}

fn firmware(inspection: &Inspection) -> String {
    let mut record = Record::new()
        .row("format", &inspection.format)
        .maybe("version", inspection.version.as_ref())
        .maybe("security epoch", inspection.epoch);
    for Load { address, size } in &inspection.loads {
        record = match size {
            Some(size) => record.row("load address", format_args!("{address:#x}, {size} bytes")),
            None => record.row("load address", format_args!("{address:#x}")),
        };
    }
    record = record
        .row("image size", format_args!("{} bytes", inspection.image_size))
        .maybe("target", inspection.target.as_ref())
        .maybe("debug build", inspection.debug)
        .row("encrypted", inspection.encrypted);
    for field in &inspection.fields {
        record = record.row(&field.name, &field.value);
    }
    for field in &inspection.notes {
        record = record.row(format!("({})", field.name), &field.value);
    }
    for signature in &inspection.signatures {
        let claim = serde_json::to_value(&signature.claim).unwrap_or_default();
        let claim = claim.as_str().unwrap_or("not named").to_owned();
        record =
            record.row("signature", format_args!("{}, key {claim}, not verified here", signature.algorithm));
    }
    let mut out = record.print();
    if !inspection.notes.is_empty() {
        out.push_str("names in brackets stand outside the format's own signature\n");
    }
    out
}

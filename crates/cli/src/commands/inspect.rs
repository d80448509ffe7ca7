//! `firmseal inspect`: what a file says of itself.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;

use clap::Args;
use firmseal_core::Envelope;
use firmseal_core::limits::ENVELOPE_MAX;
use firmseal_formats::Inspection;
use firmseal_manifest::{bundle, print};
use serde_json::json;

use crate::error::{CliError, Kind, Result, file};
use crate::output::Output;

/// Show what a firmware file, envelope or bundle says of itself
///
/// Nothing is verified: that is `firmseal verify`. The kind of file is told
/// from its content.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal inspect firmware.bin
  firmseal inspect release.suit
  firmseal inspect release.bundle --json")]
pub struct Inspect {
    /// The file
    file: PathBuf,
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
        let head = &head[..count];
        // Tag 107 in its shortest form; a text of the bundle's length.
        if head.starts_with(&[0xd8, 0x6b]) {
            let mut bytes = Vec::new();
            input.take(ENVELOPE_MAX as u64 + 1).read_to_end(&mut bytes).map_err(file(&self.file))?;
            return envelope(&bytes, output).map_err(about);
        }
        if head.get(1..).is_some_and(|rest| rest.starts_with(bundle::MAGIC.as_bytes())) {
            let head =
                bundle::read_head(&mut input).map_err(|error| about(CliError::new(Kind::Refused, error)))?;
            output.note(format_args!(
                "bundle with {} root documents, an envelope and its payloads from byte {}",
                head.roots.len(),
                head.offset
            ));
            return envelope(&head.envelope, output).map_err(about);
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

fn firmware(inspection: &Inspection) -> String {
    let mut rows: Vec<(String, String)> = vec![("format".into(), inspection.format.clone())];
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    if let Some(version) = &inspection.version {
        row("version", version.clone());
    }
    if let Some(epoch) = inspection.epoch {
        row("security epoch", epoch.to_string());
    }
    for address in &inspection.load_addresses {
        row("load address", format!("{address:#x}"));
    }
    row("image size", format!("{} bytes", inspection.image_size));
    if let Some(target) = &inspection.target {
        row("target", target.clone());
    }
    if let Some(debug) = inspection.debug {
        row("debug build", debug.to_string());
    }
    row("encrypted", inspection.encrypted.to_string());
    for field in &inspection.fields {
        row(&field.name, field.value.clone());
    }
    for field in &inspection.notes {
        row(&format!("({})", field.name), field.value.clone());
    }
    for signature in &inspection.signatures {
        let claim = serde_json::to_value(&signature.claim).unwrap_or_default();
        let claim = claim.as_str().unwrap_or("not named").to_owned();
        row("signature", format!("{}, key {claim}, not verified here", signature.algorithm));
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in rows {
        let pad = width - name.chars().count();
        out.push_str(&format!("{name}{:pad$}  {value}\n", ""));
    }
    if !inspection.notes.is_empty() {
        out.push_str("names in brackets stand outside the format's own signature\n");
    }
    out
}

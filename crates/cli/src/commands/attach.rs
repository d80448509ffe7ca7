//! `firmseal attach`: a signature that was made elsewhere goes into its file.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::digest::Reading;
use crate::attached::from_tools;
use crate::error::{Result, file};
use crate::newfile;
use crate::output::Output;

/// Longest signature that is read, in bytes: LMS and ML-DSA have some
/// thousand.
const SIGNATURE_MAX: u64 = 64 * 1024;

/// Write a signature into its file, or for `cms` one beside it, without a server
///
/// The signature is checked against the file and the key before, and the
/// file is read back before it gets its name. Say exactly what was said to
/// `firmseal digest`.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal attach app.bin --format mcuboot --public key.pem --version 1.4.0 --epoch 1 \\
      --param header-size=512 --param slot-size=0x60000 --signature app.sig -o app.signed.bin")]
pub struct Attach {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// The signature, as the tool wrote it; ECDSA in DER or as r || s
    #[arg(long, value_name = "FILE")]
    signature: PathBuf,
    /// The signed file to write, or the signature's
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

impl Attach {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        newfile::free(&self.output)?;
        let bytes = signature(&self.signature)?;
        self.reading.read(&self.file, |readable, key| {
            let signature =
                from_tools(key.algorithm(), bytes).map_err(|error| error.about(self.signature.display()))?;
            readable.write(&signature, &self.output)?;
            let value = json!({ "signed": self.output, "key": key.id().to_string() });
            output.value(&value, || format!("wrote {}\n", self.output.display()))
        })
    }
}

/// A signature in a file of its own.
pub fn signature(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    opened.and_then(|opened| opened.take(SIGNATURE_MAX).read_to_end(&mut bytes)).map_err(file(path))?;
    Ok(bytes)
}

//! `firmseal attest statement`: a predicate that somebody else's tool wrote.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use firmseal_evidence::gather::DOCUMENT_MAX;
use firmseal_evidence::{Attests, Builder, Builders, EvidenceError, Gathering, dsse, json, statement};
use firmseal_manifest::{ArtifactId, KeyAlgorithm, PublicKey, Signature};
use serde_json::json;

use super::{distinct, named, subject};
use crate::error::{CliError, Kind, Result, file};
use crate::newfile;
use crate::output::Output;
use crate::own_key::KeyAndLog;

/// Sign a predicate of in-toto's about files
///
/// The predicate is what a tool wrote: a scan's result, an evaluation's. It is
/// signed in a statement that names the SHA-256 of each file, and written if a
/// server could read it. Whether it is believed is for the server's
/// configuration.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal attest statement firmware.bin --type https://in-toto.io/attestation/vulns/v0.2 \\
      --predicate vulnerabilities.json --key file:scanner.key --log scanner-log -o vulnerabilities.intoto.json
  firmseal attest statement boot.bin app.bin --type https://in-toto.io/attestation/svr/v0.1 \\
      --predicate evaluation.json --key pkcs11:token=lab\\;object=lab --log lab-log -o evaluation.intoto.json")]
pub struct Statement {
    /// The files that it is about
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The predicate's type, a URI
    #[arg(long = "type", value_name = "URI")]
    predicate_type: String,
    /// The predicate, a JSON object
    #[arg(long, value_name = "FILE")]
    predicate: PathBuf,
    #[command(flatten)]
    key: KeyAndLog,
    /// The signed statement to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

impl Statement {
    pub(super) async fn run(self, output: &Output) -> Result {
        newfile::free(&self.output)?;
        let unread =
            |error: EvidenceError| CliError::new(Kind::Refused, error).about(self.predicate.display());
        let mut bytes = Vec::new();
        let source = std::fs::File::open(&self.predicate).map_err(file(&self.predicate))?;
        source.take(DOCUMENT_MAX as u64 + 1).read_to_end(&mut bytes).map_err(file(&self.predicate))?;
        if bytes.len() > DOCUMENT_MAX {
            return Err(unread(EvidenceError::Long(DOCUMENT_MAX)));
        }
        let predicate = json::parse(&bytes).map_err(unread)?;
        if !predicate.is_object() {
            return Err(CliError::new(Kind::Refused, "is no JSON object").about(self.predicate.display()));
        }
        let subjects = distinct(&self.files)?.iter().map(|path| subject(path)).collect::<Result<Vec<_>>>()?;
        let artifacts: Vec<ArtifactId> = subjects.iter().map(|subject| subject.id).collect();
        let statement = statement::encode(&named(&subjects), &self.predicate_type, &predicate);
        let key = self.key.open()?;
        readable(&statement, key.public_key(), &artifacts).map_err(unread)?;
        let envelope = key.attest(&statement).await?;
        newfile::write(&self.output, newfile::PUBLIC, &envelope)?;
        let value = json!({ "statement": self.output, "artifacts": artifacts });
        output.value(&value, || format!("{}\n", self.output.display()))
    }
}

/// Whether a server could read it, signed, that believed this key everything:
/// asked before the key is used.
fn readable(
    statement: &[u8],
    key: &PublicKey,
    about: &[ArtifactId],
) -> std::result::Result<(), EvidenceError> {
    let attests =
        [&Builder::USUAL[..], &[Attests::Reproduction, Attests::Scan, Attests::Evaluation]].concat();
    let known = Builder { id: "own".to_owned(), key: key.clone(), products: Vec::new(), attests };
    let (Ok(builders), Ok(product)) = (Builders::new(vec![known]), "any".parse()) else { return Ok(()) };
    // ECDSA's two numbers have to be there; nobody checks them here.
    let length = if key.algorithm() == KeyAlgorithm::P384 { 96 } else { 64 };
    let unsigned = dsse::encode(dsse::STATEMENT, statement, key, &Signature(vec![1; length]));
    Gathering::new(&product, about, &builders, &|_, _, _| true).read(&unsigned).map(drop)
}

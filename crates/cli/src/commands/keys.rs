//! `firmseal keys`: make, list and show keys.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use firmseal_core::mldsa::Set;
use firmseal_keys::{FileKey, KeyUri, SecretSource, Signer};
use firmseal_manifest::{KeyAlgorithm, PublicKey};
use serde::Serialize;

use crate::error::{Result, file};
use crate::newfile::{self, NewFile};
use crate::output::Output;
use crate::unechoed::unechoed;

/// Make, list and show keys
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal keys generate file:dev.pem --secret prompt
  firmseal keys list \\
      'pkcs11:token=hsm?module-path=/usr/lib/hsm.so&pin-source=file:/etc/firmseal/hsm.pin'")]
pub enum Keys {
    /// Make a key: in a file for development, in a token for everything else
    #[command(after_help = "Examples:
  firmseal keys generate file:dev.pem --algorithm ed25519 --secret prompt
  firmseal keys generate --algorithm p256 \\
      'pkcs11:token=hsm;object=release?module-path=/usr/lib/hsm.so&pin-source=file:/etc/firmseal/hsm.pin'")]
    Generate(Generate),
    /// Show a key's public half: id, algorithm, PEM
    #[command(after_help = "Example:
  firmseal keys show file:dev.pem --secret file:passphrase --json")]
    Show(Show),
    /// List the keys in a token
    #[command(after_help = "Example:
  firmseal keys list \\
      'pkcs11:token=hsm?module-path=/usr/lib/hsm.so&pin-source=file:/etc/firmseal/hsm.pin'")]
    List(List),
    /// Split a key file's key among custodians, for the day it is lost
    Escrow(super::ceremony::Escrow),
}

/// Key types that can be made.
#[derive(Clone, Copy, ValueEnum)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032)
    Ed25519,
    /// ECDSA on NIST P-256
    P256,
    /// ECDSA on NIST P-384; for images, not for releases
    P384,
    /// RSA with 3072 bits, PSS; for images, not for releases
    Rsa3072,
    /// ML-DSA-44 (FIPS 204); in files
    #[value(name = "ml-dsa-44", alias = "ml-dsa44")]
    MlDsa44,
    /// ML-DSA-65; in files
    #[value(name = "ml-dsa-65", alias = "ml-dsa65")]
    MlDsa65,
    /// ML-DSA-87; in files
    #[value(name = "ml-dsa-87", alias = "ml-dsa87")]
    MlDsa87,
}

impl From<Algorithm> for KeyAlgorithm {
    fn from(algorithm: Algorithm) -> KeyAlgorithm {
        match algorithm {
            Algorithm::Ed25519 => KeyAlgorithm::Ed25519,
            Algorithm::P256 => KeyAlgorithm::P256,
            Algorithm::P384 => KeyAlgorithm::P384,
            Algorithm::Rsa3072 => KeyAlgorithm::Rsa(3072),
            Algorithm::MlDsa44 => KeyAlgorithm::MlDsa(Set::MlDsa44),
            Algorithm::MlDsa65 => KeyAlgorithm::MlDsa(Set::MlDsa65),
            Algorithm::MlDsa87 => KeyAlgorithm::MlDsa(Set::MlDsa87),
        }
    }
}

/// Make a key
#[derive(Args)]
pub struct Generate {
    /// Where: `file:PATH` or a PKCS#11 URI (RFC 7512) with `object=`
    #[arg(value_parser = unechoed::<KeyUri>())]
    key: KeyUri,
    /// Key type
    #[arg(long, value_enum, default_value = "ed25519")]
    algorithm: Algorithm,
    /// Where the passphrase comes from: `file:PATH`, `env:NAME` or `prompt`
    #[arg(long, default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// Write the public key there as PEM
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
}

/// Show a key's public half
#[derive(Args)]
pub struct Show {
    /// The key: `file:PATH` or a PKCS#11 URI
    #[arg(value_parser = unechoed::<KeyUri>())]
    key: KeyUri,
    /// Where the passphrase comes from: `file:PATH`, `env:NAME` or `prompt`
    #[arg(long, default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
}

/// List the keys in a token
#[derive(Args)]
pub struct List {
    /// The token, a PKCS#11 URI
    #[arg(value_parser = unechoed::<KeyUri>())]
    token: KeyUri,
}

/// A key as it is printed.
#[derive(Serialize)]
struct Shown {
    key: String,
    id: String,
    algorithm: String,
    /// SubjectPublicKeyInfo, PEM.
    public: String,
    /// Signs releases and root documents, which devices verify.
    for_devices: bool,
}

impl Shown {
    fn new(uri: &KeyUri, key: &PublicKey) -> Result<Shown> {
        Ok(Shown {
            key: uri.to_string(),
            id: key.id().to_string(),
            algorithm: key.algorithm().to_string(),
            public: key.to_pem()?,
            for_devices: key.as_core().is_some(),
        })
    }

    fn print(&self) -> String {
        format!(
            "key        {}\nid         {}\nalgorithm  {}{}\n{}",
            self.key,
            self.id,
            self.algorithm,
            if self.for_devices { "" } else { " (for images only: devices do not verify releases with it)" },
            self.public
        )
    }
}

impl Keys {
    /// Runs the subcommand.
    pub fn run(self, output: &Output) -> Result {
        match self {
            Keys::Generate(command) => command.run(output),
            Keys::Show(command) => {
                let signer = crate::keys::open(&command.key, &command.secret)?;
                let shown = Shown::new(&command.key, signer.dyn_public_key())?;
                output.value(&shown, || shown.print())
            }
            Keys::List(command) => command.run(output),
            Keys::Escrow(command) => command.run(output),
        }
    }
}

impl Generate {
    fn run(self, output: &Output) -> Result {
        let public = match &self.key {
            KeyUri::File(path) => {
                let passphrase = self.secret.read(&format!("new passphrase of {}", path.display()))?;
                let key = FileKey::generate(path, self.algorithm.into(), &passphrase)?;
                output.note(format_args!("made {}", key.describe()));
                key.public_key().clone()
            }
            KeyUri::Pkcs11(uri) => crate::keys::generate(uri, self.algorithm.into())?,
        };
        let shown = Shown::new(&self.key, &public)?;
        if let Some(path) = &self.public {
            let mut new = NewFile::create(path, newfile::PUBLIC)?;
            new.write_all(shown.public.as_bytes()).map_err(file(path))?;
            new.finish()?;
        }
        output.value(&shown, || shown.print())
    }
}

impl List {
    fn run(self, output: &Output) -> Result {
        let rows = crate::keys::list(&self.token)?;
        output.table(&rows, &["ALGORITHM", "ID", "KEPT", "KEY"], |row| {
            vec![row.algorithm.clone(), row.id.clone(), row.kept.clone(), row.key.clone()]
        })
    }
}

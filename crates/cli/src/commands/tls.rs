//! `firmseal tls`: certificates shown, converted and made.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use firmseal_fleet::Time;
use firmseal_keys::SecretSource;
use firmseal_server::create_server_certificate;
use serde_json::json;

use crate::certificate_file::{Found, key_pem};
use crate::certificates::Shown;
use crate::error::{CliError, Kind, Result, file};
use crate::newfile;
use crate::output::Output;
use crate::record::Record;
use crate::unechoed::unechoed;

/// Show, convert and make certificates
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal tls show client.pem
  firmseal tls import server.p12 --passphrase prompt -o tls")]
pub enum Tls {
    /// Show the names in a certificate, its validity and fingerprints
    ///
    /// The names are what `check_remote_host` in server.toml is compared
    /// with. Reads PEM, DER and PKCS#12; the content tells which. Nothing is
    /// verified.
    #[command(after_help = "Examples:
  firmseal tls show client.pem
  firmseal tls show client.p12 --passphrase file:p12.pass --json")]
    Show(Show),
    /// Turn DER and PKCS#12 into the PEM files that the server reads
    ///
    /// Writes NAME.pem with the certificate and its chain, and NAME.key with
    /// the key, readable by its owner only. Nothing is overwritten.
    #[command(after_help = "Examples:
  firmseal tls import server.p12 --passphrase prompt -o tls
  firmseal tls import server.der server-key.der chain.der -o tls --name updates")]
    Import(Import),
    /// Make a self-signed certificate and its key
    ///
    /// For a server whose clients are given exactly this certificate as
    /// their authority.
    #[command(after_help = "Examples:
  firmseal tls self-signed --name updates.example.com --name 192.0.2.7 -o tls
  firmseal tls self-signed --name localhost --days 30 -o tls --file-name test")]
    SelfSigned(SelfSigned),
}

/// Show certificates
#[derive(Args)]
pub struct Show {
    /// The file
    file: PathBuf,
    /// Where its passphrase comes from: `file:PATH`, `env:NAME` or `prompt`
    #[arg(long, value_name = "SOURCE", value_parser = unechoed::<SecretSource>())]
    passphrase: Option<SecretSource>,
}

/// Convert certificates
#[derive(Args)]
pub struct Import {
    /// One PKCS#12 file, or certificate, key and chain in files of their own
    #[arg(required = true)]
    file: Vec<PathBuf>,
    /// Where the passphrase comes from: `file:PATH`, `env:NAME` or `prompt`
    #[arg(long, value_name = "SOURCE", value_parser = unechoed::<SecretSource>())]
    passphrase: Option<SecretSource>,
    /// The directory to write into, which is made where needed
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// What the files are called
    #[arg(long, value_name = "NAME", default_value = "server")]
    name: String,
}

/// Make a self-signed certificate
#[derive(Args)]
pub struct SelfSigned {
    /// A host name or address of the server; give it again for more
    #[arg(long, value_name = "HOST", required = true)]
    name: Vec<String>,
    /// Days that it is valid
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// The directory to write into, which is made where needed
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// What the files are called
    #[arg(long, value_name = "NAME", default_value = "server")]
    file_name: String,
}

impl Tls {
    /// Runs the subcommand.
    pub fn run(self, output: &Output) -> Result {
        match self {
            Tls::Show(command) => command.run(output),
            Tls::Import(command) => command.run(output),
            Tls::SelfSigned(command) => command.run(output),
        }
    }
}

impl Show {
    fn run(self, output: &Output) -> Result {
        let found = Found::read(&self.file, self.passphrase.as_ref())?;
        if !found.keys.is_empty() {
            output.note(format_args!("{} private keys, which are not shown", found.keys.len()));
        }
        if found.certificates.is_empty() {
            return Err(CliError::new(Kind::Refused, "holds no certificate").about(self.file.display()));
        }
        let shown: Vec<Shown> = found
            .certificates
            .iter()
            .map(|der| Shown::read(der))
            .collect::<Result<_>>()
            .map_err(|error| error.about(self.file.display()))?;
        let now = Time::from(SystemTime::now());
        output.value(&shown, || {
            let printed: Vec<String> = shown.iter().map(|certificate| print(certificate, now)).collect();
            printed.join("\n")
        })
    }
}

impl Import {
    fn run(self, output: &Output) -> Result {
        let mut found = Found::default();
        for path in &self.file {
            let one = Found::read(path, self.passphrase.as_ref())?;
            found.certificates.extend(one.certificates);
            found.keys.extend(one.keys);
        }
        if found.keys.len() > 1 {
            let message = format!("{} private keys were given; which one is meant?", found.keys.len());
            return Err(CliError::new(Kind::Usage, message).hint("import files with one key at a time"));
        }
        let found = found.in_order()?;
        let key = found.keys.first().map(|key| key_pem(key));
        write_pair(
            &self.output,
            &self.name,
            Some(found.certificates_pem()).filter(|pem| !pem.is_empty()).as_deref(),
            key.as_ref().map(|key| key.as_str()),
            output,
        )
    }
}

impl SelfSigned {
    fn run(self, output: &Output) -> Result {
        let pair = create_server_certificate(&self.name, self.days, Time::from(SystemTime::now()))
            .map_err(|error| CliError::new(Kind::Usage, error))?;
        write_pair(&self.output, &self.file_name, Some(&pair.certificate), Some(&pair.key), output)
    }
}

/// Writes the key first: a certificate whose key failed to be written would
/// be of use to nobody, a key without its certificate can be imported again.
fn write_pair(
    directory: &std::path::Path,
    name: &str,
    certificate: Option<&str>,
    key: Option<&str>,
    output: &Output,
) -> Result {
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(CliError::new(Kind::Usage, format_args!("`{name}` is not the name of a file")));
    }
    std::fs::create_dir_all(directory).map_err(file(directory))?;
    let certificate_path = directory.join(format!("{name}.pem"));
    let key_path = directory.join(format!("{name}.key"));
    if certificate.is_some() {
        // Before the key is written: both files or none.
        newfile::free(&certificate_path)?;
    }
    if let Some(key) = key {
        newfile::write(&key_path, newfile::PRIVATE, key.as_bytes())?;
    }
    if let Some(certificate) = certificate {
        newfile::write(&certificate_path, newfile::PUBLIC, certificate.as_bytes())?;
    }
    let value = json!({
        "certificate": certificate.map(|_| &certificate_path),
        "key": key.map(|_| &key_path),
    });
    output.value(&value, || {
        Record::new()
            .maybe("certificate", certificate.map(|_| certificate_path.display()))
            .maybe("key", key.map(|_| key_path.display()))
            .print()
    })
}

fn print(certificate: &Shown, now: Time) -> String {
    let mut record = Record::new().row("subject", &certificate.subject);
    for name in &certificate.common_names {
        record = record.row("common name", name);
    }
    for name in &certificate.alternative_names {
        record = record.row("alternative name", name);
    }
    let state = if now < certificate.not_before {
        ", not yet valid"
    } else if now >= certificate.not_after {
        ", expired"
    } else {
        ""
    };
    record
        .row("issuer", if certificate.self_issued { "itself" } else { &certificate.issuer })
        .row("authority", if certificate.authority { "yes" } else { "no" })
        .row("valid", format_args!("{} to {}{state}", certificate.not_before, certificate.not_after))
        .row("serial", &certificate.serial)
        .row("SHA-256", certificate.sha256.0)
        .row("key SHA-256", certificate.key_sha256.0)
        .print()
}

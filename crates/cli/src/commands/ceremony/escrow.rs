//! `firmseal keys escrow`: a key in shares.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use clap::Args;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_keys::age::{self, AgeError, Recipient};
use firmseal_keys::escrow::{self, EscrowError};
use firmseal_keys::wrapped::WrappingKey;
use firmseal_keys::{FileUri, Secret, SecretSource};
use firmseal_keys_pkcs11::Pkcs11Uri;
use firmseal_manifest::KeyId;
use firmseal_trust::Record;
use serde_json::json;
use zeroize::Zeroizing;

use super::Stated;
use crate::error::{CliError, Kind, Result, file};
use crate::keys::{KeyUri, tokens};
use crate::newfile;
use crate::output::Output;
use crate::unechoed::unechoed;

/// Split a key among custodians, for the day it is lost
///
/// Each share is encrypted to its custodian with age. Any THRESHOLD of them
/// bring the key back, fewer learn nothing. A token's key is wrapped by the
/// token, and the shares are those of the wrapping key: the key itself is in
/// the clear in tokens only. This works for keys that were made with
/// `keys generate --escrowable`, and once: afterwards the key cannot leave its
/// token any more.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal keys escrow file:recovery.pem --threshold 2 -o escrow --secret prompt \\
      --recipient age1... --recipient age1... --recipient age1...
  firmseal keys escrow --threshold 2 -o escrow --recipient age1... --recipient age1... \\
      'pkcs11:token=hsm;object=root?module-path=/usr/lib/hsm.so&pin-source=prompt'")]
pub struct Escrow {
    /// The key: `file:PATH` or a PKCS#11 URI
    #[arg(value_parser = unechoed::<KeyUri>())]
    key: KeyUri,
    /// How many shares bring it back
    #[arg(long, value_name = "K")]
    threshold: usize,
    /// A custodian's age recipient; once for each
    #[arg(long, value_name = "AGE", required = true, value_parser = unechoed::<Recipient>())]
    recipient: Vec<Recipient>,
    /// Where the passphrase or PIN comes from: `file:PATH`, `env:NAME` or
    /// `prompt`
    #[arg(long, default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// The directory to make, with a share for each custodian
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    stated: Stated,
}

impl Escrow {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        for (index, recipient) in self.recipient.iter().enumerate() {
            if self.recipient[..index].contains(recipient) {
                return Err(CliError::new(Kind::Usage, format_args!("{recipient} is named twice"))
                    .hint("one custodian with two shares counts twice"));
            }
        }
        let (need, count) = (self.threshold, self.recipient.len());
        escrow::check(need, count)?;
        newfile::free(&self.output)?;
        if let Some(FileUri(path)) = self.key.of() {
            let passphrase = self.secret.read(&format!("passphrase of {}", path.display()))?;
            let (key, shares) = escrow::split(path, &passphrase, need, count)?;
            let record = self.record(&key.id(), format!("split into {count} shares"), &shares)?;
            return self.print(&key.id(), &record, output);
        }
        let Some(uri) = self.key.of::<Pkcs11Uri>() else {
            return Err(CliError::new(Kind::Usage, "only keys in files and tokens are split")
                .hint("what is behind a key service is backed up by that service"));
        };
        let pin = firmseal_keys_pkcs11::pin(uri, &self.secret)?;
        let under = WrappingKey::draw()?;
        let wrapped = tokens::wrap(uri, &pin, &under)?;
        let shares = escrow::split_wrapping(&under, &wrapped, need, count)?;
        let what = format!("wrapped by its token under a key that is split into {count} shares");
        let key = wrapped.public.id();
        let mut record = self.record(&key, what, &shares)?;
        self.confine(uri, &pin, &mut record)?;
        self.print(&key, &record, output)
    }

    /// Writes the shares, and says in a record whose each is.
    fn record(&self, key: &KeyId, what: String, shares: &[Zeroizing<String>]) -> Result<Record> {
        let clerk = self.stated.clerk();
        let mut record = Record::new(&format!("escrow of key {key}"));
        record.push(clerk.event(format!("{what}, {} bring it back", self.threshold)));
        let mut files = Vec::new();
        for (share, recipient) in shares.iter().zip(&self.recipient) {
            let sealed = age::encrypt(recipient, share.as_bytes())?;
            let digest = RustCrypto.digest(&sealed);
            record.push(clerk.event(format!("share {} for {recipient}, file {digest}", files.len() + 1)));
            files.push(sealed);
        }
        std::fs::DirBuilder::new().mode(0o700).create(&self.output).map_err(file(&self.output))?;
        for (name, sealed) in self.names().iter().zip(&files) {
            newfile::write(name, newfile::PRIVATE, sealed)?;
        }
        newfile::write(&self.kept(), newfile::PUBLIC, record.markdown().as_bytes())?;
        Ok(record)
    }

    /// Only now that the shares are durable: a cut between the two leaves a
    /// key that can be wrapped again, never one that nobody can bring back.
    fn confine(&self, uri: &Pkcs11Uri, pin: &Secret, record: &mut Record) -> Result {
        let confined = tokens::confine(uri, pin);
        let what = match &confined {
            Ok(()) => "the key cannot leave its token any more".to_owned(),
            Err(error) => format!("the key can still leave its token: {}", error.message),
        };
        record.push(self.stated.clerk().event(what));
        newfile::replace(&self.kept(), newfile::PUBLIC, record.markdown().as_bytes())?;
        confined
    }

    fn names(&self) -> Vec<PathBuf> {
        let name = |number| self.output.join(format!("share-{number}.age"));
        (1..=self.recipient.len()).map(name).collect()
    }

    fn kept(&self) -> PathBuf {
        self.output.join("record.md")
    }

    fn print(&self, key: &KeyId, record: &Record, output: &Output) -> Result {
        let value = json!({
            "key": key.to_string(),
            "threshold": self.threshold,
            "shares": self.names(),
            "record": self.kept(),
            "record_digest": record.digest().to_string(),
        });
        output.value(&value, || {
            let (count, need) = (self.recipient.len(), self.threshold);
            crate::record::Record::new()
                .row("key", key)
                .row("shares", format_args!("{count} in {}, {need} bring it back", self.output.display()))
                .row("record", self.kept().display())
                .row("record digest", record.digest())
                .row("next", "give each custodian their share, bring the key back once for practice")
                .print()
        })
    }
}

impl From<AgeError> for CliError {
    fn from(error: AgeError) -> CliError {
        let kind = match error {
            AgeError::NotARecipient | AgeError::NotAnIdentity => Kind::Usage,
            AgeError::Failed => Kind::Local,
            _ => Kind::Refused,
        };
        CliError::new(kind, error)
    }
}

impl From<EscrowError> for CliError {
    fn from(error: EscrowError) -> CliError {
        match error {
            EscrowError::Keys(error) => error.into(),
            EscrowError::Threshold { .. } => CliError::new(Kind::Usage, error),
            other => CliError::new(Kind::Refused, other),
        }
    }
}

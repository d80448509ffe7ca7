//! `firmseal keys escrow` and `firmseal ceremony recover`: a key in shares,
//! and back.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_keys::age::{self, AgeError, CONTENT_MAX, Identity, Recipient};
use firmseal_keys::escrow::{self, EscrowError};
use firmseal_keys::{KeyUri, SecretSource, private};
use firmseal_trust::Record;
use serde_json::json;
use zeroize::Zeroizing;

use super::Stated;
use crate::error::{CliError, Kind, Result, file};
use crate::newfile;
use crate::output::Output;
use crate::trust;
use crate::unechoed::unechoed;

/// Longest share on its way: its content, and what age puts around it.
const FILE_MAX: usize = CONTENT_MAX + 32 * 1024;

/// Split a key file's key among custodians, for the day it is lost
///
/// Each share is encrypted to its custodian with age. Any THRESHOLD of them
/// bring the key back, fewer learn nothing. A key that was made in a token
/// never leaves it and cannot be split: make it in a file on a machine
/// without a network, split it, import it into the token, destroy the file.
#[derive(Args)]
#[command(after_help = "Example:
  firmseal keys escrow file:recovery.pem --threshold 2 -o escrow --secret prompt \\
      --recipient age1... --recipient age1... --recipient age1...")]
pub struct Escrow {
    /// The key: `file:PATH`
    #[arg(value_parser = unechoed::<KeyUri>())]
    key: KeyUri,
    /// How many shares bring it back
    #[arg(long, value_name = "K")]
    threshold: usize,
    /// A custodian's age recipient; once for each
    #[arg(long, value_name = "AGE", required = true, value_parser = unechoed::<Recipient>())]
    recipient: Vec<Recipient>,
    /// Where the passphrase comes from: `file:PATH`, `env:NAME` or `prompt`
    #[arg(long, default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// The directory to make, with a share for each custodian
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    stated: Stated,
}

/// Bring a key back from its custodians' shares
///
/// On a machine without a network, with the custodians present: each brings
/// a share and the identity that opens it. What comes out must have the id
/// that every share names, or nothing is written.
#[derive(Args)]
#[command(after_help = "Example:
  firmseal ceremony recover --share share-1.age --share share-3.age \\
      --identity alice.txt --identity carol.txt -o recovery.pem --secret prompt")]
pub struct Recover {
    /// A custodian's share; once for each
    #[arg(long, value_name = "FILE", required = true)]
    share: Vec<PathBuf>,
    /// A custodian's age identity file; once for each
    #[arg(long, value_name = "FILE", required = true)]
    identity: Vec<PathBuf>,
    /// Where the new passphrase comes from: `file:PATH`, `env:NAME` or
    /// `prompt`
    #[arg(long, default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// The key file to write; its record is written beside it
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    stated: Stated,
}

impl Escrow {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        let KeyUri::File(path) = &self.key else {
            return Err(CliError::new(Kind::Refused, "a key that was made in a token never leaves it").hint(
                "make the next one in a file without a network, split it, then import it into the token",
            ));
        };
        for (index, recipient) in self.recipient.iter().enumerate() {
            if self.recipient[..index].contains(recipient) {
                return Err(CliError::new(Kind::Usage, format_args!("{recipient} is named twice"))
                    .hint("one custodian with two shares counts twice"));
            }
        }
        newfile::free(&self.output)?;
        let passphrase = self.secret.read(&format!("passphrase of {}", path.display()))?;
        let (key, shares) = escrow::split(path, &passphrase, self.threshold, self.recipient.len())?;
        let count = shares.len();
        let clerk = self.stated.clerk();
        let mut record = Record::new(&format!("escrow of key {}", key.id()));
        record.push(clerk.event(format!("split into {count} shares, {} bring it back", self.threshold)));
        let mut files = Vec::new();
        for (share, recipient) in shares.iter().zip(&self.recipient) {
            let sealed = age::encrypt(recipient, share.as_bytes())?;
            let digest = RustCrypto.digest(&sealed);
            record.push(clerk.event(format!("share {} for {recipient}, file {digest}", files.len() + 1)));
            files.push(sealed);
        }
        std::fs::DirBuilder::new().mode(0o700).create(&self.output).map_err(file(&self.output))?;
        let mut names = Vec::new();
        for (index, sealed) in files.iter().enumerate() {
            let name = self.output.join(format!("share-{}.age", index + 1));
            newfile::write(&name, newfile::PRIVATE, sealed)?;
            names.push(name);
        }
        let kept = self.output.join("record.md");
        newfile::write(&kept, newfile::PUBLIC, record.markdown().as_bytes())?;
        let value = json!({
            "key": key.id().to_string(),
            "threshold": self.threshold,
            "shares": names,
            "record": kept,
            "record_digest": record.digest().to_string(),
        });
        output.value(&value, || {
            crate::record::Record::new()
                .row("key", key.id())
                .row(
                    "shares",
                    format_args!("{count} in {}, {} bring it back", self.output.display(), self.threshold),
                )
                .row("record", kept.display())
                .row("record digest", record.digest())
                .row("next", "give each custodian their share, bring the key back once for practice")
                .print()
        })
    }
}

impl Recover {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        newfile::free(&self.output)?;
        let kept = beside(&self.output);
        newfile::free(&kept)?;
        let read = |path: &PathBuf| -> Result<Identity> {
            Identity::from_file(&private::read(path)?)
                .map_err(|error| CliError::from(error).about(path.display()))
        };
        let identities = self.identity.iter().map(read).collect::<Result<Vec<_>>>()?;
        let clerk = self.stated.clerk();
        let mut events = Vec::new();
        let mut shares: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        for path in &self.share {
            let sealed = trust::read(path, FILE_MAX)?;
            let (share, by) = open(&identities, &sealed).map_err(|error| error.about(path.display()))?;
            events.push(clerk.event(format!("share for {by} opened, file {}", RustCrypto.digest(&sealed))));
            shares.push(share);
        }
        let passphrase = self.secret.read(&format!("new passphrase of {}", self.output.display()))?;
        let key = escrow::recover(&shares, &self.output, &passphrase).map_err(|error| self.name(error))?;
        let mut record = Record::new(&format!("recovery of key {}", key.id()));
        events.into_iter().for_each(|event| record.push(event));
        record.push(clerk.event(format!("key {} was brought back", key.id())));
        newfile::write(&kept, newfile::PUBLIC, record.markdown().as_bytes())?;
        let value = json!({
            "key": key.id().to_string(),
            "file": self.output,
            "record": kept,
            "record_digest": record.digest().to_string(),
        });
        output.value(&value, || {
            crate::record::Record::new()
                .row("key", key.id())
                .row("file", self.output.display())
                .row("record", kept.display())
                .row("record digest", record.digest())
                .print()
        })
    }

    /// Says which file a share's number is.
    fn name(&self, error: EscrowError) -> CliError {
        let at = match &error {
            EscrowError::NotAShare(number)
            | EscrowError::Another(number)
            | EscrowError::Changed(number)
            | EscrowError::Twice(number) => self.share.get(number - 1),
            _ => None,
        };
        let error = CliError::from(error);
        match at {
            Some(path) => error.about(path.display()),
            None => error,
        }
    }
}

fn open(identities: &[Identity], sealed: &[u8]) -> Result<(Zeroizing<Vec<u8>>, Recipient)> {
    for identity in identities {
        match age::decrypt(identity, sealed) {
            Ok(share) => return Ok((share, identity.recipient()?)),
            Err(AgeError::NotForUs) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(CliError::new(Kind::Refused, "none of the identities opens it")
        .hint("its custodian's identity file belongs to it; the escrow's record says whose it is"))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".record.md");
    path.with_file_name(name)
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

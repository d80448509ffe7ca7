//! `firmseal ceremony recover`: a key from its custodians' shares.

use std::path::{Path, PathBuf};

use clap::Args;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_keys::age::{self, AgeError, CONTENT_MAX, Identity, Recipient};
use firmseal_keys::escrow::{self, EscrowError};
use firmseal_keys::{Secret, SecretSource, Signer, private};
use firmseal_keys_pkcs11::Pkcs11Uri;
use firmseal_manifest::{Intent, PublicKey, Purpose, Tbs};
use firmseal_store_local::IntentLog;
use firmseal_trust::{Event, Record};
use serde_json::json;
use zeroize::Zeroizing;

use super::Stated;
use crate::error::{CliError, Kind, Result};
use crate::keys::{KeyUri, tokens};
use crate::newfile;
use crate::output::Output;
use crate::own_key::open_log;
use crate::trust;
use crate::unechoed::unechoed;

/// Longest share on its way: its content, and what age puts around it.
const FILE_MAX: usize = CONTENT_MAX + 32 * 1024;

/// Bring a key back from its custodians' shares
///
/// On a machine without a network, with the custodians present: each brings
/// a share and the identity that opens it. What comes out must have the id
/// that every share names, or nothing is written. A key that lived in a token
/// comes back in a token, which unwraps it; it stays there, and signs once to
/// show that it is the right one.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal ceremony recover --share share-1.age --share share-3.age \\
      --identity alice.txt --identity carol.txt -o recovery.pem --secret prompt
  firmseal ceremony recover --share share-1.age --share share-3.age \\
      --identity alice.txt --identity carol.txt -o root.pub --log /srv/custodian \\
      --to 'pkcs11:token=spare;object=root?module-path=/usr/lib/hsm.so&pin-source=prompt'")]
pub struct Recover {
    /// A custodian's share; once for each
    #[arg(long, value_name = "FILE", required = true)]
    share: Vec<PathBuf>,
    /// A custodian's age identity file; once for each
    #[arg(long, value_name = "FILE", required = true)]
    identity: Vec<PathBuf>,
    /// Where the new passphrase or the token's PIN comes from: `file:PATH`,
    /// `env:NAME` or `prompt`
    #[arg(long, default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// For a key that lived in a token: the token that shall have it, and its
    /// label there, as a PKCS#11 URI with `object=`
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>())]
    to: Option<KeyUri>,
    /// The log that this machine keeps, in which the one signature is entered;
    /// made if it does not exist
    #[arg(long, value_name = "DIR", default_value = "custodian", requires = "to")]
    log: PathBuf,
    /// The key file to write, or with --to the public key; its record is
    /// written beside it
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    stated: Stated,
}

/// What the shares opened to.
struct Opened {
    shares: Vec<Zeroizing<Vec<u8>>>,
    events: Vec<Event>,
}

impl Recover {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        newfile::free(&self.output)?;
        let kept = beside(&self.output);
        newfile::free(&kept)?;
        let Opened { shares, mut events } = self.open()?;
        let (key, place) = match &self.to {
            None => {
                let passphrase = self.secret.read(&format!("new passphrase of {}", self.output.display()))?;
                let key = escrow::recover(&shares, &self.output, &passphrase);
                (key.map_err(|error| self.name(error))?, self.output.display().to_string())
            }
            Some(uri) => {
                let uri = uri.of::<Pkcs11Uri>().ok_or_else(|| {
                    CliError::new(Kind::Usage, "--to names a token, as a pkcs11: URI")
                        .hint("leave it out to bring a key back in a file")
                })?;
                let (key, made, entry) = self.in_token(&shares, uri).await?;
                let place = Pkcs11Uri { module_path: None, pin_source: None, ..made }.to_string();
                events.push(
                    self.event(format!("unwrapped as {place}, signed as entry {entry} of the log here")),
                );
                newfile::write(&self.output, newfile::PUBLIC, key.to_pem()?.as_bytes())?;
                (key, place)
            }
        };
        let mut record = Record::new(&format!("recovery of key {}", key.id()));
        events.into_iter().for_each(|event| record.push(event));
        record.push(self.event(format!("key {} was brought back", key.id())));
        newfile::write(&kept, newfile::PUBLIC, record.markdown().as_bytes())?;
        let value = json!({
            "key": key.id().to_string(),
            "file": self.output,
            "place": place,
            "record": kept,
            "record_digest": record.digest().to_string(),
        });
        output.value(&value, || {
            crate::record::Record::new()
                .row("key", key.id())
                .row("in", &place)
                .row("record", kept.display())
                .row("record digest", record.digest())
                .print()
        })
    }

    fn event(&self, what: String) -> Event {
        self.stated.clerk().event(what)
    }

    /// Opens every share with the identity that it is for.
    fn open(&self) -> Result<Opened> {
        let read = |path: &PathBuf| -> Result<Identity> {
            Identity::from_file(&private::read(path)?)
                .map_err(|error| CliError::from(error).about(path.display()))
        };
        let identities = self.identity.iter().map(read).collect::<Result<Vec<_>>>()?;
        let mut opened = Opened { shares: Vec::new(), events: Vec::new() };
        for path in &self.share {
            let sealed = trust::read(path, FILE_MAX)?;
            let (share, by) = open(&identities, &sealed).map_err(|error| error.about(path.display()))?;
            let digest = RustCrypto.digest(&sealed);
            opened.events.push(self.event(format!("share for {by} opened, file {digest}")));
            opened.shares.push(share);
        }
        Ok(opened)
    }

    /// Has a token unwrap the key and sign with it, and takes it away again
    /// if it is not the one that the shares name. Returns the key, where it is
    /// and the entry of the signature.
    async fn in_token(
        &self,
        shares: &[Zeroizing<Vec<u8>>],
        uri: &Pkcs11Uri,
    ) -> Result<(PublicKey, Pkcs11Uri, u64)> {
        let (under, wrapped) = escrow::recover_wrapping(shares).map_err(|error| self.name(error))?;
        let log = open_log(&self.log)?;
        let pin = firmseal_keys_pkcs11::pin(uri, &self.secret)?;
        let made = tokens::unwrap(uri, &pin, &under, &wrapped)?;
        match prove(&made, &pin, &wrapped.public, &log).await {
            Ok(entry) => Ok((wrapped.public, made, entry)),
            Err(error) => {
                // If that fails too, the first error is the one to read.
                let _ = tokens::discard(&made, &pin);
                Err(error)
            }
        }
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
        let hint = match &error {
            EscrowError::OfAToken => Some("name the token with --to 'pkcs11:token=...;object=...'"),
            EscrowError::OfAFile => Some("leave --to out"),
            _ => None,
        };
        let mut error = CliError::from(error);
        if let Some(hint) = hint {
            error = error.hint(hint);
        }
        match at {
            Some(path) => error.about(path.display()),
            None => error,
        }
    }
}

/// A signature shows that the private half is that of the public one; the
/// signer checks it. It is over a text that is nothing else, and logged like
/// every use of a key.
async fn prove(uri: &Pkcs11Uri, pin: &Secret, public: &PublicKey, log: &IntentLog) -> Result<u64> {
    let signer = tokens::open_with(uri, pin)?;
    if signer.public_key().id() != public.id() {
        return Err(CliError::new(Kind::Refused, "the token holds another key under this name"));
    }
    let text = format!("firmseal: key {} was brought back from escrow", public.id());
    let tbs = Tbs::Message(text.into_bytes());
    let intent = Intent {
        purpose: Purpose::Artifact,
        subject: tbs.fingerprint(),
        keys: vec![public.id()],
        delegation: None,
        statements: Vec::new(),
        requester: RustCrypto.digest(b"firmseal ceremony recover"),
        policy: RustCrypto.digest(b"firmseal escrow: enough shares of one splitting"),
        context: Vec::new(),
    };
    let logged = crate::keys::logged(log, intent, public).await?;
    let entry = logged.index();
    match signer.sign(logged, tbs).await {
        Ok(_) => Ok(entry),
        Err(firmseal_keys::SignError::BadSignature) => {
            Err(CliError::new(Kind::Refused, "what the shares bring back is not the key that they name")
                .hint("it was taken out of the token again; somebody exchanged a wrapped key"))
        }
        Err(error) => Err(error.into()),
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

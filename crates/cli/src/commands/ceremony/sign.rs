//! `firmseal ceremony sign`: what a custodian does, on a machine without a
//! network.

use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64ct::{Base64, Encoding};
use clap::Args;
use firmseal_core::Environment;
use firmseal_fleet::Time;
use firmseal_keys::{SecretSource, Signer};
use firmseal_manifest::PublicKey;
use firmseal_store_local::IntentLog;
use firmseal_tlog::Checkpoint;
use firmseal_trust::Request;
use firmseal_trust::ceremony::Kind as What;
use serde_json::json;

use super::describe::Described;
use super::files::{self, Entry, SignatureFile};
use crate::bundle_file::BundleFile;
use crate::error::{CliError, Kind, Result, file};
use crate::keys::KeyUri;
use crate::newfile;
use crate::output::Output;
use crate::own_key::{LOG, open_log};
use crate::record::Record;
use crate::unechoed::unechoed;

/// Sign a request, on the machine that has the key
///
/// Shows all that the request says and asks for the words that the others
/// see. The use of the key is written to this machine's log first; the entry
/// travels back with the signature.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal ceremony sign request.toml --key file:alice.pem -o alice.toml
  firmseal ceremony sign request.toml -o alice.toml --log /srv/custodian \\
      --key 'pkcs11:token=alice;object=root?module-path=/usr/lib/hsm.so&pin-source=prompt' \\
      --yes-words 'zoo abandon ...'")]
pub struct SignRequest {
    /// The request that was carried here
    request: PathBuf,
    /// The key: `file:PATH` for tests, `pkcs11:...` for everything else
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>())]
    key: KeyUri,
    /// Where passphrases and PINs come from: `file:PATH`, `env:NAME` or
    /// `prompt`
    #[arg(long, value_name = "SOURCE", default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// The bundle of a release: its payloads are measured and read here,
    /// before anything is signed
    #[arg(long, value_name = "BUNDLE")]
    payloads: Option<PathBuf>,
    /// The log that this machine keeps; made if it does not exist
    #[arg(long, value_name = "DIR", default_value = "custodian")]
    log: PathBuf,
    /// The words that the others see, instead of being asked for them
    #[arg(long, value_name = "WORDS")]
    yes_words: Option<String>,
    /// Sign although this machine has signed another document of this number
    #[arg(long)]
    supersede: bool,
    /// The file to carry back
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

impl SignRequest {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        newfile::free(&self.output)?;
        let request = files::request(&self.request)?;
        output.note(Described::of(&request)?.print_without_words());
        if request.release().is_some() {
            let payloads = self.payloads.as_deref().ok_or_else(|| {
                CliError::new(Kind::Usage, "nobody signs a release without its payloads")
                    .hint("carry the bundle here as well, and give it as --payloads")
            })?;
            output.note(read(&request, payloads)?.print());
        }
        self.compare(&request)?;
        if request.environment() == Environment::Production && self.key.is_development_only() {
            return Err(CliError::new(Kind::Refused, "production keys live in tokens, not in files")
                .hint("name a key in a token, as a pkcs11: URI"));
        }
        let signer = crate::keys::open(&self.key, &self.secret)?;
        let key = signer.public_key().clone();
        let Some((holder, _)) = request.signer(&key.id()) else {
            return Err(stranger(&key));
        };
        let tbs = request.to_be_signed(&key)?;

        not_restored(&self.log.join(LOG), &request, &key)?;
        self.remember(&request)?;
        let log = open_log(&self.log)?;
        let intent = request.intent(&key.id());
        let leaf = intent.encode();
        let logged = crate::keys::logged(&log, intent, &key).await?;
        let index = logged.index();
        let signature = signer.sign(logged, tbs).await?;
        let file = SignatureFile::new(
            &request,
            &key.id(),
            &signature,
            Time::from(SystemTime::now()).to_string(),
            entry(&log, index, &leaf).await?,
        );
        file.logged(&request)?;
        newfile::write(&self.output, newfile::PUBLIC, file.write()?.as_bytes())?;
        let value = json!({
            "signature": self.output,
            "holder": holder,
            "key": key.id().to_string(),
            "request": request.digest().to_string(),
            "log_index": index,
        });
        output.value(&value, || {
            Record::new()
                .row("signed", request.title())
                .row("by", &holder)
                .row("key", key.id())
                .row("log entry", index)
                .row("carry back", self.output.display())
                .print()
        })
    }

    /// No key is opened before somebody has compared the words. They are
    /// typed as the others read them, and not shown here first: a yes is
    /// given without looking.
    fn compare(&self, request: &Request) -> Result {
        let said = match &self.yes_words {
            Some(words) => words.clone(),
            None if std::io::stdin().is_terminal() => {
                eprint!("the words as the others read them: ");
                let _ = std::io::stderr().flush();
                let mut line = String::new();
                std::io::stdin().lock().read_line(&mut line)?;
                line
            }
            None => {
                return Err(CliError::new(Kind::Usage, "nobody is there to compare the words")
                    .hint("run it at a terminal, or give --yes-words \"...\""));
            }
        };
        if request.words().matches(&said) {
            return Ok(());
        }
        Err(CliError::new(Kind::Refused, "the words are not those of the request that came here")
            .hint("sign nothing: the request was changed on the way, or is another one"))
    }

    /// One machine signs one document of each number: two of them, each
    /// complete, would split the devices.
    fn remember(&self, request: &Request) -> Result {
        let (number, what) = request.number();
        let kind = match request.kind() {
            What::FirstRoot | What::Rotation => "root",
            What::Revocation => "revocation",
            What::Release => "release with number",
            // Nothing is ordered by its number; there may be many.
            What::Recovery => return Ok(()),
        };
        let folder = self.log.join("signed");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(file(&folder))?;
        let path = folder.join(format!("{what}-{number}"));
        let subject = request.subject().to_string();
        match std::fs::read_to_string(&path) {
            Ok(known) if known.trim() == subject => return Ok(()),
            Ok(known) if !self.supersede => {
                let what = format!("this machine has signed another {kind} {number}: {}", known.trim());
                return Err(CliError::new(Kind::Conflict, what)
                    .hint("if that ceremony was given up for good, say --supersede"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(file(&path)(error)),
        }
        // Before the key is used: after a cut it says too much, never too
        // little.
        newfile::replace(&path, newfile::PRIVATE, format!("{subject}\n").as_bytes())
    }
}

/// Refuses a log that has forgotten a signature which is there to be seen.
fn not_restored(log: &Path, request: &Request, key: &PublicKey) -> Result {
    let Some(last) = request.last_leaf(key).filter(|_| log.exists()) else { return Ok(()) };
    match IntentLog::leaves_at(log, &key.id())? {
        Some(leaves) if leaves.next <= last => {
            let what = format!(
                "LMS key {} has signed with leaf {last}, and this machine's log would give leaf {} away",
                key.id(),
                leaves.next
            );
            Err(CliError::new(Kind::Refused, what)
                .hint("the log was restored: bring back all of it, or never use this key again"))
        }
        // One that does not know the key at all gives nothing away.
        _ => Ok(()),
    }
}

fn stranger(key: &PublicKey) -> CliError {
    CliError::new(Kind::Refused, format_args!("key {} is of no holder who may sign this", key.id()))
        .hint("`firmseal ceremony show` names the holders and their keys")
}

/// An entry with its proof.
async fn entry(log: &IntentLog, index: u64, leaf: &[u8]) -> Result<Entry> {
    let broken = |error: &dyn std::fmt::Display| {
        CliError::new(Kind::Unexpected, format_args!("this machine's log: {error}"))
    };
    let note = log.checkpoint().await?;
    let key = log.verifier();
    let (checkpoint, _) = Checkpoint::open(&note, key, key.name()).map_err(|error| broken(&error))?;
    let proof = log.proof(index, checkpoint.size).await?;
    Ok(Entry {
        key: key.to_string(),
        index,
        leaf: Base64::encode_string(leaf),
        checkpoint: String::from_utf8(note).map_err(|error| broken(&error))?,
        proof: proof.iter().map(ToString::to_string).collect(),
    })
}

/// Reads the payloads of a release that is to be signed: exactly those that
/// the request names, or none.
pub fn payloads(request: &Request, path: &Path) -> Result<BundleFile> {
    let carried = BundleFile::open(path, None)?;
    if carried.spec().assemble()?.digest() != request.subject() {
        return Err(CliError::new(Kind::Refused, "holds another release than the request")
            .about(path.display())
            .hint("carry the bundle that the ceremony began with"));
    }
    Ok(carried)
}

fn read(request: &Request, path: &Path) -> Result<Record> {
    let mut record = Record::new();
    for part in payloads(request, path)?.parts() {
        record = record.row(format!("payload {}", part.name), part.line());
    }
    Ok(record)
}

/// Reads a request and says all that it says.
pub fn show(path: &Path, bundle: Option<&Path>, output: &Output) -> Result {
    let request = files::request(path)?;
    let described = Described::of(&request)?;
    let payloads = bundle.map(|bundle| read(&request, bundle)).transpose()?;
    output.value(&described, || {
        described.print() + &payloads.map(|payloads| payloads.print()).unwrap_or_default()
    })
}

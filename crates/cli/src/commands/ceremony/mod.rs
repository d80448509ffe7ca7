//! `firmseal ceremony`: documents that several people sign, with keys on
//! machines that never meet.

mod describe;
mod directory;
mod escrow;
mod files;
mod finish;
mod recover;
mod sign;
mod start;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use firmseal_core::Root;
use firmseal_core::limits::ROOT_MAX;
use firmseal_manifest::ids::parse_digest;
use firmseal_trust::{CeremonyError, RootSpec};
use serde_json::json;

use self::directory::{Clerk, Directory};
pub use self::escrow::Escrow;
use super::block_on;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::record::Record;
use crate::{root_file, trust};

/// Sign root documents, revocations and releases with several people, offline
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal ceremony start root-1 --root root.toml
  firmseal ceremony sign root-1/request.toml --key file:alice.pem -o alice.toml
  firmseal ceremony add root-1 alice.toml bob.toml
  firmseal ceremony finish root-1 -o root-1.cbor")]
pub enum Ceremonies {
    /// Begin a ceremony: a directory with a request to carry to the custodians
    Start(start::Start),
    /// Show what a request says: roles, holders, keys, changes, words
    #[command(after_help = "Examples:
  firmseal ceremony show root-2/request.toml
  firmseal ceremony show rescue/request.toml --payloads rescue.bundle")]
    Show {
        /// The request
        request: PathBuf,
        /// The bundle of a release, to read its payloads too
        #[arg(long, value_name = "BUNDLE")]
        payloads: Option<PathBuf>,
    },
    /// Sign a request, on the machine that has the key
    Sign(sign::SignRequest),
    /// Take signatures that came back, in any order
    #[command(after_help = "Example:
  firmseal ceremony add root-2 bob.toml alice.toml")]
    Add {
        /// The ceremony's directory
        directory: PathBuf,
        /// Signature files
        #[arg(required = true)]
        signatures: Vec<PathBuf>,
        #[command(flatten)]
        stated: Stated,
    },
    /// Show who has signed and who is missing
    #[command(after_help = "Example:
  firmseal ceremony status root-2 --json")]
    Status {
        /// The ceremony's directory
        directory: PathBuf,
    },
    /// Put the signed document together, verified as devices do
    Finish(finish::Finish),
    /// Check a ceremony's record: nothing in it was changed since
    ///
    /// The last digest stands for the whole. Compare it with the one in the
    /// binder or in the log: whoever can rewrite the file can also compute
    /// every digest in it anew.
    #[command(after_help = "Examples:
  firmseal ceremony verify-record root-2/record.md
  firmseal ceremony verify-record root-2/record.md --digest 263ef800...")]
    VerifyRecord {
        /// The record
        file: PathBuf,
        /// The digest that was written down
        #[arg(long, value_name = "SHA-256")]
        digest: Option<String>,
    },
    /// Bring a key back from its custodians' shares
    Recover(recover::Recover),
    /// Print a root document as a file to begin the next one with
    #[command(after_help = "Example:
  firmseal ceremony spec root-1.cbor > root.toml")]
    Spec {
        /// The signed document
        root: PathBuf,
    },
}

/// What goes into the record.
#[derive(Args)]
pub struct Stated {
    /// Who keeps the record; your account's name if left out
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// When, as those present state it; this machine's clock if left out
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl Stated {
    fn clerk(&self) -> Clerk {
        let account = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
        let who = self.by.clone().or_else(|| account().ok()).unwrap_or_else(|| "local".to_owned());
        Clerk { who, when: self.at.clone() }
    }
}

impl Ceremonies {
    /// Runs the subcommand.
    pub fn run(self, output: &Output) -> Result {
        match self {
            Ceremonies::Start(start) => start.run(output),
            Ceremonies::Show { request, payloads } => sign::show(&request, payloads.as_deref(), output),
            Ceremonies::Sign(sign) => block_on(sign.run(output)),
            Ceremonies::Add { directory, signatures, stated } => {
                let mut directory = Directory::open(&directory)?;
                for signature in &signatures {
                    let holder = directory.add(signature, &stated.clerk())?;
                    output.note(format_args!("{} is by {holder}", signature.display()));
                }
                status(&directory, output)
            }
            Ceremonies::Status { directory } => status(&Directory::open(&directory)?, output),
            Ceremonies::Finish(finish) => block_on(finish.run(output)),
            Ceremonies::VerifyRecord { file, digest } => {
                let record = directory::record(&file)?;
                let own = record.digest();
                if let Some(said) = digest
                    && parse_digest(&said) != Some(own)
                {
                    let what = format!("the record's digest is {own}, not the one that was written down");
                    return Err(CliError::new(Kind::Refused, what)
                        .about(file.display())
                        .hint("the file was written anew, or is another ceremony's"));
                }
                let count = record.events().len();
                let value = json!({ "title": record.title(), "entries": count, "digest": own.to_string() });
                output.value(&value, || {
                    Record::new()
                        .row("record", record.title())
                        .row("entries", count)
                        .row("digest", own)
                        .print()
                })
            }
            Ceremonies::Recover(recover) => block_on(recover.run(output)),
            Ceremonies::Spec { root } => {
                let about = |error: CliError| error.about(root.display());
                let document = trust::read(&root, ROOT_MAX)?;
                let decoded = Root::decode(&document).map_err(|error| about(error.into()))?;
                let spec = RootSpec::of(&decoded).map_err(|error| about(error.into()))?;
                let text = root_file::write(&spec)?;
                output.value(&json!({ "toml": text }), || text.clone())
            }
        }
    }
}

/// What somebody does next with a ceremony that has begun.
fn begun(directory: &Directory, output: &Output) -> Result {
    let request = directory.ceremony().request();
    let (file, words) = (directory.request_file(), request.words().to_string());
    let value = json!({
        "request": file,
        "digest": request.digest().to_string(),
        "words": words,
        "record": directory.record_file(),
    });
    output.value(&value, || {
        Record::new()
            .row("request", file.display())
            .row("words", &words)
            .row("next", "carry the request to the custodians, and read the words to them by another way")
            .print()
    })
}

/// How far a ceremony is.
fn status(directory: &Directory, output: &Output) -> Result {
    let ceremony = directory.ceremony();
    let missing = ceremony.missing();
    let value = json!({
        "title": ceremony.request().title(),
        "words": ceremony.request().words().to_string(),
        "complete": ceremony.is_complete(),
        "authorities": missing.iter().map(|missing| json!({
            "authority": missing.authority,
            "threshold": missing.need,
            "signed": missing.have,
            "waiting": missing.waiting,
            "half": missing.half,
            "met": missing.is_met(),
        })).collect::<Vec<_>>(),
    });
    output.value(&value, || {
        let names = |names: &[String]| if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        let mut record = Record::new().row("ceremony", ceremony.request().title());
        for missing in &missing {
            record = record
                .row(&missing.authority, format_args!("{} of {}", missing.have.len(), missing.need))
                .row("  signed", names(&missing.have));
            if !missing.is_met() {
                record = record.row("  waiting for", names(&missing.waiting()));
            }
        }
        let next = if ceremony.is_complete() { "firmseal ceremony finish" } else { "more signatures" };
        record.row("next", next).print()
    })
}

impl From<CeremonyError> for CliError {
    fn from(error: CeremonyError) -> CliError {
        let (kind, hint) = match &error {
            CeremonyError::Root(error) => return CliError::from(error.clone()),
            CeremonyError::Title | CeremonyError::Under(_) => (Kind::Usage, None),
            CeremonyError::Demanded { .. } => (
                Kind::Refused,
                Some("`firmseal release create` and `firmseal approve` make releases of this product"),
            ),
            CeremonyError::Repeated { .. } => (Kind::Conflict, None),
            CeremonyError::OtherRequest { .. } | CeremonyError::OtherBytes { .. } => {
                (Kind::Refused, Some("find out what was signed before anybody signs again"))
            }
            CeremonyError::Stranger(_) => {
                (Kind::Refused, Some("`firmseal ceremony show` names the holders and their keys"))
            }
            _ => (Kind::Refused, None),
        };
        let out = CliError::new(kind, error);
        match hint {
            Some(hint) => out.hint(hint),
            None => out,
        }
    }
}

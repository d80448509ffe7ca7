//! `firmseal witness`: one that cosigns other people's logs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use firmseal_manifest::{KeyError, PublicKey};
use firmseal_server::logging::{self, LogFormat};
use firmseal_witness::{Witness, WitnessError, service};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::serve::Log;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::record::Record;

/// Make, run and show a witness
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal witness init /var/lib/firmseal-witness --name witness.example.com/1
  firmseal witness serve /var/lib/firmseal-witness --listen 0.0.0.0:8450")]
pub enum Witnesses {
    /// Make a key and settings in a directory
    Init(Init),
    /// Cosign what grows from what was seen
    Serve(Serve),
    /// Show the key, the logs, and how far each was seen
    Show(Show),
}

/// Make a key and settings in a directory
///
/// Then add the logs to witness.toml there: `firmseal log show` prints a
/// log's key. Never restore a witness from a backup: one that forgot what it
/// saw can be lied to. Make a new one instead.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal witness init /var/lib/firmseal-witness --name witness.example.com/1")]
pub struct Init {
    /// The directory to make
    directory: PathBuf,
    /// The name under which it cosigns, best one below a domain of yours
    #[arg(long)]
    name: String,
}

/// Cosign what grows from what was seen
///
/// Speaks C2SP tlog-witness over plain HTTP: everything that counts is
/// signed. Runs until SIGINT or SIGTERM.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal witness serve /var/lib/firmseal-witness --listen 0.0.0.0:8450
  firmseal witness serve . --listen 127.0.0.1:8450 --log json")]
pub struct Serve {
    /// The directory that `witness init` made
    directory: PathBuf,
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8450")]
    listen: SocketAddr,
    /// How log lines are written
    #[arg(long, value_enum, default_value = "text")]
    log: Log,
    /// Which log lines are written
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    filter: String,
}

/// Show the key, the logs, and how far each was seen
///
/// Of a witness that is not running; one that runs answers at
/// /HEX/checkpoint, where HEX is SHA-256 of a log's origin.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal witness show /var/lib/firmseal-witness
  firmseal --json witness show .")]
pub struct Show {
    /// The directory that `witness init` made
    directory: PathBuf,
}

impl Witnesses {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        match self {
            Witnesses::Init(command) => command.run(output),
            Witnesses::Serve(command) => command.run(output).await,
            Witnesses::Show(command) => command.run(output),
        }
    }
}

impl Init {
    fn run(self, output: &Output) -> Result {
        let key = Witness::create(&self.directory, &self.name)?.to_string();
        output.note(format_args!("add logs to {}/witness.toml, then serve it", self.directory.display()));
        output.value(&json!({ "key": key }), || format!("{key}\n"))
    }
}

impl Serve {
    async fn run(self, output: &Output) -> Result {
        let format = match self.log {
            Log::Text => LogFormat::Text,
            Log::Json => LogFormat::Json,
        };
        logging::start(format, &self.filter);
        let witness = Arc::new(Witness::open(&self.directory)?);
        if witness.watched().is_empty() {
            output.note("no log is configured yet: add one to witness.toml and start again");
        }
        let mut terminate = signal(SignalKind::terminate())?;
        let socket = service::bind(self.listen).await?;
        output.note(format_args!("witness   http://{}", socket.local_addr()?));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let serving = tokio::spawn(service::serve(witness, socket, stopped));
        tokio::select! {
            result = tokio::signal::ctrl_c() => result?,
            _ = terminate.recv() => {}
        }
        // Nobody listening any more is what we want.
        let _ = stop.send(true);
        serving.await.map_err(|error| CliError::new(Kind::Unexpected, error))
    }
}

impl Show {
    fn run(self, output: &Output) -> Result {
        let witness = Witness::open(&self.directory)?;
        let key = witness.verifier().to_string();
        // As a root document takes it.
        let public = PublicKey::from_ed25519(*witness.verifier().ed25519().ok_or(KeyError::Malformed)?)?;
        let (id, pem) = (public.id().to_string(), public.to_pem()?);
        let watched = witness.watched();
        let logs: Vec<_> = watched
            .iter()
            .map(|log| json!({ "origin": log.origin, "size": log.size, "root": log.root }))
            .collect();
        output.value(&json!({ "key": key, "id": id, "pem": pem, "logs": logs }), || {
            let record =
                watched.iter().fold(Record::new().row("key", &key).row("key id", &id), |record, log| {
                    let seen = match log.size {
                        Some(size) => format!("{} ({size} entries)", log.origin),
                        None => format!("{} (not seen yet)", log.origin),
                    };
                    record.row("log", seen)
                });
            format!("{}{pem}", record.print())
        })
    }
}

impl From<WitnessError> for CliError {
    fn from(error: WitnessError) -> CliError {
        let kind = match &error {
            WitnessError::Name(_) | WitnessError::Settings { .. } => Kind::Usage,
            WitnessError::Exists(_) | WitnessError::InUse(_) => Kind::Conflict,
            WitnessError::Memory { .. } => Kind::Refused,
            WitnessError::File { .. } | WitnessError::Key { .. } | WitnessError::Listen { .. } => Kind::Local,
        };
        CliError::new(kind, error)
    }
}

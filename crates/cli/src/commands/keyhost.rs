//! `firmseal keyhost`: a process that holds keys for a server.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use firmseal_fleet::{Environment, Time};
use firmseal_keyhost::{HostError, Hosted, KeyHost, Use, service};
use firmseal_keys::SecretSource;
use firmseal_manifest::KeyName;
use firmseal_server::{
    Listener, ListenerLimits, Pair, SigningConfig, SigningListener, create_client_certificate,
    create_server_certificate,
};
use firmseal_store_local::IntentLog;
use firmseal_witness::Witness;
use serde::Deserialize;
use serde_json::json;

use super::block_on;
use super::init::World;
use crate::error::{CliError, Kind, Result, file};
use crate::file_access;
use crate::keys::{self, KeyUri};
use crate::output::Output;
use crate::record::Record;
use crate::supervision::{End, Supervision};

/// Files of a key host, relative to its directory.
mod layout {
    pub const SETTINGS: &str = "keyhost.toml";
    /// A witness of the server's log.
    pub const WITNESS: &str = "witness";
    /// Its own log: every use of a key here.
    pub const USES: &str = "uses";
    pub const LOG: &str = "log";
    pub const TLS: &str = "tls";
    /// What the server needs.
    pub const CLIENT: &str = "client";
}

/// Days that certificates are valid which `init` makes.
const VALID_DAYS: u32 = 365;

/// Make and show a key host: a process that holds keys for a server
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal keyhost init /srv/keyhost --name keys.example.com/1 --log \"$LOG_KEY\"
  firmseal serve /srv/keyhost --serve signing")]
pub enum KeyHosts {
    /// Make settings and certificates in a directory
    Init(Init),
    /// Show its keys, what they sign, and the logs that it watches
    Show(Show),
}

/// Make settings and certificates in a directory
///
/// Then add keys to keyhost.toml, copy the directory `client` to the server,
/// and name the host in the server's signing.toml. `firmseal log show` prints
/// the key of the server's log. Never restore a key host from a backup: one
/// that forgot what it saw of the log can be lied to.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal keyhost init /srv/keyhost --name keys.example.com/1 --log \"$LOG_KEY\"
  firmseal keyhost init /srv/keyhost --name keys.example.com/1 --log \"$LOG_KEY\" \\
      --environment production --host keys.example.com --address 0.0.0.0")]
pub struct Init {
    /// The directory to make
    directory: PathBuf,
    /// The name under which it cosigns the log, best one below a domain of yours
    #[arg(long)]
    name: String,
    /// The key of the log whose entries open keys here
    #[arg(long, value_name = "KEY")]
    log: String,
    /// Whether it holds keys for test or for production
    #[arg(long, value_enum, default_value = "test")]
    environment: World,
    /// The name or address by which the server reaches it
    #[arg(long, default_value = "localhost")]
    host: String,
    /// Where it listens
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    address: IpAddr,
    /// The port
    #[arg(long, default_value = "8460")]
    port: u16,
}

/// Show its keys, what they sign, how often any was used, and the logs that it watches
///
/// Also the keys that sign its own record of uses, with which `firmseal
/// monitor --uses` compares the server's log. Of a key host that is not running. Opens no key.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal keyhost show /srv/keyhost")]
pub struct Show {
    /// The directory that `keyhost init` made
    directory: PathBuf,
}

/// The file `keyhost.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    environment: Environment,
    secret: String,
    #[serde(default = "yes")]
    confine: bool,
    /// Directories that change besides its own: where a module keeps tokens.
    #[serde(default)]
    writable: Vec<PathBuf>,
    listener: Listener,
    #[serde(default)]
    limits: ListenerLimits,
    #[serde(default, rename = "key")]
    keys: Vec<KeyRow>,
}

fn yes() -> bool {
    true
}

/// A key of the host.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRow {
    name: KeyName,
    uri: KeyUri,
    uses: BTreeSet<Use>,
}

impl KeyHosts {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        match self {
            KeyHosts::Init(command) => command.run(output),
            KeyHosts::Show(command) => command.run(output),
        }
    }
}

impl Init {
    fn run(self, output: &Output) -> Result {
        let base = &self.directory;
        let witness = base.join(layout::WITNESS);
        if std::fs::symlink_metadata(base).is_ok() {
            return Err(CliError::new(Kind::Conflict, "exists")
                .about(base.display())
                .hint("a key host is never made over another; choose another directory"));
        }
        // Read before anything is made.
        let key = firmseal_tlog::VerifierKey::parse(&self.log).map_err(|error| {
            CliError::new(Kind::Usage, error)
                .about("--log")
                .hint("`firmseal log show` prints the key of a log")
        })?;
        for directory in ["", layout::USES, layout::TLS, layout::CLIENT] {
            let path = base.join(directory);
            DirBuilder::new().mode(0o700).recursive(true).create(&path).map_err(file(&path))?;
        }
        let cosigns = Witness::create(&witness, &self.name)?;
        let record = IntentLog::open(&base.join(layout::USES).join(layout::LOG))?;
        let record: Vec<_> = record.verifiers().iter().map(ToString::to_string).collect();
        let watched = format!("[[log]]\nkey = \"{key}\"\n");
        write(&witness.join("witness.toml"), &watched, 0o600)?;
        let now = Time::from(SystemTime::now());
        let usage = |error: firmseal_server::CaError| CliError::new(Kind::Usage, error);
        let server = create_server_certificate(std::slice::from_ref(&self.host), VALID_DAYS, now);
        let Pair { certificate, key } = server.map_err(usage)?;
        write(&base.join("tls/server.pem"), &certificate, 0o644)?;
        write(&base.join("tls/server.key"), &key, 0o600)?;
        write(&base.join("client/server.pem"), &certificate, 0o644)?;
        let Pair { certificate, key } =
            create_client_certificate("firmseal server", VALID_DAYS, now).map_err(usage)?;
        write(&base.join("tls/clients.pem"), &certificate, 0o644)?;
        write(&base.join("client/client.pem"), &certificate, 0o644)?;
        write(&base.join("client/client.key"), &key, 0o600)?;
        // Last: without it this is no key host yet.
        write(&base.join(layout::SETTINGS), &self.settings(), 0o600)?;
        output.note(format_args!("add keys to {}/{}, then serve it", base.display(), layout::SETTINGS));
        let url = format!("https://{}:{}", self.host, self.port);
        let value = json!({
            "directory": base, "cosigns": cosigns.to_string(), "url": url, "record": record,
        });
        output.value(&value, || {
            let rows = Record::new().row("key host", base.display()).row("cosigns as", &cosigns);
            record
                .iter()
                .fold(rows, |rows, key| rows.row("record's key", key))
                .row("address", &url)
                .row("for the server", format_args!("{}/{}", base.display(), layout::CLIENT))
                .row("next", format_args!("firmseal serve {} --serve signing", base.display()))
                .print()
        })
    }

    fn settings(&self) -> String {
        let environment = match self.environment {
            World::Test => "test",
            World::Production => "production",
        };
        format!(
            "# A key host. Unknown keys are errors; paths are relative to this file.
environment = \"{environment}\"
# Where PINs and passphrases come from: `file:PATH`, `env:NAME` or `prompt`.
secret = \"prompt\"
# Directories that change besides this one: where a module keeps its tokens.
writable = []

[listener]
serves = \"signing\"
address = \"{}\"
port = {}
certificate = \"tls/server.pem\"
key = \"tls/server.key\"
validate_client_certificates = true
authority = \"tls/clients.pem\"

# [[key]]
# name = \"release-2026\"
# uri = \"pkcs11:token=hsm;object=release\"
# uses = [\"release\"]
",
            self.address, self.port
        )
    }
}

impl Settings {
    /// Reads and checks a key host's settings.
    fn read(base: &Path) -> Result<Settings> {
        let path = base.join(layout::SETTINGS);
        if !path.is_file() {
            let what = format_args!("{} is no key host", base.display());
            return Err(CliError::new(Kind::NotFound, what).hint("`firmseal keyhost init` makes one"));
        }
        let text = std::fs::read_to_string(&path).map_err(file(&path))?;
        let usage = |why: &dyn std::fmt::Display| CliError::new(Kind::Usage, why).about(path.display());
        let settings: Settings = toml::from_str(&text).map_err(|error| usage(&error.message()))?;
        let in_file = settings.keys.iter().find(|key| key.uri.is_development_only());
        if let Some(key) = in_file.filter(|_| settings.environment == Environment::Production) {
            return Err(CliError::new(Kind::Refused, format_args!("key `{}` lies in a file", key.name))
                .about(path.display())
                .hint("production keys live in tokens: name it as a pkcs11: URI"));
        }
        if let Some(key) = settings.keys.iter().find(|key| key.uses.is_empty()) {
            let why = format!("key `{}` has no uses and would sign nothing", key.name);
            return Err(usage(&why).hint("write uses = [\"release\"], say"));
        }
        Ok(settings)
    }
}

/// Runs a key host until it is told to stop.
pub fn serve(base: &Path, output: &Output) -> Result {
    let settings = Settings::read(base)?;
    if settings.confine {
        let own = std::iter::once(base.to_owned());
        let paths = own.chain(settings.writable.iter().map(|path| base.join(path)));
        // Now: threads that exist already would not be bound by it.
        file_access::confine(paths)?;
    }
    block_on(run(base, settings, output))
}

async fn run(base: &Path, settings: Settings, output: &Output) -> Result {
    let supervision = Supervision::begin();
    let about = |error: CliError| error.about(base.join(layout::SETTINGS).display());
    let shutdown = Duration::from_secs(settings.limits.shutdown_seconds);
    let config = SigningConfig { listener: settings.listener, limits: settings.limits };
    let config =
        config.resolve(base).map_err(|(why, hint)| about(CliError::new(Kind::Usage, why).hint(hint)))?;
    let secret = match settings.secret.parse::<SecretSource>()? {
        SecretSource::File(path) => SecretSource::File(base.join(path)),
        other => other,
    };
    let open = |key: KeyRow| {
        let signer =
            keys::open(&key.uri.within(base), &secret).map_err(|error| about(error).about(&key.name))?;
        Ok(Hosted { name: key.name, signer, uses: key.uses })
    };
    let keys = settings.keys.into_iter().map(open).collect::<Result<Vec<_>>>()?;
    if keys.is_empty() {
        output.note("no key is configured yet: add one to keyhost.toml and start again");
    }
    let witness = Witness::open(&base.join(layout::WITNESS))?;
    // Any key is used for what stands in a log that is watched: with a second
    // server's log beside, its owner would open the first one's keys.
    if witness.watched().iter().map(|log| &log.origin).collect::<BTreeSet<_>>().len() > 1 {
        return Err(CliError::new(Kind::Usage, "a key host watches the log of one server")
            .about(base.join(layout::WITNESS).display())
            .hint("make a key host for each server"));
    }
    let host =
        KeyHost::open(settings.environment, witness, &base.join(layout::USES).join(layout::LOG), keys)?;
    let mut end = End::new()?;
    let listener = SigningListener::start(config, service::router(Arc::new(host))).await?;
    output.note(format_args!("signing   https://{}", listener.address()));
    supervision.up("signing", None);
    end.asked().await;
    output.note("stopping; requests in flight may end");
    supervision.ends(shutdown);
    listener.shutdown().await;
    Ok(())
}

impl Show {
    fn run(self, output: &Output) -> Result {
        let settings = Settings::read(&self.directory)?;
        let witness = Witness::open(&self.directory.join(layout::WITNESS))?;
        let keys: Vec<_> = settings
            .keys
            .iter()
            .map(|key| json!({ "name": key.name, "uri": key.uri, "uses": key.uses }))
            .collect();
        let logs: Vec<_> = witness
            .watched()
            .iter()
            .map(|log| json!({ "origin": log.origin, "size": log.size, "root": log.root }))
            .collect();
        let uses = self.directory.join(layout::USES).join(layout::LOG);
        let log = IntentLog::open(&uses)?;
        let used = log.len();
        let recorded: Vec<_> = log.verifiers().iter().map(ToString::to_string).collect();
        let value = json!({
            "environment": settings.environment, "keys": keys, "logs": logs, "used": used, "record": recorded,
        });
        output.value(&value, || {
            let record = Record::new().row("environment", settings.environment.name()).row("keys used", used);
            let record = settings.keys.iter().fold(record, |record, key| {
                let uses: Vec<&str> = key.uses.iter().map(|used| used.as_str()).collect();
                record.row("key", format_args!("{} signs {} with {}", key.name, uses.join(", "), key.uri))
            });
            let seen =
                |size: Option<u64>| size.map_or("not seen yet".to_owned(), |size| format!("{size} entries"));
            let record = recorded.iter().fold(record, |record, key| record.row("record's key", key));
            let logs = witness.watched();
            logs.iter()
                .fold(record, |record, log| {
                    record.row("log", format_args!("{} ({})", log.origin, seen(log.size)))
                })
                .print()
        })
    }
}

fn write(path: &Path, content: &str, mode: u32) -> Result {
    let open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    open.and_then(|mut out| out.write_all(content.as_bytes())).map_err(file(path))
}

impl From<HostError> for CliError {
    fn from(error: HostError) -> CliError {
        match error {
            HostError::Store(error) => error.into(),
            HostError::Twice(_) => CliError::new(Kind::Usage, error),
            other => CliError::new(Kind::Unexpected, other),
        }
    }
}

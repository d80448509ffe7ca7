//! `firmseal serve`: the server of a place.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use firmseal_keys::SecretSource;
use firmseal_server::logging::{self, LogFormat};
use firmseal_server::{Config, ConfigError, Deps, Running, Server, ServerError};
use firmseal_store::Store;
use firmseal_store_local::LocalStore;

use crate::commands::{block_on, keyhost};
use crate::error::{CliError, Kind, Result};
use crate::file_access;
use crate::key_opening::Absent;
use crate::keys::KeyUri;
use crate::output::Output;
use crate::place::{Place, layout};
use crate::supervision::{End, Supervision};

/// Start the server of a place, or a key host
///
/// Runs until SIGINT or SIGTERM, then lets requests end. SIGHUP looks for
/// new certificates at once; they are also noticed by themselves. With
/// `--serve signing` the directory is a key host, which `keyhost init` made.
/// Two servers on one directory, the second with `--standby`, are one service
/// that outlives either (docs/how-to/standby.md).
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal serve
  firmseal serve /srv/firmseal --log json
  firmseal serve /srv/firmseal --standby
  firmseal serve /srv/keyhost --serve signing
  RUST_LOG=debug firmseal serve")]
pub struct Serve {
    /// The place that `firmseal init` made
    #[arg(default_value = "firmseal")]
    place: PathBuf,
    /// What this process serves: everything, or signatures to a server that
    /// holds no keys
    #[arg(long, value_enum, default_value = "all", value_name = "WHAT")]
    serve: What,
    /// Wait while another server has this place, and take over when it ends
    #[arg(long)]
    standby: bool,
    /// How log lines are written
    #[arg(long, value_enum, default_value = "text")]
    log: Log,
    /// Which log lines are written
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    filter: String,
}

/// What a process serves.
#[derive(Clone, Copy, ValueEnum)]
pub enum What {
    /// Operators, devices and the public
    All,
    /// Signatures, from the keys of a key host
    Signing,
}

/// How log lines are written.
#[derive(Clone, Copy, ValueEnum)]
pub enum Log {
    /// Text for people
    Text,
    /// One JSON object in each line
    Json,
}

impl Serve {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        let format = match self.log {
            Log::Text => LogFormat::Text,
            Log::Json => LogFormat::Json,
        };
        logging::start(format, &self.filter);
        match self.serve {
            What::All => {
                let place = Place::open(&self.place)?;
                let config = Config::read(&place.path(layout::SERVER))?;
                if config.confine {
                    // Large files that are looked at pass through the system's
                    // temporary directory.
                    let own = [self.place.clone(), std::env::temp_dir()];
                    file_access::confine(own.into_iter().chain(config.writable.clone()))?;
                }
                block_on(all(place, config, self.standby, output))
            }
            What::Signing if self.standby => Err(CliError::new(Kind::Usage, "a key host does not stand by")
                .hint("run two that hold the same keys: docs/how-to/key-host.md")),
            What::Signing => keyhost::serve(&self.place, output),
        }
    }
}

async fn all(place: Place, config: Config, standby: bool, output: &Output) -> Result {
    let supervision = Supervision::begin();
    // Until its keys are open, an ordinary start is ended by the signals
    // themselves: it may stand at a prompt.
    let (store, config, end) = match standby {
        false => (place.store()?, config, None),
        true => {
            let mut end = End::new()?;
            let store = tokio::select! {
                store = take_over(&place, &config, &supervision, output) => store?,
                () = end.asked() => return Ok(()),
            };
            (store, changed(&place, &config)?, Some(end))
        }
    };
    let requests = Duration::from_secs(config.limits.shutdown_seconds);
    let longest = config.limits.hang();
    let deps = with(&place, store).await?;
    let mut end = end.map_or_else(End::new, Ok)?;
    let running = tokio::select! {
        running = Server::start(config, deps) => running?,
        () = end.asked() => return Ok(()),
    };
    for (serves, address) in running.addresses() {
        output.note(format_args!("{:<9} https://{address}", serves.as_str()));
    }
    supervision.up("serving", longest.map(|longest| (running.pulse(), longest)));
    end.asked().await;
    output.note("stopping; requests in flight may end");
    supervision.ends(requests);
    running.shutdown().await;
    Ok(())
}

/// How often a standby looks whether the store is free.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until no other process has the store, and opens it.
async fn take_over(
    place: &Place,
    config: &Config,
    supervision: &Supervision,
    output: &Output,
) -> Result<LocalStore> {
    let successor = place.successor()?;
    let mut waits = false;
    loop {
        supervision.takes_over();
        if let Some(store) = successor.take_over()? {
            if waits {
                output.note("the other server is gone: taking over");
            }
            return Ok(store);
        }
        if !waits {
            waits = true;
            // While there is somebody to be told: nobody is when it matters.
            rehearse(place, config)?;
            output.note("another server has this place: standing by");
            supervision.up("standing by", None);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Reads what a start reads, but for what keys want.
fn rehearse(place: &Place, config: &Config) -> Result {
    let signing = place.signing()?;
    let secret = place.secret(&signing)?;
    let asks = |uri: &KeyUri| uri.home().is_ok_and(|home| home.asks_a_person(&secret));
    if secret == SecretSource::Prompt || signing.uris().any(asks) {
        return Err(CliError::new(
            Kind::Usage,
            "a standby has nobody to ask for a passphrase when it takes over",
        )
        .hint("name a file or a variable as `secret` or in the key's URI in signing.toml"));
    }
    drop(secret.read("secret of the keys")?);
    place.root()?;
    Ok(Server::rehearse(config)?)
}

/// The settings, which somebody may have changed since this process began to
/// wait. What it gave up by then is given up.
fn changed(place: &Place, before: &Config) -> Result<Config> {
    let now = Config::read(&place.path(layout::SERVER))?;
    match (now.confine, &now.writable) == (before.confine, &before.writable) {
        true => Ok(now),
        false => Err(CliError::new(
            Kind::Local,
            "`confine` or `writable` is another one than when this server began to stand by",
        )
        .hint("start it again")),
    }
}

/// What the server of a place works with: its store and its keys.
pub async fn deps(place: &Place) -> Result<Deps> {
    with(place, place.store()?).await
}

async fn with(place: &Place, store: LocalStore) -> Result<Deps> {
    let log = place.log(&store)?;
    let pipeline = Arc::new(place.pipeline(&store, &log, Absent::Awaited).await?);
    let shared: Arc<dyn Store> = Arc::new(store);
    Ok(Deps { public: Some(log.clone()), ..Deps::new(shared, pipeline, Arc::new(log)) })
}

/// Starts the server of a place on free ports of the loopback interface.
pub async fn start_on_free_ports(place: &Place) -> Result<Running> {
    let config = Config::read(&place.path(layout::SERVER))?;
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    start_on(place, &vec![free; config.listener.len()]).await
}

/// Starts the server of a place on these addresses, one for each listener.
pub async fn start_on(place: &Place, addresses: &[SocketAddr]) -> Result<Running> {
    let config = Config::read(&place.path(layout::SERVER))?;
    let mut sockets = Vec::new();
    for address in addresses {
        sockets.push(tokio::net::TcpListener::bind(address).await?);
    }
    Ok(Server::start_on(config, deps(place).await?, sockets).await?)
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> CliError {
        let hint = error.hint.clone();
        CliError::new(Kind::Usage, error).hint(hint)
    }
}

impl From<ServerError> for CliError {
    fn from(error: ServerError) -> CliError {
        match error {
            ServerError::Store(error) => error.into(),
            ServerError::Twice(_) => CliError::new(Kind::Usage, error),
            other => CliError::new(Kind::Local, other),
        }
    }
}

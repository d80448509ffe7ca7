//! `firmseal serve`: the server of a place.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use firmseal_server::logging::{self, LogFormat};
use firmseal_server::{Config, ConfigError, Deps, Running, Server, ServerError};
use firmseal_store::Store;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::{block_on, keyhost};
use crate::error::{CliError, Kind, Result};
use crate::file_access;
use crate::output::Output;
use crate::place::{Place, layout};

/// Start the server of a place, or a key host
///
/// Runs until SIGINT or SIGTERM, then lets requests end. SIGHUP looks for
/// new certificates at once; they are also noticed by themselves. With
/// `--serve signing` the directory is a key host, which `keyhost init` made.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal serve
  firmseal serve /srv/firmseal --log json
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
                block_on(all(place, config, output))
            }
            What::Signing => keyhost::serve(&self.place, output),
        }
    }
}

async fn all(place: Place, config: Config, output: &Output) -> Result {
    let deps = deps(&place).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let running = Server::start(config, deps).await?;
    for (serves, address) in running.addresses() {
        output.note(format_args!("{:<9} https://{address}", serves.as_str()));
    }
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    output.note("stopping; requests in flight may end");
    running.shutdown().await;
    Ok(())
}

/// What the server of a place works with: its store and its open keys.
pub async fn deps(place: &Place) -> Result<Deps> {
    let store = place.store()?;
    let log = place.log(&store)?;
    let pipeline = Arc::new(place.pipeline(&store, &log).await?);
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

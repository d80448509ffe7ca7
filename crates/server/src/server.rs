//! The server as a whole: started, running, stopped.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use firmseal_core::{Refusal, Root};
use firmseal_fleet::Environment;
use firmseal_keys::DynLog;
use firmseal_notify::NotifyError;
use firmseal_sign::{Dispatcher, Pipeline, Seen, TrustError};
use firmseal_store::{Store, StoreError};
use firmseal_witness::PublicLog;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api;
use crate::app::catalog::Catalog;
use crate::app::counting;
use crate::app::denials::Denials;
use crate::app::identities::{Identities, IdentityError};
use crate::app::log::Published;
use crate::app::presence::Presence;
use crate::app::readiness::Readiness;
use crate::app::{App, NamedOperator};
use crate::ca::{CaError, DeviceCa};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Listener, Serves};
use crate::listen::Listening;
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use crate::tasks::{self, notices::Receiver};
use crate::tls::{ReloadingTls, TlsError};

/// Most jobs of one key that are carried out at once. A key's own pool says
/// how many it takes; this bounds what is read and held in memory for it.
const JOBS_PER_KEY: u32 = 256;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Somebody else has the port.
    #[error("{0} is in use by another program; stop it, or choose another port")]
    InUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// Two listeners have the same address.
    #[error("two listeners have the address {0}; give each its own port")]
    Twice(SocketAddr),
    /// A TLS file cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The device CA cannot be used.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// An identity provider cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The root document is none.
    #[error("the root document cannot be used: {0}")]
    Root(Refusal),
    /// The chain of root documents cannot be used.
    #[error("the root documents cannot be used: {0}")]
    Trust(#[from] TrustError),
    /// What a revocation takes away cannot be taken away here.
    #[error("the newest revocation cannot be carried out: {0}")]
    Revocation(String),
    /// A receiver of notices cannot be used.
    #[error(transparent)]
    Notify(#[from] NotifyError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the server works with, made by whoever starts it.
pub struct Deps {
    /// Everything that is kept.
    pub store: Arc<dyn Store>,
    /// Signs.
    pub pipeline: Arc<Pipeline>,
    /// Where intents are logged.
    pub log: Arc<dyn DynLog>,
    /// The log, where it is public.
    pub public: Option<PublicLog>,
    /// Operators known by a name in a client certificate, besides those in
    /// the configuration.
    pub operators: Vec<NamedOperator>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

impl Deps {
    /// The usual ones: the clock is the machine's, and nobody is known by
    /// name.
    pub fn new(store: Arc<dyn Store>, pipeline: Arc<Pipeline>, log: Arc<dyn DynLog>) -> Deps {
        Deps { store, pipeline, log, public: None, operators: Vec::new(), clock: Arc::new(SystemClock) }
    }
}

/// What the files that the configuration names hold, but for the store's and
/// the keys': all of it is read before the first connection is accepted.
struct Files {
    ca: DeviceCa,
    identities: Identities,
    receivers: Vec<Receiver>,
    /// One for each listener.
    tls: Vec<Arc<ReloadingTls>>,
}

impl Files {
    fn read(config: &Config) -> Result<Files, ServerError> {
        let tls = |listener: &Listener| {
            let settings = listener.tls(&config.device_ca.certificate)?;
            Ok::<_, ServerError>(Arc::new(ReloadingTls::load(settings)?))
        };
        Ok(Files {
            ca: DeviceCa::read(&config.device_ca)?,
            identities: Identities::new(&config.identity)?,
            receivers: config.receivers()?,
            tls: config.listener.iter().map(tls).collect::<Result<_, _>>()?,
        })
    }
}

/// The server.
pub struct Server;

impl Server {
    /// Reads every file that a start reads, and starts nothing: for whoever
    /// is to start later, when there is nobody to mend what is wrong.
    pub fn rehearse(config: &Config) -> Result<(), ServerError> {
        Files::read(config).map(drop)
    }

    /// Starts: when this returns, every listener accepts connections.
    pub async fn start(config: Config, deps: Deps) -> Result<Running, ServerError> {
        let mut taken = HashSet::new();
        let mut sockets = Vec::new();
        for listener in &config.listener {
            let address = listener.socket();
            if !taken.insert(address) {
                return Err(ServerError::Twice(address));
            }
            sockets.push(bind(address).await?);
        }
        Server::start_on(config, deps, sockets).await
    }

    /// Starts on sockets that are bound already, one for each listener of
    /// the configuration, whose addresses and ports are not looked at. For
    /// tests and the demo, which take whatever port is free.
    pub async fn start_on(
        config: Config,
        deps: Deps,
        sockets: Vec<TcpListener>,
    ) -> Result<Running, ServerError> {
        let Files { ca, identities, receivers, tls } = Files::read(&config)?;
        let trust = deps.pipeline.load_trust(deps.clock.now()).await?;
        let metrics = Arc::new(Metrics::new());
        let catalog = Arc::new(Catalog::default());
        let (clock, counted, offered) = (deps.clock.clone(), metrics.clone(), catalog.clone());
        let dispatcher = Dispatcher::new(
            deps.pipeline.clone(),
            Arc::new(move || clock.now()),
            JOBS_PER_KEY,
            Box::new(move |seen: Seen<'_>| counting::observe(&counted, &offered, seen)),
        );
        let app = Arc::new(App {
            environment: environment(trust.root()).map_err(ServerError::Root)?,
            ca,
            store: deps.store,
            pipeline: deps.pipeline,
            log: deps.log,
            clock: deps.clock,
            operators: deps.operators.into_iter().chain(config.named_operators()).collect(),
            identities,
            limits: config.limits.clone(),
            metrics,
            pulse: Arc::new(Pulse::new()),
            dispatcher,
            catalog,
            presence: Presence::default(),
            readiness: Readiness::default(),
            published: Published::new(deps.public),
            rollouts: tokio::sync::Mutex::default(),
            denials: Denials::default(),
            recording: Arc::default(),
        });
        app.pipeline.enter_keys(app.clock.now()).await?;
        tasks::warn_keys(app.clone()).await;
        app.tell_policy();
        app.enforce_revocation().await.map_err(|err| ServerError::Revocation(err.to_string()))?;
        app.catalog.refresh(app.store.as_ref()).await?;
        let (stop, stopped) = watch::channel(false);
        let mut listeners = JoinSet::new();
        let mut addresses = Vec::new();
        for ((listener, socket), tls) in config.listener.iter().zip(sockets).zip(&tls) {
            let address = socket.local_addr().map_err(|err| unusable(listener.socket(), &err))?;
            addresses.push((listener.serves, address));
            tracing::info!(listener = listener.serves.as_str(), %address, door = door(listener), "listening");
            let listening = Listening {
                socket,
                serves: listener.serves,
                tls: tls.clone(),
                router: api::router(listener.serves, app.clone()),
                limits: config.limits.listener(),
                metrics: app.metrics.clone(),
                stop: stopped.clone(),
            };
            listeners.spawn(listening.run());
        }
        let mut background = JoinSet::new();
        tasks::start(&mut background, &app, tls.clone(), receivers, &stopped);
        // Coming up took what it took.
        app.pulse.beat();
        Ok(Running { addresses, app, tls, stop, listeners, background })
    }
}

/// What a root document is for, in the fleet's word.
fn environment(root: &[u8]) -> Result<Environment, Refusal> {
    Ok(match Root::decode(root)?.environment() {
        firmseal_core::Environment::Test => Environment::Test,
        firmseal_core::Environment::Production => Environment::Production,
    })
}

fn door(listener: &Listener) -> &'static str {
    match listener.serves {
        Serves::Device => "device certificates",
        _ if listener.validate_client_certificates => "client certificates",
        _ => "encrypted only",
    }
}

pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|err| unusable(address, &err))
}

fn unusable(address: SocketAddr, err: &io::Error) -> ServerError {
    match err.kind() {
        io::ErrorKind::AddrInUse => ServerError::InUse(address),
        _ => ServerError::Listen { address, why: err.to_string() },
    }
}

/// A server that runs. Dropping it cuts every connection; call
/// [`Running::shutdown`] to let requests end.
pub struct Running {
    addresses: Vec<(Serves, SocketAddr)>,
    app: Arc<App>,
    tls: Vec<Arc<ReloadingTls>>,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
    background: JoinSet<()>,
}

impl Running {
    /// Where each listener is, in the order of the configuration.
    pub fn addresses(&self) -> &[(Serves, SocketAddr)] {
        &self.addresses
    }

    /// The first listener that serves this.
    pub fn address(&self, serves: Serves) -> Option<SocketAddr> {
        self.addresses.iter().find(|(kind, _)| *kind == serves).map(|(_, address)| *address)
    }

    /// When it last got something done.
    pub fn pulse(&self) -> Arc<Pulse> {
        self.app.pulse.clone()
    }

    /// Looks for new TLS files at once, as SIGHUP does. Returns how many
    /// listeners have new ones now.
    pub fn reload(&self) -> usize {
        self.tls.iter().filter(|tls| tls.reload() == crate::tls::Reload::Replaced).count()
    }

    /// Stops: no new connection, requests in flight end, notes are written
    /// down.
    pub async fn shutdown(mut self) {
        // Nobody listening any more is what we want.
        let _ = self.stop.send(true);
        while self.listeners.join_next().await.is_some() {}
        while self.background.join_next().await.is_some() {}
        tasks::tell_denials(self.app.clone()).await;
        tasks::write_notes(self.app.clone()).await;
        tasks::settle_keys(self.app.clone()).await;
        tasks::keep_habits(self.app.clone()).await;
        self.app.published.close().await;
        tracing::info!("stopped");
    }
}

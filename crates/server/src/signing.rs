//! The listener of a key host: the same door, bounds and closing of
//! connections as the server's own, around other routes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{Listener, ListenerLimits, Serves};
use crate::listen::Listening;
use crate::metrics::Metrics;
use crate::server::{ServerError, bind};
use crate::tls::ReloadingTls;

/// Where a key host listens, and whom it lets in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningConfig {
    /// The one listener.
    pub listener: Listener,
    /// What bounds callers.
    #[serde(default)]
    pub limits: ListenerLimits,
}

impl SigningConfig {
    /// Checks it, and makes its paths those of a file in `base`. What is
    /// wrong, and a hint.
    pub fn resolve(mut self, base: &Path) -> Result<SigningConfig, (String, &'static str)> {
        let listener = &mut self.listener;
        for path in [&mut listener.certificate, &mut listener.key].into_iter().chain(&mut listener.authority)
        {
            *path = base.join(&*path);
        }
        if listener.serves != Serves::Signing {
            return Err((
                "a key host serves signing and nothing else".to_owned(),
                "write serves = \"signing\"",
            ));
        }
        if let Some(name) = self.limits.unusable() {
            return Err((format!("limits: {name} = 0 would let nothing through"), "leave it out"));
        }
        self.listener.check()?;
        Ok(self)
    }
}

/// A key host's listener that runs. Dropping it cuts every connection.
pub struct SigningListener {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

impl SigningListener {
    /// Starts: when this returns, connections are accepted.
    pub async fn start(config: SigningConfig, router: Router) -> Result<SigningListener, ServerError> {
        let SigningConfig { listener, limits } = config;
        // It has clients of its own, and no devices that could stand in.
        let tls = Arc::new(ReloadingTls::load(listener.tls(Path::new(""))?)?);
        let socket = bind(listener.socket()).await?;
        let address = socket
            .local_addr()
            .map_err(|error| ServerError::Listen { address: listener.socket(), why: error.to_string() })?;
        let (stop, stopped) = watch::channel(false);
        let listening = Listening {
            socket,
            serves: Serves::Signing,
            tls,
            router,
            limits,
            metrics: Arc::new(Metrics::new()),
            stop: stopped,
        };
        let mut running = JoinSet::new();
        running.spawn(listening.run());
        Ok(SigningListener { address, stop, running })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: no new connection, requests in flight end.
    pub async fn shutdown(mut self) {
        // Nobody listening any more is what we want.
        let _ = self.stop.send(true);
        while self.running.join_next().await.is_some() {}
    }
}

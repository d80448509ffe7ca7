//! Connections: accepted, bounded, and closed in time.
//!
//! Every wait has an end here: for the handshake, for the head of a
//! request, for a peer that stops reading, and for the connection itself.

mod close;
mod stall;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use crate::config::{ListenerLimits, Serves};
use crate::metrics::{Handshake, Metrics, OnListener, handshake_reason};
use crate::tls::{PeerCertificate, ReloadingTls};
use stall::Stall;

/// A connection as HTTP has it.
type Io = TokioIo<TlsStream<close::Socket>>;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Verified in the handshake.
    pub(crate) certificate: Option<PeerCertificate>,
    pub(crate) listener: Serves,
}

/// One listener with everything it needs to serve.
pub(crate) struct Listening {
    pub(crate) socket: TcpListener,
    pub(crate) serves: Serves,
    pub(crate) tls: Arc<ReloadingTls>,
    pub(crate) router: Router,
    pub(crate) limits: ListenerLimits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Pause after an accept that failed: the usual reason is that the process
/// is out of file descriptors, and trying at once would burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection in the gauge, however its task ends.
struct Counted {
    metrics: Arc<Metrics>,
    label: OnListener,
}

impl Counted {
    fn new(metrics: &Arc<Metrics>, serves: Serves) -> Counted {
        let label = OnListener { listener: serves.as_str() };
        metrics.connections.get_or_create(&label).inc();
        Counted { metrics: metrics.clone(), label }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.connections.get_or_create(&self.label).dec();
    }
}

impl Listening {
    /// Serves until told to stop, then lets requests end.
    pub(crate) async fn run(self) {
        let this = Arc::new(self);
        let mut stop = this.stop.clone();
        let permits = Arc::new(Semaphore::new(this.limits.connections));
        let mut connections = JoinSet::new();
        loop {
            // The permit comes first: above the cap, new connections wait in
            // the system's backlog instead of in our memory.
            let permit = tokio::select! {
                permit = permits.clone().acquire_owned() => permit,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let Ok(permit) = permit else { break };
            let accepted = tokio::select! {
                accepted = this.socket.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, address)) => {
                    let this = this.clone();
                    connections.spawn(async move {
                        this.connection(stream, address).await;
                        drop(permit);
                    });
                }
                Err(err) => {
                    tracing::warn!(listener = this.serves.as_str(), error = %err, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(this.limits.shutdown(), ended).await.is_err() {
            tracing::warn!(listener = this.serves.as_str(), "requests did not end in time and were cut");
        }
    }

    async fn connection(&self, stream: TcpStream, address: SocketAddr) {
        let _counted = Counted::new(&self.metrics, self.serves);
        self.serve(stream, address).await;
    }

    async fn serve(&self, stream: TcpStream, address: SocketAddr) {
        // Small answers leave at once; a failure costs latency only.
        let _ = stream.set_nodelay(true);
        let acceptor = TlsAcceptor::from(self.tls.current());
        let handshake = acceptor.accept(Stall::new(stream, self.limits.stall())).into_fallible();
        let stream = match tokio::time::timeout(self.limits.handshake(), handshake).await {
            Err(_) => return self.handshake_failed(address, "timeout", "no handshake in time"),
            Ok(Err((err, socket))) => {
                self.handshake_failed(address, handshake_reason(&err), &err.to_string());
                return close::close_socket(socket, self.stop.clone()).await;
            }
            Ok(Ok(stream)) => stream,
        };
        let certificate = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(|certificate| PeerCertificate::read(certificate));
        let peer = Arc::new(Peer { address, certificate, listener: self.serves });
        let router = self.router.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            router.clone().oneshot(request)
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header())
            .max_headers(64)
            .max_buf_size(self.limits.head_bytes.max(8192))
            .serve_connection(TokioIo::new(stream), service);
        self.converse(Pin::new(&mut connection)).await;
        close::close(connection.into_parts().io.into_inner(), self.stop.clone()).await;
    }

    /// Answers requests, until one side has enough of it.
    async fn converse<S>(&self, mut connection: Pin<&mut http1::Connection<Io, S>>)
    where
        S: HttpService<Incoming, ResBody = Body>,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut stop = self.stop.clone();
        tokio::select! {
            // An error here is a caller that went away, was silent for too
            // long or broke the protocol; hyper has answered what could be
            // answered.
            _ = connection.as_mut() => return,
            _ = tokio::time::sleep(self.limits.connection_age()) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        // No further request; the one in flight may end. A download that
        // does not end within another age is cut, and resumes.
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(self.limits.connection_age(), connection).await;
    }

    fn handshake_failed(&self, address: SocketAddr, reason: &'static str, why: &str) {
        let label = Handshake { listener: self.serves.as_str(), reason };
        self.metrics.handshakes_failed.get_or_create(&label).inc();
        // Anybody can make these lines; they stay below the default level.
        tracing::debug!(listener = self.serves.as_str(), %address, reason, why, "tls handshake failed");
    }
}

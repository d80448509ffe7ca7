//! The witness on HTTP (C2SP tlog-witness): `POST /add-checkpoint` and `GET
//! /<hex of SHA-256 of an origin>/checkpoint`.
//!
//! Plain HTTP: nothing here is secret, and every byte that counts is signed.
//! Whoever sits in between can drop requests, which closing the connection
//! does as well. A reverse proxy may put TLS in front.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use firmseal_tlog::NOTE_MAX;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::error::WitnessError;
use crate::witness::{Reply, Witness};

/// Longest request body: a checkpoint and 63 hashes.
pub const BODY_MAX: usize = NOTE_MAX + 4 * 1024;
/// Connections at once.
const CONNECTIONS: usize = 256;
/// How long a connection may last. A log asks every few minutes.
const AGE: Duration = Duration::from_secs(60);
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// Pause after an accept that failed, for want of descriptors say.
const PAUSE: Duration = Duration::from_millis(50);

/// The routes.
pub fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{log}/checkpoint", get(checkpoint))
        .route("/healthz", get(async || "ok\n"))
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Body) -> Response {
    // Too long, broken off: both are no request of ours.
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return answer(Reply { status: 400, content_type: "text/plain", body: "too long\n".to_owned() });
    };
    let body = body.to_bytes();
    // A clock before 1970 is as good as none.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    // It waits for the disk.
    match tokio::task::spawn_blocking(move || witness.add_checkpoint(&body, now)).await {
        Ok(reply) => answer(reply),
        Err(_) => status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

async fn checkpoint(State(witness): State<Arc<Witness>>, Path(log): Path<String>) -> Response {
    match witness.checkpoint(&log) {
        Some(body) => answer(Reply { status: 200, content_type: "text/plain; charset=utf-8", body }),
        None => status(StatusCode::NOT_FOUND),
    }
}

/// A witness's answer as HTTP carries it.
pub fn answer(reply: Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Binds an address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, WitnessError> {
    let listen = |error| WitnessError::Listen { address: address.to_string(), error };
    TcpListener::bind(address).await.map_err(listen)
}

/// Serves until told to stop; requests in flight end.
pub async fn serve(witness: Arc<Witness>, socket: TcpListener, mut stop: watch::Receiver<bool>) {
    let router = router(witness);
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (router, mut stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| router.clone().oneshot(request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_headers(64)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = tokio::time::sleep(AGE) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(HEAD, connection).await;
            drop(permit);
        });
    }
    while connections.join_next().await.is_some() {}
}

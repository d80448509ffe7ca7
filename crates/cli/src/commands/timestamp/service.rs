//! The authority on HTTP (RFC 3161 §3.4): `POST` with a request, from anybody,
//! to any path.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use firmseal_timestamp::TOKEN_MAX;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Stamper;

/// Connections at once.
const CONNECTIONS: usize = 64;
/// How long a connection may last.
const AGE: Duration = Duration::from_secs(60);
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// Pause after an accept that failed.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until it is dropped.
pub(super) async fn serve(stamper: Arc<Stamper>, socket: TcpListener) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = socket.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let stamper = Arc::clone(&stamper);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&stamper), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_headers(64)
                .serve_connection(TokioIo::new(stream), service);
            // Broken off or too old: whoever wants an answer asks again.
            let _ = tokio::time::timeout(AGE, connection).await;
            drop(permit);
        });
    }
}

async fn answer(
    stamper: Arc<Stamper>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let empty = |status: StatusCode| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        response
    };
    if request.method() != Method::POST {
        return Ok(empty(StatusCode::METHOD_NOT_ALLOWED));
    }
    let Ok(body) = Limited::new(request.into_body(), TOKEN_MAX).collect().await else {
        return Ok(empty(StatusCode::PAYLOAD_TOO_LARGE));
    };
    Ok(match stamper.answer(&body.to_bytes()).await {
        Ok(answer) => {
            let mut response = Response::new(Full::new(Bytes::from(answer)));
            let kind = HeaderValue::from_static("application/timestamp-reply");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        // The key's own words name modules and tokens.
        Err(_) => empty(StatusCode::SERVICE_UNAVAILABLE),
    })
}

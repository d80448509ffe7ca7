//! The rest of a body: what a handler did not read because it had seen
//! enough.
//!
//! A connection can only be used again behind the end of a request. A little
//! is read and thrown away for that; where there is more, or it does not come,
//! the answer says that the connection ends with it, so that the caller sends
//! the next request on another one (RFC 9112 §9.6).

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

/// What is thrown away, and for how long.
const MOST: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_millis(250);

/// A body that a handler reads, and that can be read on when it is done.
struct Shared(Arc<Mutex<Body>>);

fn lock(body: &Mutex<Body>) -> MutexGuard<'_, Body> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}

impl http_body::Body for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *lock(&self.0)).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).size_hint()
    }
}

/// What is left when the handler is done.
pub(crate) struct Rest(Option<Arc<Mutex<Body>>>);

/// The request, for a handler, and what it will leave.
pub(crate) fn share(request: Request) -> (Request, Rest) {
    if http_body::Body::is_end_stream(request.body()) {
        return (request, Rest(None));
    }
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body));
    (Request::from_parts(parts, Body::new(Shared(body.clone()))), Rest(Some(body)))
}

impl Rest {
    /// Reads what is left; whether that was all.
    pub(crate) async fn read_out(self) -> bool {
        let Some(body) = self.0 else { return true };
        let reading = async {
            let mut rest = Shared(body);
            let mut left = MOST;
            loop {
                match rest.frame().await {
                    None => return true,
                    Some(Err(_)) => return false,
                    Some(Ok(frame)) => match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                        Some(fewer) => left = fewer,
                        None => return false,
                    },
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or(false)
    }
}

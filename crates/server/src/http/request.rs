//! Requests: an id for each, a log line for each, an end for each.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use firmseal_api::REQUEST_ID;
use http::{HeaderValue, Method, header};
use tracing::Instrument;
use uuid::Uuid;

use crate::app::App;
use crate::error::ApiError;
use crate::http::rest::share;
use crate::listen::Peer;
use crate::metrics::{Answered, Incident};

/// Routes whose work grows with the artifact.
const LONG: [&str; 3] = ["/v1/uploads/{upload}/complete", "/v1/releases", "/v1/releases/import"];

/// Longest id that is taken over from a caller.
const ID_MAX: usize = 64;

/// What the log calls a request, for answers that hold problems of their own.
#[derive(Clone)]
pub(crate) struct Called(pub(crate) Arc<str>);

/// A caller's own id, if it can stand in a log line without being mistaken
/// for anything else.
fn given(request: &Request) -> Option<&str> {
    let text = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let fits = (8..=ID_MAX).contains(&text.len());
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    (fits && plain).then_some(text)
}

/// The outermost layer.
pub(crate) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id: Arc<str> =
        given(&request).map_or_else(|| Uuid::now_v7().to_string().into(), |given| given.into());
    let method = request.method().clone();
    // The route, not the path: paths carry ids, and logs are searched by
    // field.
    let route =
        request.extensions().get::<MatchedPath>().map_or("none".to_owned(), |path| path.as_str().to_owned());
    let peer = request.extensions().get::<Arc<Peer>>();
    let listener = peer.map_or("none", |peer| peer.listener.as_str());
    let address = peer.map(|peer| tracing::field::display(peer.address));
    let source = peer.map(|peer| peer.address.ip().to_canonical());
    // Who asks is known once the credential was looked at.
    let who = tracing::field::Empty;
    let span =
        tracing::info_span!("request", request_id = %id, listener, peer = address, %method, route, who);
    // Pieces of uploads have a clock of their own, which stops whoever
    // stands still; and reading or signing a large artifact takes the time
    // it takes. Everything else is small.
    let patient = method == Method::PATCH || (method == Method::POST && LONG.contains(&route.as_str()));
    let (mut request, rest) = share(request);
    request.extensions_mut().insert(Called(id.clone()));
    let answered = async {
        let mut response = if patient {
            next.run(request).await
        } else {
            match tokio::time::timeout(app.limits.request(), next.run(request)).await {
                Ok(response) => response,
                Err(_) => ApiError::TooSlow.into_response(),
            }
        };
        if let Some(error) = response.extensions_mut().remove::<Arc<ApiError>>() {
            match error.as_ref() {
                ApiError::Internal(why) | ApiError::Full(why) => {
                    let full = matches!(*error, ApiError::Full(_));
                    app.metrics.incident(if full { Incident::Full } else { Incident::Internal });
                    tracing::error!(why, "request failed");
                }
                other => tracing::debug!(why = %other, "request refused"),
            }
            if let Some((why, asked, caller)) = error.denial() {
                app.count_denial(why, asked.map(str::to_owned), caller, source);
            }
            let mut written = error.respond(&id);
            written.headers_mut().extend(response.headers().clone());
            response = written;
        }
        let status = response.status().as_u16();
        let ms = began.elapsed().as_millis() as u64;
        // Polls are most of the traffic and say nothing new.
        if listener == "device" && status < 400 {
            tracing::debug!(status, ms, "answered");
        } else {
            tracing::info!(status, ms, "answered");
        }
        response
    };
    let mut response = answered.instrument(span).await;
    if !rest.read_out().await {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let class = match response.status().as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    app.metrics.answers.get_or_create(&Answered { listener, status: class }).inc();
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let headers = response.headers_mut();
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("strict-transport-security", HeaderValue::from_static("max-age=31536000"));
    response
}

//! Delivery: blobs as HTTP sends them, whole or in part.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use firmseal_manifest::Digest;
use firmseal_manifest::ids::parse_digest;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::App;
use crate::error::ApiError;
use crate::http::range::{Wanted, wanted};
use crate::metrics::OnListener;

/// A payload's name in a URL: 64 hex digits, and `.tree` for its tree.
pub(crate) fn payload_name(text: &str) -> Result<(Digest, bool), ApiError> {
    let (hex, tree) = match text.strip_suffix(".tree") {
        Some(hex) => (hex, true),
        None => (text, false),
    };
    let digest = parse_digest(hex).ok_or_else(|| {
        ApiError::Malformed(
            "a payload is named by 64 lower-case hex digits, its tree by `.tree` after them".to_owned(),
        )
    })?;
    Ok((digest, tree))
}

/// What the lines are called that say who fetched what, so that a filter can
/// have them apart: docs/logs.md.
const ACCESS: &str = "firmseal_access";

impl App {
    /// Sends a blob. The caller has decided that it may be sent.
    ///
    /// The ETag is the digest, so it is as strong as a validator can be, and
    /// what it names never changes: caches may keep it for ever.
    pub(crate) async fn blob(
        &self,
        id: Digest,
        headers: &HeaderMap,
        media: &'static str,
        listener: &'static str,
    ) -> Result<Response, ApiError> {
        let size = self.store.size(&id).await?.ok_or_else(|| ApiError::NotFound(format!("blob {id}")))?;
        let etag = format!("\"{id}\"");
        let header_value =
            |text: String| HeaderValue::try_from(text).map_err(|err| ApiError::Internal(err.to_string()));
        let cached = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let fresh =
            cached.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag || tag.trim() == "*"));
        let (status, range) = if fresh {
            (StatusCode::NOT_MODIFIED, 0..0)
        } else {
            match wanted(headers, &etag, size) {
                Wanted::Whole => (StatusCode::OK, 0..size),
                Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
                Wanted::Unsatisfiable => return Err(ApiError::Range(size)),
            }
        };
        let length = range.end - range.start;
        // Who, from where and under which request stands in the span.
        tracing::info!(
            target: ACCESS,
            blob = %id,
            media,
            from = range.start,
            bytes = length,
            size,
            status = status.as_u16(),
            "served"
        );
        let body = if length == 0 {
            Body::empty()
        } else {
            let served = self.metrics.bytes_served.get_or_create(&OnListener { listener }).clone();
            let stream = self.store.read(&id, range.clone()).await?.inspect(move |piece| match piece {
                Ok(bytes) => {
                    served.inc_by(bytes.len() as u64);
                }
                // The head is gone already; the connection breaks, and the
                // device verifies what it has in any case.
                Err(err) => tracing::error!(error = %err, "a blob could not be read to its end"),
            });
            Body::from_stream(stream)
        };
        let mut response = (status, body).into_response();
        let out = response.headers_mut();
        out.insert(header::ETAG, header_value(etag)?);
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        if status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        out.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        out.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if status == StatusCode::PARTIAL_CONTENT {
            let text = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
            out.insert(header::CONTENT_RANGE, header_value(text)?);
        }
        Ok(response)
    }
}

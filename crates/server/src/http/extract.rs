//! What handlers take: bodies, ids and pages, each bounded and with an
//! error that says what was expected.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, RawPathParams, Request};
use bytes::{Bytes, BytesMut};
use firmseal_api::Page as ApiPage;
use firmseal_api::encoding::{PAGE_MAX, PageQuery};
use firmseal_manifest::WordError;
use firmseal_store::Page;
use http::header;
use http::request::Parts;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::error::ApiError;

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        expect_type(&request, "application/json")?;
        let body = read(request.into_body(), app.limits.json_bytes, app.limits.stall()).await?;
        serde_json::from_slice(&body).map(Json).map_err(|err| {
            // serde_json's message names field and place, never a value of
            // a field; tokens in bodies do not reach logs this way.
            ApiError::Malformed(format!("the body is not what this takes: {}", redact(&err.to_string())))
        })
    }
}

/// serde quotes values after "invalid", and those that name no variant; names
/// of unknown fields are kept.
fn redact(message: &str) -> String {
    let quotes = match message {
        _ if message.starts_with("invalid ") => message.find(':'),
        _ if message.starts_with("unknown variant ") => Some("unknown variant".len()),
        _ => None,
    };
    // The last one: a value may say the same.
    match (quotes, message.rfind(", expected")) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &message[..start], &message[end..]),
        _ => message.to_owned(),
    }
}

/// Checks the media type, parameters aside.
pub(crate) fn expect_type(request: &Request, want: &'static str) -> Result<(), ApiError> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.and_then(|value| value.split(';').next()).map(str::trim);
    if essence.is_some_and(|essence| essence.eq_ignore_ascii_case(want)) {
        Ok(())
    } else {
        Err(ApiError::MediaType(want))
    }
}

/// Reads a body of at most `max` bytes, whose announced length is believed
/// only to refuse it early.
pub(crate) async fn read(mut body: Body, max: usize, stall: Duration) -> Result<Bytes, ApiError> {
    let too_long = ApiError::TooLong(max as u64);
    if http_body::Body::size_hint(&body).lower() > max as u64 {
        return Err(too_long);
    }
    let mut whole = BytesMut::new();
    loop {
        match tokio::time::timeout(stall, body.frame()).await {
            Err(_) => return Err(ApiError::TooSlow),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Err(_))) => return Err(ApiError::Malformed("the body broke off".to_owned())),
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else { continue };
                if whole.len() + data.len() > max {
                    return Err(too_long);
                }
                whole.extend_from_slice(&data);
            }
        }
    }
}

/// The one id in the path.
pub(crate) struct Id<T>(pub(crate) T);

impl<T: FromStr<Err = WordError> + Send> FromRequestParts<Arc<App>> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, app).await.map_err(no_path)?;
        text.parse().map(Id).map_err(|err: WordError| ApiError::Malformed(err.to_string()))
    }
}

/// Two ids in the path.
pub(crate) struct Ids<A, B>(pub(crate) A, pub(crate) B);

impl<A, B> FromRequestParts<Arc<App>> for Ids<A, B>
where
    A: FromStr<Err = WordError> + Send,
    B: FromStr<Err = WordError> + Send,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, app)
            .await
            .map_err(|_| ApiError::Malformed("the path is not UTF-8".to_owned()))?;
        let mut texts = params.iter().map(|(_, text)| text);
        let malformed = |err: WordError| ApiError::Malformed(err.to_string());
        let (Some(a), Some(b)) = (texts.next(), texts.next()) else {
            return Err(ApiError::Malformed("two ids stand in this path".to_owned()));
        };
        Ok(Ids(a.parse().map_err(malformed)?, b.parse().map_err(malformed)?))
    }
}

/// Plain text in the path.
pub(crate) struct Segment(pub(crate) String);

impl FromRequestParts<Arc<App>> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, app).await.map_err(no_path)?;
        Ok(Segment(text))
    }
}

fn no_path(_: axum::extract::rejection::PathRejection) -> ApiError {
    ApiError::Malformed("the path is not UTF-8".to_owned())
}

/// Query parameters.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, app).await;
        query.map(|Query(value)| Params(value)).map_err(|err| ApiError::Malformed(err.body_text()))
    }
}

// A page of the interface and one item more fit on a page of the store.
const _: () = assert!(PAGE_MAX < firmseal_store::page::PAGE_MAX);

/// What the store is asked for: one item more than the page holds, which
/// tells whether there is another page.
pub(crate) fn page<K>(
    query: &PageQuery,
    parse: impl Fn(&str) -> Option<K>,
) -> Result<(Page<K>, usize), ApiError> {
    let limit = query.limit.unwrap_or(100);
    if limit == 0 || limit > PAGE_MAX {
        return Err(ApiError::Malformed(format!("limit is 1 to {PAGE_MAX}")));
    }
    let after = match &query.after {
        None => None,
        Some(text) => {
            Some(parse(text).ok_or_else(|| ApiError::Malformed("after is the `next` of a page".to_owned()))?)
        }
    };
    Ok((Page { after, limit: limit + 1 }, limit as usize))
}

/// Cuts the additional item off and makes the cursor.
pub(crate) fn paged<D, T>(
    items: Vec<D>,
    limit: usize,
    cursor: impl Fn(&D) -> String,
    wire: impl Fn(D) -> T,
) -> ApiPage<T> {
    paged_if(items, limit, cursor, |_| true, wire)
}

/// The same, and leaves out what is none of the caller's business. A page may
/// then be short, or empty, and still not be the last.
pub(crate) fn paged_if<D, T>(
    mut items: Vec<D>,
    limit: usize,
    cursor: impl Fn(&D) -> String,
    ours: impl Fn(&D) -> bool,
    wire: impl Fn(D) -> T,
) -> ApiPage<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(cursor) } else { None };
    ApiPage { items: items.into_iter().filter(ours).map(wire).collect(), next }
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn values_are_not_told() {
        for (said, told) in [
            (
                "invalid type: string \"fsop_x\", expected u64 at line 1",
                "invalid type, expected u64 at line 1",
            ),
            (
                "unknown variant `fsop_x, expected`, expected `a` or `b`",
                "unknown variant, expected `a` or `b`",
            ),
            ("unknown field `colour`, expected `size`", "unknown field `colour`, expected `size`"),
            ("missing field `size`", "missing field `size`"),
        ] {
            assert_eq!(redact(said), told);
        }
    }
}

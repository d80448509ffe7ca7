//! Transfers: payload bytes as they arrive, from wherever the last transfer
//! broke off.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{Client, ClientError};

/// A download on its way. Dropping it closes the connection.
pub struct Download {
    body: Incoming,
    offset: u64,
    total: u64,
    etag: Option<String>,
    timeout: std::time::Duration,
    server: String,
}

impl Download {
    /// Where in the payload the first piece begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Length of the whole payload, as the server says. Nothing may be
    /// sized by it before it is compared with what the manifest says.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The strong ETag, quotes included.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// The next piece, or `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = match tokio::time::timeout(self.timeout, self.body.frame()).await {
                Err(_) => return Err(ClientError::Timeout(self.server.clone())),
                Ok(None) => return Ok(None),
                Ok(Some(Err(err))) => return Err(ClientError::Broken(err.to_string())),
                Ok(Some(Ok(frame))) => frame,
            };
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
    }
}

impl Client {
    /// Begins to download `path` at `offset`, up to `end` (exclusive) where
    /// that is given. The caller compares [`Download::offset`]: a carrier
    /// may ignore ranges and send everything.
    pub async fn download(
        &self,
        path: &str,
        offset: u64,
        end: Option<u64>,
        etag: Option<&str>,
    ) -> Result<Download, ClientError> {
        let mut headers = HeaderMap::new();
        if offset > 0 || end.is_some() {
            let range = match end {
                Some(end) => format!("bytes={offset}-{}", end.saturating_sub(1)),
                None => format!("bytes={offset}-"),
            };
            headers.insert(header::RANGE, header_value(&range)?);
            if let Some(etag) = etag {
                headers.insert(header::IF_RANGE, header_value(etag)?);
            }
        }
        let answer = self.send(Method::GET, path, headers, Bytes::new()).await?;
        let text = |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let (offset, total) = if answer.status() == StatusCode::PARTIAL_CONTENT {
            text(header::CONTENT_RANGE)
                .and_then(parse_content_range)
                .ok_or_else(|| ClientError::Answer("a partial answer without a content-range".to_owned()))?
        } else {
            let length = text(header::CONTENT_LENGTH)
                .and_then(|length| length.parse().ok())
                .ok_or_else(|| ClientError::Answer("an answer without a length".to_owned()))?;
            (0, length)
        };
        let etag = text(header::ETAG).map(str::to_owned);
        Ok(Download {
            offset,
            total,
            etag,
            timeout: self.timeout,
            server: self.base.to_string(),
            body: answer.into_body(),
        })
    }
}

fn header_value(text: &str) -> Result<HeaderValue, ClientError> {
    HeaderValue::try_from(text).map_err(|_| ClientError::Answer("an etag that is not a header".to_owned()))
}

/// `bytes first-last/total` (RFC 9110 §14.4) as first and total.
fn parse_content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (first.parse().ok()?, last.parse::<u64>().ok()?, total.parse().ok()?);
    (first <= last && last < total).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::parse_content_range;

    #[test]
    fn a_content_range_is_read_strictly() {
        for (text, want) in [
            ("bytes 0-0/1", Some((0, 1))),
            ("bytes 5-9/10", Some((5, 10))),
            ("bytes 5-10/10", None),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("bytes 0-1/*", None),
            ("0-1/2", None),
            ("", None),
        ] {
            assert_eq!(parse_content_range(text), want, "{text:?}");
        }
    }
}

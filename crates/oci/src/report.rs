//! Tells somebody what came of it: a node that does not start an image is
//! alone with that otherwise.

use std::time::Duration;

use firmseal_outbound::{Endpoint, Request};
use http::{HeaderValue, Uri, header};
use serde_json::json;

use crate::error::OciError;
use crate::reference::is_loopback;

/// Longest answer; nothing in it matters.
const ANSWER_MAX: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// What happened: one of a few words.
    pub event: &'static str,
    /// The image, as it was asked for.
    pub image: String,
    /// What to tell people.
    pub reason: String,
    /// Who tells.
    pub host: String,
}

/// Where reports go.
pub struct Receiver {
    endpoint: Endpoint,
    path: String,
    url: String,
}

impl Receiver {
    /// One at `https://`, under these authorities, or on this machine at
    /// `http://`.
    pub fn new(url: &str, authorities: Option<&[u8]>) -> Result<Receiver, OciError> {
        let bad = |why: &str| OciError::Settings(format!("`{url}` gets no reports: {why}"));
        let uri: Uri = url.parse().map_err(|_| bad("it is no address"))?;
        let host = uri.authority().ok_or_else(|| bad("it has no host"))?.to_string();
        if uri.scheme_str() != Some("https") && !is_loopback(&host) {
            return Err(bad("it has to begin with https://"));
        }
        let base = format!("{}://{host}", uri.scheme_str().unwrap_or("https"));
        let endpoint = Endpoint::new(&base, authorities, TIMEOUT).map_err(|error| bad(&error.to_string()))?;
        let path = uri.path_and_query().map_or("", |path| path.as_str()).trim_start_matches('/').to_owned();
        Ok(Receiver { endpoint, path, url: url.to_owned() })
    }

    /// Tells it, once.
    pub async fn tell(&self, report: &Report) -> Result<(), OciError> {
        let body = json!({
            "event": report.event,
            "image": report.image,
            "reason": report.reason,
            "host": report.host,
        });
        let request = Request::post(self.path.clone(), body.to_string(), ANSWER_MAX)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let outbound = |error| OciError::Outbound { host: self.url.clone(), error };
        let answer = self.endpoint.send(request).await.map_err(outbound)?;
        match answer.status {
            200..300 => Ok(()),
            status => Err(OciError::Status { what: "a report".to_owned(), status }),
        }
    }
}

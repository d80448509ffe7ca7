//! Timestamp authorities on the network, asked in turn.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use firmseal_fleet::Time;
use firmseal_keys::scheme::holds;
use firmseal_manifest::Digest;
use firmseal_outbound::{Endpoint, Request};
use firmseal_sign::timestamps::{Stamped, Stamping};
use firmseal_sign::{StampAnswer, Timestamps};
use firmseal_timestamp::{Authorities, Nonce, Query, TOKEN_MAX, TimestampError, Wanted, response, verify};
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Kind, Result, file};
use crate::place::Place;

/// How long one authority has.
const EACH: Duration = Duration::from_secs(5);
/// How far its clock and ours may differ, beyond what it says of itself.
const LEEWAY: u64 = 5 * 60 * 1000;
/// How long one that failed is asked last.
const REST: Duration = Duration::from_secs(60);

/// An authority: `[[timestamp]]` in signing.toml.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampRow {
    /// Where it is asked.
    pub url: String,
    /// Its certificates, or those of who stands behind it: a PEM file.
    pub authority: PathBuf,
    /// Authorities of its TLS certificate, where the address is `https:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<PathBuf>,
    /// The policy to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// Whether signatures leave without a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// They do where no authority answers.
    #[default]
    BestEffort,
    /// They wait for one.
    Required,
}

/// One authority.
pub struct Source {
    url: String,
    path: String,
    endpoint: Endpoint,
    authorities: Authorities,
    policy: Option<String>,
    failed: Mutex<Option<Instant>>,
}

/// Every authority of a configuration.
pub struct Sources {
    sources: Vec<Source>,
    demand: Demand,
}

impl Source {
    /// An authority with its certificates and, for `https:`, the ones of
    /// its server, as PEM.
    pub fn new(url: &str, authority: &[u8], tls: Option<&[u8]>, policy: Option<String>) -> Result<Source> {
        let authorities = Authorities::from_pem(authority)?;
        // The endpoint's paths lie below a base; an authority has one path.
        let path = url.splitn(4, '/').nth(3).unwrap_or_default().to_owned();
        let base = url.strip_suffix(&path).unwrap_or(url);
        let endpoint = Endpoint::new(base, tls, EACH).map_err(|error| CliError::new(Kind::Usage, error))?;
        Ok(Source { url: url.to_owned(), path, endpoint, authorities, policy, failed: Mutex::default() })
    }

    /// Asks for a token over a digest.
    pub async fn stamp(&self, digest: Digest) -> std::result::Result<Vec<u8>, String> {
        self.asked(digest).await.map_err(|why| format!("{}: {why}", self.url))
    }

    /// The same, and remembers whether there was an answer.
    async fn asked(&self, digest: Digest) -> std::result::Result<Vec<u8>, String> {
        let answer = self.ask(digest).await;
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = answer.is_err().then(Instant::now);
        answer
    }

    async fn ask(&self, digest: Digest) -> std::result::Result<Vec<u8>, String> {
        let said = |error: TimestampError| error.to_string();
        let nonce = Nonce::new(random_bytes().map_err(|error| error.message)?);
        let query = Query { digest, nonce: Some(nonce), policy: self.policy.clone() };
        let kind = HeaderValue::from_static("application/timestamp-query");
        let request = Request::post(self.path.clone(), query.encode().map_err(said)?, TOKEN_MAX)
            .header(header::CONTENT_TYPE, kind);
        let fetched = self.endpoint.send(request).await.map_err(|error| error.to_string())?;
        if fetched.status != 200 {
            return Err(format!("it answered {}", fetched.status));
        }
        let token = response(&fetched.body).map_err(said)?;
        let wanted = Wanted { digest: &digest, nonce: Some(nonce), policy: self.policy.as_deref() };
        let stamp = verify(&token, wanted, &self.authorities, &holds).map_err(said)?;
        stamp.check_clock(Time::from(SystemTime::now()), LEEWAY).map_err(said)?;
        Ok(token)
    }

    fn rests(&self) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < REST)
    }
}

impl Sources {
    /// Those of a place; nothing where none is configured.
    pub fn of(place: &Place, rows: &[TimestampRow], demand: Demand) -> Result<Option<Sources>> {
        let read = |path: &PathBuf| {
            let path = place.path(path);
            std::fs::read(&path).map_err(file(&path))
        };
        let mut sources = Vec::new();
        for row in rows {
            let tls = row.tls.as_ref().map(read).transpose()?;
            let source = Source::new(&row.url, &read(&row.authority)?, tls.as_deref(), row.policy.clone());
            sources.push(source.map_err(|error| error.about(&row.url))?);
        }
        if sources.is_empty() && demand == Demand::Required {
            return Err(CliError::new(Kind::Usage, "timestamps are required, and no [[timestamp]] is named"));
        }
        Ok((!sources.is_empty()).then_some(Sources { sources, demand }))
    }
}

impl Timestamps for Sources {
    fn stamp(&self, digest: Digest) -> Stamping<'_> {
        Box::pin(async move {
            let mut answers = Vec::new();
            // In the order of the configuration; one that has just failed is
            // asked when the others have failed as well.
            let (late, first): (Vec<_>, Vec<_>) = self.sources.iter().partition(|source| source.rests());
            for source in first.into_iter().chain(late) {
                let answer = source.asked(digest).await;
                let (token, refused) = match answer {
                    Ok(token) => (Some(token), None),
                    Err(why) => (None, Some(why)),
                };
                answers.push(StampAnswer { authority: source.url.clone(), refused });
                if token.is_some() {
                    return Stamped { token, answers };
                }
            }
            Stamped { token: None, answers }
        })
    }

    fn is_required(&self) -> bool {
        self.demand == Demand::Required
    }
}

/// Random bytes.
pub fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| CliError::new(Kind::Local, error))?;
    Ok(bytes)
}

impl From<TimestampError> for CliError {
    fn from(error: TimestampError) -> CliError {
        let kind = match &error {
            TimestampError::Authority(_) => Kind::Usage,
            _ => Kind::Refused,
        };
        CliError::new(kind, error)
    }
}

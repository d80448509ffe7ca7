//! A repository of a registry: manifests and blobs, read and written.
//!
//! Everything that is read is hashed before it is handed out. Requests go to
//! the host that was named; where a registry sends us on, for blobs alone,
//! nothing goes with us that would say who we are.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use firmseal_formats::{BlobDigest, Manifest};
use firmseal_outbound::{Endpoint, Fetched, OutboundError, Request};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use serde_json::Value;

use crate::credentials::{Challenge, Credentials};
use crate::error::OciError;
use crate::reference::{Reference, is_loopback};

/// Longest manifest that is read.
const MANIFEST_MAX: usize = 4 * 1024 * 1024;
/// Longest answer whose content does not matter.
const ANSWER_MAX: usize = 64 * 1024;
/// How often a registry may send us on.
const REDIRECTS_MAX: usize = 3;
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// How a registry is reached.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The authorities that are believed, PEM. Without them, registries on this
    /// machine alone are reached, without TLS.
    pub authorities: Option<Vec<u8>>,
    /// Credentials by host.
    pub credentials: Credentials,
    /// How long one request may take.
    pub timeout: Option<Duration>,
}

/// A repository, and who we are to it.
pub struct Registry {
    endpoint: Endpoint,
    settings: Settings,
    host: String,
    repository: String,
    /// The `Authorization` that the registry last took.
    authorization: Mutex<Option<HeaderValue>>,
}

/// A manifest as a registry has it, and its digest, which was computed here.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its bytes: what is signed.
    pub bytes: Bytes,
    /// Their digest.
    pub digest: BlobDigest,
    /// What they say.
    pub manifest: Manifest,
}

impl Registry {
    /// The repository of an image.
    pub fn new(reference: &Reference, settings: Settings) -> Result<Registry, OciError> {
        let (host, repository) = (reference.host().to_owned(), reference.repository().to_owned());
        let endpoint = endpoint(&host, reference.is_loopback() && settings.authorities.is_none(), &settings)?;
        Ok(Registry { endpoint, settings, host, repository, authorization: Mutex::default() })
    }

    /// The manifest under a name. By digest it is that one or none; under a tag
    /// it is what the registry says.
    pub async fn image(&self, reference: &Reference) -> Result<Image, OciError> {
        self.manifest(reference.wanted()).await
    }

    /// The manifest under a tag or a digest.
    pub(crate) async fn manifest(&self, wanted: &str) -> Result<Image, OciError> {
        let found = self.optional_manifest(wanted).await?;
        let (image, _) =
            found.ok_or_else(|| OciError::NotFound { what: format!("{}@{wanted}", self.repository) })?;
        Ok(image)
    }

    /// The same, with its entity tag; `None` where there is none.
    pub(crate) async fn optional_manifest(
        &self,
        wanted: &str,
    ) -> Result<Option<(Image, Option<HeaderValue>)>, OciError> {
        let request = Request::get(self.path(&format!("manifests/{wanted}")), MANIFEST_MAX);
        let request = request.header(header::ACCEPT, HeaderValue::from_static(ACCEPT));
        let answer = self.send(request).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let what = format!("the manifest {wanted}");
        let answer = expect(answer, &[200], &what)?;
        let own = BlobDigest::sha256(&answer.body);
        // Who asks by digest, of whatever hash, gets what it is of.
        let digest = match BlobDigest::parse(wanted) {
            Some(wanted) if wanted.is_of(&answer.body) => wanted,
            Some(_) => return Err(OciError::Untrue(format!("what it has as {wanted} is something else"))),
            None => own.clone(),
        };
        let said = answer.headers.get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
        if said.is_some_and(|said| said.starts_with("sha256:") && said != own.as_str()) {
            return Err(OciError::Untrue(format!("it says another digest of {what} than that has")));
        }
        let manifest = Manifest::read(&answer.body)?;
        // The type under which it is served decides how others read it.
        let served =
            answer.content_type().map(|own| own.split(';').next().unwrap_or_default().trim().to_owned());
        if served.is_some_and(|served| served != manifest.media_type) {
            return Err(OciError::Untrue(format!("it serves {what} under another type than it is of")));
        }
        let tag = answer.headers.get(header::ETAG).cloned();
        Ok(Some((Image { bytes: answer.body, digest, manifest }, tag)))
    }

    /// A blob of at most so many bytes.
    pub(crate) async fn blob(&self, digest: &BlobDigest, max: usize) -> Result<Bytes, OciError> {
        let what = format!("the blob {digest}");
        let mut answer = self.send(Request::get(self.path(&format!("blobs/{digest}")), max)).await?;
        for _ in 0..REDIRECTS_MAX {
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                break;
            }
            answer = self.elsewhere(&answer, max).await?;
        }
        let body = expect(answer, &[200], &what)?.body;
        match digest.is_of(&body) {
            true => Ok(body),
            false => Err(OciError::Untrue(format!("what it has as {digest} is something else"))),
        }
    }

    /// Asks where the registry sends us, as nobody.
    async fn elsewhere(&self, answer: &Fetched, max: usize) -> Result<Fetched, OciError> {
        let location = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let uri: Option<Uri> = location.and_then(|location| location.parse().ok());
        let untrue = || OciError::Untrue("it sends us nowhere".to_owned());
        let uri = uri.ok_or_else(untrue)?;
        let path = uri.path_and_query().map_or("", |path| path.as_str()).trim_start_matches('/').to_owned();
        let host = uri.authority().map_or(self.host.as_str(), |own| own.as_str()).to_owned();
        let is_plain = match uri.scheme_str() {
            Some("https") => false,
            Some("http") if self.is_plain() && is_loopback(&host) => true,
            None if uri.authority().is_none() => self.is_plain(),
            _ => {
                return Err(OciError::Elsewhere { host, why: "without TLS: it is not asked there" });
            }
        };
        let url = format!("{}://{host}", if is_plain { "http" } else { "https" });
        let endpoint = at(&url, &host, &self.settings)?;
        endpoint.send(Request::get(path, max)).await.map_err(outbound(&host))
    }

    /// Whether a blob is there.
    async fn has_blob(&self, digest: &BlobDigest) -> Result<bool, OciError> {
        Ok(self.send(Request::head(self.path(&format!("blobs/{digest}")))).await?.status == 200)
    }

    /// Brings a blob, unless it is there.
    pub(crate) async fn push_blob(&self, bytes: Bytes) -> Result<BlobDigest, OciError> {
        let digest = BlobDigest::sha256(&bytes);
        if self.has_blob(&digest).await? {
            return Ok(digest);
        }
        let begun = self.send(Request::post(self.path("blobs/uploads/"), Bytes::new(), ANSWER_MAX)).await?;
        let begun = expect(begun, &[202], "an upload")?;
        let path = self.upload_path(&begun.headers)?;
        let path = format!("{path}{}digest={digest}", if path.contains('?') { '&' } else { '?' });
        let request = Request::put(path, bytes, ANSWER_MAX)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        expect(self.send(request).await?, &[201], "the end of an upload")?;
        Ok(digest)
    }

    /// Where an upload goes: to this registry, for our name goes with it.
    fn upload_path(&self, headers: &HeaderMap) -> Result<String, OciError> {
        let location =
            headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let uri: Uri = location.parse().map_err(|_| OciError::Untrue("its uploads go nowhere".to_owned()))?;
        if let Some(other) = uri.authority().filter(|own| own.as_str() != self.host) {
            let why = "where uploads would take our credentials";
            return Err(OciError::Elsewhere { host: other.to_string(), why });
        }
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let path =
            path.strip_prefix("/v2/").ok_or_else(|| OciError::Untrue("its uploads go nowhere".to_owned()))?;
        Ok(path.to_owned())
    }

    /// Brings a manifest, under a tag or its digest.
    pub(crate) async fn push_manifest(
        &self,
        name: &str,
        media_type: &'static str,
        bytes: Bytes,
        condition: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Fetched, OciError> {
        let request = Request::put(self.path(&format!("manifests/{name}")), bytes, ANSWER_MAX)
            .header(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        let request = match condition {
            None => request,
            Some((name, value)) => request.header(name, value),
        };
        let answer = self.send(request).await?;
        expect(answer, &[201, 412], &format!("the manifest {name}"))
    }

    pub(crate) async fn get(&self, path: &str, max: usize) -> Result<Fetched, OciError> {
        self.send(Request::get(self.path(path), max)).await
    }

    fn path(&self, path: &str) -> String {
        format!("{}/{path}", self.repository)
    }

    fn is_plain(&self) -> bool {
        !self.endpoint.is_private()
    }

    /// Sends a request, and once more with what the registry demands to know
    /// of us.
    async fn send(&self, request: Request) -> Result<Fetched, OciError> {
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let first = self.authorized(request.clone(), known);
        let answer = self.endpoint.send(first).await.map_err(outbound(&self.host))?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let Some(value) = self.answer_to(&answer.headers).await? else { return Ok(answer) };
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(value.clone());
        self.endpoint.send(self.authorized(request, Some(value))).await.map_err(outbound(&self.host))
    }

    fn authorized(&self, request: Request, value: Option<HeaderValue>) -> Request {
        match value {
            None => request,
            Some(value) => request.header(header::AUTHORIZATION, value),
        }
    }

    /// What to say to a registry that asks who we are; `None` where there is
    /// nothing to say.
    async fn answer_to(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, OciError> {
        let challenge = headers.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let Some(challenge) = challenge.and_then(Challenge::read) else { return Ok(None) };
        match challenge {
            Challenge::Basic => Ok(self.settings.credentials.basic(&self.host).and_then(secret)),
            Challenge::Bearer { realm, service, scope } => {
                self.token(&realm, service.as_deref(), scope.as_deref()).await
            }
        }
    }

    /// A token from where the registry says that tokens are from. Our name goes
    /// there if it is the same host, or one that has credentials of its own: a
    /// registry that is not to be believed could name any other.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<Option<HeaderValue>, OciError> {
        let untrue = || OciError::Untrue("it demands tokens from nowhere".to_owned());
        let uri: Uri = realm.parse().map_err(|_| untrue())?;
        let host = uri.authority().ok_or_else(untrue)?.as_str().to_owned();
        let is_plain = uri.scheme_str() == Some("http") && self.is_plain() && is_loopback(&host);
        if !is_plain && uri.scheme_str() != Some("https") {
            return Err(OciError::Elsewhere { host, why: "for a token, without TLS: it is not asked there" });
        }
        let endpoint =
            at(&format!("{}://{host}", uri.scheme_str().unwrap_or("https")), &host, &self.settings)?;
        let mut path = uri.path().trim_start_matches('/').to_owned();
        let asked = [("service", service), ("scope", scope)];
        for (at, (name, value)) in
            asked.iter().filter_map(|(name, value)| Some((name, (*value)?))).enumerate()
        {
            path = format!("{path}{}{name}={}", if at == 0 { '?' } else { '&' }, escaped(value));
        }
        let basic = self.settings.credentials.basic(&host).and_then(secret);
        let answer = endpoint.send(self.authorized(Request::get(path, ANSWER_MAX), basic)).await;
        let answer = expect(answer.map_err(outbound(&host))?, &[200], "a token")?;
        // What the parser says may quote the token.
        let document: Value = serde_json::from_slice(&answer.body).map_err(|_| untrue())?;
        let token = ["token", "access_token"].iter().find_map(|name| document.get(name)?.as_str());
        Ok(token.and_then(|token| secret(format!("Bearer {token}"))))
    }
}

fn secret(value: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Percent-encoded, but for what stands in every scope.
fn escaped(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'/' | b',');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn endpoint(host: &str, is_plain: bool, settings: &Settings) -> Result<Endpoint, OciError> {
    at(&format!("{}://{host}/v2", if is_plain { "http" } else { "https" }), host, settings)
}

fn at(url: &str, host: &str, settings: &Settings) -> Result<Endpoint, OciError> {
    let timeout = settings.timeout.unwrap_or(Duration::from_secs(30));
    Endpoint::new(url, settings.authorities.as_deref(), timeout).map_err(outbound(host))
}

fn outbound(host: &str) -> impl FnOnce(OutboundError) -> OciError + '_ {
    move |error| OciError::Outbound { host: host.to_owned(), error }
}

/// An answer with one of these statuses.
pub(crate) fn expect(answer: Fetched, wanted: &[u16], what: &str) -> Result<Fetched, OciError> {
    let (status, what) = (answer.status, what.to_owned());
    match status {
        _ if wanted.contains(&status) => Ok(answer),
        401 | 403 => Err(OciError::NotAllowed { what: format!("reach {what}"), status }),
        404 => Err(OciError::NotFound { what }),
        _ => Err(OciError::Status { what, status }),
    }
}

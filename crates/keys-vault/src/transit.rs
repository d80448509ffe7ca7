//! The transit engine's API, as far as signing needs it.
//!
//! <https://developer.hashicorp.com/vault/api-docs/secret/transit>, sections
//! "Read key", "Sign data", "Create key", "Rotate key", "List keys", "Update
//! key configuration", "Trim key" and "Delete key";
//! <https://openbao.org/api-docs/secret/transit/> is the same in these.

use std::collections::BTreeMap;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use firmseal_manifest::{KeyAlgorithm, KeyError, PublicKey};
use firmseal_outbound::{Endpoint, Fetched, OutboundError, Request};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::VaultError;
use crate::token::Token;
use crate::uri::VaultUri;

/// Longest answer with a signature.
const SIGNED_MAX: usize = 64 * 1024;
/// Longest answer with a key, each of whose versions is in it.
const KEY_MAX: usize = 4 * 1024 * 1024;
/// Longest part of Vault's own words that goes into an error.
const WORDS_MAX: usize = 200;

/// A transit engine and the token to speak to it.
pub(crate) struct Transit {
    endpoint: Endpoint,
    uri: VaultUri,
    token: Token,
}

/// Every answer has its content there.
#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

/// Every refusal says why there.
#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

/// A key as Vault describes it.
#[derive(Deserialize)]
pub(crate) struct Described {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) derived: bool,
    #[serde(default)]
    pub(crate) exportable: bool,
    #[serde(default)]
    pub(crate) allow_plaintext_backup: bool,
    #[serde(default)]
    pub(crate) deletion_allowed: bool,
    #[serde(default)]
    pub(crate) imported_key: bool,
    #[serde(default)]
    pub(crate) min_encryption_version: u32,
    /// Versions below are gone for good; 0 where none is.
    #[serde(default)]
    pub(crate) min_available_version: u32,
    /// By version. Of symmetric keys the values are numbers.
    #[serde(default)]
    pub(crate) keys: BTreeMap<String, serde_json::Value>,
}

#[derive(Serialize)]
pub(crate) struct Sign<'a> {
    pub(crate) input: &'a str,
    pub(crate) key_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prehashed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hash_algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signature_algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) salt_length: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) marshaling_algorithm: Option<&'static str>,
}

#[derive(Deserialize)]
struct Signed {
    signature: String,
}

/// What is changed about a key; the rest stays.
#[derive(Default, Serialize)]
pub(crate) struct Configure {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_allowed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_decryption_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_encryption_version: Option<u32>,
}

#[derive(Serialize)]
struct Trim {
    min_available_version: u32,
}

#[derive(Deserialize)]
struct Names {
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Create {
    #[serde(rename = "type")]
    kind: &'static str,
    exportable: bool,
    allow_plaintext_backup: bool,
}

impl Transit {
    /// No connection is made yet. The deadline is that of one request and
    /// its answer.
    pub(crate) fn new(uri: &VaultUri, token: Token, deadline: Duration) -> Result<Transit, VaultError> {
        let path = &uri.authorities;
        let fail = |why: String| VaultError::Authorities { path: path.display().to_string(), why };
        let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
        let endpoint = Endpoint::new(&format!("{}/v1", uri.address()), Some(&pem), deadline);
        let endpoint = endpoint.map_err(|error| match error {
            OutboundError::Address { why, .. } => fail(why),
            error => fail(error.to_string()),
        })?;
        Ok(Transit { endpoint, uri: uri.clone(), token })
    }

    pub(crate) fn uri(&self) -> &VaultUri {
        &self.uri
    }

    /// The key, all its versions.
    pub(crate) async fn key(&self) -> Result<Described, VaultError> {
        self.key_called(&self.uri.name).await
    }

    /// The bytes of a signature, without Vault's frame around it.
    pub(crate) async fn sign(&self, request: &Sign<'_>) -> Result<Vec<u8>, VaultError> {
        let request = json(self.path("sign", ""), request, SIGNED_MAX)?;
        let signed: Signed = decode(&self.ask(request).await?)?;
        // `vault:v3:BASE64`; another version is another key.
        let frame = format!("vault:v{}:", self.uri.version);
        let encoded = signed.signature.strip_prefix(&frame).ok_or(VaultError::BadSignature)?;
        Base64::decode_vec(encoded).map_err(|_| VaultError::BadSignature)
    }

    /// Makes the key, with its first version.
    pub(crate) async fn create(&self, kind: &'static str) -> Result<(), VaultError> {
        let request = Create { kind, exportable: false, allow_plaintext_backup: false };
        self.ask(json(self.path("keys", ""), &request, KEY_MAX)?).await.map(drop)
    }

    /// Adds a version.
    pub(crate) async fn rotate(&self) -> Result<(), VaultError> {
        self.ask(Request::post(self.path("keys", "/rotate"), Bytes::new(), KEY_MAX)).await.map(drop)
    }

    /// The names of all keys of the engine.
    pub(crate) async fn names(&self) -> Result<Vec<String>, VaultError> {
        // The same as Vault's own method LIST, which proxies may not know.
        let path = format!("{}/keys?list=true", self.uri.mount);
        match self.ask(Request::get(path, KEY_MAX)).await {
            Ok(body) => Ok(decode::<Names>(&body)?.keys),
            // An engine without keys.
            Err(VaultError::NoKey { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Another key of the engine, all its versions.
    pub(crate) async fn key_called(&self, name: &str) -> Result<Described, VaultError> {
        decode(&self.ask(Request::get(format!("{}/keys/{name}", self.uri.mount), KEY_MAX)).await?)
    }

    /// Changes what holds for the key.
    pub(crate) async fn configure(&self, change: &Configure) -> Result<(), VaultError> {
        self.ask(json(self.path("keys", "/config"), change, KEY_MAX)?).await.map(drop)
    }

    /// Takes all versions below this one away, for good.
    pub(crate) async fn trim(&self, min_available_version: u32) -> Result<(), VaultError> {
        let trim = Trim { min_available_version };
        self.ask(json(self.path("keys", "/trim"), &trim, KEY_MAX)?).await.map(drop)
    }

    /// Takes the key away with all its versions, for good.
    pub(crate) async fn delete(&self) -> Result<(), VaultError> {
        self.ask(Request::delete(self.path("keys", ""), KEY_MAX)).await.map(drop)
    }

    /// The key's path, as policies name it.
    pub(crate) fn key_path(&self) -> String {
        self.path("keys", "")
    }

    fn path(&self, what: &str, tail: &str) -> String {
        format!("{}/{what}/{}{tail}", self.uri.mount, self.uri.name)
    }

    async fn ask(&self, request: Request) -> Result<Bytes, VaultError> {
        let token = self.token.header()?;
        match self.once(request.clone(), &token).await {
            // Refused before anything was done: the other token's request
            // is the first that counts.
            Err(VaultError::Denied(_)) if self.token.changed(&token) => {
                self.once(request, &self.token.header()?).await
            }
            answer => answer,
        }
    }

    async fn once(&self, request: Request, token: &HeaderValue) -> Result<Bytes, VaultError> {
        let mut request = request
            .header(HeaderName::from_static("x-vault-token"), token.clone())
            // Against requests that a page in a browser was talked into; an
            // agent in between may demand it.
            .header(HeaderName::from_static("x-vault-request"), HeaderValue::from_static("true"));
        if let Some(namespace) = &self.uri.namespace {
            let value = HeaderValue::try_from(namespace.as_str());
            let value = value.map_err(|_| VaultError::Answer("a namespace that is none"))?;
            request = request.header(HeaderName::from_static("x-vault-namespace"), value);
        }
        let Fetched { status, body, .. } =
            self.endpoint.send(request).await.map_err(|error| match error {
                OutboundError::Timeout => VaultError::TimedOut,
                OutboundError::TooLong(_) => VaultError::Answer("it is too long"),
                OutboundError::NotSent(why)
                | OutboundError::Unreachable(why)
                | OutboundError::Address { why, .. } => {
                    VaultError::Unreachable { address: self.uri.address(), why }
                }
            })?;
        match StatusCode::from_u16(status) {
            Ok(status) if status.is_success() => Ok(body),
            Ok(status) => Err(self.refusal(status, &body)),
            Err(_) => Err(VaultError::Answer("a status that is none")),
        }
    }

    /// What a status means (API docs, "HTTP status codes"): 429 a quota or a
    /// standby, 412 a replica that lags, 503 sealed or down, 307 a standby
    /// that does not forward.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> VaultError {
        let words = serde_json::from_slice::<Errors>(body).map(|said| said.errors.join("; "));
        let words = words.ok().filter(|words| !words.is_empty());
        let has_words = words.is_some();
        let words = words.unwrap_or_else(|| "no reason".to_owned());
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let why = self.token.censor(words).chars().take(WORDS_MAX).map(plain).collect::<String>();
        let status_number = status.as_u16();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => VaultError::Denied(why),
            // Of a key that is not there Vault says nothing; words are about
            // the path to it.
            StatusCode::NOT_FOUND if has_words => VaultError::NoEngine { mount: self.uri.mount.clone(), why },
            StatusCode::NOT_FOUND => {
                VaultError::NoKey { name: self.uri.name.clone(), mount: self.uri.mount.clone() }
            }
            StatusCode::PRECONDITION_FAILED | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                VaultError::Busy { status: status_number, why }
            }
            _ if status.is_redirection() => VaultError::Busy {
                status: status_number,
                why: "a standby node that does not forward; name the cluster's address".to_owned(),
            },
            _ if status.is_client_error() => VaultError::Refused { status: status_number, why },
            _ => VaultError::Busy { status: status_number, why },
        }
    }
}

fn json(path: String, body: &impl Serialize, max: usize) -> Result<Request, VaultError> {
    let body = serde_json::to_vec(body).map_err(|_| VaultError::Answer("a request that is none"))?;
    let request = Request::post(path, body, max);
    Ok(request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json")))
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, VaultError> {
    let answer: Answer<T> =
        serde_json::from_slice(body).map_err(|_| VaultError::Answer("it is not vault's JSON"))?;
    Ok(answer.data)
}

/// A public half, as one version of a key shows it.
#[derive(Deserialize)]
struct Version {
    public_key: String,
}

impl Described {
    /// The public half of one version, if a key of ours can be it and it may
    /// sign.
    pub(crate) fn public_key(&self, version: u32) -> Result<PublicKey, VaultError> {
        let key = self.shown(version)?;
        match version < self.min_encryption_version {
            true => Err(VaultError::NotForSigning("its min_encryption_version forbids this version")),
            false => Ok(key),
        }
    }

    /// The public half of one version, if a key of ours can be it.
    pub(crate) fn shown(&self, version: u32) -> Result<PublicKey, VaultError> {
        if self.derived {
            return Err(VaultError::NotForSigning("a derived key is another one for each context"));
        }
        let Some(found) = self.keys.get(&version.to_string()) else {
            return Err(VaultError::NoVersion { wanted: version, present: self.versions() });
        };
        let Ok(Version { public_key }) = Version::deserialize(found) else {
            return Err(VaultError::NotForSigning("it has no public half"));
        };
        let key = match self.kind.as_str() {
            // The only type that is not PEM.
            "ed25519" => {
                let raw = Base64::decode_vec(&public_key).map_err(|_| KeyError::Malformed)?;
                PublicKey::from_ed25519(raw.try_into().map_err(|_| KeyError::Malformed)?)?
            }
            // The PEM ends with a line in some releases and without in others.
            _ => PublicKey::from_pem(&format!("{}\n", public_key.trim_end()))?,
        };
        match kind(key.algorithm()) {
            Some(kind) if kind == self.kind => Ok(key),
            _ => Err(KeyError::Unsupported("its type and its public half disagree".to_owned()).into()),
        }
    }

    /// The versions that are there, lowest and highest.
    fn versions(&self) -> String {
        match self.numbers().as_slice() {
            [] => "none".to_owned(),
            [one] => one.to_string(),
            [first, .., last] => format!("{first} to {last}"),
        }
    }

    /// The numbers of the versions that are shown, lowest first.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.keys.keys().filter_map(|version| version.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Whether a version was trimmed away.
    pub(crate) fn is_trimmed(&self, version: u32) -> bool {
        version < self.min_available_version
    }

    /// The oldest version that was not trimmed away; one that nobody may use
    /// any more is still there.
    pub(crate) fn oldest(&self) -> u32 {
        self.min_available_version.max(1)
    }

    /// The newest version.
    pub(crate) fn latest(&self) -> u32 {
        self.numbers().last().copied().unwrap_or(0)
    }

    /// What lets the key out of Vault or takes it away, if anything does.
    pub(crate) fn weakness(&self) -> Option<&'static str> {
        match self {
            Described { exportable: true, .. } => Some("is exportable"),
            Described { allow_plaintext_backup: true, .. } => Some("may be backed up in the clear"),
            Described { imported_key: true, .. } => Some("was not made in vault"),
            Described { deletion_allowed: true, .. } => Some("may be deleted"),
            _ => None,
        }
    }
}

/// Vault's name for keys of an algorithm.
pub(crate) fn kind(algorithm: KeyAlgorithm) -> Option<&'static str> {
    Some(match algorithm {
        KeyAlgorithm::P256 => "ecdsa-p256",
        KeyAlgorithm::P384 => "ecdsa-p384",
        KeyAlgorithm::Ed25519 => "ed25519",
        KeyAlgorithm::Rsa(2048) => "rsa-2048",
        KeyAlgorithm::Rsa(3072) => "rsa-3072",
        KeyAlgorithm::Rsa(4096) => "rsa-4096",
        KeyAlgorithm::Rsa(_) | KeyAlgorithm::Lms(_) | KeyAlgorithm::MlDsa(_) => return None,
    })
}

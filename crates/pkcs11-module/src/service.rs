//! The service over HTTPS: which keys it has, and what it has signed.
//!
//! Each call has a runtime and a connection of its own: the programs around
//! us fork, and a thread or a connection would not survive that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cryptoki_sys::{CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_FUNCTION_REJECTED, CKR_TOKEN_NOT_RECOGNIZED};
use firmseal_api::client::{Client, ClientError};
use firmseal_api::registry::CreateUpload;
use firmseal_api::signatures::{CreateSignature, Priority, SignatureRequest, SignatureState};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_keys::verify::verify;
use firmseal_manifest::{ArtifactId, PublicKey, Signature, Tbs};
use http::StatusCode;
use semver::Version;

use crate::config::{Blind, Config};
use crate::fault::{Fault, Result};
use crate::object::{Key, Object, objects};

/// How long a blind signature is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(20);
/// How long a service that does not answer is waited for, once it has: another
/// server may be taking over. Signers above us have no patience of their own.
const AWAY: Duration = Duration::from_secs(20);

/// The service.
pub struct Service {
    config: Config,
}

impl Service {
    pub fn new(config: Config) -> Service {
        Service { config }
    }

    fn ask<T>(&self, work: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
        let authority = std::fs::read(&self.config.authority)
            .map_err(|error| Fault::failed(format_args!("{}: {error}", self.config.authority.display())))?;
        let token = self.config.token()?;
        let token =
            std::str::from_utf8(token.expose()).map_err(|_| Fault::failed("the token is not text"))?;
        let client = Client::builder(&self.config.server)
            .authorities(&authority)
            .token(token)
            .build()
            .map_err(away)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Fault::failed)?;
        runtime.block_on(work(&client))
    }

    /// The same, again while the service is away. All that is asked for may be
    /// asked for twice.
    fn ask_patiently<T>(&self, work: impl AsyncFn(&Client) -> Result<T>) -> Result<T> {
        let until = Instant::now() + AWAY;
        loop {
            match self.ask(async |client| work(client).await) {
                Err(Fault(CKR_DEVICE_REMOVED | CKR_DEVICE_ERROR)) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(500));
                }
                answer => return answer,
            }
        }
    }

    /// The objects of every key that is shown.
    pub fn objects(&self) -> Result<Vec<Object>> {
        let listed = self.ask(async |client| Ok(client.operator().keys().await.map_err(away)?.items))?;
        let mut all = Vec::new();
        for key in listed {
            let row = self.config.key.iter().find(|row| row.name == key.name);
            let shown = row.is_some() || self.config.key.is_empty();
            let signs =
                key.purpose == "artifact" && key.held && matches!(key.state.as_str(), "enabled" | "ending");
            if !(shown && signs) {
                continue;
            }
            let public = PublicKey::from_text(&key.public).map_err(Fault::failed)?;
            // A service that calls a test key blind and its own key not is
            // believed in neither: this only says which way is tried.
            let blind = row.and_then(|row| row.blind.clone()).filter(|_| key.blind);
            let certificate = row.and_then(|row| row.certificate.as_ref()).map(|path| {
                use rustls_pki_types::pem::PemObject;
                rustls_pki_types::CertificateDer::from_pem_file(path)
                    .map_err(|error| Fault::failed(format_args!("{}: {error}", path.display())))
            });
            let certificate = certificate.transpose()?;
            all.extend(objects(Key { name: key.name, public, blind }, certificate.as_deref())?);
        }
        Ok(all)
    }

    /// The signature of a key over this: the one on record, or for a blind
    /// key a new one. What comes back is verified here.
    pub fn sign(&self, key: &Key, tbs: &Tbs) -> Result<Vec<u8>> {
        let found = self.ask_patiently(async |client| {
            match client.operator().signature_by(&key.name, ArtifactId(tbs.fingerprint())).await {
                Ok(request) => Ok(Some(request)),
                Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
                Err(error) => Err(away(error)),
            }
        })?;
        let request = match (found, &key.blind) {
            (Some(request), _) => request,
            (None, Some(blind)) => {
                self.ask_patiently(async |client| signed_blind(client, key, blind, tbs).await)?
            }
            (None, None) => {
                return Err(Fault::told(
                    CKR_FUNCTION_REJECTED,
                    format_args!(
                        "key {} has signed nothing with this digest: have the file signed first, with \
                         `firmseal sign --key {}`",
                        key.name, key.name
                    ),
                ));
            }
        };
        let value = request.signature.map(|signature| signature.value.0).unwrap_or_default();
        match verify(&key.public, tbs, &Signature(value.clone())) {
            Ok(()) => Ok(value),
            Err(error) => {
                Err(Fault::told(CKR_DEVICE_ERROR, format_args!("what the service answered: {error}")))
            }
        }
    }
}

/// Has a blind key sign a digest: it is handed in as a file of format
/// `digest`, and goes the way of every file.
async fn signed_blind(client: &Client, key: &Key, blind: &Blind, tbs: &Tbs) -> Result<SignatureRequest> {
    let bytes: Vec<u8> = match tbs {
        Tbs::Sha256(digest) | Tbs::Pkcs1(digest) | Tbs::PssMax(digest) => digest.to_vec(),
        Tbs::Sha384(digest) => digest.to_vec(),
        Tbs::Message(_) => return Err(Fault::told(CKR_FUNCTION_REJECTED, "blind keys sign digests alone")),
    };
    let operator = client.operator();
    let artifact = ArtifactId(RustCrypto.digest(&bytes));
    let wish = CreateUpload { size: bytes.len() as u64, sha256: artifact };
    match operator.artifact(artifact).await {
        Ok(_) => {}
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => {
            let upload = operator.create_upload(&wish).await.map_err(away)?;
            operator.append(upload.id, upload.offset, bytes.into()).await.map_err(away)?;
            operator.complete(upload.id).await.map_err(away)?;
        }
        Err(error) => return Err(away(error)),
    }
    let mut parameters = BTreeMap::new();
    if let Tbs::Pkcs1(_) = tbs {
        parameters.insert("padding".to_owned(), "pkcs1".to_owned());
    }
    let channel = blind.channel.clone().map_or_else(|| "stable".parse(), Ok);
    let wish = CreateSignature {
        product: blind.product.clone(),
        channel: channel.map_err(Fault::failed)?,
        artifact,
        key: Some(key.name.to_string()),
        version: Version::new(0, 0, 0),
        epoch: blind.epoch,
        parameters,
        build: "pkcs11".to_owned(),
        commit: String::new(),
        evidence: Vec::new(),
        priority: Priority::Release,
        deadline_seconds: Some(3600),
    };
    // The same wish again is the same request; one that ended without a
    // signature is asked for anew, which again is the same for whoever asks.
    let text = serde_json::to_vec(&wish).map_err(Fault::failed)?;
    let id = format!("pkcs11-{}", RustCrypto.digest(&text));
    let until = Instant::now() + PATIENCE;
    let mut request = operator.create_signature(&id, &wish, POLL).await.map_err(away)?;
    if matches!(request.state, SignatureState::Refused | SignatureState::Expired | SignatureState::Cancelled)
    {
        let id = format!("{id}-{}", request.id);
        request = operator.create_signature(&id, &wish, POLL).await.map_err(away)?;
    }
    while request.state == SignatureState::Queued && Instant::now() < until {
        request = operator.signature(request.id, POLL).await.map_err(away)?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    match request.state {
        SignatureState::Signed => Ok(request),
        state => {
            let why: Vec<_> =
                request.reasons.iter().map(|own| format!("{}: {}", own.rule, own.why)).collect();
            let state = format!("{state:?}").to_lowercase();
            let what = format!("signing request {} is {state}: {}", request.id, why.join("; "));
            Err(Fault::told(CKR_FUNCTION_REJECTED, what))
        }
    }
}

/// Why the service did not answer as it should.
fn away(error: ClientError) -> Fault {
    let value = match error.status() {
        Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => CKR_TOKEN_NOT_RECOGNIZED,
        Some(status) if status.is_client_error() => CKR_FUNCTION_REJECTED,
        Some(_) => CKR_DEVICE_ERROR,
        None => CKR_DEVICE_REMOVED,
    };
    Fault::told(value, error)
}

//! Identity providers: their keys, fetched and kept, and how a token is
//! used up.
//!
//! What a token is worth the identity crate decides; here its keys are
//! brought. Addresses come from the configuration and from the provider's
//! own discovery document, never from a token.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use firmseal_api::access::SignIn;
use firmseal_fleet::Time;
use firmseal_identity::{
    DISCOVERY, Discovery, IdentitySettings, Issuer, Jwks, KeyCache, Look, TokenError, TokenUse, Unverified,
    Verified,
};
use firmseal_manifest::Digest;
use firmseal_outbound::{Endpoint, OutboundError};
use firmseal_store::TokenUsed;

use super::App;
use crate::error::ApiError;
use crate::tls::sha256;

/// Longest wait for a provider's answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest discovery document, in bytes.
const DISCOVERY_MAX: usize = 64 * 1024;

/// Why an identity provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The settings are not in order.
    #[error("identity provider {issuer}: {why}")]
    Settings {
        /// The issuer.
        issuer: String,
        /// What is wrong.
        why: String,
    },
    /// A file cannot be read.
    #[error("identity provider {issuer}: {path}: {why}", path = .path.display())]
    File {
        /// The issuer.
        issuer: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

/// Every configured provider.
pub(crate) struct Identities {
    providers: Vec<Provider>,
}

struct Provider {
    issuer: Issuer,
    authorities: Vec<u8>,
    cache: Mutex<KeyCache>,
    /// Held while keys are on their way, by whoever fetches them. Those who
    /// have none to go on with wait here.
    fetching: tokio::sync::Mutex<()>,
}

impl Identities {
    /// Checks settings and reads authority files. Keys are fetched when the
    /// first token comes.
    pub(crate) fn new(settings: &[IdentitySettings]) -> Result<Identities, IdentityError> {
        let mut providers: Vec<Provider> = Vec::new();
        for settings in settings {
            let name = settings.issuer.clone();
            let fail = |why: String| IdentityError::Settings { issuer: name.clone(), why };
            if providers.iter().any(|known| known.issuer.settings().issuer == name) {
                return Err(fail("it stands twice; put all its grants into one table".to_owned()));
            }
            let authorities = std::fs::read(&settings.authority).map_err(|err| IdentityError::File {
                issuer: name.clone(),
                path: settings.authority.clone(),
                why: err.to_string(),
            })?;
            // An authority file that holds nothing is found out now, and not
            // by the first job that wants to sign.
            Endpoint::new(&settings.issuer, Some(&authorities), PATIENCE)
                .map_err(|err| fail(err.to_string()))?;
            let issuer = Issuer::new(settings.clone()).map_err(|err| fail(err.to_string()))?;
            let (cache, fetching) = (Mutex::default(), tokio::sync::Mutex::default());
            providers.push(Provider { issuer, authorities, cache, fetching });
        }
        Ok(Identities { providers })
    }

    /// Who shows a token.
    pub(crate) async fn verify(&self, text: &str, now: Time) -> Result<Verified, ApiError> {
        let token = Unverified::parse(text).map_err(ApiError::Token)?;
        let issuer = token.issuer().map_err(ApiError::Token)?;
        let provider = self
            .providers
            .iter()
            .find(|provider| provider.issuer.settings().issuer == issuer)
            .ok_or(ApiError::Token(TokenError::UnknownIssuer))?;
        let keys = provider.keys(&token, now).await?;
        provider.issuer.verify(&token, &keys, now).map_err(ApiError::Token)
    }

    /// How people sign in.
    pub(crate) fn sign_in(&self) -> Vec<SignIn> {
        let settings = self.providers.iter().map(|provider| provider.issuer.settings());
        settings
            .filter_map(|settings| {
                let sign_in = settings.sign_in.clone()?;
                let (client_id, scopes) = (sign_in.client_id, sign_in.scopes);
                Some(SignIn { issuer: settings.issuer.clone(), client_id, scopes })
            })
            .collect()
    }
}

impl App {
    /// Uses up a token for a change, where it is good for one only. With a
    /// purpose, such as a request's idempotency key, who asks again because
    /// an answer was lost asks for the same. That it was used is durable
    /// before anything else happens.
    pub(crate) async fn spend(
        &self,
        token: Option<&TokenUse>,
        purpose: Option<&str>,
    ) -> Result<(), ApiError> {
        let Some(TokenUse { id, ends }) = token else { return Ok(()) };
        let purpose = purpose.map(|purpose| sha256(purpose.as_bytes()));
        match self.store.use_token(TokenUsed { token: Digest(*id), purpose, ends: *ends }).await? {
            true => Ok(()),
            false => Err(ApiError::TokenUsed),
        }
    }
}

impl Provider {
    async fn keys(&self, token: &Unverified, now: Time) -> Result<std::sync::Arc<Jwks>, ApiError> {
        let mut waited = false;
        loop {
            // Held before anybody is told to fetch, so that who is told to
            // wait finds somebody to wait for.
            let held = self.fetching.try_lock().ok();
            let look = self.cache().look(token, self.issuer.settings(), now);
            match look {
                Look::Keys(keys) => return Ok(keys),
                Look::Fetch => {
                    let _held = match held {
                        Some(held) => held,
                        None => self.fetching.lock().await,
                    };
                    // What fails is told once; the next look says whether
                    // older keys serve meanwhile.
                    match self.fetch().await {
                        Ok(keys) => self.cache().fetched(keys, now),
                        Err(why) => {
                            let issuer = &self.issuer.settings().issuer;
                            tracing::warn!(issuer, why, "the keys of an identity provider were not fetched");
                        }
                    }
                }
                Look::OutOfReach if !waited => {
                    waited = true;
                    drop(held);
                    drop(self.fetching.lock().await);
                }
                Look::OutOfReach => {
                    return Err(ApiError::Busy(
                        "the keys of the token's identity provider are out of reach".to_owned(),
                    ));
                }
            }
        }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, KeyCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Result<Jwks, String> {
        let settings = self.issuer.settings();
        let address = match &settings.jwks {
            Some(address) => address.clone(),
            None => {
                let url = format!("{}/{DISCOVERY}", settings.issuer.trim_end_matches('/'));
                let answer = self.get(&url, DISCOVERY_MAX).await?;
                let found = Discovery::read(&settings.issuer, &answer);
                found.ok_or("its discovery document is not that of this issuer")?.jwks
            }
        };
        let answer = self.get(&address, Jwks::MAX).await?;
        Jwks::parse(&answer).ok_or_else(|| format!("{address} has no key that is fit to sign tokens"))
    }

    async fn get(&self, url: &str, max: usize) -> Result<bytes::Bytes, String> {
        let (base, path) = url.rsplit_once('/').ok_or("an address has no path")?;
        let fetch = async { Endpoint::new(base, Some(&self.authorities), PATIENCE)?.get(path, max).await };
        match fetch.await.map_err(|err: OutboundError| format!("{url}: {err}"))? {
            answer if answer.status == 200 => Ok(answer.body),
            answer => Err(format!("{url} answered {}", answer.status)),
        }
    }
}

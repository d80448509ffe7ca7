//! A key in Vault, as a signer.

use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use firmseal_keys::{Covered, SecretSource, SignError};
use firmseal_keys_remote::{Kept, Options, RemoteKey, Service, fixed, hashed, wait_for};
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs};

use crate::error::VaultError;
use crate::token::Token;
use crate::transit::{Sign, Transit};
use crate::uri::VaultUri;

/// A signer with its key in Vault's transit engine.
pub type VaultKey = RemoteKey<Pinned>;

/// One version of one transit key.
pub struct Pinned {
    transit: Arc<Transit>,
    public_key: PublicKey,
}

/// Opens the key version that the URI names. `token` is where the token
/// comes from if the URI does not say.
///
/// Blocks for up to the deadline; call it at start. A token that is refused
/// is not sent again, unless its file has another by then.
pub fn open(uri: &VaultUri, token: &SecretSource, options: Options) -> Result<VaultKey, VaultError> {
    let transit = Arc::new(transit(uri, token, options.deadline)?);
    let asked = Arc::clone(&transit);
    let described = wait_for(options.deadline, async move { asked.key().await })??;
    let public_key = described.public_key(uri.version)?;
    let place = format!("{}/{}/keys/{}, version {}", uri.address(), uri.mount, uri.name, uri.version);
    let kept = Kept { place, within: "vault", weakness: described.weakness() };
    let pinned = Pinned { transit, public_key: public_key.clone() };
    RemoteKey::new(pinned, public_key, kept, options)
        .map_err(|_| VaultError::from(firmseal_manifest::KeyError::Malformed))
}

/// The engine of a URI and the token for it.
pub(crate) fn transit(
    uri: &VaultUri,
    token: &SecretSource,
    deadline: Duration,
) -> Result<Transit, VaultError> {
    Transit::new(uri, Token::read(uri.token.as_ref().unwrap_or(token))?, deadline)
}

impl Service for Pinned {
    async fn sign(&self, covered: &Covered) -> Result<Signature, SignError> {
        let (tbs, algorithm) = (covered.tbs(), self.public_key.algorithm());
        let input = Base64::encode_string(&input(algorithm, tbs));
        let (is_ecdsa, is_rsa) = match algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::P384 => (true, false),
            KeyAlgorithm::Rsa(_) => (false, true),
            _ => (false, false),
        };
        let is_pss = is_rsa && !matches!(tbs, Tbs::Pkcs1(_));
        let request = Sign {
            input: &input,
            key_version: self.transit.uri().version,
            // Ed25519 hashes as it signs; prehashed would be Ed25519ph.
            prehashed: (is_ecdsa || is_rsa).then_some(true),
            hash_algorithm: match algorithm {
                KeyAlgorithm::P384 => Some("sha2-384"),
                _ => (is_ecdsa || is_rsa).then_some("sha2-256"),
            },
            signature_algorithm: is_rsa.then_some(if is_pss { "pss" } else { "pkcs1v15" }),
            // Vault's own choice is the longest salt that fits; devices take
            // 32 bytes and nothing else.
            salt_length: is_pss.then_some("hash"),
            // The only encoding that all releases know for both curves.
            marshaling_algorithm: is_ecdsa.then_some("asn1"),
        };
        let bytes = match self.transit.sign(&request).await {
            // Of a key that is gone or withdrawn Vault says 400, as of an
            // input that it does not sign. Which it was, the key tells.
            Err(refused @ VaultError::Refused { .. }) => {
                self.look().await?;
                return Err(refused.into());
            }
            answer => answer?,
        };
        match is_ecdsa {
            true => fixed(algorithm, &bytes).ok_or(SignError::BadSignature),
            false => Ok(Signature(bytes)),
        }
    }

    async fn ready(&self) -> Result<(), SignError> {
        Ok(self.look().await?)
    }
}

impl Pinned {
    /// Whether the key is there, and may sign.
    async fn look(&self) -> Result<(), VaultError> {
        let found = self.transit.key().await?.public_key(self.transit.uri().version)?;
        match found == self.public_key {
            true => Ok(()),
            false => Err(VaultError::Replaced),
        }
    }
}

/// What goes to Vault: the digest, or for Ed25519 the message.
fn input(algorithm: KeyAlgorithm, tbs: &Tbs) -> Vec<u8> {
    match (tbs, algorithm) {
        (Tbs::Message(message), KeyAlgorithm::Ed25519) => message.clone(),
        _ => hashed(algorithm, tbs),
    }
}

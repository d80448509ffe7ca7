//! Listing keys where they are kept.

use std::fmt::Display;

use firmseal_keys::{KeyUri, ListedKey, SecretSource};
use serde::Serialize;

use crate::error::{CliError, Kind, Result};

/// A key that a backend has, as it is listed.
#[derive(Serialize)]
pub struct Listed {
    /// URI without module, PIN and token.
    pub key: String,
    /// Key id, or why the key cannot be used.
    pub id: String,
    /// Key type.
    pub algorithm: String,
    /// How well it is kept.
    pub kept: String,
}

impl Listed {
    fn new<U: Display, E: Display>(key: ListedKey<U, E>, within: &str) -> Listed {
        let (id, algorithm) = match &key.public_key {
            Ok(public) => (public.id().to_string(), public.algorithm().to_string()),
            Err(error) => (error.to_string(), "unusable".to_owned()),
        };
        let kept = key.weakness.map_or_else(|| format!("never leaves {within}"), str::to_owned);
        Listed { key: key.uri.to_string(), id, algorithm, kept }
    }
}

fn rows<U: Display, E: Display>(keys: Vec<ListedKey<U, E>>, within: &str) -> Vec<Listed> {
    keys.into_iter().map(|key| Listed::new(key, within)).collect()
}

/// Lists the keys of the backend that the URI names. Some tokens list them
/// without a PIN.
pub fn list(uri: &KeyUri, secret: Option<&SecretSource>) -> Result<Vec<Listed>> {
    match uri {
        KeyUri::Pkcs11(uri) => {
            let pin = match (firmseal_keys_pkcs11::read_pin(uri)?, secret) {
                (None, Some(secret)) => Some(secret.read(&format!("PIN of {uri}"))?),
                (pin, _) => pin,
            };
            let keys = firmseal_keys_pkcs11::list(uri, pin)?.into_iter();
            let keys = keys.map(|key| ListedKey {
                uri: key.uri,
                public_key: key.public_key,
                weakness: key.protection.weakness(),
            });
            Ok(rows(keys.collect(), "the token"))
        }
        KeyUri::Vault(uri) => {
            let token = secret.unwrap_or(&SecretSource::Prompt);
            Ok(rows(firmseal_keys_vault::list(uri, token)?, "vault"))
        }
        #[cfg(feature = "tpm")]
        KeyUri::Tpm(uri) => Ok(rows(firmseal_keys_tpm::list(uri)?, "the tpm")),
        #[cfg(not(feature = "tpm"))]
        KeyUri::Tpm(_) => Err(super::absent("tpm")),
        #[cfg(feature = "aws")]
        KeyUri::AwsKms(uri) => Ok(rows(firmseal_keys_aws::list(uri)?, "kms")),
        #[cfg(not(feature = "aws"))]
        KeyUri::AwsKms(_) => Err(super::absent("aws")),
        KeyUri::File(_) => Err(CliError::new(Kind::Usage, "a file holds one key, and nothing lists files")
            .hint("`firmseal keys show` shows the key")),
        KeyUri::Host(_) => Err(CliError::new(Kind::Usage, "a key host tells nobody which keys it has")
            .hint("its keyhost.toml names them; on the host, list the backend that they are in")),
    }
}

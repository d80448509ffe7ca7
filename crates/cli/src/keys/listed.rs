//! Listing keys where they are kept.

use firmseal_keys::{KeptKey, SecretSource};
use serde::Serialize;

use super::KeyUri;
use crate::error::Result;

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

impl From<KeptKey> for Listed {
    fn from(key: KeptKey) -> Listed {
        let (id, algorithm) = match key.public_key {
            Ok(public) => (public.id().to_string(), public.algorithm().to_string()),
            Err(why) => (why, "unusable".to_owned()),
        };
        Listed { key: key.uri, id, algorithm, kept: key.kept }
    }
}

/// Lists the keys of the backend that the URI names. Some tokens list them
/// without a PIN.
pub fn list(uri: &KeyUri, secret: Option<&SecretSource>) -> Result<Vec<Listed>> {
    Ok(uri.home()?.list(secret)?.into_iter().map(Listed::from).collect())
}

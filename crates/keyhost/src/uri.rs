//! Keys on a key host: `keyhost:NAME/KEY`.
//!
//! Both are words. Where the host of that name is, and how it is spoken to,
//! the settings of a place say once for all its keys.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use firmseal_keys::uri_options::{Options, fail};
use firmseal_keys::{
    BackendError, Destruction, DynSigner, Fault, KeptKey, KeyHome, KeyScheme, KeysError, SecretSource,
};
use firmseal_manifest::{KeyAlgorithm, KeyId, KeyName, PublicKey};

const KIND: &str = "keyhost";

/// Its row in a table of backends.
pub const SCHEME: KeyScheme =
    KeyScheme::of::<KeyHostUri>(KIND, "`keyhost:NAME/KEY` for one that was made on a key host");

/// A parsed key host URI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyHostUri {
    /// The host, as the settings call it. Spelt as keys are.
    pub host: KeyName,
    /// The key, as the host calls it.
    pub key: KeyName,
}

impl FromStr for KeyHostUri {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<KeyHostUri, KeysError> {
        let (name, options) = Options::split(KIND, text)?;
        options.end("none")?;
        let parts = name.strip_prefix("keyhost:").and_then(|rest| rest.split_once('/'));
        let word = |text: &str| text.parse::<KeyName>().ok();
        match parts.and_then(|(host, key)| Some((word(host)?, word(key)?))) {
            Some((host, key)) => Ok(KeyHostUri { host, key }),
            None => fail(KIND, "it is `keyhost:NAME/KEY`, both in lower-case letters, digits and hyphens"),
        }
    }
}

impl fmt::Display for KeyHostUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keyhost:{}/{}", self.host, self.key)
    }
}

/// A host signs what it sees in the log of a place, so it takes that log to
/// open one of its keys: [`open`](crate::open). It makes, lists and destroys
/// nothing at a server's word, or whoever takes the server would.
impl KeyHome for KeyHostUri {
    fn is_development_only(&self) -> bool {
        false
    }

    fn open(&self, _: &SecretSource) -> Result<Arc<dyn DynSigner>, BackendError> {
        let why = "a key on a key host signs for the server of its place alone, under the log of that place";
        Err(BackendError::new(Fault::Usage, why)
            .hint("work with the key on the host; its URI there is in keyhost.toml"))
    }

    fn asks_a_person(&self, _: &SecretSource) -> bool {
        false
    }

    fn generate(&self, _: KeyAlgorithm, _: &SecretSource) -> Result<PublicKey, BackendError> {
        Err(BackendError::new(Fault::Usage, "a key on a key host is made there, in whatever the host has"))
    }

    fn list(&self, _: Option<&SecretSource>) -> Result<Vec<KeptKey>, BackendError> {
        Err(BackendError::new(Fault::Usage, "a key host tells nobody which keys it has")
            .hint("its keyhost.toml names them; on the host, list the backend that they are in"))
    }

    fn destruction(&self, _: KeyId, _: &SecretSource) -> Destruction {
        Destruction::Elsewhere(format!(
            "on the key host `{}`: stop it, take key `{}` out of its keyhost.toml and use its backend's tool",
            self.host, self.key
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_has_one_spelling_and_no_error_repeats_it() {
        let good = "keyhost:vault-room/router-boot-2026";
        assert_eq!(good.parse::<KeyHostUri>().unwrap().to_string(), good);
        for bad in ["keyhost:a", "keyhost:a/", "keyhost:a/b/c", "keyhost:A/b", "keyhost:a/b?pin=123456"] {
            let error = bad.parse::<KeyHostUri>().unwrap_err().to_string();
            assert!(error.starts_with("not a key: keyhost URI: "), "{bad}: {error}");
            assert!(!error.contains("123456"), "{error}");
        }
    }
}

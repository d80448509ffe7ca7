//! The token: read once, and again when Vault refuses it and its file has
//! another.
//!
//! Vault's tokens expire. An agent beside us (Vault Agent, OpenBao's) renews
//! them into a file; what it wrote since is a new credential, and is tried
//! once, like another PIN that a person put in place. From a variable or a
//! prompt nothing new can come.

use std::sync::{Mutex, PoisonError};

use firmseal_keys::{Secret, SecretSource};
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::error::VaultError;

pub(crate) struct Token {
    source: SecretSource,
    current: Mutex<Secret>,
}

impl Token {
    /// Reads the token. A prompt waits for a person.
    pub(crate) fn read(source: &SecretSource) -> Result<Token, VaultError> {
        let token = Token { source: source.clone(), current: Mutex::new(source.read("vault token")?) };
        token.header()?;
        Ok(token)
    }

    /// The token as it is sent, marked so that nobody prints it.
    pub(crate) fn header(&self) -> Result<HeaderValue, VaultError> {
        let current = self.current();
        let mut value = HeaderValue::from_bytes(current.expose()).map_err(|_| VaultError::Token)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Looks at the file again after Vault refused `used`; whether there is
    /// another token now.
    pub(crate) fn changed(&self, used: &HeaderValue) -> bool {
        if self.current().expose() != used.as_bytes() {
            // Somebody else has looked meanwhile.
            return true;
        }
        let SecretSource::File(_) = self.source else { return false };
        // A file that is being replaced is looked at again next time.
        let Ok(read) = self.source.read("vault token") else { return false };
        if read.expose() == used.as_bytes() || HeaderValue::from_bytes(read.expose()).is_err() {
            return false;
        }
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = read;
        true
    }

    /// What Vault said, without the token, should it have been repeated.
    pub(crate) fn censor(&self, text: String) -> String {
        let current = self.current();
        let token = Zeroizing::new(String::from_utf8_lossy(current.expose()).into_owned());
        match text.contains(token.as_str()) {
            true => "(not shown: it repeats the token)".to_owned(),
            false => text,
        }
    }

    fn current(&self) -> Secret {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

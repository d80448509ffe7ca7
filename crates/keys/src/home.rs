//! Where a key lives, and what a program asks there.
//!
//! A backend is a kind of URI. Its crate parses and prints it, and implements
//! [`KeyHome`] for what it parsed; the program at the rim has one table with a
//! [`KeyScheme`] for each backend, and no other code that knows them apart.
//! Anybody may write any URI behind any command, so every question has an
//! answer: what a backend cannot do it refuses in words of its own.

use std::any::Any;
use std::fmt::{Debug, Display};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};

use crate::backend_error::{BackendError, Fault};
use crate::error::KeysError;
use crate::listed::KeptKey;
use crate::secret::SecretSource;
use crate::signer::DynSigner;

/// One key's URI, parsed. It prints as it is written, in one spelling: two
/// that print alike name the same key in the same way. It holds no secret,
/// only where one comes from.
///
/// `secret` unlocks the key unless the URI itself says what does. Whatever
/// is called here may block, on a network or on a person.
pub trait KeyHome: Display + Debug + Any + Send + Sync {
    /// Whether its keys may stand for development only: production refuses
    /// them by their URI, before anything is opened.
    fn is_development_only(&self) -> bool;

    /// Opens the key, as a signer that passes the conformance suite.
    fn open(&self, secret: &SecretSource) -> Result<Arc<dyn DynSigner>, BackendError>;

    /// Whether opening it asks a person for the secret. That is done once, at
    /// start: nobody is asked later, while a service runs.
    fn asks_a_person(&self, secret: &SecretSource) -> bool {
        *secret == SecretSource::Prompt
    }

    /// Makes the key where it will live, for signing and nothing else. A key
    /// that is there already is never replaced.
    fn generate(&self, algorithm: KeyAlgorithm, secret: &SecretSource) -> Result<PublicKey, BackendError>;

    /// Makes a key that can be escrowed, where that has to be known when it
    /// is made. A backend that kept silent would leave people without a copy
    /// that they believe they have.
    fn generate_escrowable(
        &self,
        _algorithm: KeyAlgorithm,
        _secret: &SecretSource,
    ) -> Result<PublicKey, BackendError> {
        Err(BackendError::new(Fault::Usage, "only a key in a token is made to be escrowed")
            .hint("leave --escrowable out"))
    }

    /// Lists the keys that are where this one is, usable or not. Some
    /// backends list them without a secret, and ask for none then.
    fn list(&self, secret: Option<&SecretSource>) -> Result<Vec<KeptKey>, BackendError>;

    /// How the key of this id is destroyed, and only that one: the URI may
    /// name another by then. What it takes, a PIN or a token, is read when
    /// the day comes: nobody keeps it until then.
    fn destruction(&self, id: KeyId, secret: &SecretSource) -> Destruction;

    /// The same key seen from a directory, if the URI holds a path that may
    /// be relative to it.
    fn within(&self, _directory: &Path) -> Option<Arc<dyn KeyHome>> {
        None
    }
}

/// Destroys a private half where it is kept, and returns what is to be said
/// about it, if anything. Blocks; one that is gone already is no error, for
/// it may have been cut off half-way before.
pub type Destroyer = Box<dyn Fn() -> Result<Option<String>, String> + Send + Sync>;

/// How the private half of a key is destroyed.
pub enum Destruction {
    /// From here.
    Here(Destroyer),
    /// Not from here; the words say where, and follow "destroy it".
    Elsewhere(String),
}

impl Destruction {
    /// From here, where nothing is to be said about a key that is gone.
    pub fn quiet<E: Into<BackendError>>(
        destroy: impl Fn() -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        Destruction::Here(Box::new(move || match destroy() {
            Ok(_) => Ok(None),
            Err(error) => Err(error.into().to_string()),
        }))
    }
}

/// A row of the program's table: a backend, by what its URIs begin with.
#[derive(Debug)]
pub struct KeyScheme {
    /// What stands before the colon.
    pub name: &'static str,
    /// How such a URI is written, for help and errors: between backquotes.
    pub written: &'static str,
    /// Parses a whole URI. No error repeats a value: a secret may stand where
    /// it does not belong.
    pub parse: fn(&str) -> Result<Arc<dyn KeyHome>, KeysError>,
}

impl KeyScheme {
    /// The scheme whose URIs parse to `H`.
    pub const fn of<H>(name: &'static str, written: &'static str) -> KeyScheme
    where
        H: KeyHome + FromStr<Err = KeysError>,
    {
        KeyScheme { name, written, parse: |text| Ok(Arc::new(text.parse::<H>()?)) }
    }
}

//! What a program asks of keys in Vault.

use std::sync::Arc;

use firmseal_keys::{BackendError, Destruction, DynSigner, Fault, KeptKey, KeyHome, KeyScheme, SecretSource};
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};

use crate::error::VaultError;
use crate::uri::VaultUri;

/// Its row in a table of backends.
pub const SCHEME: KeyScheme =
    KeyScheme::of::<VaultUri>("vault", "`vault:https://HOST/MOUNT/keys/NAME?version=N&ca-file=FILE`");

impl KeyHome for VaultUri {
    fn is_development_only(&self) -> bool {
        false
    }

    fn open(&self, secret: &SecretSource) -> Result<Arc<dyn DynSigner>, BackendError> {
        Ok(Arc::new(crate::open(self, secret, Default::default())?))
    }

    fn asks_a_person(&self, secret: &SecretSource) -> bool {
        *self.token.as_ref().unwrap_or(secret) == SecretSource::Prompt
    }

    fn generate(&self, algorithm: KeyAlgorithm, secret: &SecretSource) -> Result<PublicKey, BackendError> {
        Ok(crate::generate(self, secret, algorithm)?)
    }

    fn list(&self, secret: Option<&SecretSource>) -> Result<Vec<KeptKey>, BackendError> {
        let keys = crate::list(self, secret.unwrap_or(&SecretSource::Prompt))?;
        Ok(keys.into_iter().map(|key| key.told("vault")).collect())
    }

    fn destruction(&self, id: KeyId, secret: &SecretSource) -> Destruction {
        let (uri, secret) = (self.clone(), secret.clone());
        Destruction::quiet(move || crate::destroy(&uri, &secret, &id))
    }
}

impl From<VaultError> for BackendError {
    fn from(error: VaultError) -> BackendError {
        let fault = match error {
            VaultError::Secret(error) => return error.into(),
            VaultError::Denied(_) | VaultError::Token | VaultError::MayNotDestroy { .. } => Fault::NotAllowed,
            VaultError::NoKey { .. } | VaultError::NoEngine { .. } | VaultError::NoVersion { .. } => {
                Fault::NotFound
            }
            VaultError::Exists(_) | VaultError::OutOfTurn { .. } | VaultError::OlderFirst { .. } => {
                Fault::Conflict
            }
            VaultError::Authorities { .. } | VaultError::Thread(_) => Fault::Local,
            VaultError::NotForSigning(_)
            | VaultError::UnsupportedKey(_)
            | VaultError::NotConfined(_)
            | VaultError::Replaced
            | VaultError::StillThere
            | VaultError::Refused { .. }
            | VaultError::BadSignature => Fault::Refused,
            VaultError::Unreachable { .. }
            | VaultError::TimedOut
            | VaultError::Busy { .. }
            | VaultError::Answer(_) => Fault::Unavailable,
        };
        let told = BackendError::new(fault, &error);
        match &error {
            VaultError::Unreachable { why, .. } if why.contains("certificate") => {
                told.hint("compare ca-file= with the authority of vault's certificate")
            }
            VaultError::NoEngine { .. } => told.hint("a wrong namespace= looks the same"),
            _ => told,
        }
    }
}

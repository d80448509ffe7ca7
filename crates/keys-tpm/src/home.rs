//! What a program asks of keys in a TPM.

use std::sync::Arc;

use firmseal_keys::{
    BackendError, Destruction, DynSigner, Fault, KeptKey, KeyHome, KeyScheme, KeysError, Secret, SecretSource,
};
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};

use crate::error::TpmError;
use crate::key::TpmKey;
use crate::uri::TpmUri;

/// Its row in a table of backends.
pub const SCHEME: KeyScheme = KeyScheme::of::<TpmUri>("tpm", "`tpm:0x81......`, `tpm:/FILE`");

impl KeyHome for TpmUri {
    fn is_development_only(&self) -> bool {
        false
    }

    fn open(&self, secret: &SecretSource) -> Result<Arc<dyn DynSigner>, BackendError> {
        Ok(Arc::new(TpmKey::open(self, pin(self, secret)?)?))
    }

    fn asks_a_person(&self, secret: &SecretSource) -> bool {
        *self.pin_source.as_ref().unwrap_or(secret) == SecretSource::Prompt
    }

    fn generate(&self, algorithm: KeyAlgorithm, secret: &SecretSource) -> Result<PublicKey, BackendError> {
        Ok(crate::generate(self, pin(self, secret)?, algorithm)?)
    }

    fn list(&self, _: Option<&SecretSource>) -> Result<Vec<KeptKey>, BackendError> {
        Ok(crate::list(self)?.into_iter().map(|key| key.told("the tpm")).collect())
    }

    fn destruction(&self, id: KeyId, _: &SecretSource) -> Destruction {
        let uri = self.clone();
        Destruction::quiet(move || crate::destroy(&uri, &id))
    }
}

fn pin(uri: &TpmUri, secret: &SecretSource) -> Result<Secret, KeysError> {
    uri.pin_source.as_ref().unwrap_or(secret).read("PIN of the TPM's key")
}

impl From<TpmError> for BackendError {
    fn from(error: TpmError) -> BackendError {
        let fault = match &error {
            TpmError::WrongPin | TpmError::Locked | TpmError::PinTooLong => Fault::WrongPin,
            TpmError::NotATcti => Fault::Usage,
            TpmError::NoKey(_) => Fault::NotFound,
            TpmError::Exists(_) => Fault::Conflict,
            TpmError::File { .. } | TpmError::Thread(_) => Fault::Local,
            TpmError::OtherTpm
            | TpmError::NotForSigning(_)
            | TpmError::UnsupportedKey(_)
            | TpmError::Replaced
            | TpmError::NotThis(_)
            | TpmError::Refused(_) => Fault::Refused,
            TpmError::TimedOut | TpmError::Lost(_) | TpmError::Unseen(_) => Fault::Unavailable,
        };
        BackendError::new(fault, error)
    }
}

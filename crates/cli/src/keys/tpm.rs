//! Keys in a TPM, where this program was built to link tpm2-tss.

use std::sync::Arc;

use firmseal_keys::{DynSigner, Secret, SecretSource, TpmUri};
use firmseal_keys_tpm::{TpmError, TpmKey};
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};

use crate::error::{CliError, Kind, Result};

pub(super) fn open(uri: &TpmUri, secret: &SecretSource) -> Result<Arc<dyn DynSigner>> {
    Ok(Arc::new(TpmKey::open(uri, pin(uri, secret)?)?))
}

pub(super) fn generate(uri: &TpmUri, algorithm: KeyAlgorithm, secret: &SecretSource) -> Result<PublicKey> {
    Ok(firmseal_keys_tpm::generate(uri, pin(uri, secret)?, algorithm)?)
}

pub(super) fn destroy(uri: &TpmUri, id: &KeyId) -> std::result::Result<Option<String>, String> {
    firmseal_keys_tpm::destroy(uri, id).map(|_| None).map_err(|error| error.to_string())
}

fn pin(uri: &TpmUri, secret: &SecretSource) -> Result<Secret> {
    Ok(uri.pin_source.as_ref().unwrap_or(secret).read("PIN of the TPM's key")?)
}

impl From<TpmError> for CliError {
    fn from(error: TpmError) -> CliError {
        let kind = match &error {
            TpmError::WrongPin | TpmError::Locked | TpmError::PinTooLong => Kind::NotAllowed,
            TpmError::NotATcti => Kind::Usage,
            TpmError::NoKey(_) => Kind::NotFound,
            TpmError::Exists(_) => Kind::Conflict,
            TpmError::File { .. } | TpmError::Thread(_) => Kind::Local,
            TpmError::OtherTpm
            | TpmError::NotForSigning(_)
            | TpmError::UnsupportedKey(_)
            | TpmError::Replaced
            | TpmError::Refused(_) => Kind::Refused,
            TpmError::TimedOut | TpmError::Lost(_) => Kind::Unavailable,
        };
        CliError::new(kind, error)
    }
}

//! What a program asks of keys in KMS. No secret of ours is needed:
//! credentials come from where AWS's SDK finds them.

use std::sync::Arc;

use firmseal_keys::{BackendError, Destruction, DynSigner, Fault, KeptKey, KeyHome, KeyScheme, SecretSource};
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};

use crate::error::AwsError;
use crate::manage::Destroyed;
use crate::uri::AwsKmsUri;

/// Its row in a table of backends.
pub const SCHEME: KeyScheme = KeyScheme::of::<AwsKmsUri>("aws-kms", "`aws-kms:alias/NAME?region=REGION`");

impl KeyHome for AwsKmsUri {
    fn is_development_only(&self) -> bool {
        false
    }

    fn open(&self, _: &SecretSource) -> Result<Arc<dyn DynSigner>, BackendError> {
        Ok(Arc::new(crate::open(self, Default::default())?))
    }

    fn asks_a_person(&self, _: &SecretSource) -> bool {
        false
    }

    fn generate(&self, algorithm: KeyAlgorithm, _: &SecretSource) -> Result<PublicKey, BackendError> {
        Ok(crate::generate(self, algorithm)?)
    }

    fn list(&self, _: Option<&SecretSource>) -> Result<Vec<KeptKey>, BackendError> {
        Ok(crate::list(self)?.into_iter().map(|key| key.told("kms")).collect())
    }

    /// KMS says yes and waits for a week: that is told.
    fn destruction(&self, id: KeyId, _: &SecretSource) -> Destruction {
        let uri = self.clone();
        Destruction::Here(Box::new(move || {
            match crate::destroy(&uri, &id).map_err(|error| error.to_string())? {
                Destroyed::Gone => Ok(None),
                Destroyed::On(day) => Ok(Some(format!(
                    "it signs nothing any more, and kms deletes it on {day}; until then whoever may \
                     kms:CancelKeyDeletion can bring it back"
                ))),
            }
        }))
    }
}

impl From<AwsError> for BackendError {
    fn from(error: AwsError) -> BackendError {
        let fault = match &error {
            AwsError::Denied(_) => Fault::NotAllowed,
            AwsError::NoKey(_) => Fault::NotFound,
            AwsError::Exists(_) => Fault::Conflict,
            AwsError::Thread(_) => Fault::Local,
            AwsError::NotForSigning(_)
            | AwsError::UnsupportedKey(_)
            | AwsError::Disabled(_)
            | AwsError::Replaced
            | AwsError::Refused(_) => Fault::Refused,
            AwsError::Unreachable(_) | AwsError::TimedOut | AwsError::Answer(_) => Fault::Unavailable,
        };
        BackendError::new(fault, error)
    }
}

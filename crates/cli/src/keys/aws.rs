//! Keys in AWS KMS, where this program was built with AWS's SDK.

use std::sync::Arc;

use firmseal_keys::{AwsKmsUri, DynSigner};
use firmseal_keys_aws::{AwsError, Destroyed};
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};

use crate::error::{CliError, Kind, Result};

/// No secret of ours: credentials come from where AWS's SDK finds them.
pub(super) fn open(uri: &AwsKmsUri) -> Result<Arc<dyn DynSigner>> {
    Ok(Arc::new(firmseal_keys_aws::open(uri, Default::default())?))
}

pub(super) fn generate(uri: &AwsKmsUri, algorithm: KeyAlgorithm) -> Result<PublicKey> {
    Ok(firmseal_keys_aws::generate(uri, algorithm)?)
}

/// KMS says yes and waits for a week: that is told.
pub(super) fn destroy(uri: &AwsKmsUri, id: &KeyId) -> std::result::Result<Option<String>, String> {
    match firmseal_keys_aws::destroy(uri, id).map_err(|error| error.to_string())? {
        Destroyed::Gone => Ok(None),
        Destroyed::On(day) => Ok(Some(format!(
            "it signs nothing any more, and kms deletes it on {day}; until then whoever may \
             kms:CancelKeyDeletion can bring it back"
        ))),
    }
}

impl From<AwsError> for CliError {
    fn from(error: AwsError) -> CliError {
        let kind = match &error {
            AwsError::Denied(_) => Kind::NotAllowed,
            AwsError::NoKey(_) => Kind::NotFound,
            AwsError::Exists(_) => Kind::Conflict,
            AwsError::Thread(_) => Kind::Local,
            AwsError::NotForSigning(_)
            | AwsError::UnsupportedKey(_)
            | AwsError::Disabled(_)
            | AwsError::Replaced
            | AwsError::Refused(_) => Kind::Refused,
            AwsError::Unreachable(_) | AwsError::TimedOut | AwsError::Answer(_) => Kind::Unavailable,
        };
        CliError::new(kind, error)
    }
}

//! Why KMS did not answer as it should, and what may be done about it.

use std::error::Error;

use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use firmseal_keys::SignError;
use firmseal_keys_remote::NoAnswer;
use firmseal_manifest::KeyError;

/// Longest part of other people's words that goes into an error.
const WORDS_MAX: usize = 200;

/// What went wrong between us and KMS.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AwsError {
    /// No connection, no credentials, or KMS is in trouble. Trying later may
    /// help.
    #[error("kms cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("kms did not answer within the deadline")]
    TimedOut,
    /// The operating system refused a thread.
    #[error("{0}")]
    Thread(String),
    /// KMS refused these credentials for what was asked.
    #[error("kms refused the credentials: {0}; see whether they have expired and what their policy allows")]
    Denied(String),
    /// There is no such key.
    #[error("kms has no such key: {0}")]
    NoKey(String),
    /// The key cannot sign here.
    #[error("the key cannot be used: {0}")]
    NotForSigning(&'static str),
    /// The key is of a type or size that is not used here.
    #[error(transparent)]
    UnsupportedKey(#[from] KeyError),
    /// The alias is taken.
    #[error("{0} exists; choose another alias")]
    Exists(String),
    /// The key is disabled, or waits for its deletion.
    #[error("the key is {0}; enable it in kms")]
    Disabled(String),
    /// A name stands for another key now.
    #[error("the key in kms was replaced by another; open it anew")]
    Replaced,
    /// KMS said no, and will say so again.
    #[error("kms refused: {0}")]
    Refused(String),
    /// The answer lacks what it should hold.
    #[error("the answer was not understood: no {0}")]
    Answer(&'static str),
}

impl AwsError {
    /// Sorts what the service or the way to it said, by what may be done
    /// (KMS API Reference, "Common Errors" and "Sign").
    pub(crate) fn from_sdk<E>(error: SdkError<E>) -> AwsError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let service = match &error {
            SdkError::ServiceError(service) => service.err(),
            SdkError::TimeoutError(_) => return AwsError::TimedOut,
            _ => return AwsError::Unreachable(innermost(&error)),
        };
        let code = service.code().unwrap_or("no code");
        let words = clean(&format!("{code}: {}", service.message().unwrap_or_default()));
        match code {
            "AccessDeniedException"
            | "AccessDenied"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "OptInRequired"
            | "ExpiredTokenException"
            | "ExpiredToken" => AwsError::Denied(words),
            "NotFoundException" => AwsError::NoKey(words),
            "AlreadyExistsException" => AwsError::Exists(words),
            "DisabledException" => AwsError::Disabled("disabled".to_owned()),
            // "The key state does not permit the operation": a person has
            // disabled it or set it to be deleted.
            "KMSInvalidStateException" => AwsError::Disabled("not enabled".to_owned()),
            "ThrottlingException"
            | "Throttling"
            | "LimitExceededException"
            | "TooManyRequestsException"
            | "RequestExpired"
            | "DependencyTimeoutException"
            | "KeyUnavailableException"
            | "KMSInternalException"
            | "InternalFailure"
            | "ServiceUnavailable"
            | "ServiceUnavailableException"
            | "CloudHsmClusterNotActiveException"
            | "XksProxyUriUnreachableException" => AwsError::Unreachable(words),
            _ => match error.raw_response().map(|answer| answer.status().as_u16()) {
                Some(500..=599) => AwsError::Unreachable(words),
                _ => AwsError::Refused(words),
            },
        }
    }
}

/// The cause that helps ("connection refused", "no providers in chain
/// provided credentials"); what wraps it says "dispatch failure".
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    clean(&cause.to_string())
}

fn clean(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(WORDS_MAX).map(plain).collect()
}

impl From<NoAnswer> for AwsError {
    fn from(error: NoAnswer) -> AwsError {
        match error {
            NoAnswer::TimedOut => AwsError::TimedOut,
            NoAnswer::Thread(why) => AwsError::Thread(why),
        }
    }
}

impl From<AwsError> for SignError {
    fn from(error: AwsError) -> SignError {
        match error {
            AwsError::Denied(_) => SignError::Denied(error.to_string()),
            AwsError::Unreachable(_) | AwsError::TimedOut | AwsError::Thread(_) | AwsError::Answer(_) => {
                SignError::Unavailable(error.to_string())
            }
            AwsError::Refused(_) => SignError::Refused(error.to_string()),
            // Gone, disabled, about to be deleted: that can be taken back.
            error => SignError::Unfit(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_key_does_not_end_a_request() {
        for key in [AwsError::NoKey(String::new()), AwsError::Disabled(String::new()), AwsError::Replaced] {
            assert!(matches!(SignError::from(key), SignError::Unfit(_)));
        }
        let input = AwsError::Refused("ValidationException".to_owned());
        assert!(matches!(SignError::from(input), SignError::Refused(_)));
    }
}

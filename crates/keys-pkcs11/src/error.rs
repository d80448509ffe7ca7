//! Why a token did not answer as it should, and what may be done about it.

use cryptoki::error::{Error, RvError};
use firmseal_keys::SignError;
use firmseal_manifest::KeyError;

/// What went wrong between us and a token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Pkcs11Error {
    /// The URI names no module.
    #[error("the URI names no module; add `?module-path=` with the absolute path of the HSM's library")]
    NoModulePath,
    /// The module could not be loaded.
    #[error("{path} could not be loaded: {why}")]
    Module {
        /// The library.
        path: String,
        /// What the system said.
        why: String,
    },
    /// The URI is for something that does not sign.
    #[error("{0}")]
    NotForSigning(&'static str),
    /// No token matches the URI.
    #[error("no token matches; present: {present}")]
    NoToken {
        /// The tokens that are there, as URIs.
        present: String,
    },
    /// More than one token matches the URI.
    #[error("more than one token matches, add `serial=` to the URI: {candidates}")]
    AmbiguousToken {
        /// The tokens that match, as URIs.
        candidates: String,
    },
    /// No private key matches the URI.
    #[error("no private key in the token matches; present: {present}")]
    NoKey {
        /// The private keys that are there, as URIs.
        present: String,
    },
    /// More than one private key matches the URI.
    #[error("more than one private key matches, add `id=` to the URI: {candidates}")]
    AmbiguousKey {
        /// The private keys that match, as URIs.
        candidates: String,
    },
    /// A key of that name is there already.
    #[error("the token already holds {0}; choose another label")]
    Exists(String),
    /// The public half is not in the token.
    #[error("the token holds no public half of this key; import it with the same id")]
    NoPublicKey,
    /// The key is of a type, curve or size that is not used here.
    #[error(transparent)]
    UnsupportedKey(#[from] KeyError),
    /// The token needs a PIN and there is none.
    #[error("the token needs a PIN; add `pin-source=file:PATH` to the URI")]
    NoPin,
    /// The token refused the PIN. It is not offered again.
    #[error(
        "the token refused the PIN; it was tried once and will not be retried; put the right PIN in place and restart"
    )]
    WrongPin,
    /// The token has locked the PIN.
    #[error("the token has locked its PIN; the security officer has to reset it")]
    PinLocked,
    /// The PIN is too old. Only another one will do.
    #[error("the token's PIN has expired; set another, put it in place and restart")]
    PinExpired,
    /// One more wrong PIN would lock the token. A machine does not bet on it.
    #[error("one more wrong PIN would lock the token; log in once by hand to clear its counter")]
    FinalTry,
    /// A freshly generated key is not as protected as was demanded.
    #[error("the token made a key that can leave it ({0}); the key was destroyed")]
    NotConfined(&'static str),
    /// The key was made so that it never leaves, and cannot be escrowed.
    #[error("the key cannot leave its token, not even wrapped, so it cannot be escrowed")]
    CannotLeave,
    /// The token cannot wrap the key.
    #[error("the token cannot wrap this key under AES ({0}), so the key cannot be escrowed")]
    CannotWrap(String),
    /// The token cannot unwrap the key.
    #[error("the token does not unwrap the key ({0}): it lacks AES key wrap, or the shares make another key")]
    CannotUnwrap(String),
    /// The token did not take back that the key may leave it.
    #[error("the token still says that the key may leave it")]
    StillExtractable,
    /// The key behind the URI is not the one that was opened.
    #[error("the key in the token was replaced by another; open it anew")]
    Replaced,
    /// No answer within the deadline.
    #[error("the token did not answer within the deadline")]
    TimedOut,
    /// The operating system refused a thread.
    #[error("no thread for the token: {0}")]
    Thread(String),
    /// The session, the handle or the device is gone. It may come back.
    #[error("the token is out of reach ({0})")]
    Lost(String),
    /// The token was to sign, and what it did nobody saw.
    #[error("the token gave no answer that says whether it signed ({0})")]
    Unseen(String),
    /// The key is there, and does not sign this.
    #[error("the token does not sign this with the key ({0})")]
    NotThis(String),
    /// The token is at its limits. Trying later may help.
    #[error("the token is busy ({0})")]
    Busy(String),
    /// The token said no, and will say so again.
    #[error("the token refused ({0})")]
    Refused(String),
}

impl From<Error> for Pkcs11Error {
    /// Sorts what modules say (PKCS #11 v3.1 §5.1) by what may be done.
    ///
    /// Whatever is unknown counts as lost: vendors report a broken link to
    /// their HSM with numbers of their own, and looking once more is harmless.
    fn from(error: Error) -> Pkcs11Error {
        let text = error.to_string();
        let Error::Pkcs11(rv, _) = error else { return Pkcs11Error::Refused(text) };
        match rv {
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => Pkcs11Error::WrongPin,
            RvError::PinLocked => Pkcs11Error::PinLocked,
            RvError::PinExpired => Pkcs11Error::PinExpired,
            RvError::SessionCount
            | RvError::HostMemory
            | RvError::DeviceMemory
            | RvError::CantLock
            | RvError::FunctionCanceled
            | RvError::UserAnotherAlreadyLoggedIn
            | RvError::UserTooManyTypes => Pkcs11Error::Busy(text),
            RvError::ArgumentsBad
            | RvError::ActionProhibited
            | RvError::AttributeReadOnly
            | RvError::AttributeSensitive
            | RvError::AttributeTypeInvalid
            | RvError::AttributeValueInvalid
            | RvError::CurveNotSupported
            | RvError::DataInvalid
            | RvError::DataLenRange
            | RvError::DomainParamsInvalid
            | RvError::FunctionNotSupported
            | RvError::FunctionRejected
            | RvError::KeyFunctionNotPermitted
            | RvError::KeyNotWrappable
            | RvError::KeySizeRange
            | RvError::KeyTypeInconsistent
            | RvError::KeyUnextractable
            | RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::SessionReadOnly
            | RvError::TemplateIncomplete
            | RvError::TemplateInconsistent
            | RvError::TokenWriteProtected
            | RvError::UserPinNotInitialized
            | RvError::WrappedKeyInvalid
            | RvError::WrappedKeyLenRange => Pkcs11Error::Refused(text),
            _ => Pkcs11Error::Lost(text),
        }
    }
}

impl Pkcs11Error {
    /// Sorts what came back instead of a signature. Where session, login or
    /// handle "was invalid at the time that the function was invoked"
    /// (PKCS #11 v3.1 §5.1), nothing was signed, and it stays
    /// [`Pkcs11Error::Lost`]; of everything else that counts as lost nobody
    /// knows. A session that was closed "during the execution" is no proof.
    ///
    /// `usual` says that the mechanism is the one that was there when the key
    /// was opened. That another is missing is no news of the key.
    pub(crate) fn of_signing(error: Error, usual: bool) -> Pkcs11Error {
        let code = match &error {
            Error::Pkcs11(rv, _) => Some(rv),
            _ => None,
        };
        match code {
            Some(
                RvError::ArgumentsBad
                | RvError::DataInvalid
                | RvError::DataLenRange
                | RvError::FunctionRejected
                | RvError::MechanismParamInvalid,
            ) => Pkcs11Error::NotThis(error.to_string()),
            Some(
                RvError::FunctionNotSupported
                | RvError::KeyFunctionNotPermitted
                | RvError::KeyTypeInconsistent
                | RvError::MechanismInvalid,
            ) if !usual => Pkcs11Error::NotThis(error.to_string()),
            Some(
                RvError::CryptokiNotInitialized
                | RvError::KeyHandleInvalid
                | RvError::ObjectHandleInvalid
                | RvError::SessionHandleInvalid
                | RvError::UserNotLoggedIn,
            ) => error.into(),
            _ => match error.into() {
                Pkcs11Error::Lost(why) => Pkcs11Error::Unseen(why),
                known => known,
            },
        }
    }

    /// Whether a new session may cure it, and nothing was signed.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Pkcs11Error::Lost(_))
    }

    /// Whether the PIN stands in the way: nothing cures it but a person.
    pub(crate) fn is_pin(&self) -> bool {
        matches!(
            self,
            Pkcs11Error::WrongPin | Pkcs11Error::PinLocked | Pkcs11Error::PinExpired | Pkcs11Error::FinalTry
        )
    }
}

impl From<Pkcs11Error> for SignError {
    fn from(error: Pkcs11Error) -> SignError {
        match error {
            error if error.is_pin() => SignError::WrongPin,
            // A token that was pulled out comes back.
            Pkcs11Error::Lost(_)
            | Pkcs11Error::Unseen(_)
            | Pkcs11Error::Busy(_)
            | Pkcs11Error::TimedOut
            | Pkcs11Error::Thread(_)
            | Pkcs11Error::NoToken { .. } => SignError::Unavailable(error.to_string()),
            Pkcs11Error::NotThis(_) => SignError::Refused(error.to_string()),
            // The key is gone, another one, or was taken its rights; or
            // another token has the name. All of that is mended by people
            // while requests wait.
            error => SignError::Unfit(error.to_string()),
        }
    }
}

//! Why a TPM did not answer as it should, and what may be done about it.

use std::path::PathBuf;

use firmseal_keys::SignError;
use firmseal_keys::pool::PoolError;
use firmseal_manifest::KeyError;
use tss_esapi::Error;
use tss_esapi::constants::response_code::Tss2ResponseCodeKind as Kind;

/// What went wrong between us and a TPM.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TpmError {
    /// The way to the TPM is spelled wrong.
    #[error("`tcti=` is `device:PATH`, `swtpm:host=HOST,port=PORT`, `mssim:...` or `tabrmd:...`")]
    NotATcti,
    /// The file cannot be read or written.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said, or what is wrong in it.
        why: String,
    },
    /// The authorization value does not fit a TPM.
    #[error("the PIN is longer than this TPM takes (32 bytes)")]
    PinTooLong,
    /// The TPM refused the authorization value. It is not offered again.
    #[error(
        "the tpm refused the PIN; it was tried once and will not be retried; put the right PIN in place and restart"
    )]
    WrongPin,
    /// Too many wrong values were offered, by whomever.
    #[error(
        "the tpm is locked after wrong PINs; wait, or have its owner reset the counter (`tpm2_dictionarylockout -c`)"
    )]
    Locked,
    /// Nothing is at the handle.
    #[error("the tpm has no key at {0:#010x}")]
    NoKey(u32),
    /// Something is at the handle already.
    #[error("the tpm already holds something at {0:#010x}; choose another handle")]
    Exists(u32),
    /// The key is of another TPM, or the file is damaged.
    #[error("this tpm does not open the key: it was made in another, or the file is damaged")]
    OtherTpm,
    /// The key is none that can sign here.
    #[error("the key cannot be used: {0}")]
    NotForSigning(&'static str),
    /// The key is of a type, curve or size that is not used here.
    #[error(transparent)]
    UnsupportedKey(#[from] KeyError),
    /// Another key stands at the handle.
    #[error("the key in the tpm was replaced by another; open it anew")]
    Replaced,
    /// The operating system refused a thread.
    #[error("no thread for the tpm: {0}")]
    Thread(String),
    /// No answer within the deadline.
    #[error("the tpm did not answer within the deadline")]
    TimedOut,
    /// The connection, the session or the loaded key is gone. It may come
    /// back.
    #[error("the tpm is out of reach ({0})")]
    Lost(String),
    /// The TPM was to sign, and what it did nobody saw.
    #[error("the tpm gave no answer that says whether it signed ({0})")]
    Unseen(String),
    /// The key is there, and does not sign this.
    #[error("the tpm does not sign this with the key ({0})")]
    NotThis(String),
    /// The TPM said no, and will say so again.
    #[error("the tpm refused ({0})")]
    Refused(String),
}

impl From<Error> for TpmError {
    /// Sorts response codes (TPM 2.0 Part 2 §6.6) by what may be done.
    ///
    /// Whatever is unknown counts as lost: layers below the TPM have numbers
    /// of their own for a broken connection, and a new one is harmless.
    fn from(error: Error) -> TpmError {
        let text = error.to_string();
        let Error::Tss2Error(code) = error else { return TpmError::Refused(text) };
        match code.kind() {
            Some(Kind::AuthFail | Kind::BadAuth) => TpmError::WrongPin,
            Some(Kind::Lockout) => TpmError::Locked,
            Some(Kind::Integrity) => TpmError::OtherTpm,
            Some(
                Kind::Asymmetric
                | Kind::Attributes
                | Kind::Hash
                | Kind::Value
                | Kind::Hierarchy
                | Kind::KeySize
                | Kind::Type
                | Kind::Range
                | Kind::Scheme
                | Kind::Size
                | Kind::Symmetric
                | Kind::Selector
                | Kind::Key
                | Kind::Curve
                | Kind::Disabled
                | Kind::AuthUnavailable
                | Kind::AuthType
                | Kind::NvSpace
                | Kind::NvDefined
                | Kind::Sensitive
                | Kind::CommandCode,
            ) => TpmError::Refused(text),
            _ => TpmError::Lost(text),
        }
    }
}

impl TpmError {
    /// Sorts what came back instead of a signature (TPM 2.0 Part 3 §20.2).
    /// What was lost before the command began can have signed nothing, and
    /// stays [`TpmError::Lost`]; of everything else that counts as lost nobody
    /// knows.
    pub(crate) fn of_signing(error: Error) -> TpmError {
        let kind = match &error {
            Error::Tss2Error(code) => code.kind(),
            _ => None,
        };
        match kind {
            Some(Kind::Hash | Kind::Scheme | Kind::Size | Kind::Value | Kind::Range) => {
                TpmError::NotThis(error.to_string())
            }
            // The handles come first (Part 1 §18.2): without key or session
            // nothing is executed.
            Some(Kind::Initialize | Kind::Handle | Kind::ReferenceH0 | Kind::ReferenceS0) => error.into(),
            _ => match error.into() {
                TpmError::Lost(why) => TpmError::Unseen(why),
                known => known,
            },
        }
    }

    /// Whether a new connection may cure it, and nothing was signed.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, TpmError::Lost(_))
    }

    /// Whether what is loaded over the connection is still known.
    pub(crate) fn leaves_connection(&self) -> bool {
        !matches!(self, TpmError::Lost(_) | TpmError::Unseen(_))
    }

    /// Whether the PIN stands in the way: nothing cures it but a person.
    pub(crate) fn is_pin(&self) -> bool {
        matches!(self, TpmError::WrongPin | TpmError::Locked)
    }
}

impl From<PoolError> for TpmError {
    fn from(error: PoolError) -> TpmError {
        match error {
            PoolError::TimedOut => TpmError::TimedOut,
            PoolError::Full | PoolError::Lost => TpmError::Lost(error.to_string()),
        }
    }
}

impl From<TpmError> for SignError {
    fn from(error: TpmError) -> SignError {
        match error {
            error if error.is_pin() => SignError::WrongPin,
            TpmError::Lost(_) | TpmError::Unseen(_) | TpmError::TimedOut | TpmError::Thread(_) => {
                SignError::Unavailable(error.to_string())
            }
            TpmError::NotThis(_) => SignError::Refused(error.to_string()),
            // The key, its file or the TPM is another one, or gone.
            error => SignError::Unfit(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tss_esapi::constants::response_code::Tss2ResponseCode;

    use super::*;

    fn signing(code: u32) -> TpmError {
        TpmError::of_signing(Error::Tss2Error(Tss2ResponseCode::from(code)))
    }

    #[test]
    fn only_what_signed_nothing_is_done_again() {
        // No such handle, key not loaded, session not loaded, not started.
        for code in [0x18b, 0x910, 0x918, 0x100] {
            assert!(signing(code).is_lost() && !signing(code).leaves_connection(), "{code:#x}");
        }
        // TCTI: input or output failed; failure mode; canceled; no memory.
        for code in [0xa_000a, 0x101, 0x909, 0x904] {
            assert!(!signing(code).is_lost() && !signing(code).leaves_connection(), "{code:#x}");
            assert!(matches!(SignError::from(signing(code)), SignError::Unavailable(_)), "{code:#x}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_key_does_not_end_a_request() {
        // Scheme, size, value.
        for code in [0x2d2, 0x1d5, 0x1c4] {
            assert!(matches!(SignError::from(signing(code)), SignError::Refused(_)), "{code:#x}");
        }
        // Disabled, attributes, needs a policy.
        for code in [0x120, 0x182, 0x12f] {
            assert!(matches!(SignError::from(signing(code)), SignError::Unfit(_)), "{code:#x}");
        }
        for error in [TpmError::NoKey(0x8101_0001), TpmError::OtherTpm, TpmError::Replaced] {
            assert!(matches!(SignError::from(error), SignError::Unfit(_)));
        }
        assert!(matches!(SignError::from(signing(0x98e)), SignError::WrongPin));
    }
}

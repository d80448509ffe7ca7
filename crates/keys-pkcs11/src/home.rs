//! What a program asks of keys in tokens. What a ceremony asks beyond it, to
//! wrap and unwrap, is [`escrow`](crate::escrow)'s.

use std::sync::Arc;

use firmseal_keys::{
    BackendError, Destruction, DynSigner, Fault, KeptKey, KeyHome, KeyScheme, ListedKey, SecretSource,
};
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};

use crate::error::Pkcs11Error;
use crate::key::{Options, Pkcs11Key};
use crate::token::{pin, read_pin};
use crate::uri::Pkcs11Uri;

/// Its row in a table of backends.
pub const SCHEME: KeyScheme =
    KeyScheme::of::<Pkcs11Uri>("pkcs11", "`pkcs11:token=NAME;object=NAME?module-path=FILE` (RFC 7512)");

impl KeyHome for Pkcs11Uri {
    fn is_development_only(&self) -> bool {
        false
    }

    fn open(&self, secret: &SecretSource) -> Result<Arc<dyn DynSigner>, BackendError> {
        Ok(Arc::new(Pkcs11Key::open(self, Some(pin(self, secret)?), Options::default())?))
    }

    fn asks_a_person(&self, secret: &SecretSource) -> bool {
        *self.pin_source.as_ref().unwrap_or(secret) == SecretSource::Prompt
    }

    fn generate(&self, algorithm: KeyAlgorithm, secret: &SecretSource) -> Result<PublicKey, BackendError> {
        Ok(crate::generate(self, Some(pin(self, secret)?), algorithm)?.public_key?)
    }

    fn generate_escrowable(
        &self,
        algorithm: KeyAlgorithm,
        secret: &SecretSource,
    ) -> Result<PublicKey, BackendError> {
        Ok(crate::generate_escrowable(self, Some(pin(self, secret)?), algorithm)?.public_key?)
    }

    fn list(&self, secret: Option<&SecretSource>) -> Result<Vec<KeptKey>, BackendError> {
        let pin = match secret {
            Some(secret) => Some(pin(self, secret)?),
            None => read_pin(self)?,
        };
        let told = |key: crate::TokenKey| {
            let weakness = key.protection.weakness();
            ListedKey { uri: key.uri, public_key: key.public_key, weakness }.told("the token")
        };
        Ok(crate::list(self, pin)?.into_iter().map(told).collect())
    }

    fn destruction(&self, id: KeyId, secret: &SecretSource) -> Destruction {
        let (uri, secret) = (self.clone(), secret.clone());
        Destruction::quiet(move || -> Result<bool, BackendError> {
            Ok(crate::destroy(&uri, Some(pin(&uri, &secret)?), &id)?)
        })
    }
}

impl From<Pkcs11Error> for BackendError {
    fn from(error: Pkcs11Error) -> BackendError {
        let fault = match &error {
            Pkcs11Error::WrongPin
            | Pkcs11Error::PinLocked
            | Pkcs11Error::PinExpired
            | Pkcs11Error::FinalTry => Fault::WrongPin,
            Pkcs11Error::NoPin => Fault::NotAllowed,
            Pkcs11Error::NoModulePath
            | Pkcs11Error::AmbiguousToken { .. }
            | Pkcs11Error::AmbiguousKey { .. } => Fault::Usage,
            Pkcs11Error::NoKey { .. } => Fault::NotFound,
            Pkcs11Error::Exists(_) => Fault::Conflict,
            Pkcs11Error::Module { .. } | Pkcs11Error::Thread(_) => Fault::Local,
            Pkcs11Error::NotForSigning(_)
            | Pkcs11Error::NoPublicKey
            | Pkcs11Error::UnsupportedKey(_)
            | Pkcs11Error::NotConfined(_)
            | Pkcs11Error::CannotLeave
            | Pkcs11Error::CannotWrap(_)
            | Pkcs11Error::CannotUnwrap(_)
            | Pkcs11Error::StillExtractable
            | Pkcs11Error::Replaced
            | Pkcs11Error::NotThis(_)
            | Pkcs11Error::Refused(_) => Fault::Refused,
            // A token that is unplugged is none that matches.
            Pkcs11Error::NoToken { .. }
            | Pkcs11Error::TimedOut
            | Pkcs11Error::Lost(_)
            | Pkcs11Error::Unseen(_)
            | Pkcs11Error::Busy(_) => Fault::Unavailable,
        };
        let told = BackendError::new(fault, &error);
        match &error {
            Pkcs11Error::CannotLeave => {
                told.hint("only a key that was made with `keys generate --escrowable` is wrapped, and once")
            }
            Pkcs11Error::CannotWrap(_) => {
                told.hint("keep a spare key instead: another holder in the root document needs no copy")
            }
            Pkcs11Error::StillExtractable => {
                told.hint("whoever has the PIN can take it out: end that with the token's own tool")
            }
            _ => told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_that_is_refused_is_not_out_of_reach() {
        for (error, expected) in [
            (Pkcs11Error::WrongPin, Fault::WrongPin),
            (Pkcs11Error::PinLocked, Fault::WrongPin),
            (Pkcs11Error::FinalTry, Fault::WrongPin),
            (Pkcs11Error::NoToken { present: String::new() }, Fault::Unavailable),
            (Pkcs11Error::TimedOut, Fault::Unavailable),
            (Pkcs11Error::NoKey { present: String::new() }, Fault::NotFound),
            (Pkcs11Error::NoModulePath, Fault::Usage),
        ] {
            assert!(
                matches!(BackendError::from(error), BackendError::Told { fault, .. } if fault == expected)
            );
        }
    }
}

//! Opening keys: from a URI to a signer. The one place that knows which
//! backends this program was built with.

#[cfg(feature = "aws")]
mod aws;
mod destruction;
mod listed;
#[cfg(feature = "tpm")]
mod tpm;
mod vault;

use std::io::Write;
use std::sync::Arc;

use firmseal_keys::wrapped::{Wrapped, WrappingKey};
use firmseal_keys::{DynSigner, FileKey, KeyUri, Log, Logged, Pkcs11Uri, Secret, SecretSource};
use firmseal_keys_pkcs11::{Options, Pkcs11Error, Pkcs11Key, escrow};
use firmseal_manifest::{Intent, KeyAlgorithm, PublicKey};
use firmseal_sign::PipelineError;

pub use self::destruction::{destruction, gone};
pub use self::listed::list;
use crate::error::{CliError, Kind, Result};

/// Opens a key. The secret unlocks a key file; a token's PIN or a service's
/// credential comes from the same source unless the URI names one.
pub fn open(uri: &KeyUri, secret: &SecretSource) -> Result<Arc<dyn DynSigner>> {
    match uri {
        KeyUri::File(path) => {
            let passphrase = secret.read(&format!("passphrase of {}", path.display()))?;
            Ok(Arc::new(FileKey::open(path, &passphrase)?))
        }
        KeyUri::Pkcs11(uri) => {
            let pin = pin(uri, secret)?;
            Ok(Arc::new(Pkcs11Key::open(uri, Some(pin), Options::default())?))
        }
        KeyUri::Vault(uri) => Ok(Arc::new(firmseal_keys_vault::open(uri, secret, Default::default())?)),
        #[cfg(feature = "tpm")]
        KeyUri::Tpm(uri) => tpm::open(uri, secret),
        #[cfg(not(feature = "tpm"))]
        KeyUri::Tpm(_) => Err(absent("tpm")),
        #[cfg(feature = "aws")]
        KeyUri::AwsKms(uri) => aws::open(uri),
        #[cfg(not(feature = "aws"))]
        KeyUri::AwsKms(_) => Err(absent("aws")),
        KeyUri::Host(_) => Err(CliError::new(
            Kind::Usage,
            "a key on a key host signs for the server of its place alone, under the log of that place",
        )
        .hint("work with the key on the host; its URI there is in keyhost.toml")),
    }
}

/// A backend that this program was built without.
#[cfg(not(all(feature = "aws", feature = "tpm")))]
fn absent(feature: &str) -> CliError {
    CliError::new(Kind::Usage, format_args!("this program was built without the feature `{feature}`"))
        .hint(format!("build it with `cargo build --features {feature}`"))
}

/// The PIN of a token: from where its URI says, or from the same source as
/// other secrets.
pub fn pin(uri: &Pkcs11Uri, secret: &SecretSource) -> Result<Secret> {
    match firmseal_keys_pkcs11::read_pin(uri)? {
        Some(pin) => Ok(pin),
        None => Ok(secret.read(&format!("PIN of {uri}"))?),
    }
}

/// Opens a token's key with a PIN that is at hand.
pub fn open_with(uri: &Pkcs11Uri, pin: &Secret) -> Result<Arc<dyn DynSigner>> {
    Ok(Arc::new(Pkcs11Key::open(uri, Some(pin.clone()), Options::default())?))
}

/// Has a token wrap a key for escrow.
pub fn wrap(uri: &Pkcs11Uri, pin: &Secret, under: &WrappingKey) -> Result<Wrapped> {
    Ok(escrow::wrap(uri, Some(pin.clone()), under)?)
}

/// Ends that a token's key may be wrapped.
pub fn confine(uri: &Pkcs11Uri, pin: &Secret) -> Result {
    Ok(escrow::confine(uri, Some(pin.clone()))?)
}

/// Has a token unwrap a key, and says which it is there.
pub fn unwrap(uri: &Pkcs11Uri, pin: &Secret, under: &WrappingKey, wrapped: &Wrapped) -> Result<Pkcs11Uri> {
    let made = escrow::unwrap(uri, Some(pin.clone()), under, wrapped)?;
    // Of two keys of one label the id tells which.
    Ok(Pkcs11Uri { id: made.uri.id, ..uri.clone() })
}

/// Takes away what was unwrapped.
pub fn discard(uri: &Pkcs11Uri, pin: &Secret) -> Result {
    Ok(escrow::discard(uri, Some(pin.clone()))?)
}

/// Logs the use of a key, which it then signs under. Says so when an LMS key
/// is nearly used up, to programs too: the next one is not made in a hurry.
pub async fn logged(log: &(impl Log + ?Sized), intent: Intent, key: &PublicKey) -> Result<Logged<Intent>> {
    let logged = Logged::append_for(log, intent, key).await.map_err(PipelineError::Log)?;
    if let Some(reserved) = logged.leaf().map(|leaf| leaf.reserved()).filter(|reserved| reserved.is_late()) {
        let left = reserved.left();
        // A closed stderr is no reason to stop.
        let _ = writeln!(
            std::io::stderr(),
            "warning: LMS key {} signs {left} more times; make the next key and rotate to it",
            key.id()
        );
    }
    Ok(logged)
}

/// Makes a key where it will live, from where it does not come back; not in
/// a file. `secret` is as for [`open`].
pub fn generate(
    uri: &KeyUri,
    algorithm: KeyAlgorithm,
    escrowable: bool,
    secret: &SecretSource,
) -> Result<PublicKey> {
    match uri {
        KeyUri::Pkcs11(uri) => in_token(uri, algorithm, escrowable, secret),
        _ if escrowable => Err(CliError::new(Kind::Usage, "only a key in a token is made to be escrowed")
            .hint("leave --escrowable out")),
        KeyUri::File(_) => Err(CliError::new(Kind::Usage, "a key in a file is made with a passphrase")),
        KeyUri::Vault(uri) => Ok(firmseal_keys_vault::generate(uri, secret, algorithm)?),
        #[cfg(feature = "tpm")]
        KeyUri::Tpm(uri) => tpm::generate(uri, algorithm, secret),
        #[cfg(not(feature = "tpm"))]
        KeyUri::Tpm(_) => Err(absent("tpm")),
        #[cfg(feature = "aws")]
        KeyUri::AwsKms(uri) => aws::generate(uri, algorithm),
        #[cfg(not(feature = "aws"))]
        KeyUri::AwsKms(_) => Err(absent("aws")),
        KeyUri::Host(_) => {
            Err(CliError::new(Kind::Usage, "a key on a key host is made there, in whatever the host has"))
        }
    }
}

fn in_token(
    uri: &Pkcs11Uri,
    algorithm: KeyAlgorithm,
    escrowable: bool,
    secret: &SecretSource,
) -> Result<PublicKey> {
    let pin = Some(pin(uri, secret)?);
    let made = match escrowable {
        true => firmseal_keys_pkcs11::generate_escrowable(uri, pin, algorithm)?,
        false => firmseal_keys_pkcs11::generate(uri, pin, algorithm)?,
    };
    Ok(made.public_key?)
}

impl From<Pkcs11Error> for CliError {
    fn from(error: Pkcs11Error) -> CliError {
        let kind = match &error {
            Pkcs11Error::WrongPin | Pkcs11Error::PinLocked | Pkcs11Error::FinalTry | Pkcs11Error::NoPin => {
                Kind::NotAllowed
            }
            Pkcs11Error::NoModulePath
            | Pkcs11Error::AmbiguousToken { .. }
            | Pkcs11Error::AmbiguousKey { .. } => Kind::Usage,
            Pkcs11Error::NoKey { .. } => Kind::NotFound,
            Pkcs11Error::Exists(_) => Kind::Conflict,
            Pkcs11Error::Module { .. } | Pkcs11Error::Thread(_) => Kind::Local,
            Pkcs11Error::NotForSigning(_)
            | Pkcs11Error::NoPublicKey
            | Pkcs11Error::UnsupportedKey(_)
            | Pkcs11Error::NotConfined(_)
            | Pkcs11Error::CannotLeave
            | Pkcs11Error::CannotWrap(_)
            | Pkcs11Error::CannotUnwrap(_)
            | Pkcs11Error::StillExtractable
            | Pkcs11Error::Replaced
            | Pkcs11Error::Refused(_) => Kind::Refused,
            // A token that is unplugged is none that matches.
            Pkcs11Error::NoToken { .. }
            | Pkcs11Error::TimedOut
            | Pkcs11Error::Lost(_)
            | Pkcs11Error::Busy(_) => Kind::Unavailable,
        };
        let hint = match &error {
            Pkcs11Error::CannotLeave => {
                Some("only a key that was made with `keys generate --escrowable` is wrapped, and once")
            }
            Pkcs11Error::CannotWrap(_) => {
                Some("keep a spare key instead: another holder in the root document needs no copy")
            }
            Pkcs11Error::StillExtractable => {
                Some("whoever has the PIN can take it out: end that with the token's own tool")
            }
            _ => None,
        };
        let out = CliError::new(kind, error);
        match hint {
            Some(hint) => out.hint(hint),
            None => out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_that_is_refused_is_not_out_of_reach() {
        for (error, kind) in [
            (Pkcs11Error::WrongPin, Kind::NotAllowed),
            (Pkcs11Error::PinLocked, Kind::NotAllowed),
            (Pkcs11Error::FinalTry, Kind::NotAllowed),
            (Pkcs11Error::NoToken { present: String::new() }, Kind::Unavailable),
            (Pkcs11Error::TimedOut, Kind::Unavailable),
            (Pkcs11Error::NoKey { present: String::new() }, Kind::NotFound),
            (Pkcs11Error::NoModulePath, Kind::Usage),
        ] {
            assert_eq!(CliError::from(error).kind, kind);
        }
    }
}

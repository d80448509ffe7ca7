//! What ceremonies ask of tokens, and of no other backend: with one PIN, read
//! once, a key is wrapped and confined, or unwrapped, proven and discarded.

use std::sync::Arc;

use firmseal_keys::wrapped::{Wrapped, WrappingKey};
use firmseal_keys::{BackendError, DynSigner, Secret};
use firmseal_keys_pkcs11::{Options, Pkcs11Error, Pkcs11Key, Pkcs11Uri, escrow};

use crate::error::{CliError, Result};

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

impl From<Pkcs11Error> for CliError {
    fn from(error: Pkcs11Error) -> CliError {
        BackendError::from(error).into()
    }
}

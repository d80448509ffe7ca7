//! Keys that live in tokens, as they leave them: wrapped by the token under a
//! key that is made for this alone, and goes into shares.

use aws_lc_rs::rand;
use firmseal_manifest::PublicKey;
use zeroize::Zeroizing;

use crate::error::KeysError;

/// Length of a wrapping key: AES-256.
pub const WRAPPING_LEN: usize = 32;

/// A key under which a token wraps one of its keys. It is wiped when it is
/// dropped.
#[derive(Clone)]
pub struct WrappingKey(Zeroizing<[u8; WRAPPING_LEN]>);

/// A token's key, wrapped (AES Key Wrap with Padding, RFC 5649, around
/// PKCS#8). It may be kept where others come by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrapped {
    /// Its public half.
    pub public: PublicKey,
    /// What the token handed out.
    pub bytes: Vec<u8>,
}

impl WrappingKey {
    /// A new one.
    pub fn draw() -> Result<WrappingKey, KeysError> {
        let mut key = Zeroizing::new([0; WRAPPING_LEN]);
        rand::fill(&mut *key).map_err(|_| KeysError::Crypto("drawing a wrapping key"))?;
        Ok(WrappingKey(key))
    }

    /// Its bytes, for the token that wraps or unwraps.
    pub fn expose(&self) -> &[u8; WRAPPING_LEN] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<WrappingKey> {
        let mut key = Zeroizing::new([0; WRAPPING_LEN]);
        (bytes.len() == WRAPPING_LEN).then(|| key.copy_from_slice(bytes))?;
        Some(WrappingKey(key))
    }
}

//! RSA signatures (RFC 8017), RSASSA-PSS with SHA-256: verification in little
//! stack.
//!
//! The form is PS256 of COSE (RFC 8230): MGF1 with SHA-256, a salt of 32
//! bytes. Moduli have exactly 3072 or 4096 bits, the exponent is 65537: it
//! takes 16 squarings and one product, so this multiplies word by word as
//! Montgomery did it and holds four numbers of 512 bytes, where a general
//! library takes 20 kB. Everything is public, so nothing runs in constant
//! time.

#[cfg(feature = "rsa")]
mod verify;

/// The one public exponent, 65537 (FIPS 186-5 §5.4 allows no smaller one).
const EXPONENT: [u8; 3] = [1, 0, 1];

/// A public key whose form was checked. Whether its modulus is the product
/// of two primes nobody can see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key<'a> {
    modulus: &'a [u8],
}

impl<'a> Key<'a> {
    /// Reads a modulus and an exponent, big endian and without leading
    /// zeros. `None` for other sizes, an even modulus and another exponent,
    /// and where this build has no RSA: such a key is then of an unknown
    /// type, and refused.
    pub fn decode(modulus: &'a [u8], exponent: &[u8]) -> Option<Key<'a>> {
        let sized = matches!(modulus, [0x80..=0xff, .., last] if last % 2 == 1);
        let sized = sized && matches!(modulus.len(), 384 | 512);
        (cfg!(feature = "rsa") && sized && exponent == EXPONENT).then_some(Key { modulus })
    }

    /// The modulus, big endian.
    pub fn modulus(&self) -> &'a [u8] {
        self.modulus
    }

    /// The exponent, big endian.
    pub const fn exponent(&self) -> &'static [u8] {
        &EXPONENT
    }

    /// Checks a signature (RFC 8017 §8.1.2).
    #[cfg(feature = "rsa")]
    pub fn verify(
        &self,
        message: &[u8],
        signature: &[u8],
        crypto: &impl crate::crypto::Crypto,
    ) -> Result<(), crate::crypto::BadSignature> {
        verify::verify(self, &crypto.digest(message), verify::HASH, signature, crypto)
    }

    /// The same of a message's digest, with the longest salt that there is
    /// room for. No device accepts it: it is for files that others verify.
    #[cfg(feature = "rsa")]
    pub fn verify_longest_salt(
        &self,
        digest: &crate::Digest,
        signature: &[u8],
        crypto: &impl crate::crypto::Crypto,
    ) -> Result<(), crate::crypto::BadSignature> {
        // emLen - sLen - hLen - 2 bytes of padding (RFC 8017 §9.1.1): none.
        let salt = self.modulus.len().saturating_sub(verify::HASH + 2);
        verify::verify(self, digest, salt, signature, crypto)
    }
}

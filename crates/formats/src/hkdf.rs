//! HMAC (RFC 2104) and HKDF (RFC 5869) with SHA-256 or SHA-512.

use std::io;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use crate::source::{Source, for_each_piece};

/// Which hash function a MAC is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MacHash {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl MacHash {
    /// Length of its values in bytes.
    pub(crate) const fn len(self) -> usize {
        match self {
            MacHash::Sha256 => 32,
            MacHash::Sha512 => 64,
        }
    }

    /// The MAC of some pieces, one after the other.
    pub(crate) fn mac(self, key: &[u8], pieces: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        fn run<M: Mac + KeyInit>(key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
            // Keys of every length are taken: the error cannot happen.
            let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
            pieces.iter().for_each(|piece| mac.update(piece));
            mac.finalize().into_bytes().to_vec()
        }
        Zeroizing::new(match self {
            MacHash::Sha256 => run::<Hmac<Sha256>>(key, pieces),
            MacHash::Sha512 => run::<Hmac<Sha512>>(key, pieces),
        })
    }

    /// Whether `value` is the MAC of `bytes`, in a time that does not tell
    /// where it differs.
    pub(crate) fn holds(self, key: &[u8], bytes: &[u8], value: &[u8]) -> bool {
        fn run<M: Mac + KeyInit>(key: &[u8], bytes: &[u8], value: &[u8]) -> bool {
            let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return false };
            mac.update(bytes);
            mac.verify_slice(value).is_ok()
        }
        match self {
            MacHash::Sha256 => run::<Hmac<Sha256>>(key, bytes, value),
            MacHash::Sha512 => run::<Hmac<Sha512>>(key, bytes, value),
        }
    }

    /// HKDF-Expand (RFC 5869 §2.3), for fewer than 255 blocks.
    pub(crate) fn expand(self, secret: &[u8], info: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(len + self.len()));
        let mut last = Zeroizing::new(Vec::new());
        let mut counter = 0u8;
        while out.len() < len && counter < u8::MAX {
            counter += 1;
            last = self.mac(secret, &[&last, info, &[counter]]);
            out.extend_from_slice(&last);
        }
        out.truncate(len);
        out
    }

    /// HKDF without a salt (RFC 5869 §2.2: zeros then).
    pub(crate) fn derive(self, secret: &[u8], info: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
        self.expand(&self.mac(&[0; 64][..self.len()], &[secret]), info, len)
    }
}

/// HMAC with SHA-256 of a whole source.
pub(crate) fn mac_of(key: &[u8], source: &dyn Source) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).map_err(io::Error::other)?;
    for_each_piece(source, 0..source.len()?, |piece| {
        mac.update(piece);
        Ok(())
    })?;
    Ok(Zeroizing::new(mac.finalize().into_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hash::hex;

    #[test]
    fn rfc_5869_appendix_a() {
        // A.3: no salt, no info. A.1's secret with its salt as the MAC's key.
        let secret = [0x0b; 22];
        let out = MacHash::Sha256.derive(&secret, &[], 42);
        assert_eq!(
            hex(&out),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        );
        let salt: Vec<u8> = (0..13).collect();
        let info: Vec<u8> = (0xf0..0xfa).collect();
        let out = MacHash::Sha256.expand(&MacHash::Sha256.mac(&salt, &[&secret]), &info, 42);
        assert_eq!(
            hex(&out),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
        assert_eq!(mac_of(&salt, &secret.to_vec()).unwrap(), MacHash::Sha256.mac(&salt, &[&secret]));
        assert!(MacHash::Sha256.holds(&salt, &secret, &MacHash::Sha256.mac(&salt, &[&secret])));
        assert!(!MacHash::Sha256.holds(&salt, &secret, &[]));
    }
}

//! Key transport: a key encrypted for the holder of an RSA key, as RSAES-OAEP
//! with SHA-256, MGF1 with SHA-256 and no label (RFC 8017 §7.1).

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use firmseal_manifest::{KeyAlgorithm, PublicKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::der::{INTEGER, Reader, SEQUENCE};
use crate::hash::Hash;

/// Length of the hash, and of the seed.
pub(crate) const SEED: usize = 32;
/// Longest modulus, in bits: its power is a moment's work.
const BITS_MAX: u16 = 8192;

/// A public key that something is encrypted for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RsaRecipient {
    /// Without zeros before it, as all numbers here.
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    /// RSAPublicKey (RFC 8017 §A.1.1).
    der: Vec<u8>,
}

impl RsaRecipient {
    /// Reads a SubjectPublicKeyInfo.
    pub(crate) fn from_spki(spki: &[u8]) -> Option<RsaRecipient> {
        let key = PublicKey::from_spki(spki).ok()?;
        if !matches!(key.algorithm(), KeyAlgorithm::Rsa(bits) if bits <= BITS_MAX) {
            return None;
        }
        let der = key.bits().to_vec();
        let mut pair = Reader::only(&der, SEQUENCE).ok()?;
        let (modulus, exponent) = (number(&mut pair)?.to_vec(), number(&mut pair)?.to_vec());
        Some(RsaRecipient { modulus, exponent, der })
    }

    /// Length of what it encrypts to, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.modulus.len()
    }

    /// RSAPublicKey.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Encrypts a key. The seed is known to nobody who must not read it.
    pub(crate) fn seal(&self, key: &[u8], seed: &[u8; SEED]) -> Option<Vec<u8>> {
        raised(&encode(key, seed, self.modulus.len())?, &self.modulus, &self.exponent)
    }
}

/// A private key of such a one.
pub(crate) struct RsaSecret {
    modulus: Vec<u8>,
    exponent: Zeroizing<Vec<u8>>,
}

impl RsaSecret {
    /// Reads an RSAPrivateKey (RFC 8017 §A.1.2).
    pub(crate) fn from_der(der: &[u8]) -> Option<RsaSecret> {
        let mut all = Reader::only(der, SEQUENCE).ok()?;
        // Version 0: two primes.
        if all.take(INTEGER).ok()? != [0] {
            return None;
        }
        let modulus = number(&mut all)?.to_vec();
        number(&mut all)?;
        let exponent = Zeroizing::new(number(&mut all)?.to_vec());
        let known = (256..=usize::from(BITS_MAX) / 8).contains(&modulus.len());
        (known && exponent.len() <= modulus.len()).then_some(RsaSecret { modulus, exponent })
    }

    /// What is encrypted for this key. `None` if it is for another one.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        // RFC 8017 §5.1.2: "ciphertext representative out of range".
        if sealed.len() != self.modulus.len() || sealed >= self.modulus.as_slice() {
            return None;
        }
        decode(&Zeroizing::new(raised(sealed, &self.modulus, &self.exponent)?))
    }
}

/// A positive number.
fn number<'a>(pair: &mut Reader<'a>) -> Option<&'a [u8]> {
    let digits = pair.take(INTEGER).ok()?;
    let digits = digits.strip_prefix(&[0]).unwrap_or(digits);
    (!digits.is_empty()).then_some(digits)
}

/// A number to the power of an exponent (RFC 8017 §5.1), as long as the
/// modulus.
fn raised(number: &[u8], modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    let bits = u32::try_from(modulus.len() * 8).ok()?;
    let read = |bytes| BoxedUint::from_be_slice(bytes, bits).ok();
    let modulus_odd = Option::<Odd<BoxedUint>>::from(Odd::new(read(modulus)?))?;
    let base = BoxedMontyForm::new(read(number)?, &BoxedMontyParams::new(modulus_odd));
    let power = base.pow(&BoxedUint::from_be_slice_vartime(exponent)).retrieve().to_be_bytes();
    Some(power.get(power.len().checked_sub(modulus.len())?..)?.to_vec())
}

/// EME-OAEP encoding (§7.1.1), for a modulus of `len` bytes.
fn encode(key: &[u8], seed: &[u8; SEED], len: usize) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(vec![0; len]);
    let (first, db) = out.split_at_mut_checked(1 + SEED)?;
    let place = db.len().checked_sub(key.len() + 1).filter(|place| *place >= SEED)?;
    db[..SEED].copy_from_slice(&Hash::Sha256.of(&[]));
    db[place] = 1;
    db[place + 1..].copy_from_slice(key);
    first[1..].copy_from_slice(seed);
    mask(seed, db);
    mask(db, &mut first[1..]);
    Some(out)
}

/// EME-OAEP decoding (§7.1.2). All of it is looked at before anything is
/// said: which part was wrong would tell of the key.
fn decode(encoded: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(encoded.to_vec());
    let (first, db) = out.split_at_mut_checked(1 + SEED)?;
    mask(db, &mut first[1..]);
    mask(&first[1..], db);
    let (hash, rest) = db.split_at_checked(SEED)?;
    let zeros = rest.iter().take_while(|byte| **byte == 0).count();
    let good = (first[0] == 0) & (hash == Hash::Sha256.of(&[])) & (rest.get(zeros) == Some(&1));
    good.then(|| Zeroizing::new(rest.get(zeros + 1..).unwrap_or_default().to_vec()))
}

/// Covers bytes with MGF1 of a seed (§B.2.1).
fn mask(seed: &[u8], bytes: &mut [u8]) {
    for (counter, chunk) in bytes.chunks_mut(SEED).enumerate() {
        let mask = Sha256::new().chain_update(seed).chain_update((counter as u32).to_be_bytes()).finalize();
        chunk.iter_mut().zip(mask).for_each(|(to, mask)| *to ^= mask);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else_is() {
        for key in [&[][..], &[0], &[7; 16], &[9; 32], &[1; 190]] {
            let good = encode(key, &[5; SEED], 256).unwrap();
            assert_eq!(decode(&good).unwrap().as_slice(), key);
            for at in 0..256 {
                let mut altered = good.clone();
                altered[at] ^= 0x10;
                assert!(decode(&altered).is_none());
            }
        }
        assert!(encode(&[1; 191], &[5; SEED], 256).is_none());
        assert!(decode(&[0; 33]).is_none() && decode(&[]).is_none());
    }
}

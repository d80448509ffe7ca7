//! The keys of an envelope: how they are agreed on (RFC 5753); and its
//! content (RFC 5652 §6.3).

use aes::Aes256;
use ctr::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::der::{self, OCTET_STRING, SEQUENCE};

/// Length of every key here: AES-256's.
pub(super) const KEY: usize = 32;
const BLOCK: usize = 16;

/// The hash that a key encryption key is derived with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Derivation {
    /// OpenSSL's, and so `rauc encrypt`'s. Nothing here needs collisions to
    /// be hard.
    Sha1,
    /// Ours.
    Sha256,
}

impl Derivation {
    /// The key of a shared secret (SEC 1 §3.6.1), for a wrapping algorithm
    /// and what else both sides mix in (RFC 5753 §7.2, ECC-CMS-SharedInfo).
    pub(super) fn key(self, shared: &[u8], wrap: &[u8], ukm: Option<&[u8]>) -> Zeroizing<[u8; KEY]> {
        let ukm = ukm.map(|ukm| der::tlv(der::context(0), &[ukm])).unwrap_or_default();
        let bits = der::tlv(der::context(2), &[&der::tlv(OCTET_STRING, &[&256u32.to_be_bytes()])]);
        let info = der::tlv(SEQUENCE, &[wrap, &ukm, &bits]);
        let mut out = Zeroizing::new(Vec::with_capacity(2 * KEY));
        for counter in 1u32..=2 {
            match self {
                Derivation::Sha1 => out.extend_from_slice(&one::<Sha1>(shared, counter, &info)),
                Derivation::Sha256 => out.extend_from_slice(&one::<Sha256>(shared, counter, &info)),
            }
        }
        let mut key = Zeroizing::new([0; KEY]);
        key.copy_from_slice(&out[..KEY]);
        key
    }
}

fn one<D: Digest>(shared: &[u8], counter: u32, info: &[u8]) -> Zeroizing<Vec<u8>> {
    let digest = D::new().chain_update(shared).chain_update(counter.to_be_bytes()).chain_update(info);
    Zeroizing::new(digest.finalize().to_vec())
}

/// Encrypts a content in AES-256-CBC, filled up as RFC 5652 §6.3 says.
pub(super) fn encrypt(key: &[u8; KEY], iv: [u8; BLOCK], content: &[u8]) -> Vec<u8> {
    let cipher = Aes256::new(key.into());
    let fill = BLOCK - content.len() % BLOCK;
    let mut out = content.to_vec();
    out.resize(content.len() + fill, fill as u8);
    let mut before = iv;
    for chunk in out.chunks_exact_mut(BLOCK) {
        before.iter_mut().zip(&*chunk).for_each(|(to, from)| *to ^= from);
        cipher.encrypt_block((&mut before).into());
        chunk.copy_from_slice(&before);
    }
    out
}

/// The other way round.
pub(super) fn decrypt(key: &[u8; KEY], iv: [u8; BLOCK], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut out = sealed.to_vec();
    cbc(key, iv, &mut out);
    let fill = usize::from(*out.last()?);
    let len = out.len().checked_sub(fill)?;
    let filled = (1..=BLOCK).contains(&fill) && out.len().is_multiple_of(BLOCK);
    let filled = filled && out[len..].iter().all(|own| usize::from(*own) == fill);
    out.truncate(len);
    filled.then_some(out)
}

/// Decrypts whole blocks in AES-256-CBC.
pub(in crate::rauc) fn cbc(key: &[u8; KEY], mut before: [u8; BLOCK], bytes: &mut [u8]) {
    let cipher = Aes256::new(key.into());
    for chunk in bytes.chunks_exact_mut(BLOCK) {
        let mut block = [0; BLOCK];
        block.copy_from_slice(chunk);
        let sealed = block;
        cipher.decrypt_block((&mut block).into());
        chunk.iter_mut().zip(block).zip(before).for_each(|((to, open), before)| *to = open ^ before);
        before = sealed;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn contents_of_every_length_come_back_and_nothing_else_does() {
        for len in 0..50 {
            let content: Vec<u8> = (0..len).collect();
            let sealed = encrypt(&[7; KEY], [9; BLOCK], &content);
            assert!(sealed.len() > content.len() && sealed.len().is_multiple_of(BLOCK));
            assert_eq!(decrypt(&[7; KEY], [9; BLOCK], &sealed), Some(content));
            assert_eq!(decrypt(&[7; KEY], [9; BLOCK], &sealed[1..]), None);
            assert_eq!(decrypt(&[8; KEY], [9; BLOCK], &sealed), None);
        }
        assert_eq!(decrypt(&[7; KEY], [9; BLOCK], &[]), None);
    }
}

//! The keys of an envelope: agreed on (RFC 5753), wrapped (RFC 3394), or
//! transported (RFC 8017 §7.1); and its content (RFC 5652 §6.3).

use aes::Aes256;
use ctr::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::der::{self, OCTET_STRING, SEQUENCE};
use crate::hash::Hash;

/// Length of every key here: AES-256's.
pub(super) const KEY: usize = 32;
const BLOCK: usize = 16;
/// What a wrapped key begins with (RFC 3394 §2.2.3.1).
const WRAPPED: [u8; 8] = [0xa6; 8];

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

/// Wraps a key (RFC 3394 §2.2.1).
pub(super) fn wrap(with: &[u8; KEY], key: &[u8; KEY]) -> Vec<u8> {
    let cipher = Aes256::new(with.into());
    let mut out = [&WRAPPED[..], key].concat();
    for step in 1..=24u64 {
        let at = 8 + (step as usize - 1) % 4 * 8;
        let mut block = [0; BLOCK];
        block[..8].copy_from_slice(&out[..8]);
        block[8..].copy_from_slice(&out[at..at + 8]);
        cipher.encrypt_block((&mut block).into());
        out[at..at + 8].copy_from_slice(&block[8..]);
        block.iter().zip(step.to_be_bytes()).zip(&mut out[..8]).for_each(|((one, two), to)| *to = one ^ two);
    }
    out
}

/// The other way round. `None` if it is another key's.
pub(super) fn unwrap(with: &[u8; KEY], wrapped: &[u8]) -> Option<Zeroizing<[u8; KEY]>> {
    let mut out = Zeroizing::new(<[u8; 8 + KEY]>::try_from(wrapped).ok()?);
    let cipher = Aes256::new(with.into());
    for step in (1..=24u64).rev() {
        let at = 8 + (step as usize - 1) % 4 * 8;
        let mut block = [0; BLOCK];
        out[..8].iter().zip(step.to_be_bytes()).zip(&mut block).for_each(|((one, two), to)| *to = one ^ two);
        block[8..].copy_from_slice(&out[at..at + 8]);
        cipher.decrypt_block((&mut block).into());
        out[..8].copy_from_slice(&block[..8]);
        out[at..at + 8].copy_from_slice(&block[8..]);
    }
    let (head, key) = out.split_at(8);
    (head == WRAPPED).then(|| key.try_into().ok().map(Zeroizing::new)).flatten()
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

/// A key as RSAES-OAEP encodes it with SHA-256 and no label (RFC 8017
/// §7.1.1), for a modulus of `len` bytes.
pub(super) fn oaep(key: &[u8; KEY], seed: &[u8; KEY], len: usize) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(vec![0; len]);
    let (first, db) = out.split_at_mut_checked(1 + KEY)?;
    let place = db.len().checked_sub(KEY + 1).filter(|place| *place >= KEY)?;
    db[..KEY].copy_from_slice(&Hash::Sha256.of(&[]));
    db[place] = 1;
    db[place + 1..].copy_from_slice(key);
    first[1..].copy_from_slice(seed);
    mask(seed, db);
    mask(db, &mut first[1..]);
    Some(out)
}

/// Covers bytes with MGF1 of a seed (RFC 8017 §B.2.1).
fn mask(seed: &[u8], bytes: &mut [u8]) {
    for (counter, chunk) in bytes.chunks_mut(KEY).enumerate() {
        let mask = Sha256::new().chain_update(seed).chain_update((counter as u32).to_be_bytes()).finalize();
        chunk.iter_mut().zip(mask).for_each(|(to, mask)| *to ^= mask);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hash::hex;

    #[test]
    fn rfc_3394_section_4_6() {
        let with: [u8; 32] = std::array::from_fn(|at| at as u8);
        let key: [u8; 32] = std::array::from_fn(|at| match at {
            0..16 => at as u8 * 0x11,
            _ => at as u8 - 16,
        });
        let wrapped = wrap(&with, &key);
        assert_eq!(
            hex(&wrapped),
            "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"
        );
        assert_eq!(unwrap(&with, &wrapped).as_deref(), Some(&key));
        assert!(unwrap(&key, &wrapped).is_none() && unwrap(&with, &wrapped[1..]).is_none());
        let mut altered = wrapped;
        altered[39] ^= 1;
        assert!(unwrap(&with, &altered).is_none());
    }

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

//! AES key wrap (RFC 3394): a key encrypted with another one that both sides
//! hold.

use aes::{Aes128, Aes256};
use ctr::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use zeroize::Zeroizing;

const BLOCK: usize = 16;
/// Half a block: what keys are wrapped in, one after the other.
const HALF: usize = 8;
/// What a wrapped key begins with (§2.2.3.1).
const WRAPPED: [u8; HALF] = [0xa6; HALF];
/// Longest key that is wrapped here: more than any cipher has.
const KEY_MAX: usize = 64;

/// Wraps a key of two halves of a block or more (§2.2.1), with one of 16 or
/// 32 bytes.
pub(crate) fn wrap(with: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let cipher = Cipher::new(with)?;
    let halves = halves(key.len())?;
    let mut out = [&WRAPPED[..], key].concat();
    for step in 1..=6 * halves {
        let at = HALF + (step - 1) % halves * HALF;
        let mut block = [0; BLOCK];
        block[..HALF].copy_from_slice(&out[..HALF]);
        block[HALF..].copy_from_slice(&out[at..at + HALF]);
        cipher.encrypt(&mut block);
        out[at..at + HALF].copy_from_slice(&block[HALF..]);
        counted(&block, step).zip(&mut out[..HALF]).for_each(|(byte, to)| *to = byte);
    }
    Some(out)
}

/// The other way round (§2.2.2). `None` if it is another key's.
pub(crate) fn unwrap(with: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = Cipher::new(with)?;
    let halves = halves(wrapped.len().checked_sub(HALF)?)?;
    let mut out = Zeroizing::new(wrapped.to_vec());
    for step in (1..=6 * halves).rev() {
        let at = HALF + (step - 1) % halves * HALF;
        let mut block = [0; BLOCK];
        counted(&out, step).zip(&mut block).for_each(|(byte, to)| *to = byte);
        block[HALF..].copy_from_slice(&out[at..at + HALF]);
        cipher.decrypt(&mut block);
        out[..HALF].copy_from_slice(&block[..HALF]);
        out[at..at + HALF].copy_from_slice(&block[HALF..]);
    }
    (out[..HALF] == WRAPPED).then(|| Zeroizing::new(out[HALF..].to_vec()))
}

/// How many halves of a block a key has, if it has whole ones.
fn halves(len: usize) -> Option<usize> {
    ((BLOCK..=KEY_MAX).contains(&len) && len.is_multiple_of(HALF)).then_some(len / HALF)
}

/// The first half of a block, with the number of the step in it.
fn counted(block: &[u8], step: usize) -> impl Iterator<Item = u8> {
    block.iter().zip((step as u64).to_be_bytes()).map(|(byte, count)| byte ^ count)
}

enum Cipher {
    Aes128(Box<Aes128>),
    Aes256(Box<Aes256>),
}

impl Cipher {
    fn new(key: &[u8]) -> Option<Cipher> {
        Some(match key.len() {
            16 => Cipher::Aes128(Box::new(Aes128::new_from_slice(key).ok()?)),
            32 => Cipher::Aes256(Box::new(Aes256::new_from_slice(key).ok()?)),
            _ => return None,
        })
    }

    fn encrypt(&self, block: &mut [u8; BLOCK]) {
        match self {
            Cipher::Aes128(cipher) => cipher.encrypt_block(block.into()),
            Cipher::Aes256(cipher) => cipher.encrypt_block(block.into()),
        }
    }

    fn decrypt(&self, block: &mut [u8; BLOCK]) {
        match self {
            Cipher::Aes128(cipher) => cipher.decrypt_block(block.into()),
            Cipher::Aes256(cipher) => cipher.decrypt_block(block.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hash::hex;

    /// §4.1, §4.3 and §4.6.
    #[test]
    fn rfc_3394_section_4() {
        let with: Vec<u8> = (0..32).collect();
        let key: Vec<u8> = (0..16).map(|at| at * 0x11).chain(0..16).collect();
        let cases = [
            (16, 16, "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"),
            (32, 16, "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7"),
            (32, 32, "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"),
        ];
        for (with_len, len, expected) in cases {
            let (with, key) = (&with[..with_len], &key[..len]);
            let wrapped = wrap(with, key).unwrap();
            assert_eq!(hex(&wrapped), expected);
            assert_eq!(unwrap(with, &wrapped).unwrap().as_slice(), key);
            assert!(unwrap(&[9; 32], &wrapped).is_none() && unwrap(with, &wrapped[1..]).is_none());
            for at in 0..wrapped.len() {
                let mut altered = wrapped.clone();
                altered[at] ^= 1;
                assert!(unwrap(with, &altered).is_none());
            }
        }
        assert!(wrap(&with[..24], &key).is_none() && wrap(&with, &key[..9]).is_none());
        assert!(unwrap(&with, &[]).is_none() && unwrap(&with, &[0; 16]).is_none());
    }
}

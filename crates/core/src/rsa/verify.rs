//! RSASSA-PSS-VERIFY (RFC 8017 §8.1.2), and the numbers under it.

use super::Key;
use crate::crypto::{BadSignature, Crypto, Hasher};
use crate::digest::Digest;

/// Words of the longest modulus.
const WORDS: usize = 128;
/// Bytes of the longest modulus.
const BYTES: usize = 4 * WORDS;
/// Length of the hash, and of the salt that devices accept.
pub(super) const HASH: usize = 32;

pub(super) fn verify(
    key: &Key<'_>,
    digest: &Digest,
    salt: usize,
    signature: &[u8],
    crypto: &impl Crypto,
) -> Result<(), BadSignature> {
    // Both big endian and equally long: as bytes they compare as numbers
    // (RSAVP1, RFC 8017 §5.2.2: "If the signature representative s is not
    // between 0 and n - 1, output "signature representative out of range"").
    if signature.len() != key.modulus.len() || signature >= key.modulus {
        return Err(BadSignature);
    }
    let mut encoded = [0; BYTES];
    let encoded = encoded.get_mut(..signature.len()).ok_or(BadSignature)?;
    power(key.modulus, signature, encoded);
    check_encoding(encoded, digest, salt, crypto)
}

/// EMSA-PSS-VERIFY (RFC 8017 §9.1.2). The modulus has a multiple of 8 bits,
/// so emBits is one less than the encoding's, and its first bit is zero.
#[inline(never)]
fn check_encoding(
    encoded: &mut [u8],
    digest: &Digest,
    salt: usize,
    crypto: &impl Crypto,
) -> Result<(), BadSignature> {
    let (trailer, rest) = encoded.split_last_mut().ok_or(BadSignature)?;
    let at = rest.len().checked_sub(HASH).ok_or(BadSignature)?;
    let (block, hash) = rest.split_at_mut(at);
    let hash = &*hash;
    if *trailer != 0xbc || block.first().is_none_or(|first| first & 0x80 != 0) {
        return Err(BadSignature);
    }
    // MGF1 (appendix B.2.1).
    for (counter, chunk) in (0u32..).zip(block.chunks_mut(HASH)) {
        let mut mask = crypto.sha256();
        mask.update(hash);
        mask.update(&counter.to_be_bytes());
        let mask = mask.finish();
        chunk.iter_mut().zip(mask.as_bytes()).for_each(|(byte, mask)| *byte ^= mask);
    }
    if let Some(first) = block.first_mut() {
        *first &= 0x7f;
    }
    let at = block.len().checked_sub(salt + 1).ok_or(BadSignature)?;
    let (padding, salted) = block.split_at(at);
    let Some((1, salt)) = salted.split_first() else { return Err(BadSignature) };
    if padding.iter().any(|byte| *byte != 0) {
        return Err(BadSignature);
    }
    let mut hasher = crypto.sha256();
    hasher.update(&[0; 8]);
    hasher.update(digest.as_bytes());
    hasher.update(salt);
    match hasher.finish().as_bytes() == hash {
        true => Ok(()),
        false => Err(BadSignature),
    }
}

/// A number, the lowest word first.
type Number = [u32; WORDS];

/// Writes base^65537 mod modulus, for a modulus that is odd, has its first
/// bit set and is larger than the base. All are big endian and equally long.
#[inline(never)]
fn power(modulus: &[u8], base: &[u8], out: &mut [u8]) {
    let ring = Ring::new(modulus);
    let base = read(base);
    let (mut first, mut second) = ([0; WORDS], [0; WORDS]);
    let (mut power, mut spare) = (&mut first, &mut second);
    // A product in the ring loses a factor R = 2^(32 words). So the base is
    // given one, by a product with R^2, and the last product takes it away.
    let times = ring.root_of_r_squared(power);
    ring.square(times, &mut power, &mut spare);
    ring.multiply(power, &base, spare);
    core::mem::swap(&mut power, &mut spare);
    ring.square(16, &mut power, &mut spare);
    ring.multiply(power, &base, spare);
    for (bytes, word) in out.rchunks_exact_mut(4).zip(spare.iter()) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}

fn read(bytes: &[u8]) -> Number {
    let mut number = [0; WORDS];
    for (word, bytes) in number.iter_mut().zip(bytes.rchunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    number
}

/// Numbers modulo an odd one whose highest bit is set.
struct Ring {
    modulus: Number,
    words: usize,
    /// -1 / modulus mod 2^32.
    inverse: u32,
}

impl Ring {
    fn new(modulus: &[u8]) -> Ring {
        let words = modulus.len() / 4;
        let modulus = read(modulus);
        // Newton's iteration doubles the number of right bits; an odd number
        // is its own inverse mod 8.
        let mut inverse = modulus[0];
        for _ in 0..4 {
            inverse = inverse.wrapping_mul(2u32.wrapping_sub(modulus[0].wrapping_mul(inverse)));
        }
        Ring { modulus, words, inverse: inverse.wrapping_neg() }
    }

    /// Writes 2^k R mod modulus, and says how often it has to be squared to
    /// become R^2: a square of 2^k R is 2^2k R.
    ///
    /// R is below twice the modulus, so R mod modulus is R - modulus. The
    /// length in bits is 2^7 * 32 or 2^5 * 96; k is its second factor.
    fn root_of_r_squared(&self, out: &mut Number) -> u32 {
        let mut carry = true;
        for (out, word) in out.iter_mut().zip(&self.modulus).take(self.words) {
            (*out, carry) = (!word).overflowing_add(u32::from(carry));
        }
        let times = self.words.trailing_zeros();
        for _ in 0..32 * (self.words >> times) {
            let mut carry = 0;
            for word in out.iter_mut().take(self.words) {
                (*word, carry) = (*word << 1 | carry, *word >> 31);
            }
            self.reduce(out, carry);
        }
        times
    }

    /// Squares a number some times; another one is used up.
    fn square<'n>(&self, times: u32, number: &mut &'n mut Number, spare: &mut &'n mut Number) {
        for _ in 0..times {
            self.multiply(number, number, spare);
            core::mem::swap(number, spare);
        }
    }

    /// Writes a * b / R, for a and b below the modulus. For each word of b,
    /// its product with a is added, and the multiple of the modulus that
    /// makes the lowest word zero; then that word is dropped.
    fn multiply(&self, a: &Number, b: &Number, out: &mut Number) {
        let words = self.words;
        let (a, modulus, sum) = (&a[..words], &self.modulus[..words], &mut out[..words]);
        let mut top = 0;
        sum.fill(0);
        for b in &b[..words] {
            let b = u64::from(*b);
            // Neither overflows: (2^32 - 1)^2 + 2 (2^32 - 1) = 2^64 - 1.
            let mut product = b * u64::from(a[0]) + u64::from(sum[0]);
            let multiple = u64::from((product as u32).wrapping_mul(self.inverse));
            let mut total = multiple * u64::from(modulus[0]) + u64::from(product as u32);
            for at in 1..words {
                product = b * u64::from(a[at]) + u64::from(sum[at]) + (product >> 32);
                total = multiple * u64::from(modulus[at]) + u64::from(product as u32) + (total >> 32);
                sum[at - 1] = total as u32;
            }
            let carry = (product >> 32) + (total >> 32) + u64::from(top);
            sum[words - 1] = carry as u32;
            top = (carry >> 32) as u32;
        }
        self.reduce(out, top);
    }

    /// Takes the modulus away once, if `number` with `top` above its words is
    /// not below it. It is below twice the modulus.
    fn reduce(&self, number: &mut Number, top: u32) {
        let (number, modulus) = (&mut number[..self.words], &self.modulus[..self.words]);
        if top == 0 && number.iter().rev().lt(modulus.iter().rev()) {
            return;
        }
        let mut borrow = false;
        for (word, modulus) in number.iter_mut().zip(modulus) {
            let (less, first) = word.overflowing_sub(*modulus);
            let (less, second) = less.overflowing_sub(u32::from(borrow));
            (*word, borrow) = (less, first || second);
        }
    }
}

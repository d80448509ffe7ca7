//! The check itself (FIPS 204, algorithm 8), one row after the other.

use shake::{ExtendableOutput, Shake128, Shake256, Update, XofReader};

use super::hint::{Hints, high_bits};
use super::ring::{N, Poly, Q, product};
use super::{Key, Set};
use crate::crypto::BadSignature;

/// Longest challenge, in bytes.
const CHALLENGE_MAX: usize = 64;

#[inline(never)]
pub(super) fn verify(key: &Key<'_>, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    let set = key.set;
    // One length for each set: nothing below can run out of bytes.
    if signature.len() != set.signature_len() || key.encoded.len() != set.key_len() {
        return Err(BadSignature);
    }
    let (challenge, rest) = signature.split_at(set.challenge_len());
    let (response, hints) = rest.split_at(set.columns() * set.response_len());
    let hints = Hints::decode(set, hints).ok_or(BadSignature)?;
    let (seed, rows) = key.encoded.split_at(32);

    // c~' = H(µ || w1'), where w1' comes row by row.
    let mut hash = Shake256::default();
    hash.update(&representative(key, message));
    let mut challenge_poly = sample_in_ball(set, challenge);
    challenge_poly.transform();
    for (row, high) in rows.chunks_exact(320).enumerate() {
        let mut sum = Poly::ZERO;
        // Holds each polynomial of the response, then that of the key.
        let mut other = Poly::ZERO;
        for (column, packed) in response.chunks_exact(set.response_len()).enumerate() {
            // The bound is checked for each row again; the first decides.
            unpack_response(set, packed, &mut other).ok_or(BadSignature)?;
            other.transform();
            add_matrix_product(seed, row, column, &other, &mut sum);
        }
        unpack_key(high, &mut other);
        other.transform();
        sum.subtract_product(&challenge_poly, &other);
        sum.normalize();
        sum.restore();
        absorb_high_bits(set, &sum, hints.row(row), &mut hash);
    }
    let mut own = [0; CHALLENGE_MAX];
    let own = &mut own[..challenge.len()];
    hash.finalize_xof().read(own);
    if *own == *challenge { Ok(()) } else { Err(BadSignature) }
}

/// µ = H(H(pk) || 0 || 0 || M): pure ML-DSA, a context of no bytes.
// Apart, as the other steps are: what one has on its stack is gone when the
// next begins.
#[inline(never)]
fn representative(key: &Key<'_>, message: &[u8]) -> [u8; 64] {
    let mut value = [0; 64];
    let mut hash = Shake256::default();
    hash.update(key.encoded);
    hash.finalize_xof().read(&mut value);
    let mut hash = Shake256::default();
    hash.update(&value);
    hash.update(&[0, 0]);
    hash.update(message);
    hash.finalize_xof().read(&mut value);
    value
}

/// The challenge: a polynomial with τ coefficients of 1 or -1 (algorithm
/// 29).
#[inline(never)]
fn sample_in_ball(set: Set, seed: &[u8]) -> Poly {
    let weight = match set {
        Set::MlDsa44 => 39,
        Set::MlDsa65 => 49,
        Set::MlDsa87 => 60,
    };
    let mut hash = Shake256::default();
    hash.update(seed);
    let mut bytes = hash.finalize_xof();
    let mut signs = [0; 8];
    bytes.read(&mut signs);
    let mut signs = u64::from_le_bytes(signs);
    let mut poly = Poly::ZERO;
    for last in N - weight..N {
        let mut place = [0];
        loop {
            bytes.read(&mut place);
            // Half of all bytes or more are small enough, from any seed:
            // the output of SHAKE256 does not run dry.
            if usize::from(place[0]) <= last {
                break;
            }
        }
        let place = usize::from(place[0]);
        poly.0[last] = poly.0[place];
        poly.0[place] = 1 - 2 * (signs & 1) as i32;
        signs >>= 1;
    }
    poly
}

/// Draws a polynomial of the matrix (algorithm 30, already a transform) and
/// adds its product with `other`, coefficient by coefficient.
#[inline(never)]
fn add_matrix_product(seed: &[u8], row: usize, column: usize, other: &Poly, sum: &mut Poly) {
    let mut hash = Shake128::default();
    hash.update(seed);
    hash.update(&[column as u8, row as u8]);
    let mut bytes = hash.finalize_xof();
    // A whole block of output at a time: 168 bytes, 56 candidates.
    let mut block = [0; 168];
    let mut pairs = sum.0.iter_mut().zip(&other.0);
    loop {
        bytes.read(&mut block);
        for candidate in block.chunks_exact(3) {
            let value =
                i32::from(candidate[0]) | i32::from(candidate[1]) << 8 | i32::from(candidate[2] & 0x7f) << 16;
            if value < Q {
                // A sum of seven products stays below 7q.
                let Some((sum, other)) = pairs.next() else { return };
                *sum += product(value, *other);
            }
        }
    }
}

/// A polynomial of the response (algorithm 19), within γ1 - β as algorithm 8
/// demands; `None` outside.
#[inline(never)]
fn unpack_response(set: Set, packed: &[u8], poly: &mut Poly) -> Option<()> {
    let (bits, beta) = match set {
        Set::MlDsa44 => (set.response_bits(), 78),
        Set::MlDsa65 => (set.response_bits(), 196),
        Set::MlDsa87 => (set.response_bits(), 120),
    };
    let gamma = 1 << (bits - 1);
    // Four coefficients fill 9 or 10 bytes.
    for (four, own) in packed.chunks_exact(bits / 2).zip(poly.0.chunks_exact_mut(4)) {
        let mut wide = [0; 16];
        wide[..four.len()].copy_from_slice(four);
        let mut wide = u128::from_le_bytes(wide);
        for own in own {
            *own = gamma - (wide as i32 & ((1 << bits) - 1));
            wide >>= bits;
            if own.abs() >= gamma - beta {
                return None;
            }
        }
    }
    Some(())
}

/// A polynomial of the key, t1 * 2^d (algorithm 23): coefficients below
/// 2^23.
#[inline(never)]
fn unpack_key(packed: &[u8], poly: &mut Poly) {
    for (four, own) in packed.chunks_exact(5).zip(poly.0.chunks_exact_mut(4)) {
        let mut wide = [0; 8];
        wide[..5].copy_from_slice(four);
        let wide = u64::from_le_bytes(wide);
        for (place, own) in own.iter_mut().enumerate() {
            *own = ((wide >> (10 * place)) as i32 & 0x3ff) << 13;
        }
    }
}

/// Hashes the high bits of a row (algorithms 28 and 40): 6 bits for each
/// coefficient, or 4.
#[inline(never)]
fn absorb_high_bits(set: Set, row: &Poly, mut marked: &[u8], hash: &mut Shake256) {
    let bits = if matches!(set, Set::MlDsa44) { 6 } else { 4 };
    // Four coefficients fill 3 bytes or 2.
    for (chunk, four) in row.0.chunks_exact(4).enumerate() {
        let mut packed = 0u32;
        for (place, r) in four.iter().enumerate() {
            // Marks ascend, so the next one is always in front.
            let hint = marked.split_first().filter(|(next, _)| usize::from(**next) == 4 * chunk + place);
            marked = hint.map_or(marked, |(_, rest)| rest);
            packed |= u32::from(high_bits(set, *r, hint.is_some())) << (bits * place);
        }
        hash.update(&packed.to_le_bytes()[..bits / 2]);
    }
}

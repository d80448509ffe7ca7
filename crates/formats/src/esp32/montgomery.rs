//! Two numbers that the RSA peripheral of these chips wants beside a modulus:
//! R² mod n with R = 2^3072, and -1/n mod 2^32. Both follow from the public key,
//! so nothing here has to take the same time for all of them.

/// Bytes of a modulus.
pub(super) const LEN: usize = 384;
const LIMBS: usize = LEN / 4;

/// A number, lowest limb first.
type Number = [u32; LIMBS];

/// 2^6144 mod n, as the chip reads it: lowest byte first. `n` is odd and has its
/// highest bit set.
pub(super) fn r_squared(n: &[u8; LEN]) -> [u8; LEN] {
    let n = limbs(n);
    // 2^3072 - n, which is below n.
    let mut value = subtracted(&[0; LIMBS], &n).0;
    for _ in 0..8 * LEN {
        let carried = doubled(&mut value);
        let (less, borrowed) = subtracted(&value, &n);
        // What was carried out is 2^3072, of which the subtraction borrows.
        if carried || !borrowed {
            value = less;
        }
    }
    let mut out = [0; LEN];
    for (bytes, limb) in out.chunks_exact_mut(4).zip(value) {
        bytes.copy_from_slice(&limb.to_le_bytes());
    }
    out
}

/// -1/n mod 2^32 of an odd n, by Newton's iteration: each round doubles the bits
/// that are right, and an odd number is its own inverse mod 8.
pub(super) fn m_prime(n: &[u8; LEN]) -> u32 {
    let lowest = u32::from_le_bytes([n[0], n[1], n[2], n[3]]);
    let inverse = (0..4)
        .fold(lowest, |inverse, _| inverse.wrapping_mul(2u32.wrapping_sub(lowest.wrapping_mul(inverse))));
    inverse.wrapping_neg()
}

fn limbs(bytes: &[u8; LEN]) -> Number {
    let mut out = [0; LIMBS];
    for (limb, bytes) in out.iter_mut().zip(bytes.chunks_exact(4)) {
        *limb = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    out
}

/// Doubles, and says whether a bit was carried out.
fn doubled(value: &mut Number) -> bool {
    let mut carry = 0;
    for limb in value.iter_mut() {
        (carry, *limb) = (*limb >> 31, *limb << 1 | carry);
    }
    carry != 0
}

/// The difference, and whether it was borrowed.
fn subtracted(value: &Number, less: &Number) -> (Number, bool) {
    let (mut out, mut borrow) = ([0; LIMBS], false);
    for ((out, value), less) in out.iter_mut().zip(value).zip(less) {
        let (difference, first) = value.overflowing_sub(*less);
        let (difference, second) = difference.overflowing_sub(u32::from(borrow));
        (*out, borrow) = (difference, first || second);
    }
    (out, borrow)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moduli for which the answers are known: 2^3072 - c with a small c has
    /// R = c and R² = c² mod n.
    #[test]
    fn answers_are_those_of_arithmetic() {
        for c in [1u32, 3, 5, 0xffff] {
            let mut n = [0xff; LEN];
            n[..4].copy_from_slice(&c.wrapping_neg().to_le_bytes());
            let mut expected = [0; LEN];
            expected[..8].copy_from_slice(&(u64::from(c) * u64::from(c)).to_le_bytes());
            assert_eq!(r_squared(&n), expected, "{c}");
            assert_eq!(m_prime(&n).wrapping_mul(c.wrapping_neg()), u32::MAX, "{c}");
        }
        // 2^3071 + 1: R = 2^3072 - n = n - 2, so R² = 4 mod n.
        let mut n = [0; LEN];
        (n[0], n[LEN - 1]) = (1, 0x80);
        let mut four = [0; LEN];
        four[0] = 4;
        assert_eq!(r_squared(&n), four);
        assert_eq!(m_prime(&n), u32::MAX);
    }
}

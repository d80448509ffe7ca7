//! Two numbers that small verifiers of RSA want beside a modulus: R² mod n with
//! R = 2^bits, and -1/n mod 2^32. Both follow from the public key, so nothing
//! here has to take the same time for all of them.

use crypto_bigint::{BoxedUint, NonZero};

/// 2^(2 * bits) mod n, highest byte first. The modulus is a multiple of 8 bytes
/// long and has its highest bit set.
pub(crate) fn r_squared(modulus: &[u8]) -> Vec<u8> {
    let mut power = vec![0; 2 * modulus.len() + 1];
    power[0] = 1;
    let n = NonZero::new(BoxedUint::from_be_slice_vartime(modulus)).into_option();
    // Of zero there is no remainder, and it is no modulus.
    n.map_or_else(Vec::new, |n| {
        BoxedUint::from_be_slice_vartime(&power).rem_vartime(&n).to_be_bytes().into_vec()
    })
}

/// -1/n mod 2^32 of an odd n, by Newton's iteration: each round doubles the bits
/// that are right, and an odd number is its own inverse mod 8.
pub(crate) fn n0_inverse(modulus: &[u8]) -> u32 {
    let n = modulus.last_chunk().map_or(0, |low| u32::from_be_bytes(*low));
    let inverse = (0..4).fold(n, |x, _| x.wrapping_mul(2_u32.wrapping_sub(n.wrapping_mul(x))));
    inverse.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moduli for which the answers are known: 2^bits - c with a small c has
    /// R = c and R² = c² mod n.
    #[test]
    fn answers_are_those_of_arithmetic() {
        for len in [16, 256, 384, 512] {
            for c in [1u32, 3, 5, 0xffff] {
                let mut n = vec![0xff; len];
                n[len - 4..].copy_from_slice(&c.wrapping_neg().to_be_bytes());
                let mut expected = vec![0; len];
                expected[len - 8..].copy_from_slice(&(u64::from(c) * u64::from(c)).to_be_bytes());
                assert_eq!(r_squared(&n), expected, "{len} {c}");
                assert_eq!(n0_inverse(&n).wrapping_mul(c.wrapping_neg()), u32::MAX, "{len} {c}");
            }
            // 2^(bits - 1) + 1: R = 2^bits - n = n - 2, so R² = 4 mod n.
            let mut n = vec![0; len];
            (n[0], n[len - 1]) = (0x80, 1);
            let mut four = vec![0; len];
            four[len - 1] = 4;
            assert_eq!(r_squared(&n), four);
            assert_eq!(n0_inverse(&n), u32::MAX);
        }
    }
}

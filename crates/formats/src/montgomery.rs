//! Two numbers that small verifiers of RSA want beside a modulus: R² mod n with
//! R = 2^bits, and -1/n mod 2^32. Both follow from the public key, so nothing
//! here has to take the same time for all of them.

/// 2^(2 * bits) mod n, highest byte first. The modulus is a multiple of 8 bytes
/// long and has its highest bit set.
pub(crate) fn r_squared(modulus: &[u8]) -> Vec<u8> {
    let n = limbs(modulus);
    let mut value = vec![0; n.len()];
    // 2^bits - n, which is below n.
    subtract(&mut value, &n);
    for _ in 0..8 * modulus.len() {
        // What is carried out is 2^bits, of which the subtraction borrows.
        if double(&mut value) || value.iter().rev().ge(n.iter().rev()) {
            subtract(&mut value, &n);
        }
    }
    value.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
}

/// -1/n mod 2^32 of an odd n, by Newton's iteration: each round doubles the bits
/// that are right, and an odd number is its own inverse mod 8.
pub(crate) fn n0_inverse(modulus: &[u8]) -> u32 {
    let n = limbs(modulus).first().map_or(0, |limb| *limb as u32);
    let inverse = (0..4).fold(n, |x, _| x.wrapping_mul(2_u32.wrapping_sub(n.wrapping_mul(x))));
    inverse.wrapping_neg()
}

/// A number, lowest limb first.
fn limbs(bytes: &[u8]) -> Vec<u64> {
    let limb = |bytes: &[u8]| bytes.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
    bytes.rchunks(8).map(limb).collect()
}

/// Doubles, and says whether a bit was carried out.
fn double(value: &mut [u64]) -> bool {
    value.iter_mut().fold(false, |carry, limb| {
        let out = *limb >> 63 == 1;
        *limb = *limb << 1 | u64::from(carry);
        out
    })
}

fn subtract(value: &mut [u64], other: &[u64]) {
    value.iter_mut().zip(other).fold(false, |borrow, (limb, other)| {
        let (once, first) = limb.overflowing_sub(*other);
        let (twice, second) = once.overflowing_sub(u64::from(borrow));
        *limb = twice;
        first || second
    });
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

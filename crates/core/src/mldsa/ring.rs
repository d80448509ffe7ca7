//! Polynomials over Z_q, and the number-theoretic transform (FIPS 204 §7.5).
//!
//! Products are reduced as Montgomery did it, with R = 2^32. Coefficients
//! are signed and may lie outside of 0..q between steps; each function says
//! how far.

/// The modulus, 2^23 - 2^13 + 1.
pub(super) const Q: i32 = 8_380_417;
/// Coefficients of a polynomial.
pub(super) const N: usize = 256;

/// q^-1 mod 2^32.
const Q_INVERSE: i32 = inverse();
/// Powers of ζ = 1753 in the order in which the transform takes them
/// (FIPS 204, appendix B), in Montgomery form.
static ZETAS: [i32; N] = zetas();
/// R^2 / 256: undoes R^-1 of a product and the 256 of the transform.
const SCALE: i32 = {
    let r = (1u64 << 32) % Q as u64;
    let mut scale = r * r % Q as u64;
    let mut halvings = 0;
    while halvings < 8 {
        scale = if scale.is_multiple_of(2) { scale / 2 } else { (scale + Q as u64) / 2 };
        halvings += 1;
    }
    scale as i32
};

const fn inverse() -> i32 {
    // Newton's iteration doubles the number of right bits; q is its own
    // inverse mod 8.
    let mut inverse = Q;
    let mut bits = 3;
    while bits < 32 {
        inverse = inverse.wrapping_mul(2i32.wrapping_sub(Q.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

const fn zetas() -> [i32; N] {
    let mut zetas = [0; N];
    let mut index = 0;
    while index < N {
        let (mut power, mut left) = ((1u64 << 32) % Q as u64, (index as u8).reverse_bits());
        while left > 0 {
            power = power * 1753 % Q as u64;
            left -= 1;
        }
        zetas[index] = power as i32;
        index += 1;
    }
    zetas
}

/// a / R mod q, between -q and q, for |a| < q * 2^31.
fn reduce(a: i64) -> i32 {
    let t = (a as i32).wrapping_mul(Q_INVERSE);
    ((a - i64::from(t) * i64::from(Q)) >> 32) as i32
}

/// A polynomial, or its transform.
#[derive(Clone)]
pub(super) struct Poly(pub(super) [i32; N]);

impl Poly {
    pub(super) const ZERO: Poly = Poly([0; N]);

    /// Transforms (algorithm 41). Takes |coefficients| <= 2^23, returns them
    /// below 9q.
    pub(super) fn transform(&mut self) {
        let (mut zeta, mut half) = (0, N / 2);
        while half > 0 {
            for block in self.0.chunks_exact_mut(2 * half) {
                zeta += 1;
                let factor = i64::from(ZETAS[zeta]);
                let (low, high) = block.split_at_mut(half);
                for (low, high) in low.iter_mut().zip(high) {
                    let t = reduce(factor * i64::from(*high));
                    (*low, *high) = (*low + t, *low - t);
                }
            }
            half /= 2;
        }
    }

    /// Transforms back (algorithm 42) and multiplies by R. Takes
    /// |coefficients| < q, returns them in 0..q.
    pub(super) fn restore(&mut self) {
        let (mut zeta, mut half) = (N, 1);
        while half < N {
            for block in self.0.chunks_exact_mut(2 * half) {
                zeta -= 1;
                let factor = -i64::from(ZETAS[zeta]);
                let (low, high) = block.split_at_mut(half);
                for (low, high) in low.iter_mut().zip(high) {
                    // Sums grow to 256 q, just below 2^31.
                    (*low, *high) = (*low + *high, reduce(factor * i64::from(*low - *high)));
                }
            }
            half *= 2;
        }
        for own in &mut self.0 {
            *own = reduce(i64::from(SCALE) * i64::from(*own));
            *own += if *own < 0 { Q } else { 0 };
        }
    }

    /// Subtracts a product of transforms. Takes |factors| < 9q, adds at most
    /// q to each coefficient.
    pub(super) fn subtract_product(&mut self, a: &Poly, b: &Poly) {
        for (own, (a, b)) in self.0.iter_mut().zip(a.0.iter().zip(&b.0)) {
            *own -= product(*a, *b);
        }
    }

    /// Brings every coefficient between -q and q.
    pub(super) fn normalize(&mut self) {
        self.0.iter_mut().for_each(|own| *own %= Q);
    }
}

/// a * b / R, between -q and q, for |a * b| < q * 2^31.
pub(super) fn product(a: i32, b: i32) -> i32 {
    reduce(i64::from(a) * i64::from(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The product of two transforms is the transform of the product
    /// modulo X^256 + 1, computed by hand.
    #[test]
    fn the_transform_multiplies() {
        let poly = |seed: i64| {
            let mut next = seed;
            Poly(core::array::from_fn(|_| {
                next = (next * 48271) % 2_147_483_647;
                (next % i64::from(Q)) as i32
            }))
        };
        let (a, b) = (poly(1), poly(77));
        let mut expected = [0i64; N];
        for (i, x) in a.0.iter().enumerate() {
            for (j, y) in b.0.iter().enumerate() {
                let term = i64::from(*x) * i64::from(*y) % i64::from(Q);
                // X^256 = -1.
                let sign = if i + j < N { 1 } else { -1 };
                expected[(i + j) % N] = (expected[(i + j) % N] + sign * term).rem_euclid(i64::from(Q));
            }
        }
        let (mut x, mut y, mut difference) = (a, b, Poly::ZERO);
        x.transform();
        y.transform();
        difference.subtract_product(&x, &y);
        difference.normalize();
        difference.restore();
        for (have, want) in difference.0.iter().zip(expected) {
            assert_eq!(i64::from(*have), (i64::from(Q) - want) % i64::from(Q));
        }
    }
}

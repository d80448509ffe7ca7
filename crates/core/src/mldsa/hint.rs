//! Hints: which high bits a signer saw one step away (FIPS 204 §7.4).

use super::Set;
use super::ring::Q;

/// The hints of a signature, whose encoding was checked in whole.
pub(super) struct Hints<'a> {
    /// Marked coefficients of all rows, one after the other.
    places: &'a [u8],
    /// Where each row ends in `places`.
    ends: &'a [u8],
}

impl<'a> Hints<'a> {
    /// Checks an encoding (algorithm 21): rows end in order, marks ascend in
    /// each, and what no row uses is zero. Anything else would let the same
    /// signature be written in two ways.
    pub(super) fn decode(set: Set, bytes: &'a [u8]) -> Option<Hints<'a>> {
        let (places, ends) = bytes.split_at_checked(set.hints())?;
        let mut start = 0;
        for end in ends {
            let row = places.get(start..usize::from(*end))?;
            if row.windows(2).any(|pair| pair[0] >= pair[1]) {
                return None;
            }
            start = usize::from(*end);
        }
        let unused = places.get(start..)?;
        unused.iter().all(|byte| *byte == 0).then_some(Hints { places, ends })
    }

    /// The marked coefficients of a row, in ascending order.
    pub(super) fn row(&self, row: usize) -> &'a [u8] {
        let end = |row: usize| self.ends.get(row).copied().map_or(0, usize::from);
        let start = if row == 0 { 0 } else { end(row - 1) };
        self.places.get(start..end(row)).unwrap_or(&[])
    }
}

/// The high bits of r in 0..q, corrected by a hint (algorithm 40).
pub(super) fn high_bits(set: Set, r: i32, marked: bool) -> u8 {
    // γ2, and how many high parts there are.
    let (gamma, parts) = match set {
        Set::MlDsa44 => ((Q - 1) / 88, 44),
        Set::MlDsa65 | Set::MlDsa87 => ((Q - 1) / 32, 16),
    };
    // Decompose (algorithm 36): r = high * 2γ2 + low, low above -γ2 and at
    // most γ2; the one part too many at the top is part 0 again, one lower.
    let high = (r + gamma - 1) / (2 * gamma);
    let (high, low) = match high == parts {
        true => (0, r - high * 2 * gamma - 1),
        false => (high, r - high * 2 * gamma),
    };
    let corrected = match (marked, low > 0) {
        (false, _) => high,
        (true, true) => (high + 1) % parts,
        (true, false) => (high + parts - 1) % parts,
    };
    corrected as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(marks: &[u8], ends: &[u8]) -> bool {
        let mut bytes = [0; 84];
        bytes[..marks.len()].copy_from_slice(marks);
        bytes[80..].copy_from_slice(ends);
        Hints::decode(Set::MlDsa44, &bytes).is_some()
    }

    #[test]
    fn one_encoding_for_each_set_of_hints() {
        assert!(check(&[], &[0, 0, 0, 0]));
        assert!(check(&[3, 9, 0, 255], &[2, 2, 4, 4]));
        assert!(!check(&[9, 3], &[2, 2, 2, 2]), "marks that descend");
        assert!(!check(&[3, 3], &[2, 2, 2, 2]), "a mark twice");
        assert!(!check(&[3, 9], &[2, 1, 2, 2]), "a row that ends before it begins");
        assert!(!check(&[3, 9], &[2, 2, 2, 81]), "more marks than there is room");
        assert!(!check(&[3, 9], &[1, 1, 1, 1]), "something behind the last row");
        assert!(check(&[9, 3], &[1, 2, 2, 2]), "each row begins anew");
    }

    #[test]
    fn high_bits_at_the_edges() {
        for (set, gamma, parts) in [(Set::MlDsa44, (Q - 1) / 88, 44), (Set::MlDsa65, (Q - 1) / 32, 16)] {
            assert_eq!(high_bits(set, 0, false), 0);
            assert_eq!(high_bits(set, gamma, false), 0);
            assert_eq!(high_bits(set, gamma + 1, false), 1);
            // -1 lies in part 0, whose low part is then negative.
            assert_eq!(high_bits(set, Q - 1, false), 0);
            assert_eq!(high_bits(set, Q - 1, true), parts - 1);
            assert_eq!(high_bits(set, 0, true), parts - 1, "a low part of zero goes down");
            assert_eq!(high_bits(set, 1, true), 1);
            assert_eq!(high_bits(set, Q - 1 - gamma, true), 0, "from the last part up to the first");
        }
    }
}

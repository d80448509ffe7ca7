//! ECDSA signatures between r || s, as signers hand them out, and the DER of
//! RFC 3279 §2.2.3, as most formats and other people's tools have them.

/// `SEQUENCE { INTEGER r, INTEGER s }` of r || s. `None` if r or s is zero
/// or the halves are unequal.
pub fn to_der(signature: &[u8]) -> Option<Vec<u8>> {
    if !signature.len().is_multiple_of(2) || signature.len() > 96 {
        return None;
    }
    let (r, s) = signature.split_at(signature.len() / 2);
    let mut body = Vec::with_capacity(signature.len() + 6);
    for half in [r, s] {
        let start = half.iter().position(|byte| *byte != 0)?;
        let digits = &half[start..];
        // INTEGER is signed: a leading zero keeps a high bit positive.
        let zero = usize::from(digits[0] & 0x80 != 0);
        body.extend([0x02, (digits.len() + zero) as u8]);
        body.extend(std::iter::repeat_n(0, zero));
        body.extend(digits);
    }
    // Two P-384 integers take 102 bytes: the short form of a length.
    let mut out = vec![0x30, body.len() as u8];
    out.extend(body);
    Some(out)
}

/// r || s, each of `field` bytes, of strict DER. Trailing bytes, negative
/// or zero integers and padding are refused: a second encoding of the same
/// signature is a second file with the same meaning.
pub fn from_der(der: &[u8], field: usize) -> Option<Vec<u8>> {
    let (&[0x30, len], mut rest) = der.split_first_chunk()? else { return None };
    if usize::from(len) != rest.len() || len >= 0x80 {
        return None;
    }
    let mut out = Vec::with_capacity(2 * field);
    for _ in 0..2 {
        let (&[0x02, len], after) = rest.split_first_chunk()? else { return None };
        let (integer, after) = after.split_at_checked(usize::from(len))?;
        rest = after;
        let digits = match integer {
            [0, high, ..] if high & 0x80 != 0 => &integer[1..],
            [first, ..] if first & 0x80 == 0 && *first != 0 => integer,
            _ => return None,
        };
        let zeros = field.checked_sub(digits.len())?;
        out.extend(std::iter::repeat_n(0, zeros));
        out.extend(digits);
    }
    rest.is_empty().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_integer_survives() {
        for field in [32, 48] {
            for r in [0x01, 0x7f, 0x80, 0xff] {
                for place in 0..field {
                    let mut fixed = vec![0; 2 * field];
                    fixed[place] = r;
                    fixed[field + (field - 1 - place)] = 0x80;
                    let der = to_der(&fixed);
                    assert_eq!(der.and_then(|der| from_der(&der, field)), Some(fixed));
                }
            }
        }
        assert_eq!(to_der(&[0; 64]), None, "zero is no signature");
    }

    #[test]
    fn second_encodings_are_refused() {
        let cases: [(&str, &[u8]); 9] = [
            ("empty", &[]),
            ("padded integer", &[0x30, 7, 2, 2, 0, 1, 2, 1, 1]),
            ("negative integer", &[0x30, 6, 2, 1, 0x80, 2, 1, 1]),
            ("zero integer", &[0x30, 6, 2, 1, 0, 2, 1, 1]),
            ("empty integer", &[0x30, 5, 2, 0, 2, 1, 1]),
            ("trailing byte inside", &[0x30, 7, 2, 1, 1, 2, 1, 1, 0]),
            ("trailing byte outside", &[0x30, 6, 2, 1, 1, 2, 1, 1, 0]),
            ("long form of a short length", &[0x30, 0x81, 6, 2, 1, 1, 2, 1, 1]),
            ("one integer", &[0x30, 3, 2, 1, 1]),
        ];
        for (name, der) in cases {
            assert_eq!(from_der(der, 32), None, "{name}");
        }
        assert!(from_der(&[0x30, 6, 2, 1, 1, 2, 1, 1], 32).is_some());
    }
}

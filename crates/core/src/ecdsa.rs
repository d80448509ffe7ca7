//! ECDSA signatures in the forms that other protocols write: two integers,
//! turned into the r || s of COSE (RFC 9053 §2.1).

/// Two big-endian integers, each shortest, positive and at most 32 bytes.
pub(crate) fn pair(r: &[u8], s: &[u8]) -> Option<[u8; 64]> {
    let mut out = [0; 64];
    for (integer, out) in [r, s].into_iter().zip(out.chunks_mut(32)) {
        let integer = match integer {
            // A zero in front only where the sign bit needs it.
            [0, rest @ ..] if rest.first().is_some_and(|byte| byte & 0x80 != 0) => rest,
            [first, ..] if *first != 0 && first & 0x80 == 0 => integer,
            _ => return None,
        };
        let start = out.len().checked_sub(integer.len())?;
        out[start..].copy_from_slice(integer);
    }
    Some(out)
}

/// `SEQUENCE { INTEGER r, INTEGER s }` in DER (RFC 3279 §2.2.3).
pub(crate) fn der(bytes: &[u8]) -> Option<[u8; 64]> {
    let [0x30, length, body @ ..] = bytes else { return None };
    // Both integers of P-256 and their heads fit into a short length.
    if usize::from(*length) != body.len() || *length >= 0x80 {
        return None;
    }
    let (r, rest) = integer(body)?;
    let (s, rest) = integer(rest)?;
    if rest.is_empty() { pair(r, s) } else { None }
}

fn integer(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x02, length, rest @ ..] = bytes else { return None };
    rest.split_at_checked(usize::from(*length))
}

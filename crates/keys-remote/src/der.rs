//! ECDSA signatures as services send them: DER (RFC 3279 §2.2.3).

use firmseal_manifest::{KeyAlgorithm, Signature};
use pkcs8::der::asn1::UintRef;
use pkcs8::der::{Decode, Reader, SliceReader};

/// r || s at full width from `SEQUENCE { r INTEGER, s INTEGER }`; `None` for
/// anything else, trailing bytes included.
pub fn fixed(algorithm: KeyAlgorithm, der: &[u8]) -> Option<Signature> {
    let width = match algorithm {
        KeyAlgorithm::P256 => 32,
        KeyAlgorithm::P384 => 48,
        _ => return None,
    };
    let mut reader = SliceReader::new(der).ok()?;
    let (r, s) = reader
        .sequence(|inner: &mut SliceReader<'_>| -> Result<_, pkcs8::der::Error> {
            Ok((UintRef::decode(inner)?, UintRef::decode(inner)?))
        })
        .ok()?;
    reader.finish().ok()?;
    let mut out = Vec::with_capacity(2 * width);
    for number in [r.as_bytes(), s.as_bytes()] {
        out.resize(out.len() + width.checked_sub(number.len())?, 0);
        out.extend_from_slice(number);
    }
    Some(Signature(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_padded_and_nothing_else_is_taken() {
        let der = [0x30, 0x08, 0x02, 0x02, 0x00, 0x80, 0x02, 0x02, 0x01, 0x02];
        let wide = |number: &[u8], width: usize| [vec![0; width - number.len()], number.to_vec()].concat();
        for (algorithm, width) in [(KeyAlgorithm::P256, 32), (KeyAlgorithm::P384, 48)] {
            let expected = [wide(&[0x80], width), wide(&[1, 2], width)].concat();
            assert_eq!(fixed(algorithm, &der), Some(Signature(expected)));
        }
        assert_eq!(fixed(KeyAlgorithm::Ed25519, &der), None);
        let trailing = [&der[..], &[0]].concat();
        let long = [&[0x30, 0x26, 0x02, 0x21][..], &[1; 33], &[0x02, 0x01, 0x01]].concat();
        let negative = [0x30, 0x06, 0x02, 0x01, 0x80, 0x02, 0x01, 0x01];
        for bad in [&trailing[..], &long, &negative, &der[..9], &[]] {
            assert_eq!(fixed(KeyAlgorithm::P256, bad), None, "{bad:02x?}");
        }
    }
}

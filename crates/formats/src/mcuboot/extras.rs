//! Parameters that become protected TLVs, in imgtool's spelling.

use uuid::Uuid;

use super::endian::Endian;
use super::header::Version;
use super::tlv::{self, Tlv};
use crate::error::FormatError;
use crate::parameters::bad;

/// An image that must be there, with the lowest version that will do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Dependency {
    image: u8,
    version: Version,
}

impl Dependency {
    /// `struct image_dependency`: the number, three bytes of padding, version.
    pub(super) fn tlv(&self, endian: Endian) -> Tlv {
        Tlv::new(tlv::DEPENDENCY, [&[self.image, 0, 0, 0], &self.version.to_bytes(endian)[..]].concat())
    }
}

/// `(1, 2.3.4+5), (2, 0.0.1)`: all that must be there.
pub(super) fn dependencies(name: &str, text: &str) -> Result<Vec<Dependency>, FormatError> {
    // imgtool looks for what it can use and skips the rest; a dependency
    // that was skipped is one that nobody checks.
    let fail = || bad(name, "write (IMAGE, VERSION), (IMAGE, VERSION)...: like (1, 2.3.4+5)".to_owned());
    let mut rest = text.trim();
    let mut out = Vec::new();
    while !rest.is_empty() || out.is_empty() {
        let (one, after) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or_else(fail)?;
        let (image, version) = one.split_once(',').ok_or_else(fail)?;
        let image = image.trim();
        let plain = !image.is_empty() && image.bytes().all(|byte| byte.is_ascii_digit());
        let image = plain.then(|| image.parse::<u8>().ok()).flatten().ok_or_else(fail)?;
        let version = Version::parse(version.trim()).ok_or_else(fail)?;
        out.push(Dependency { image, version });
        rest = match after.trim_start() {
            "" => "",
            more => more
                .strip_prefix(',')
                .map(str::trim_start)
                .filter(|more| !more.is_empty())
                .ok_or_else(fail)?,
        };
    }
    Ok(out)
}

/// `0x00a1:0x0102,0x0100:text`: TLVs with a meaning of the product's own.
pub(super) fn custom(name: &str, text: &str) -> Result<Vec<Tlv>, FormatError> {
    let fail = |why: &str| bad(name, why.to_owned());
    let mut out: Vec<Tlv> = Vec::new();
    for one in text.split(',') {
        let (kind, value) =
            one.split_once(':').ok_or_else(|| fail("write TYPE:VALUE,TYPE:VALUE...: like 0x00a1:0x0102"))?;
        let digits = kind
            .trim()
            .strip_prefix("0x")
            .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let kind = digits
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .filter(|kind| (tlv::CUSTOM_FIRST..=tlv::CUSTOM_LAST).contains(kind))
            .ok_or_else(|| fail("types are numbers from 0x00a0 to 0xfffe"))?;
        let value = match value.strip_prefix("0x") {
            Some(digits) => {
                unhex(digits).ok_or_else(|| fail("values after 0x are pairs of hexadecimal digits"))?
            }
            None => value.as_bytes().to_vec(),
        };
        // Which of two counts depends on the reader.
        if out.iter().any(|tlv| tlv.kind == kind) {
            return Err(fail("a type stands twice"));
        }
        out.push(Tlv::new(kind, value));
    }
    Ok(out)
}

/// An id of a vendor or class: a UUID, or a name that stands for one (RFC
/// 9562 §5.5) in this namespace. A name has something that no UUID has, so
/// that a misspelt UUID is none.
pub(super) fn id(name: &str, text: &str, namespace: Option<Uuid>) -> Result<Uuid, FormatError> {
    let is_name = text.chars().any(|c| !c.is_ascii_hexdigit() && c != '-');
    match (Uuid::try_parse(text), namespace) {
        (Ok(id), _) => Ok(id),
        (Err(_), Some(namespace)) if is_name && text.chars().all(|c| c.is_ascii_graphic() || c == ' ') => {
            Ok(Uuid::new_v5(&namespace, text.as_bytes()))
        }
        _ => Err(bad(name, "use a UUID, like 12345678-1234-5678-1234-567812345678, or a name".to_owned())),
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    let nibble = |digit: &u8| char::from(*digit).to_digit(16).map(|value| value as u8);
    digits
        .len()
        .is_multiple_of(2)
        .then(|| {
            digits.chunks_exact(2).map(|pair| Some(nibble(&pair[0])? << 4 | nibble(&pair[1])?)).collect()
        })
        .flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dependencies_are_read_whole_or_refused() {
        let good = dependencies("d", "(1, 2.3.4+5), (2,0.0.1)").unwrap();
        let values: Vec<_> = good.iter().map(|own| own.tlv(Endian::Little).value).collect();
        assert_eq!(values, [[1, 0, 0, 0, 2, 3, 4, 0, 5, 0, 0, 0], [2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]]);
        assert_eq!(good[0].tlv(Endian::Big).value, [1, 0, 0, 0, 2, 3, 0, 4, 0, 0, 0, 5]);
        for bad in [
            "",
            " ",
            "1",
            "()",
            "(1)",
            "(1,)",
            "(256, 1.0.0)",
            "(1, 1.0.0",
            "(1, 1.0.0) x",
            "(1, 1.0.0),",
            "(1, 1.0.0)(2, 1.0.0)",
            "(-1, 1.0.0)",
            "(1, 1.0.0-rc.1)",
            "(1, 256.0.0)",
            "(+1, 1.0.0)",
        ] {
            assert!(dependencies("d", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn own_types_are_read_whole_or_refused() {
        let good = custom("c", "0x00a1:0x0102,0x0100:text").unwrap();
        assert_eq!(good, [Tlv::new(0xa1, [1, 2]), Tlv::new(0x100, *b"text")]);
        for bad in [
            "",
            "0xa1",
            "a1:0x00",
            "0x:0x00",
            "0x9f:0x00",
            "0xffff:0x00",
            "0x10000:0x00",
            "0xa1:0x0",
            "0xa1:0x0g",
            "0xa1:0x+1",
            "0xa1:0x00,0xa1:0x00",
            "0xa1:0x00,",
        ] {
            assert!(custom("c", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_misspelt_uuid_is_no_name() {
        let dns = Some(Uuid::NAMESPACE_DNS);
        assert_eq!(
            id("vid", "example.com", dns).unwrap().to_string(),
            "cfbff0d1-9375-5685-968c-48ce8b15ae17"
        );
        for bad in ["12345678-1234-5678-1234-56781234567", "abcdef", "", "caf\u{e9}.example"] {
            assert!(id("vid", bad, dns).is_err(), "{bad:?}");
        }
        assert!(id("cid", "board-7", None).is_err(), "a class has a vendor");
    }
}

//! Units: sizes and spans of time as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes: `4096`, `64KiB`, `1MiB`, `2GB`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size(pub u64);

/// Suffixes of sizes: powers of 1024 as IEC 80000-13 writes them, powers of
/// 1000 as the SI does. A bare `K` or `M` means either, so it means neither.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A span of time: `90d`, `12h`, `30m`, `45s`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span(pub Duration);

const SPANS: &[(&str, u64)] = &[("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 7 * 86_400)];

/// Why a text is no size or span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}; write it as {example}")]
pub struct UnitError {
    pub what: &'static str,
    pub text: String,
    pub example: &'static str,
}

/// A whole number and a unit, multiplied.
fn scaled(text: &str, units: &[(&str, u64)], bare: Option<u64>) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" => bare?,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Size, UnitError> {
        let example = "4096, 64KiB, 1MiB or 2GB";
        scaled(text, SIZES, Some(1)).map(Size).ok_or_else(|| UnitError {
            what: "size",
            text: text.chars().take(40).collect(),
            example,
        })
    }
}

impl fmt::Display for Size {
    /// The largest power of 1024 that says it exactly, or rounded to a tenth
    /// with the bytes beside it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = SIZES.iter().rev().filter(|(name, _)| name.ends_with("iB"));
        for (name, factor) in binary {
            if self.0 >= *factor && self.0.is_multiple_of(*factor) {
                return write!(f, "{} {name}", self.0 / factor);
            }
            if self.0 >= *factor {
                let tenths = u128::from(self.0) * 10 / u128::from(*factor);
                return write!(f, "{}.{} {name} ({} bytes)", tenths / 10, tenths % 10, self.0);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Span, UnitError> {
        let seconds = scaled(text, SPANS, None).filter(|seconds| *seconds > 0);
        seconds.map(|seconds| Span(Duration::from_secs(seconds))).ok_or_else(|| UnitError {
            what: "span of time",
            text: text.chars().take(40).collect(),
            example: "90d, 12h, 30m or 45s",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_exactly() {
        for (text, want) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("1MiB", Some(1 << 20)),
            ("1 MiB", Some(1 << 20)),
            ("2GB", Some(2_000_000_000)),
            ("16777215TiB", Some(16_777_215 << 40)),
            ("16777216TiB", None),
            ("1M", None),
            ("1mib", None),
            ("MiB", None),
            ("-1", None),
            ("1.5MiB", None),
            ("", None),
            ("１MiB", None),
        ] {
            assert_eq!(text.parse::<Size>().ok(), want.map(Size), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_printed_for_people() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1 << 20, "1 MiB"),
            ((1 << 20) + (1 << 19) + 1, "1.5 MiB (1572865 bytes)"),
            (u64::MAX, "16777215.9 TiB (18446744073709551615 bytes)"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn spans_need_a_unit() {
        for (text, want) in [
            ("90d", Some(90 * 86_400)),
            ("2w", Some(14 * 86_400)),
            ("45s", Some(45)),
            ("0s", None),
            ("3600", None),
            ("1y", None),
            ("18446744073709551615w", None),
        ] {
            assert_eq!(text.parse::<Span>().ok().map(|span| span.0.as_secs()), want, "{text:?}");
        }
    }
}

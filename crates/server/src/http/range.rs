//! Ranges: which bytes of a payload are wanted (RFC 9110 §14).

use std::ops::Range;

use http::{HeaderMap, header};

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything, as 200.
    Whole,
    /// A part, as 206.
    Part(Range<u64>),
    /// Nothing: 416.
    Unsatisfiable,
}

/// Reads `Range` and `If-Range`. A range that is not understood is ignored,
/// as RFC 9110 §14.2 wants; so are several at once, which only serve to
/// multiply answers.
pub(crate) fn wanted(headers: &HeaderMap, etag: &str, size: u64) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(header::RANGE) else { return Wanted::Whole };
    // Strong comparison: a weak tag or a date never matches (§13.1.5).
    if text(header::IF_RANGE).is_some_and(|given| given != etag) {
        return Wanted::Whole;
    }
    let Some((first, last)) =
        range.trim().strip_prefix("bytes=").and_then(|spec| spec.trim().split_once('-'))
    else {
        return Wanted::Whole;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // More digits than u64 holds is a number beyond every payload.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    match (first, last) {
        ("", suffix) if digits(suffix) => match number(suffix).min(size) {
            0 => Wanted::Unsatisfiable,
            length => Wanted::Part(size - length..size),
        },
        (first, "") if digits(first) => match number(first) {
            first if first < size => Wanted::Part(first..size),
            _ => Wanted::Unsatisfiable,
        },
        (first, last) if digits(first) && digits(last) => match (number(first), number(last)) {
            (first, last) if first > last => Wanted::Whole,
            (first, _) if first >= size => Wanted::Unsatisfiable,
            (first, last) => Wanted::Part(first..last.saturating_add(1).min(size)),
        },
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (range, if_range, want) in [
            ("bytes=0-0", None, Wanted::Part(0..1)),
            ("bytes=5-", None, Wanted::Part(5..10)),
            ("bytes=-3", None, Wanted::Part(7..10)),
            ("bytes=-99", None, Wanted::Part(0..10)),
            ("bytes=2-99", None, Wanted::Part(2..10)),
            ("bytes=9-18446744073709551615", None, Wanted::Part(9..10)),
            ("bytes=9-99999999999999999999999", None, Wanted::Part(9..10)),
            ("bytes=10-", None, Wanted::Unsatisfiable),
            ("bytes=10-11", None, Wanted::Unsatisfiable),
            ("bytes=-0", None, Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", None, Wanted::Unsatisfiable),
            ("bytes=3-2", None, Wanted::Whole),
            ("bytes=0-1,3-4", None, Wanted::Whole),
            ("bytes=a-b", None, Wanted::Whole),
            ("bytes=+1-2", None, Wanted::Whole),
            ("bytes=-", None, Wanted::Whole),
            ("lines=0-1", None, Wanted::Whole),
            ("bytes=0-1", Some("\"tag\""), Wanted::Part(0..2)),
            ("bytes=0-1", Some("W/\"tag\""), Wanted::Whole),
            ("bytes=0-1", Some("\"other\""), Wanted::Whole),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(range));
            if let Some(tag) = if_range {
                headers.insert(header::IF_RANGE, HeaderValue::from_static(tag));
            }
            assert_eq!(wanted(&headers, "\"tag\"", 10), want, "{range} {if_range:?}");
        }
        assert_eq!(wanted(&HeaderMap::new(), "\"tag\"", 0), Wanted::Whole);
    }
}

//! Versions: precedence by semver 2.0.0 §11, on text.

use core::cmp::Ordering;

/// Compares two versions; `None` where one of them is none.
pub(crate) fn compare(one: &str, other: &str) -> Option<Ordering> {
    let (one_core, one_pre) = parts(one);
    let (other_core, other_pre) = parts(other);
    let (one_core, other_core) = (numbers(one_core)?, numbers(other_core)?);
    Some(one_core.cmp(&other_core).then_with(|| match (one_pre, other_pre) {
        (None, None) => Ordering::Equal,
        // A pre-release comes before its release.
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(one), Some(other)) => prerelease(one, other),
    }))
}

/// The numbers and the pre-release; build metadata has no precedence.
fn parts(version: &str) -> (&str, Option<&str>) {
    let version = version.split_once('+').map_or(version, |(version, _)| version);
    match version.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (version, None),
    }
}

fn numbers(core: &str) -> Option<[u64; 3]> {
    let mut numbers = core.split('.').map(number);
    let three = [numbers.next()??, numbers.next()??, numbers.next()??];
    if numbers.next().is_none() { Some(three) } else { None }
}

#[inline(never)]
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && (text == "0" || !text.starts_with('0')) { text.parse().ok() } else { None }
}

/// Identifier by identifier: numbers by value and before words, a longer
/// list after its beginning.
fn prerelease(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        let order = match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(one), Some(other)) => match (number(one), number(other)) {
                (Some(one), Some(other)) => one.cmp(&other),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => one.cmp(other),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::compare;
    use core::cmp::Ordering;

    /// The order of semver 2.0.0 §11, and some more.
    const ASCENDING: &[&str] = &[
        "0.0.0",
        "0.9.18446744073709551615",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.1-0",
        "1.10.0",
        "2.0.0",
    ];

    #[test]
    fn order_is_that_of_the_specification() {
        for (at, one) in ASCENDING.iter().enumerate() {
            for (place, other) in ASCENDING.iter().enumerate() {
                assert_eq!(compare(one, other), Some(at.cmp(&place)), "{one} {other}");
            }
        }
        assert_eq!(compare("1.0.0+a", "1.0.0+b"), Some(Ordering::Equal));
    }

    #[test]
    fn what_is_no_version_has_no_order() {
        for wrong in ["", "1", "1.0", "1.0.0.0", "01.0.0", "1.0.-1", "a.b.c", "1.0.18446744073709551616"] {
            assert_eq!(compare(wrong, "1.0.0"), None, "{wrong}");
        }
    }
}

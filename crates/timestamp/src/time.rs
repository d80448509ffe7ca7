//! GeneralizedTime as RFC 3161 §2.4.2 writes it: UTC, with seconds, perhaps
//! with fractions.

use firmseal_fleet::Time;

/// Reads `YYYYMMDDhhmmss[.f...]Z`. "The encoding MUST terminate with a "Z"",
/// and fractions, where there are any, have no trailing zeros.
pub(crate) fn parse(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) {
        return None;
    }
    let millis = match fraction {
        None => 0,
        Some(text) if text.is_empty() || text.len() > 9 || text.ends_with('0') || !digits(text) => {
            return None;
        }
        Some(text) => format!("{text:0<3}")[..3].parse::<u64>().ok()?,
    };
    let number = |range: std::ops::Range<usize>| whole[range].parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(8..10)?, number(10..12)?, number(12..14)?);
    // A leap second is told as 60 and is the first of the next minute here.
    if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if day == 0 || day > days_of(year, month) {
        return None;
    }
    let days = days_before(year) + (1..month).map(|month| days_of(year, month)).sum::<u64>() + day - 1;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(Time::from_millis(seconds * 1000 + millis))
}

/// Writes a time to the millisecond.
pub(crate) fn write(time: Time) -> String {
    let (seconds, millis) = (time.millis() / 1000, time.millis() % 1000);
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970 + days / 366;
    while days_before(year + 1) <= days {
        year += 1;
    }
    days -= days_before(year);
    let mut month = 1;
    while days >= days_of(year, month) {
        days -= days_of(year, month);
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let mut text = format!("{year:04}{month:02}{:02}{hour:02}{minute:02}{second:02}", days + 1);
    if millis > 0 {
        text.push_str(format!(".{millis:03}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Days from 1970 to the beginning of a year.
fn days_before(year: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        for (text, millis) in [
            ("19700101000000Z", 0),
            ("20000229235959Z", 951_868_799_000),
            ("20261121125147.5Z", 1_795_265_507_500),
            ("20261121125147.123Z", 1_795_265_507_123),
            ("20240229000000Z", 1_709_164_800_000),
            ("99991231235959.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(Time::from_millis(millis)), "{text}");
            assert_eq!(write(Time::from_millis(millis)), text);
        }
        assert_eq!(parse(b"20261121125147.1234567Z"), Some(Time::from_millis(1_795_265_507_123)));
        for day in (0..4000 * 365).step_by(13) {
            let time = Time::from_millis(day * 86_400_000 / 10);
            assert_eq!(parse(write(time).as_bytes()), Some(time));
        }
        for text in [
            "",
            "Z",
            "20261121125147",
            "20261121125147+0100",
            "20261121125147.Z",
            "20261121125147.50Z",
            "20261321125147Z",
            "20261131125147Z",
            "20260229125147Z",
            "20261121245147Z",
            "2026112112514Z",
            "+0261121125147Z",
            "19691231235959Z",
            "20261121125147.0000000001Z",
            "2026112112514\u{b2}Z",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}

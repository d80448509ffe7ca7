//! Points in time: milliseconds since the Unix epoch, RFC 3339 for people.
//!
//! There is no `now` here. Whoever has a clock passes the time in.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::FleetError;

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// 9999-12-31T23:59:59.999Z, the last time RFC 3339 can write.
const LAST: u64 = 253_402_300_799_999;
const DAY: u64 = 86_400_000;

impl Time {
    /// The Unix epoch: before everything that happens here.
    pub const EPOCH: Time = Time(0);

    /// The time of a count of milliseconds; held at the end of year 9999.
    pub const fn from_millis(millis: u64) -> Time {
        Time(if millis > LAST { LAST } else { millis })
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// This time and a while.
    pub fn plus(self, while_: Duration) -> Time {
        Time::from_millis(self.0.saturating_add(u64::try_from(while_.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This time less a while; `None` before the epoch.
    pub fn minus(self, while_: Duration) -> Option<Time> {
        u64::try_from(while_.as_millis()).ok().and_then(|millis| self.0.checked_sub(millis)).map(Time)
    }
}

impl From<SystemTime> for Time {
    /// Times before 1970 become the epoch: a clock that is that wrong
    /// orders nothing anyway.
    fn from(time: SystemTime) -> Time {
        Time::EPOCH.plus(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, in_day) = (self.0 / DAY, self.0 % DAY);
        // Civil from days, counted in 400-year eras that begin in March, so
        // that the leap day is the last of its year.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
        let (second, milli) = (in_day / 1_000 % 60, in_day % 1_000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if milli > 0 {
            write!(f, ".{milli:03}")?;
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = FleetError;

    /// Reads UTC only, with `T` and `Z`, and no or three digits of fraction:
    /// what `Display` writes, and what people write.
    fn from_str(text: &str) -> Result<Time, FleetError> {
        parse(text.as_bytes()).ok_or_else(|| FleetError::NotATime(text.chars().take(40).collect()))
    }
}

fn parse(text: &[u8]) -> Option<Time> {
    let number = |from: usize, to: usize| {
        text.get(from..to)?.iter().try_fold(0u64, |value, digit| {
            digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0'))
        })
    };
    let sign = |at: usize, want: u8| (text.get(at) == Some(&want)).then_some(());
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    sign(4, b'-')?;
    sign(7, b'-')?;
    sign(10, b'T')?;
    sign(13, b':')?;
    sign(16, b':')?;
    let milli = match text.len() {
        20 => {
            sign(19, b'Z')?;
            0
        }
        24 => {
            sign(19, b'.')?;
            sign(23, b'Z')?;
            number(20, 23)?
        }
        _ => return None,
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_in_month = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(leap),
        _ => 31,
    };
    let in_range = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_in_month).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    // Days from civil, the inverse of what `Display` does.
    let (shifted_year, month_from_march) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(Time(days * DAY + ((hour * 60 + minute) * 60 + second) * 1_000 + milli))
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_read_and_print() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_210_096_789, "2024-02-29T12:34:56.789Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Time::from_millis(millis).to_string(), text);
            assert_eq!(text.parse(), Ok(Time::from_millis(millis)));
        }
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for bad in [
            "",
            "2024",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00+01:00",
            "2024-01-01 00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2024-01-01T00:00:00.1Z",
            "２024-01-01T00:00:0Z",
        ] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_time_survives_its_text(millis in 0..=LAST) {
            let time = Time::from_millis(millis);
            proptest::prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}

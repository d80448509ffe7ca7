//! Habits: how a key or a caller is usually used, and how one use departs
//! from that.
//!
//! Pure, and bounded whoever uses what. A habit holds what happened, day by
//! day for four weeks, and no averages: whoever is asked why a request was
//! held can count it by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use firmseal_manifest::ProductId;
use serde::{Deserialize, Serialize};

use crate::{FleetError, Time};

/// How far back a habit reaches, in days.
const DAYS: u32 = 28;
/// Days with uses until there is a habit to depart from.
const LEARNING: usize = 5;
/// Uses in an hour that are never too many, and how much busier than the
/// busiest hour one may be.
const FEW: u32 = 10;
const BUSIER: u32 = 2;
/// Days that a product is remembered: some are released once a year.
const PRODUCT_DAYS: u32 = 400;
/// Most products and networks that are remembered.
const REMEMBERED: usize = 64;
/// Whoever came from so many networks in four weeks has no usual one.
const ROAMING: usize = 32;

/// A way in which a use departs from the usual.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deviation {
    /// More uses in this hour than twice those of the busiest hour before.
    Rate,
    /// At a time of day at which there were none.
    Hour,
    /// For a product for which there were none.
    Product,
    /// From a network from which there were none.
    Source,
}

impl Deviation {
    /// Every one.
    pub const ALL: [Deviation; 4] = [Deviation::Rate, Deviation::Hour, Deviation::Product, Deviation::Source];

    /// The word in policies, records and metrics. It never changes.
    pub fn word(self) -> &'static str {
        match self {
            Deviation::Rate => "rate",
            Deviation::Hour => "hour",
            Deviation::Product => "product",
            Deviation::Source => "source",
        }
    }

    /// Several as the bits that they have in the log.
    pub fn bits(several: &BTreeSet<Deviation>) -> u8 {
        let bit = |deviation: &Deviation| Deviation::ALL.iter().position(|known| known == deviation);
        several.iter().filter_map(bit).fold(0, |bits, bit| bits | 1 << bit)
    }

    /// Those that stand in the log as these bits.
    pub fn of_bits(bits: u8) -> BTreeSet<Deviation> {
        let all = Deviation::ALL.into_iter().enumerate();
        all.filter_map(|(bit, deviation)| (bits >> bit & 1 == 1).then_some(deviation)).collect()
    }

    /// What it says to people.
    pub fn why(self) -> &'static str {
        match self {
            Deviation::Rate => "more uses in this hour than twice those of the busiest hour in four weeks",
            Deviation::Hour => "used at a time of day at which it was not used in four weeks",
            Deviation::Product => "used for a product for which it was never used",
            Deviation::Source => "used from a network from which it was not used in four weeks",
        }
    }
}

impl FromStr for Deviation {
    type Err = FleetError;

    fn from_str(text: &str) -> Result<Deviation, FleetError> {
        Deviation::ALL.into_iter().find(|deviation| deviation.word() == text).ok_or_else(|| {
            FleetError::Unusable {
                what: "deviation",
                field: format!("{:?}", text.chars().take(40).collect::<String>()),
                why: "write rate, hour, product or source",
            }
        })
    }
}

/// Whose habit it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HabitOf {
    /// A signing key's, by name.
    Key(String),
    /// A caller's, by name.
    Caller(String),
}

impl fmt::Display for HabitOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HabitOf::Key(name) => write!(f, "key:{name}"),
            HabitOf::Caller(name) => write!(f, "caller:{name}"),
        }
    }
}

/// One use, or the wish for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Use<'a> {
    /// For which product.
    pub product: &'a ProductId,
    /// Where the caller was, if it came over a network.
    pub source: Option<IpAddr>,
    /// When.
    pub at: Time,
}

/// What a day has seen.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
struct Day {
    /// Bit *n*: there were uses between *n* and *n* + 1 o'clock, UTC.
    hours: u32,
    /// Uses in its busiest hour.
    busiest: u32,
}

/// How something is usually used.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Habit {
    /// Days with uses, counted from 1970.
    days: BTreeMap<u32, Day>,
    /// The hour of the last use, counted from 1970, and the uses in it.
    hour: u64,
    uses: u32,
    /// Products and networks, with the last day on which they were seen.
    products: BTreeMap<ProductId, u32>,
    sources: BTreeMap<String, u32>,
    /// What was told of in which hour: each once.
    #[serde(default)]
    told: (u64, BTreeSet<Deviation>),
}

impl Habit {
    /// How a use would depart from the habit. Nothing does before there is
    /// one.
    pub fn deviations(&self, wanted: Use<'_>) -> BTreeSet<Deviation> {
        let (today, hour) = (day(wanted.at), hour(wanted.at));
        let before: Vec<&Day> =
            self.days.range(today.saturating_sub(DAYS)..today).map(|(_, day)| day).collect();
        if before.len() < LEARNING {
            return BTreeSet::new();
        }
        let uses = if self.hour == hour { self.uses } else { 0 };
        let busiest = before.iter().map(|day| day.busiest).max().unwrap_or(0);
        // The hour beside a usual one is usual: builds take longer or start
        // sooner, and clocks are put forward.
        let about = [23, 0, 1].iter().fold(0, |bits, more| bits | 1 << ((hour + more) % 24));
        let usual_hour = before.iter().any(|day| day.hours & about != 0);
        let seen = |last: Option<&u32>, days| last.is_some_and(|last| last.saturating_add(days) >= today);
        let known = self.sources.values().filter(|last| seen(Some(last), DAYS)).count();
        let strange =
            |source| known > 0 && known < ROAMING && !seen(self.sources.get(&network(source)), DAYS);
        let found = [
            (Deviation::Rate, uses.saturating_add(1) > busiest.saturating_mul(BUSIER).max(FEW)),
            (Deviation::Hour, !usual_hour),
            (Deviation::Product, !seen(self.products.get(wanted.product), PRODUCT_DAYS)),
            (Deviation::Source, wanted.source.is_some_and(strange)),
        ];
        found.into_iter().filter_map(|(deviation, is)| is.then_some(deviation)).collect()
    }

    /// Notes a use that was made: from here on it is a usual one.
    pub fn learn(&mut self, made: Use<'_>) {
        let (today, now) = (day(made.at), hour(made.at));
        // A clock that was put back: hours that are over do not begin again.
        if now > self.hour {
            (self.hour, self.uses) = (now, 0);
        }
        self.uses = self.uses.saturating_add(1);
        let uses = self.uses;
        let seen = self.days.entry(today).or_default();
        seen.hours |= 1 << (now % 24);
        seen.busiest = seen.busiest.max(uses);
        let newest = self.days.last_key_value().map_or(today, |(day, _)| *day);
        self.days.retain(|day, _| day.saturating_add(DAYS) >= newest);
        remember(&mut self.products, made.product.clone(), today, PRODUCT_DAYS);
        if let Some(source) = made.source {
            remember(&mut self.sources, network(source), today, DAYS);
        }
    }

    /// What has to be told of these now: each is told once an hour.
    pub fn tell(&mut self, deviations: &BTreeSet<Deviation>, now: Time) -> BTreeSet<Deviation> {
        let now = hour(now);
        if self.told.0 != now {
            self.told = (now, BTreeSet::new());
        }
        deviations.iter().copied().filter(|deviation| self.told.1.insert(*deviation)).collect()
    }

    /// The last day of which it knows, counted from 1970.
    pub fn last_day(&self) -> u32 {
        self.days.last_key_value().map_or(0, |(day, _)| *day)
    }
}

/// Remembers a name; the one that was not seen for longest makes room.
fn remember<K: Ord + Clone>(names: &mut BTreeMap<K, u32>, name: K, today: u32, days: u32) {
    names.retain(|_, last| last.saturating_add(days) >= today);
    if names.len() >= REMEMBERED && !names.contains_key(&name) {
        let oldest = names.iter().min_by_key(|(_, last)| **last).map(|(name, _)| name.clone());
        oldest.and_then(|oldest| names.remove(&oldest));
    }
    let last = names.entry(name).or_insert(today);
    *last = today.max(*last);
}

/// The network that an address belongs to, as far as anybody outside can
/// tell: machines of one site share it.
fn network(source: IpAddr) -> String {
    match source.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{}/24", Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

fn hour(at: Time) -> u64 {
    at.millis() / 3_600_000
}

fn day(at: Time) -> u32 {
    u32::try_from(hour(at) / 24).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SITE: &str = "192.0.2.7";

    fn at(day: u64, hour: u64) -> Time {
        Time::from_millis((20_000 * 24 + day * 24 + hour) * 3_600_000 + 1)
    }

    fn product(name: &str) -> ProductId {
        name.parse().unwrap()
    }

    struct Subject(Habit);

    impl Subject {
        /// Used on these days at ten o'clock, so many times.
        fn used(days: std::ops::Range<u64>, times: u32) -> Subject {
            let mut subject = Subject(Habit::default());
            for day in days {
                for _ in 0..times {
                    subject.learn("router", SITE, at(day, 10));
                }
            }
            subject
        }

        fn learn(&mut self, name: &str, source: &str, at: Time) {
            self.0.learn(Use { product: &product(name), source: source.parse().ok(), at });
        }

        fn says(&self, name: &str, source: &str, at: Time) -> Vec<&'static str> {
            let wanted = Use { product: &product(name), source: source.parse().ok(), at };
            self.0.deviations(wanted).into_iter().map(Deviation::word).collect()
        }
    }

    #[test]
    fn nothing_departs_from_a_habit_that_is_not_there() {
        let new = Subject::used(0..4, 1);
        assert!(new.says("other", "203.0.113.1", at(5, 3)).is_empty(), "four days are no habit");
        let five = Subject::used(0..5, 1);
        assert_eq!(five.says("other", "203.0.113.1", at(5, 3)), ["hour", "product", "source"]);
        assert!(five.says("router", SITE, at(5, 10)).is_empty());
        // Today by itself teaches nobody.
        let mut today = Subject::used(0..0, 0);
        (0..500).for_each(|_| today.learn("router", SITE, at(1, 10)));
        assert!(today.says("other", SITE, at(1, 22)).is_empty());
    }

    #[test]
    fn an_hour_may_be_twice_as_busy_as_the_busiest_before() {
        let mut subject = Subject::used(0..10, 8);
        for count in 0..16 {
            assert!(subject.says("router", SITE, at(10, 10)).is_empty(), "use {count}");
            subject.learn("router", SITE, at(10, 10));
        }
        assert_eq!(subject.says("router", SITE, at(10, 10)), ["rate"]);
        // What is busy today is no excuse for today.
        (0..100).for_each(|_| subject.learn("router", SITE, at(10, 10)));
        assert_eq!(subject.says("router", SITE, at(10, 10)), ["rate"]);
        assert!(subject.says("router", SITE, at(10, 11)).is_empty(), "another hour");
        // A few are never too many.
        let mut quiet = Subject::used(0..10, 1);
        (0..9).for_each(|_| quiet.learn("router", SITE, at(10, 10)));
        assert!(quiet.says("router", SITE, at(10, 10)).is_empty());
        quiet.learn("router", SITE, at(10, 10));
        assert_eq!(quiet.says("router", SITE, at(10, 10)), ["rate"]);
    }

    #[test]
    fn hours_are_those_of_four_weeks_and_the_ones_beside_them() {
        let mut subject = Subject::used(0..10, 1);
        for (hour, usual) in [(8, false), (9, true), (10, true), (11, true), (12, false), (22, false)] {
            assert_eq!(subject.says("router", SITE, at(10, hour)).is_empty(), usual, "{hour}");
        }
        // Round midnight.
        (10..16).for_each(|day| subject.learn("router", SITE, at(day, 0)));
        assert!(subject.says("router", SITE, at(16, 23)).is_empty());
        // Four weeks later ten o'clock is forgotten.
        (20..44).for_each(|day| subject.learn("router", SITE, at(day, 0)));
        assert_eq!(subject.says("router", SITE, at(44, 10)), ["hour"]);
    }

    #[test]
    fn networks_count_and_whoever_comes_from_everywhere_has_none() {
        let mut subject = Subject::used(0..10, 1);
        assert!(subject.says("router", "192.0.2.200", at(10, 10)).is_empty(), "the same network");
        assert!(subject.says("router", "::ffff:192.0.2.1", at(10, 10)).is_empty(), "the same address");
        assert_eq!(subject.says("router", "2001:db8:1::1", at(10, 10)), ["source"]);
        assert!(subject.says("router", "here", at(10, 10)).is_empty(), "not over a network");
        for number in 0..40 {
            subject.learn("router", &format!("2001:db8:{number}::1"), at(10, 10));
        }
        assert!(subject.says("router", "203.0.113.1", at(11, 10)).is_empty(), "it roams");
    }

    #[test]
    fn it_is_bounded_and_survives_being_written_down() {
        let mut subject = Subject::used(0..5, 1);
        for number in 0..1000 {
            subject.learn(
                &format!("p{number}"),
                &format!("10.{}.{}.1", number / 250, number % 250),
                at(number, 10),
            );
        }
        let text = serde_json::to_string(&subject.0).unwrap();
        assert!(text.len() < 8_000, "{}", text.len());
        assert_eq!(serde_json::from_str::<Habit>(&text).unwrap(), subject.0);
        assert_eq!(subject.0.last_day(), 20_999);
        // A clock that is put back breaks nothing.
        subject.learn("router", SITE, at(3, 1));
        assert_eq!(subject.0.last_day(), 20_999);
    }

    #[test]
    fn each_is_told_once_an_hour() {
        let mut habit = Habit::default();
        let both: BTreeSet<_> = [Deviation::Rate, Deviation::Hour].into();
        assert_eq!(habit.tell(&both, at(0, 1)), both);
        assert!(habit.tell(&both, at(0, 1)).is_empty());
        let source = [Deviation::Source].into();
        assert_eq!(habit.tell(&source, at(0, 1)), source);
        assert_eq!(habit.tell(&both, at(0, 2)), both);
        for (bit, deviation) in Deviation::ALL.into_iter().enumerate() {
            assert_eq!(deviation.word().parse(), Ok(deviation));
            assert_eq!(Deviation::of_bits(1 << bit), [deviation].into());
        }
        assert_eq!(Deviation::bits(&both), 0b0011);
    }
}

//! Denied access, counted in memory until the log tells of it.
//!
//! Whoever has no credential can be denied as often as the network carries
//! it, and a log keeps everything for ever. So denials are told together: who
//! and why, how often and since when, once an hour at most, the first at
//! once. So many are told apart; the rest are counted together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use firmseal_fleet::audit::Circumstances;
use firmseal_fleet::{Caller, Reason, Time};
use firmseal_manifest::{Denial, Event};
use firmseal_sign::{ApprovalError, KeyRefusal, PipelineError, PolicyChangeError};
use firmseal_store::StoreError;

use super::App;
use crate::error::ApiError;
use crate::metrics::Denied;

/// How long it takes at least until the same is told again.
const EVERY: Duration = Duration::from_secs(3600);
/// Callers that are told apart, each with the reason it was denied for.
const APART: usize = 32;
/// Addresses that are told of one of them, and things that were asked for.
const TOLD: usize = 8;

/// Why something that a caller may do in general is denied, and what it was.
/// No job tells of it: it was refused before it became one.
pub(crate) trait Denies {
    /// `None` where nobody is denied anything.
    fn denial(&self) -> Option<(Denial, String)>;
}

impl Denies for PipelineError {
    fn denial(&self) -> Option<(Denial, String)> {
        let why = match self {
            PipelineError::OutOfScope(what) => return Some((Denial::Scope, what.clone())),
            // The next hour brings more to whoever asks.
            PipelineError::KeyRefused(KeyRefusal::HourlyLimit { .. }) => return None,
            PipelineError::KeyRefused(refusal) => return Some((Denial::Key, refusal.to_string())),
            PipelineError::NoSuchKey(_) | PipelineError::KeyRevoked { .. } => Denial::Key,
            PipelineError::Approval(ApprovalError::Own(_)) => Denial::Own,
            PipelineError::Approval(
                ApprovalError::Stranger { .. } | ApprovalError::BadSignature | ApprovalError::Revoked(_),
            ) => Denial::Approval,
            _ => return None,
        };
        Some((why, self.to_string()))
    }
}

impl Denies for PolicyChangeError {
    fn denial(&self) -> Option<(Denial, String)> {
        let why = match self {
            PolicyChangeError::Own(_) => Denial::Own,
            PolicyChangeError::Stranger(_)
            | PolicyChangeError::BadSignature
            | PolicyChangeError::Revoked(_) => Denial::Approval,
            _ => return None,
        };
        Some((why, self.to_string()))
    }
}

/// Some of many, and whether there were more.
#[derive(Debug)]
struct Few<T> {
    some: BTreeSet<T>,
    more: bool,
}

impl<T: Ord + Display> Few<T> {
    fn of(one: Option<T>) -> Few<T> {
        Few { some: one.into_iter().collect(), more: false }
    }

    fn add(&mut self, other: Few<T>) {
        self.more |= other.more;
        for one in other.some {
            if self.some.len() < TOLD || self.some.contains(&one) {
                self.some.insert(one);
            } else {
                self.more = true;
            }
        }
    }

    /// In words, behind others; nothing if there are none.
    fn told(&self, before: &str) -> String {
        let some: Vec<String> = self.some.iter().map(ToString::to_string).collect();
        match (some.is_empty(), self.more) {
            (true, _) => String::new(),
            (false, false) => format!("{before}{}", some.join(", ")),
            (false, true) => format!("{before}{} and others", some.join(", ")),
        }
    }
}

/// What is counted together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Cause {
    why: Denial,
    /// The caller, where it is known and told apart.
    name: Option<String>,
}

/// How often.
#[derive(Debug)]
struct Tally {
    count: u64,
    since: Time,
    until: Time,
    caller: Option<Caller>,
    sources: Few<IpAddr>,
    /// What was asked for, in words.
    asked: Few<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.count = self.count.saturating_add(other.count);
        self.since = self.since.min(other.since);
        self.until = self.until.max(other.until);
        self.sources.add(other.sources);
        self.asked.add(other.asked);
    }

    fn told(&self, why: Denial) -> (Event, Circumstances) {
        let Tally { count, since, until, caller, sources, asked } = self;
        let (from, asked) = (sources.told(", from "), asked.told(": "));
        let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        let what = match why {
            Denial::SignIn if caller.is_some() => "its credential was revoked or has expired",
            Denial::SignIn => "what was shown is no credential that counts",
            Denial::Role => "its credential lacks the role",
            Denial::Scope => "it lies outside what its credential is for",
            Denial::Key => "it was asked of a key that does not sign it",
            Denial::Own => "somebody else has to let it go, or to agree to it",
            Denial::Approval => "the approval does not count",
        };
        let one = sources.some.first().filter(|_| sources.some.len() == 1 && !sources.more);
        let caller = caller.clone().map(|caller| Caller { source: one.copied(), ..caller });
        let event = Event::Denied {
            why,
            caller: caller.as_ref().map(Caller::id),
            count: *count,
            since: since.millis() / 1000,
            until: until.millis() / 1000,
        };
        let reasons = vec![Reason::new(why.word(), format!("{what}{asked}; {times} since {since}{from}"))];
        (event, Circumstances { time: *until, caller, product: None, reasons })
    }
}

/// What is not told yet, and when the same was told last.
#[derive(Default)]
struct Counted {
    tally: Option<Tally>,
    told: Option<Time>,
}

impl Counted {
    fn add(&mut self, tally: Tally) {
        match &mut self.tally {
            Some(known) => known.add(tally),
            None => self.tally = Some(tally),
        }
    }
}

/// Everything that is counted.
#[derive(Default)]
pub(crate) struct Denials(Mutex<BTreeMap<Cause, Counted>>);

impl Denials {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Cause, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one.
    fn count(
        &self,
        why: Denial,
        asked: Option<String>,
        caller: Option<&Caller>,
        source: Option<IpAddr>,
        now: Time,
    ) {
        let mut cause = Cause { why, name: caller.map(|caller| caller.name.clone()) };
        let mut caller = caller.cloned();
        let mut all = self.lock();
        if all.len() >= APART && !all.contains_key(&cause) {
            (cause.name, caller) = (None, None);
        }
        let (sources, asked) = (Few::of(source), Few::of(asked));
        all.entry(cause).or_default().add(Tally { count: 1, since: now, until: now, caller, sources, asked });
    }

    /// Counts on what could not be told.
    fn put_back(&self, untold: impl Iterator<Item = (Cause, Tally)>) {
        let mut all = self.lock();
        for (cause, tally) in untold {
            let counted = all.entry(cause).or_default();
            counted.told = None;
            counted.add(tally);
        }
    }

    /// What is to be told now: what was not told in the last hour, or
    /// everything.
    fn take(&self, now: Time, everything: bool) -> Vec<(Cause, Tally)> {
        let mut all = self.lock();
        let mut due = Vec::new();
        all.retain(|cause, counted| {
            // A clock that goes back silences nobody.
            let recent = |told: Time| told <= now && now < told.plus(EVERY);
            if !everything && counted.told.is_some_and(recent) {
                return true;
            }
            let Some(tally) = counted.tally.take() else { return false };
            counted.told = Some(now);
            due.push((cause.clone(), tally));
            true
        });
        due
    }
}

impl App {
    /// Counts that somebody was denied something.
    pub(crate) fn count_denial(
        &self,
        why: Denial,
        asked: Option<String>,
        caller: Option<&Caller>,
        source: Option<IpAddr>,
    ) {
        self.metrics.denials.get_or_create(&Denied { reason: why.word() }).inc();
        self.denials.count(why, asked, caller, source, self.clock.now());
    }

    /// What a caller is told of an error, which is counted where it denies
    /// something.
    pub(crate) fn denied<E: Denies + Into<ApiError>>(&self, caller: &Caller, error: E) -> ApiError {
        if let Some((why, asked)) = error.denial() {
            self.count_denial(why, Some(asked), Some(caller), caller.source);
        }
        error.into()
    }

    /// Notes for the log who was denied what. What cannot be noted is counted
    /// on.
    pub(crate) async fn tell_denials(&self, everything: bool) -> Result<(), StoreError> {
        let mut due = self.denials.take(self.clock.now(), everything).into_iter();
        while let Some((cause, tally)) = due.next() {
            let (event, circumstances) = tally.told(cause.why);
            if let Err(error) = self.store.note(event, Some(circumstances)).await {
                self.denials.put_back(std::iter::once((cause, tally)).chain(due));
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(1_800_000_000_000).plus(Duration::from_secs(seconds))
    }

    fn source(last: u8) -> Option<IpAddr> {
        Some([192, 0, 2, last].into())
    }

    #[test]
    fn a_flood_is_told_once_an_hour() {
        let denials = Denials::default();
        let mut told = Vec::new();
        for second in 0..3 * 3600 {
            denials.count(Denial::SignIn, None, None, source(second as u8), at(second));
            told.extend(denials.take(at(second), false));
        }
        told.extend(denials.take(at(3 * 3600), true));
        assert_eq!(told.iter().map(|(_, tally)| tally.count).collect::<Vec<_>>(), [1, 3600, 3600, 3599]);
        assert!(told.iter().all(|(_, tally)| tally.sources.some.len() <= TOLD));
        let (event, circumstances) = told.remove(1).1.told(Denial::SignIn);
        let expected = Event::Denied {
            why: Denial::SignIn,
            caller: None,
            count: 3600,
            since: at(1).millis() / 1000,
            until: at(3600).millis() / 1000,
        };
        assert_eq!(event, expected);
        assert!(circumstances.reasons[0].why.ends_with(" and others"), "{circumstances:?}");
        assert!(denials.take(at(5 * 3600), false).is_empty());
        assert!(denials.lock().is_empty(), "what is over takes no room");
    }

    #[test]
    fn many_callers_are_told_apart_and_the_rest_together() {
        let denials = Denials::default();
        for number in 0..100 {
            let caller = Caller::local(format!("caller {number}"));
            denials.count(Denial::Role, None, Some(&caller), source(1), at(0));
            denials.count(Denial::Role, None, Some(&caller), source(1), at(0));
        }
        let told = denials.take(at(0), false);
        assert_eq!(told.len(), APART + 1);
        assert_eq!(told.iter().map(|(_, tally)| tally.count).sum::<u64>(), 200, "each is counted");
        let rest = told.into_iter().find(|(cause, _)| cause.name.is_none()).unwrap().1;
        assert_eq!((rest.count, rest.caller.is_none()), (136, true));
    }

    #[test]
    fn one_is_told_at_once_with_who_and_where_from() {
        let denials = Denials::default();
        let carol = Caller::local("carol");
        denials.count(Denial::Scope, None, Some(&carol), source(7), at(9));
        let (cause, tally) = denials.take(at(9), false).remove(0);
        let (event, circumstances) = tally.told(cause.why);
        let Event::Denied { caller, count: 1, .. } = event else { panic!("{event:?}") };
        assert_eq!(caller, Some(carol.id()));
        assert_eq!(circumstances.caller.unwrap().source, source(7));
        denials.put_back([(cause, tally)].into_iter());
        denials.count(Denial::Scope, None, Some(&carol), source(7), at(10));
        assert_eq!(denials.take(at(10), false)[0].1.count, 2, "what the store did not take is not lost");
        denials.count(Denial::Scope, None, Some(&carol), source(7), at(10));
        assert!(denials.take(at(11), false).is_empty(), "not again within the hour");
        assert_eq!(denials.take(at(8), false).len(), 1, "unless the clock was put back");
    }

    #[test]
    fn what_was_asked_for_is_told_and_not_without_end() {
        let denials = Denials::default();
        let carol = Caller::local("carol");
        for number in 0..100 {
            let asked = Some(format!("there is no signing key `{}`", number % 12));
            denials.count(Denial::Key, asked, Some(&carol), source(7), at(number));
        }
        let (cause, tally) = denials.take(at(100), false).remove(0);
        let (event, circumstances) = tally.told(cause.why);
        assert!(matches!(event, Event::Denied { why: Denial::Key, count: 100, .. }), "{event:?}");
        let why = &circumstances.reasons[0].why;
        assert!(why.contains("key `0`, ") && why.contains("key `7` and others; 100 times"), "{why}");
    }
}

//! The schedule: when to poll next. Pure; chance is passed in.

use std::time::Duration;

use crate::config::Poll;

/// The pauses between polls.
#[derive(Clone, Debug)]
pub struct Schedule {
    poll: Poll,
    failures: u32,
}

impl Schedule {
    /// A schedule that has seen no failure.
    pub fn new(poll: Poll) -> Schedule {
        Schedule { poll, failures: 0 }
    }

    /// The pause before the very first poll: anywhere within one interval's
    /// jitter, so that a power cut in a street does not become a rush.
    pub fn first(&self, chance: u64) -> Duration {
        let spread = self.poll.interval.saturating_mul(1000) * u64::from(self.poll.jitter) / 100;
        Duration::from_millis(scale(spread, chance))
    }

    /// The pause after an answered poll. The server may ask for longer ones
    /// than the interval, never for shorter ones.
    pub fn answered(&mut self, poll_after: u64, chance: u64) -> Duration {
        self.failures = 0;
        self.spread(poll_after.max(self.poll.interval).min(self.poll.max), chance)
    }

    /// The pause after a failure: doubled each time, up to the longest.
    pub fn failed(&mut self, chance: u64) -> Duration {
        let factor = 1u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        self.failures = self.failures.saturating_add(1).min(63);
        self.spread(self.poll.back_off.saturating_mul(factor).min(self.poll.max), chance)
    }

    /// `seconds`, up to the jitter's share shorter or longer.
    fn spread(&self, seconds: u64, chance: u64) -> Duration {
        let millis = seconds.saturating_mul(1000);
        let part = (u128::from(millis) * u128::from(self.poll.jitter) / 100) as u64;
        Duration::from_millis((millis - part).saturating_add(scale(2 * part, chance)))
    }
}

/// `chance` as a number from 0 to `bound`.
fn scale(bound: u64, chance: u64) -> u64 {
    (u128::from(bound) * u128::from(chance) / u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Poll = Poll { interval: 100, jitter: 20, back_off: 10, max: 1000 };

    #[test]
    fn failures_double_up_to_the_longest_pause() {
        let mut schedule = Schedule::new(POLL);
        let middle = u64::MAX / 2;
        let seconds: Vec<u64> =
            (0..9).map(|_| schedule.failed(middle).as_millis().div_ceil(1000) as u64).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        schedule.answered(0, middle);
        assert_eq!(schedule.failed(middle).as_millis().div_ceil(1000), 10);
    }

    proptest::proptest! {
        #[test]
        fn pauses_stay_within_their_jitter(asked: u64, chance: u64, failures in 0..200u32) {
            let mut schedule = Schedule::new(POLL);
            for _ in 0..failures {
                proptest::prop_assert!(schedule.failed(chance) <= Duration::from_secs(1200));
            }
            let pause = schedule.answered(asked, chance);
            let want = asked.clamp(100, 1000);
            proptest::prop_assert!(pause >= Duration::from_millis(want * 800));
            proptest::prop_assert!(pause <= Duration::from_millis(want * 1200));
        }
    }
}

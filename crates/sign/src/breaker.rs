//! The breaker of a key: what is known of whether it can be reached, and
//! when it is asked again.
//!
//! Pure: time is passed in. Waits double up to a cap and have no jitter: one
//! service asks one key, and there is no herd to scatter.

use std::time::Duration;

use firmseal_fleet::Time;

/// The first wait.
pub const FIRST: Duration = Duration::from_millis(250);
/// The longest.
pub const LONGEST: Duration = Duration::from_secs(30);

/// How a key stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BreakerState {
    /// It signs.
    Closed,
    /// It failed; its jobs wait until it is asked again.
    Open,
    /// It is being asked whether it is there.
    Probing,
    /// It says that it is there: one job tries.
    Trial,
    /// It refused its PIN. Tokens lock: it is not asked again until the
    /// service is started anew with another one.
    Out,
}

impl BreakerState {
    /// Every state.
    pub const ALL: [BreakerState; 5] = [
        BreakerState::Closed,
        BreakerState::Open,
        BreakerState::Probing,
        BreakerState::Trial,
        BreakerState::Out,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::Probing => "probing",
            BreakerState::Trial => "trial",
            BreakerState::Out => "out",
        }
    }
}

/// The breaker of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breaker {
    state: BreakerState,
    wait: Duration,
    until: Time,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker { state: BreakerState::Closed, wait: FIRST, until: Time::EPOCH }
    }
}

impl Breaker {
    /// How the key stands.
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// When the key is to be asked, while it is open.
    pub fn due(&self) -> Option<Time> {
        (self.state == BreakerState::Open).then_some(self.until)
    }

    /// Whether the key is to be asked now; if so, that is being done.
    pub fn probe(&mut self, now: Time) -> bool {
        let due = self.due().is_some_and(|due| due <= now);
        if due {
            self.state = BreakerState::Probing;
        }
        due
    }

    /// What it said when it was asked.
    pub fn probed(&mut self, there: bool, now: Time) {
        match (self.state, there) {
            (BreakerState::Probing, true) => self.state = BreakerState::Trial,
            (BreakerState::Probing, false) => self.open(now),
            // Something else was heard of it meanwhile, and that is news.
            _ => {}
        }
    }

    /// It signed, and what it signed verifies. One that began before the
    /// trouble counts as well: the key is there.
    pub fn signed(&mut self) {
        if self.state != BreakerState::Out {
            *self = Breaker::default();
        }
    }

    /// It failed, hung, or answered what does not verify.
    pub fn failed(&mut self, now: Time) {
        match self.state {
            // Many were at it when it went: one trouble, one wait.
            BreakerState::Open | BreakerState::Probing | BreakerState::Out => {}
            BreakerState::Closed | BreakerState::Trial => self.open(now),
        }
    }

    /// It refused its PIN.
    pub fn refused_pin(&mut self) {
        self.state = BreakerState::Out;
    }

    fn open(&mut self, now: Time) {
        self.state = BreakerState::Open;
        self.until = now.plus(self.wait);
        self.wait = (self.wait * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn waits_double_up_to_a_cap_and_begin_anew_after_a_signature() {
        let mut breaker = Breaker::default();
        breaker.failed(at(0));
        let mut waits = Vec::new();
        let mut now = at(0);
        for _ in 0..9 {
            let due = breaker.due().unwrap_or(now);
            waits.push(due.millis() - now.millis());
            assert!(!breaker.probe(at(due.millis() - 1)));
            assert!(breaker.probe(due) && !breaker.probe(due), "it is asked once");
            now = due;
            breaker.probed(false, now);
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        breaker.signed();
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn a_key_that_says_it_is_there_gets_one_job_and_waits_longer_if_that_fails() {
        let mut breaker = Breaker::default();
        breaker.failed(at(0));
        assert!(breaker.probe(at(250)));
        breaker.probed(true, at(250));
        assert_eq!(breaker.state(), BreakerState::Trial);
        breaker.failed(at(300));
        assert_eq!((breaker.state(), breaker.due()), (BreakerState::Open, Some(at(800))));
        assert!(breaker.probe(at(800)));
        breaker.probed(true, at(800));
        breaker.signed();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn many_failures_of_one_trouble_are_one_wait() {
        let mut breaker = Breaker::default();
        for millis in 0..50 {
            breaker.failed(at(millis));
        }
        assert_eq!(breaker.due(), Some(at(250)));
        assert!(breaker.probe(at(250)));
        breaker.failed(at(260));
        assert_eq!(breaker.state(), BreakerState::Probing, "the answer is still on its way");
    }

    #[test]
    fn nothing_tries_a_refused_pin_again() {
        let mut breaker = Breaker::default();
        breaker.refused_pin();
        breaker.signed();
        breaker.failed(at(1));
        breaker.probed(true, at(2));
        assert!(!breaker.probe(at(u64::MAX)));
        assert_eq!((breaker.state(), breaker.due()), (BreakerState::Out, None));
    }
}

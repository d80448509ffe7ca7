//! Scheduling: which key has room for how many jobs, and which key is to be
//! asked whether it is there.
//!
//! Pure. The dispatcher tells it what began and what ended, and does what it
//! says. It knows nothing of jobs but the key in whose queue they stand.

use std::collections::BTreeMap;

use firmseal_fleet::Time;
use firmseal_store::{ClaimedJob, Room};

use crate::breaker::{Breaker, BreakerState};

/// What a job had to do with its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// The key signed.
    Signed,
    /// It was not asked.
    Untouched,
    /// It was out of reach, hung, or answered something else than a
    /// signature.
    Trouble,
    /// It refused its PIN.
    WrongPin,
}

/// A key, as the dispatcher knows it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Lane {
    breaker: Breaker,
    running: u32,
    /// Whose turn was last.
    last: Option<String>,
    /// The key that may stand in.
    fallback: Option<String>,
    /// Whether there is no such key any more. What it signed for has another
    /// one by now, or none: who carries its jobs out finds that.
    gone: bool,
}

/// The schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dispatch {
    lanes: BTreeMap<String, Lane>,
    most: u32,
}

impl Dispatch {
    /// A schedule for these keys, each with the name of the key that may
    /// stand in for it, and at most so many jobs of each at once.
    pub fn new(keys: impl IntoIterator<Item = (String, Option<String>)>, most: u32) -> Dispatch {
        let lane = |fallback| Lane { fallback, ..Lane::default() };
        Dispatch { lanes: keys.into_iter().map(|(name, fallback)| (name, lane(fallback))).collect(), most }
    }

    /// Takes on queues, those of keys that are gone among them: jobs that were
    /// asked for before a key was replaced, and are carried out with the one
    /// that is there now.
    pub fn adopt(&mut self, queues: impl IntoIterator<Item = String>) {
        for queue in queues {
            self.lanes.entry(queue).or_insert_with(|| Lane { gone: true, ..Lane::default() });
        }
    }

    /// How many more jobs of each key may begin. Jobs of a key that is out
    /// of reach stay where they are, unless another key that is in reach may
    /// stand in for it.
    pub fn rooms(&self) -> Vec<Room> {
        let room = |(name, lane): (&String, &Lane)| {
            let most = match lane.breaker.state() {
                BreakerState::Closed => self.most.saturating_sub(lane.running),
                BreakerState::Trial => 1_u32.saturating_sub(lane.running),
                BreakerState::Open | BreakerState::Probing | BreakerState::Out => {
                    let stands_in = self.stands_in(name).is_some();
                    if stands_in { self.most.saturating_sub(lane.running) } else { 0 }
                }
            };
            (most > 0).then(|| Room { key: name.clone(), most, after: lane.last.clone() })
        };
        self.lanes.iter().filter_map(room).collect()
    }

    /// The key that stands in for another one now: it is in reach, and the
    /// other is not.
    pub fn stands_in(&self, key: &str) -> Option<&str> {
        let lane = self.lanes.get(key)?;
        let out = !matches!(lane.breaker.state(), BreakerState::Closed | BreakerState::Trial);
        let fallback = lane.fallback.as_deref().filter(|_| out)?;
        let there = self.lanes.get(fallback)?.breaker.state() == BreakerState::Closed;
        there.then_some(fallback)
    }

    /// A job began.
    pub fn began(&mut self, claimed: &ClaimedJob) {
        let lane = self.lanes.entry(claimed.job.asked.signing_key.clone()).or_default();
        lane.running += 1;
        lane.last = Some(claimed.job.asked.share().to_owned());
    }

    /// A job of `queue` ended.
    pub fn ended(&mut self, queue: &str) {
        if let Some(lane) = self.lanes.get_mut(queue) {
            lane.running = lane.running.saturating_sub(1);
        }
    }

    /// Whether a use of a key may begin: jobs that began before it went find
    /// that it is gone.
    pub fn takes(&self, key: &str) -> bool {
        let lane = self.lanes.get(key);
        lane.is_none_or(|lane| matches!(lane.breaker.state(), BreakerState::Closed | BreakerState::Trial))
    }

    /// What became of a use of a key.
    pub fn heard(&mut self, key: &str, health: Health, now: Time) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        match health {
            Health::Signed => lane.breaker.signed(),
            Health::Trouble => lane.breaker.failed(now),
            Health::WrongPin => lane.breaker.refused_pin(),
            Health::Untouched => {}
        }
    }

    /// Keys that are to be asked now whether they are there.
    pub fn probes(&mut self, now: Time) -> Vec<String> {
        let due = |(name, lane): (&String, &mut Lane)| lane.breaker.probe(now).then(|| name.clone());
        self.lanes.iter_mut().filter_map(due).collect()
    }

    /// What a key said when it was asked whether it is there.
    pub fn probed(&mut self, key: &str, health: Health, now: Time) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        match health {
            Health::WrongPin => lane.breaker.refused_pin(),
            health => lane.breaker.probed(health != Health::Trouble, now),
        }
    }

    /// When the next key is to be asked.
    pub fn next_probe(&self) -> Option<Time> {
        self.lanes.values().filter_map(|lane| lane.breaker.due()).min()
    }

    /// How many jobs are being carried out.
    pub fn running(&self) -> u32 {
        self.lanes.values().map(|lane| lane.running).sum()
    }

    /// How each key stands.
    pub fn states(&self) -> impl Iterator<Item = (&str, BreakerState)> {
        self.lanes
            .iter()
            .filter(|(_, lane)| !lane.gone)
            .map(|(name, lane)| (name.as_str(), lane.breaker.state()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use firmseal_fleet::Priority;
    use firmseal_store::conformance::samples;
    use firmseal_store::{Claim, ClaimedJob};

    use super::*;

    fn claimed(share: &str, key: &str) -> ClaimedJob {
        let job = samples::job(share, key, Priority::Release);
        let claim = Claim { request: job.id, attempt: 1 };
        ClaimedJob { job, claim, unseen_since: None }
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn most(dispatch: &Dispatch) -> Vec<(String, u32)> {
        dispatch.rooms().into_iter().map(|room| (room.key, room.most)).collect()
    }

    fn ended(dispatch: &mut Dispatch, queue: &str, key: &str, health: Health, millis: u64) {
        dispatch.heard(key, health, at(millis));
        dispatch.ended(queue);
    }

    fn two() -> Dispatch {
        Dispatch::new([("a".to_owned(), Some("b".to_owned())), ("b".to_owned(), None)], 3)
    }

    #[test]
    fn room_is_what_is_left_and_turns_are_remembered() {
        let mut dispatch = two();
        dispatch.began(&claimed("red", "a"));
        dispatch.began(&claimed("blue", "a"));
        let room = dispatch.rooms().remove(0);
        assert_eq!((room.most, room.after.as_deref()), (1, Some("blue")));
        ended(&mut dispatch, "a", "a", Health::Signed, 0);
        assert_eq!(most(&dispatch), [("a".to_owned(), 2), ("b".to_owned(), 3)]);
        assert_eq!(dispatch.running(), 1);
    }

    #[test]
    fn a_key_in_trouble_stops_its_own_queue_only() {
        let mut dispatch = Dispatch::new([("a".to_owned(), None), ("b".to_owned(), None)], 3);
        dispatch.began(&claimed("red", "a"));
        ended(&mut dispatch, "a", "a", Health::Trouble, 0);
        assert_eq!(most(&dispatch), [("b".to_owned(), 3)]);
        assert_eq!(dispatch.next_probe(), Some(at(250)));
        assert!(!dispatch.takes("a") && dispatch.takes("b"), "what began before finds it gone");
        assert_eq!(dispatch.probes(at(249)), [""; 0]);
        assert_eq!(dispatch.probes(at(250)), ["a"]);
        dispatch.probed("a", Health::Untouched, at(260));
        assert_eq!(most(&dispatch), [("a".to_owned(), 1), ("b".to_owned(), 3)]);
        dispatch.began(&claimed("red", "a"));
        assert_eq!(most(&dispatch), [("b".to_owned(), 3)], "one tries");
        ended(&mut dispatch, "a", "a", Health::Signed, 270);
        assert_eq!(most(&dispatch).len(), 2);
    }

    #[test]
    fn a_pin_that_is_refused_when_the_key_is_asked_is_the_last() {
        let mut dispatch = Dispatch::new([("a".to_owned(), None)], 3);
        dispatch.heard("a", Health::Trouble, at(0));
        assert_eq!(dispatch.probes(at(250)), ["a"]);
        dispatch.probed("a", Health::WrongPin, at(260));
        assert_eq!(dispatch.states().collect::<Vec<_>>(), [("a", BreakerState::Out)]);
        assert_eq!((dispatch.next_probe(), most(&dispatch)), (None, vec![]));
    }

    #[test]
    fn jobs_of_keys_that_are_gone_have_room_and_nobody_asks_the_keys() {
        let mut dispatch = Dispatch::new([("a".to_owned(), None)], 3);
        dispatch.adopt(["a".to_owned(), "old".to_owned()]);
        assert_eq!(most(&dispatch), [("a".to_owned(), 3), ("old".to_owned(), 3)]);
        assert_eq!(dispatch.states().collect::<Vec<_>>(), [("a", BreakerState::Closed)]);
        // The key that signs instead is in trouble, and says so for itself.
        dispatch.began(&claimed("red", "old"));
        ended(&mut dispatch, "old", "a", Health::Trouble, 0);
        assert_eq!(most(&dispatch), [("old".to_owned(), 3)]);
        assert!(!dispatch.takes("a"));
    }

    #[test]
    fn a_stand_in_serves_while_it_is_there_itself() {
        let mut dispatch = two();
        assert_eq!(dispatch.stands_in("a"), None, "the key is there");
        dispatch.began(&claimed("red", "a"));
        ended(&mut dispatch, "a", "a", Health::WrongPin, 0);
        assert_eq!((dispatch.stands_in("a"), dispatch.next_probe()), (Some("b"), None));
        assert_eq!(most(&dispatch).len(), 2);
        dispatch.began(&claimed("red", "a"));
        ended(&mut dispatch, "a", "b", Health::Trouble, 0);
        assert_eq!((dispatch.stands_in("a"), most(&dispatch)), (None, vec![]));
        assert_eq!(dispatch.stands_in("b"), None, "nobody stands in for a stand-in");
    }
}

//! Time, as far as a device can know it.
//!
//! What was signed under a log proof was signed when its witnesses say so,
//! whenever it is installed: expiry never strands a device that was off.
//! Without a proof there is the device's own clock, and without a clock its
//! time floor, which only rises.

use crate::checkpoint::Witnessed;
use crate::refusal::Refusal;

/// What a device knows of the time, in seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Time {
    /// A clock that it trusts.
    pub clock: Option<u64>,
    /// The highest time that a quorum of witnesses has vouched for.
    pub floor: u64,
    /// How far clocks may disagree.
    pub leeway: u64,
}

/// When something was signed, as narrowly as it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    earliest: u64,
    latest: Option<u64>,
    leeway: u64,
}

impl Moment {
    /// The moment at which a release was born, or now.
    pub(crate) fn of(birth: Option<&Witnessed<'_>>, time: &Time) -> Moment {
        let (earliest, latest) = match (birth, time.clock) {
            // Tested against the latest counted cosignature, both ways: no
            // single witness can make it earlier.
            (Some(birth), _) => (birth.latest, Some(birth.latest)),
            (None, Some(clock)) => (clock.max(time.floor), Some(clock.max(time.floor))),
            (None, None) => (time.floor, None),
        };
        Moment { earliest, latest, leeway: time.leeway }
    }

    /// Nothing tells when it was.
    pub(crate) fn unknown() -> Moment {
        Moment { earliest: 0, latest: None, leeway: 0 }
    }

    /// Whether it lies in a period. What has not begun can be told only with
    /// a clock or a proof.
    pub(crate) fn within(&self, not_before: u64, expiry: u64) -> Result<(), Refusal> {
        if self.earliest > expiry.saturating_add(self.leeway) {
            return Err(Refusal::Expired { expiry });
        }
        match self.latest {
            Some(latest) if latest.saturating_add(self.leeway) < not_before => {
                Err(Refusal::NotYetValid { not_before })
            }
            _ => Ok(()),
        }
    }
}

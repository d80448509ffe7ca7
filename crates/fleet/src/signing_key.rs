//! Signing keys as the registry remembers them: their public halves for
//! ever, their states, and how often they were used.

use std::fmt;

use firmseal_manifest::{Digest, KeyChange, KeyName, ProductId};
use serde::{Deserialize, Serialize};

use crate::{Environment, Time};

/// What a key signs. A key has one purpose for as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPurpose {
    /// Releases: manifests that devices of this system verify.
    Release,
    /// Artifacts: files in formats with a signature of their own.
    Artifact,
}

impl KeyPurpose {
    /// The name in records and messages.
    pub const fn name(self) -> &'static str {
        match self {
            KeyPurpose::Release => "release",
            KeyPurpose::Artifact => "artifact",
        }
    }
}

impl fmt::Display for KeyPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far a key's life is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPhase {
    /// It signs.
    Enabled,
    /// It signs until a date, and is disabled from then on.
    Ending,
    /// It signs nothing.
    Disabled,
    /// It signs nothing, and its private half is destroyed at a date.
    Destroying,
    /// Its private half is gone.
    Destroyed,
}

impl KeyPhase {
    /// Every phase.
    pub const ALL: [KeyPhase; 5] =
        [KeyPhase::Enabled, KeyPhase::Ending, KeyPhase::Disabled, KeyPhase::Destroying, KeyPhase::Destroyed];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            KeyPhase::Enabled => "enabled",
            KeyPhase::Ending => "ending",
            KeyPhase::Disabled => "disabled",
            KeyPhase::Destroying => "destroying",
            KeyPhase::Destroyed => "destroyed",
        }
    }
}

impl From<KeyPhase> for KeyChange {
    fn from(phase: KeyPhase) -> KeyChange {
        match phase {
            KeyPhase::Enabled => KeyChange::Enabled,
            KeyPhase::Ending => KeyChange::Ending,
            KeyPhase::Disabled => KeyChange::Disabled,
            KeyPhase::Destroying => KeyChange::Destroying,
            KeyPhase::Destroyed => KeyChange::Destroyed,
        }
    }
}

impl From<KeyChange> for KeyPhase {
    fn from(change: KeyChange) -> KeyPhase {
        match change {
            KeyChange::Enabled => KeyPhase::Enabled,
            KeyChange::Ending => KeyPhase::Ending,
            KeyChange::Disabled => KeyPhase::Disabled,
            KeyChange::Destroying => KeyPhase::Destroying,
            KeyChange::Destroyed => KeyPhase::Destroyed,
        }
    }
}

/// A key's state, and who brought it about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyState {
    /// How far its life is.
    pub phase: KeyPhase,
    /// Since when.
    pub since: Time,
    /// Who said so.
    pub by: String,
    /// The same, as the log says it.
    #[serde(with = "crate::hex")]
    pub by_id: Digest,
    /// Why.
    pub why: String,
    /// When it ends or is destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Time>,
}

impl KeyState {
    /// What it comes to at a time: an end that has come needs nobody to
    /// carry it out.
    pub fn at(&self, now: Time) -> KeyPhase {
        match (self.phase, self.due) {
            (KeyPhase::Ending, Some(due)) if due <= now => KeyPhase::Disabled,
            (phase, _) => phase,
        }
    }

    /// Whether a key signs in this state.
    pub fn signs(&self, now: Time) -> bool {
        matches!(self.at(now), KeyPhase::Enabled | KeyPhase::Ending)
    }

    /// Whether the day has come on which the key is destroyed, and nobody has
    /// said yet that it is.
    pub fn is_to_be_destroyed(&self, now: Time) -> bool {
        self.phase == KeyPhase::Destroying && self.due.is_some_and(|due| due <= now)
    }

    /// The state of the key when it is gone: by whose word, and why, stays.
    #[must_use]
    pub fn into_destroyed(self, now: Time) -> KeyState {
        KeyState { phase: KeyPhase::Destroyed, since: now, due: None, ..self }
    }

    /// Why another state cannot follow this one, if it cannot. The other
    /// one's `since` is now.
    pub fn stands_against(&self, next: &KeyState) -> Option<&'static str> {
        use KeyPhase::{Destroyed, Destroying, Disabled, Enabled, Ending};
        let now = next.since;
        let over = self.due.is_some_and(|due| due <= now);
        match (self.at(now), next.phase) {
            (Destroyed, _) => Some("it was destroyed"),
            (Destroying, Disabled) if over => Some("it is being destroyed, and nothing ends that any more"),
            (Destroying, Destroyed) if !over => Some("the day on which it is destroyed has not come"),
            (Destroying, Disabled | Destroyed) => None,
            (Destroying, _) => Some("it is to be destroyed; cancel that first"),
            (_, Destroyed) => Some("its destruction was not scheduled"),
            (_, Ending | Destroying) if next.due.is_none_or(|due| due <= now) => Some("the day has passed"),
            (Disabled, Enabled | Destroying) => None,
            (_, Destroying) => Some("it is not disabled; disable it first, and see that nobody misses it"),
            (Disabled, Ending) => Some("it is disabled already"),
            (Enabled | Ending, Enabled | Ending | Disabled) | (Disabled, Disabled) => None,
        }
    }
}

/// How often a key may be used.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct KeyLimits {
    /// In each hour of the clock, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u64>,
    /// As long as it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

impl KeyLimits {
    /// Whether there are none.
    pub fn is_open(&self) -> bool {
        self.per_hour.is_none() && self.total.is_none()
    }
}

/// A key as the registry keeps it. Only its state changes, and its name
/// where nobody had given it one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRecord {
    /// Its id.
    pub key: Digest,
    /// Its name.
    pub name: KeyName,
    /// Whether the name was made from the id.
    pub implicit: bool,
    /// What it signs.
    pub purpose: KeyPurpose,
    /// Test or production.
    pub environment: Environment,
    /// Its public half: DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// When it was first seen here.
    pub entered: Time,
    /// Its state.
    pub state: KeyState,
}

/// Uses of a key in an hour, for one product and one caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyHour {
    /// The hour, counted from 1970.
    pub hour: u64,
    /// The product.
    pub product: ProductId,
    /// Who asked.
    pub caller: String,
    /// How many.
    pub uses: u64,
    /// When the last one was.
    pub last: Time,
}

/// The hour of the clock that a time lies in, counted from 1970.
pub const fn hour_of(time: Time) -> u64 {
    time.millis() / 3_600_000
}

/// When an hour begins.
pub const fn hour_begins(hour: u64) -> Time {
    Time::from_millis(hour.saturating_mul(3_600_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn state(phase: KeyPhase, since: u64, due: Option<u64>) -> KeyState {
        KeyState {
            phase,
            since: Time::from_millis(since),
            by: "olga".to_owned(),
            by_id: Digest([1; 32]),
            why: "because".to_owned(),
            due: due.map(Time::from_millis),
        }
    }

    #[test]
    fn states_follow_each_other_in_one_direction_but_for_two() {
        use KeyPhase::{Destroying, Disabled, Enabled, Ending};
        let may = |from: KeyPhase, to: KeyPhase| {
            let due = |phase| matches!(phase, Ending | Destroying).then_some(1000);
            state(from, 0, due(from)).stands_against(&state(to, 10, due(to))).is_none()
        };
        let allowed: Vec<_> = KeyPhase::ALL
            .into_iter()
            .flat_map(|from| KeyPhase::ALL.into_iter().map(move |to| (from, to)))
            .filter(|(from, to)| may(*from, *to))
            .collect();
        assert_eq!(
            allowed,
            [
                (Enabled, Enabled),
                (Enabled, Ending),
                (Enabled, Disabled),
                (Ending, Enabled),
                (Ending, Ending),
                (Ending, Disabled),
                (Disabled, Enabled),
                (Disabled, Disabled),
                (Disabled, Destroying),
                (Destroying, Disabled),
            ]
        );
    }

    #[test]
    fn a_day_that_has_come_counts_without_anybody() {
        let ending = state(KeyPhase::Ending, 0, Some(1000));
        assert!(ending.signs(Time::from_millis(999)) && !ending.signs(Time::from_millis(1000)));
        assert_eq!(ending.at(Time::EPOCH.plus(Duration::from_secs(1))), KeyPhase::Disabled);
        // What ended by itself can be scheduled for destruction like what was
        // disabled by hand.
        assert_eq!(ending.stands_against(&state(KeyPhase::Destroying, 1000, Some(2000))), None);
        let destroying = state(KeyPhase::Destroying, 0, Some(1000));
        assert!(destroying.stands_against(&state(KeyPhase::Destroyed, 999, None)).is_some());
        assert_eq!(destroying.stands_against(&state(KeyPhase::Destroyed, 1000, None)), None);
        assert!(destroying.stands_against(&state(KeyPhase::Disabled, 1000, None)).is_some(), "too late");
    }
}

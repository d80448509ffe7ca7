//! Signing keys: their public halves and states, and uses that are counted
//! before they happen.

use async_trait::async_trait;
use firmseal_fleet::{KeyHour, KeyLimits, KeyRecord, KeyState, Time};
use firmseal_manifest::Digest;

use crate::StoreError;

/// Uses that somebody wants to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedUses {
    /// The key.
    pub key: Digest,
    /// The hour that they are for, counted from 1970.
    pub hour: u64,
    /// How many at most; 0 to give back alone.
    pub want: u64,
    /// What may be used in all.
    pub limits: KeyLimits,
    /// Uses that the same process was granted before, for this hour or an
    /// earlier one, and gives up: hour and number.
    pub unused: Option<(u64, u64)>,
    /// Now.
    pub now: Time,
}

/// What is granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GrantedUses {
    /// How many, from 0 to what was wanted.
    pub granted: u64,
    /// How many more the hour has, if it has a limit.
    pub left_in_hour: Option<u64>,
    /// How many more the key has, if it has a limit.
    pub left: Option<u64>,
}

/// Signing keys and their uses.
///
/// Uses are granted in blocks and counted when they are granted, so that a
/// block costs one write however many signatures it is for. Whoever crashes
/// wastes what it had not used; nobody ever uses more than a limit, in any
/// number of processes, after any number of restarts.
#[async_trait]
pub trait KeyUses: Send + Sync {
    /// Enters a key, and returns it as it stands here: its state is that of
    /// the first time, and what happened to it since.
    ///
    /// A key has one name, one purpose and one environment for as long as
    /// the store lives, and a name is one key's: anything else is a conflict.
    /// A key whose name was made from its id may get another one, once. The
    /// public half is kept for good.
    async fn enter_key(&self, record: KeyRecord) -> Result<KeyRecord, StoreError>;

    /// Every key that was ever entered, by name. They are few: no pages.
    async fn key_records(&self) -> Result<Vec<KeyRecord>, StoreError>;

    /// Changes a key's state, in one step with its event. What
    /// [`KeyState::stands_against`] names is a conflict; the same phase with
    /// the same date again is `Ok` and changes nothing.
    async fn set_key_state(&self, key: &Digest, state: KeyState) -> Result<KeyRecord, StoreError>;

    /// Grants uses, none where a limit is reached. Near a limit it grants
    /// fewer than are wanted, one at least, so that little is lost with a
    /// process that ends. What is given up is taken back first; giving up more
    /// than was granted is a conflict. A key that does not sign now is a
    /// conflict, unless nothing is wanted.
    ///
    /// Must not be repeated with the same `unused` when the outcome was not
    /// seen: that would give it up twice.
    async fn grant_uses(&self, wanted: WantedUses) -> Result<GrantedUses, StoreError>;

    /// Adds uses that happened to what is known of them. These are for
    /// people; limits do not depend on them. Not to be repeated when the
    /// outcome was not seen, or some count twice.
    async fn note_uses(&self, key: &Digest, uses: Vec<KeyHour>) -> Result<(), StoreError>;

    /// What is known of a key's uses in the hours from one to another, the
    /// other not included, by hour, product and caller.
    async fn key_uses(&self, key: &Digest, from: u64, until: u64) -> Result<Vec<KeyHour>, StoreError>;

    /// How many uses were ever granted and not given up: in an hour, and in
    /// all.
    async fn granted(&self, key: &Digest, hour: u64) -> Result<(u64, u64), StoreError>;
}

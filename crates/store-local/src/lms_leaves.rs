//! Which leaves of LMS keys the log has given away.
//!
//! Made from the entries of the ledger alone, when it is read and as it
//! grows, so there is no second place that could say something else. A leaf
//! counts as taken from the moment that its reservation may be on the disk:
//! if the write fails, it is lost and never given again.

use std::collections::BTreeMap;

use firmseal_keys::LeafError;
use firmseal_manifest::{KeyId, LmsEntry};

/// How one key stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LmsLeaves {
    /// How many leaves it has.
    pub leaves: u32,
    /// The next leaf: one more than the highest that was ever reserved.
    pub next: u32,
    /// Whether it signs only where witnesses stand behind the log.
    pub watched: bool,
}

impl LmsLeaves {
    /// How many times it can still sign.
    pub fn left(&self) -> u32 {
        self.leaves.saturating_sub(self.next)
    }
}

/// All keys that were made for this log.
#[derive(Default)]
pub(crate) struct Leaves(BTreeMap<KeyId, LmsLeaves>);

impl Leaves {
    /// Takes note of an entry of the log.
    pub(crate) fn see(&mut self, entry: &[u8]) {
        match LmsEntry::decode(entry) {
            // The first word counts: a second could only loosen it.
            Some(LmsEntry::Key { key, leaves, watched }) => {
                self.0.entry(key).or_insert(LmsLeaves { leaves, next: 0, watched });
            }
            Some(LmsEntry::Leaf { key, leaf }) => {
                if let Some(own) = self.0.get_mut(&key) {
                    own.next = own.next.max(leaf.saturating_add(1));
                }
            }
            None => {}
        }
    }

    /// How a key stands.
    pub(crate) fn of(&self, key: &KeyId) -> Option<LmsLeaves> {
        self.0.get(key).copied()
    }

    /// Takes the next leaf of a key, and says how many it has. What is taken
    /// stays taken, whatever becomes of the entry that is written for it.
    pub(crate) fn take(&mut self, key: &KeyId, watched: bool) -> Result<(u32, u32), LeafError> {
        let own = self.0.get_mut(key).ok_or(LeafError::Stranger(*key))?;
        if own.watched && !watched {
            return Err(LeafError::Unwatched(*key));
        }
        if own.left() == 0 {
            return Err(LeafError::Exhausted { key: *key, leaves: own.leaves });
        }
        let leaf = own.next;
        own.next += 1;
        Ok((leaf, own.leaves))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmseal_manifest::Digest;

    const KEY: KeyId = KeyId(Digest([7; 32]));

    fn leaf(leaves: &mut Leaves, watched: bool) -> Result<u32, LeafError> {
        leaves.take(&KEY, watched).map(|(leaf, _)| leaf)
    }

    #[test]
    fn the_next_leaf_is_above_all_that_were_seen() {
        let mut leaves = Leaves::default();
        assert_eq!(leaf(&mut leaves, true), Err(LeafError::Stranger(KEY)));
        // A leaf of a key that nobody made here says nothing about it.
        leaves.see(&LmsEntry::Leaf { key: KEY, leaf: 3 }.encode());
        assert_eq!(leaves.of(&KEY), None);
        leaves.see(&LmsEntry::Key { key: KEY, leaves: 8, watched: false }.encode());
        assert_eq!(leaf(&mut leaves, false), Ok(0));
        leaves.see(&LmsEntry::Leaf { key: KEY, leaf: 5 }.encode());
        leaves.see(&LmsEntry::Leaf { key: KEY, leaf: 2 }.encode());
        // Told of again, with more leaves: the first word counts.
        leaves.see(&LmsEntry::Key { key: KEY, leaves: 99, watched: false }.encode());
        leaves.see(b"something else");
        assert_eq!(leaf(&mut leaves, false), Ok(6));
        assert_eq!(leaf(&mut leaves, true), Ok(7));
        assert_eq!(leaf(&mut leaves, false), Err(LeafError::Exhausted { key: KEY, leaves: 8 }));
        leaves.see(&LmsEntry::Leaf { key: KEY, leaf: u32::MAX }.encode());
        assert_eq!(leaves.of(&KEY).map(|own| own.left()), Some(0));
    }

    #[test]
    fn a_key_for_witnessed_logs_signs_nowhere_else() {
        let mut leaves = Leaves::default();
        leaves.see(&LmsEntry::Key { key: KEY, leaves: 8, watched: true }.encode());
        assert_eq!(leaf(&mut leaves, false), Err(LeafError::Unwatched(KEY)));
        assert_eq!(leaf(&mut leaves, true), Ok(0), "the refusal took none");
    }
}

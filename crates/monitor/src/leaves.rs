//! Leaves of LMS keys: that the log gave none away twice.
//!
//! Two signatures by one leaf give an LMS key away (RFC 8554 §9.3), and the
//! log is where leaves are counted. It hands them out in ascending order, so
//! one that is no higher than the one before it was there already.

use std::collections::BTreeMap;

use firmseal_manifest::{KeyId, Leaf, LmsEntry};

use crate::finding::{Finding, Kind};
use crate::memory::Known;

/// What is wrong with the leaves that were reserved.
pub(crate) fn reused(entries: &[Known]) -> Vec<Finding> {
    let mut next: BTreeMap<KeyId, u64> = BTreeMap::new();
    let mut findings = Vec::new();
    for (known, index) in entries.iter().zip(0u64..) {
        let Some(Leaf::Lms(entry)) = known.leaf else { continue };
        let why = match entry {
            LmsEntry::Key { key, .. } => match next.insert(key, 0) {
                None => continue,
                Some(_) => format!("LMS key {key} begins a second time, with its first leaf"),
            },
            LmsEntry::Leaf { key, leaf } => match next.get_mut(&key) {
                Some(next) if u64::from(leaf) >= *next => {
                    *next = u64::from(leaf) + 1;
                    continue;
                }
                Some(_) => format!("leaf {leaf} of LMS key {key} was given away before"),
                None => format!("leaf {leaf} of LMS key {key}, which was not made for this log"),
            },
        };
        findings.push(Finding::new(Kind::LeafReused, index, why));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmseal_manifest::Digest;

    fn found(entries: &[LmsEntry]) -> Vec<String> {
        let known: Vec<_> =
            entries.iter().map(|entry| Known { leaf: Some(Leaf::Lms(*entry)), seen: 1 }).collect();
        reused(&known).into_iter().map(|finding| finding.about).collect()
    }

    #[test]
    fn a_leaf_that_is_given_away_again_is_found() {
        let key = KeyId(Digest([7; 32]));
        let made = LmsEntry::Key { key, leaves: 8, watched: true };
        let leaf = |leaf| LmsEntry::Leaf { key, leaf };
        assert_eq!(found(&[made, leaf(0), leaf(1), leaf(5), leaf(6)]), [""; 0]);
        assert_eq!(found(&[made, leaf(0), leaf(1), leaf(1), leaf(2)]), ["3"]);
        assert_eq!(found(&[made, leaf(4), leaf(3)]), ["2"]);
        assert_eq!(found(&[leaf(0)]), ["0"], "the key was never made here");
        assert_eq!(found(&[made, leaf(0), made, leaf(1)]), ["2"]);
        let other = LmsEntry::Leaf { key: KeyId(Digest([8; 32])), leaf: 0 };
        assert_eq!(found(&[made, leaf(0), other]), ["2"]);
    }
}

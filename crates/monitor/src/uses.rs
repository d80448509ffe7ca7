//! Comparing the log with what key hosts wrote down. Pure.
//!
//! A host writes each use of a key into a log of its own, before the use: the
//! intent as it stands in the server's log, byte for byte. So every use can be
//! looked up, and every intent that only a host's keys could carry out.

use std::collections::{BTreeMap, BTreeSet};

use firmseal_manifest::{Digest, Event, Intent, KeyId, Leaf, Purpose};

use crate::finding::{Finding, Kind};
use crate::memory::Known;

/// What a key host wrote down.
#[derive(Clone, Copy, Debug)]
pub struct Hosted<'a> {
    /// What findings call it.
    pub name: &'a str,
    /// The keys that nothing has but this host and others that name them.
    pub keys: &'a BTreeSet<KeyId>,
    /// The first entry of the log for which they were there.
    pub first: u64,
    /// Its record: an intent for each use.
    pub uses: &'a [Known],
}

/// Compares. An intent that is younger than `grace` seconds may still be
/// carried out, or its use may not have been copied yet.
pub fn compare_hosts(entries: &[Known], hosts: &[Hosted<'_>], now: u64, grace: u64) -> Vec<Finding> {
    let mut announced: BTreeMap<Digest, Vec<u64>> = BTreeMap::new();
    for (index, intent) in intents(entries) {
        announced.entry(intent.leaf_hash()).or_default().push(index);
    }
    let mut findings = Vec::new();
    let mut used: BTreeMap<Digest, usize> = BTreeMap::new();
    for host in hosts {
        for (at, intent) in intents(host.uses) {
            let leaf = intent.leaf_hash();
            let times = used.entry(leaf).or_insert(0);
            *times += 1;
            let detail = match announced.get(&leaf).map_or(0, Vec::len) {
                0 => "a key was used, and no entry of the log announces it".to_owned(),
                known if *times > known => {
                    format!("keys were used {times} times for what the log announces {known} times")
                }
                _ => continue,
            };
            findings.push(Finding::new(Kind::Unannounced, format!("{}: use {at}", host.name), detail));
        }
    }
    // From which entry on each key is looked for.
    let mut keys: BTreeMap<KeyId, u64> = BTreeMap::new();
    for (key, host) in hosts.iter().flat_map(|host| host.keys.iter().map(move |key| (*key, host))) {
        // Of hosts that have a key together, either used it: since it was on
        // the first of them.
        keys.entry(key).and_modify(|first| *first = host.first.min(*first)).or_insert(host.first);
    }
    let failed = failed(entries);
    let due = |index: u64| entry(entries, index).is_some_and(|known| known.seen.saturating_add(grace) < now);
    let mut unused: Vec<u64> = Vec::new();
    for (leaf, indexes) in &announced {
        let expected = indexes.iter().copied().filter(|index| {
            let intent = entry(entries, *index).and_then(|known| known.leaf.as_ref()?.intent());
            let from = intent.and_then(|intent| since(intent, &keys));
            from.is_some_and(|from| *index >= from) && !failed.contains(index) && due(*index)
        });
        unused.extend(expected.skip(used.get(leaf).copied().unwrap_or(0)));
    }
    unused.sort_unstable();
    findings.extend(unused.into_iter().map(|index| {
        let detail =
            "a signature was announced, no failure is on record, and no key host has a use of the key";
        Finding::new(Kind::Unused, index, detail)
    }));
    findings
}

/// From which entry on the keys of an intent are all on hosts; `None` where
/// one is elsewhere, or nobody writes down that such a use failed.
fn since(intent: &Intent, keys: &BTreeMap<KeyId, u64>) -> Option<u64> {
    if !ends_on_record(intent) || intent.keys.is_empty() {
        return None;
    }
    let from: Option<Vec<u64>> = intent.keys.iter().map(|key| keys.get(key).copied()).collect();
    from?.into_iter().max()
}

/// Whether the log tells it when such a use fails.
pub(crate) fn ends_on_record(intent: &Intent) -> bool {
    matches!(intent.purpose, Purpose::Artifact | Purpose::Release)
}

/// Where intents stand whose use gave nobody a signature.
pub(crate) fn failed(entries: &[Known]) -> BTreeSet<u64> {
    let failed = |known: &Known| match known.leaf {
        Some(Leaf::Event(Event::Attempt { intent, .. })) => Some(intent),
        _ => None,
    };
    entries.iter().filter_map(failed).collect()
}

/// The intents among entries, and where they stand.
pub(crate) fn intents(entries: &[Known]) -> impl Iterator<Item = (u64, &Intent)> {
    (0u64..).zip(entries).filter_map(|(index, known)| Some((index, known.leaf.as_ref()?.intent()?)))
}

fn entry(entries: &[Known], index: u64) -> Option<&Known> {
    usize::try_from(index).ok().and_then(|index| entries.get(index))
}

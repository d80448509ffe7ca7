//! Comparing the log with a trail that says when a key was used, and not for
//! what. Pure.
//!
//! An intent opens its key once, and soon. When it was logged is known as
//! exactly as the monitor looks often: after the look before the one that
//! first showed it. So each use has to fall into the time of an intent that
//! no other use has taken, and each intent that came to its end has to have
//! its use. More than that a count does not prove: a use that takes the place
//! of one that was announced looks like it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use firmseal_fleet::Time;
use firmseal_manifest::KeyId;

use crate::finding::{Finding, Kind};
use crate::memory::Known;
use crate::trail::{Keeper, Trail, Use};
use crate::uses::{ends_on_record, failed, intents};

/// How far the clocks of the monitor and of the trail may be apart, in
/// seconds.
const SKEW: u64 = 60;

/// A time within which a use may be.
type Span = (u64, u64);

/// Compares the uses of one key. It may be used for as long as `grace` seconds
/// after its intent was first seen.
pub fn compare_trail(
    entries: &[Known],
    (keeper, key): (&Keeper, KeyId),
    trail: &Trail,
    grace: u64,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut uses: Vec<&Use> = Vec::new();
    for used in &trail.uses {
        match used.odd {
            None => uses.push(used),
            Some(why) => findings.push(unannounced(keeper, used, why)),
        }
    }
    let times: Vec<u64> = uses.iter().map(|used| used.time).collect();

    // With every intent that names the key: what has no place even so, was
    // never announced.
    let spans = spans(entries, key, grace);
    let all: Vec<Span> = spans.iter().map(|(_, span)| *span).collect();
    for at in matched(&all, &times).points {
        let why = "no intent that was logged by then is left for it";
        findings.push(unannounced(keeper, uses[at], why));
    }

    // With those alone that must have been used, by this key, and within what
    // the trail covers.
    let Some((first, last)) = trail.covers else { return findings };
    let failed = failed(entries);
    let firm: BTreeSet<u64> = intents(entries)
        .filter(|(index, intent)| intent.keys == [key] && ends_on_record(intent) && !failed.contains(index))
        .map(|(index, _)| index)
        .collect();
    let firm: Vec<(u64, Span)> = spans
        .into_iter()
        .filter(|(index, (from, to))| firm.contains(index) && *from >= first && *to <= last)
        .collect();
    let narrow: Vec<Span> = firm.iter().map(|(_, span)| *span).collect();
    for at in matched(&narrow, &times).spans {
        let detail = format!("a signature was announced, no failure is on record, and {keeper} was not used");
        findings.push(Finding::new(Kind::Unused, firm[at].0, detail));
    }
    findings
}

fn unannounced(keeper: &Keeper, used: &Use, why: &str) -> Finding {
    let time = Time::from_millis(used.time.saturating_mul(1000));
    let detail = format!("{keeper} was used at {time} for {}: {why}", used.by);
    Finding::new(Kind::Unannounced, format!("event {}", used.event), detail)
}

/// Where the intents of a key stand, and when it may be used for each.
fn spans(entries: &[Known], key: KeyId, grace: u64) -> Vec<(u64, Span)> {
    // When the monitor looked last before it saw an entry: each look that
    // showed something has a time of its own.
    let (mut before, mut at) = (0, 0);
    let mut looked = entries.iter().map(|known| {
        if known.seen > at {
            (before, at) = (at, known.seen);
        }
        before
    });
    let mut spans = Vec::new();
    for (known, index) in entries.iter().zip(0u64..) {
        let before = looked.next().unwrap_or_default();
        let names = known.leaf.as_ref().and_then(|leaf| leaf.intent());
        if names.is_some_and(|intent| intent.keys.contains(&key)) {
            let to = known.seen.saturating_add(grace).saturating_add(SKEW);
            spans.push((index, (before.saturating_sub(SKEW), to)));
        }
    }
    spans
}

/// What is left over when points are put into spans, one into each.
struct Left {
    points: Vec<usize>,
    spans: Vec<usize>,
}

/// Puts as many points into spans as possible: each, in order of time, into
/// the span that closes first. Points ascend.
fn matched(spans: &[Span], points: &[u64]) -> Left {
    let mut waiting: Vec<usize> = (0..spans.len()).collect();
    waiting.sort_by_key(|at| Reverse(spans[*at].0));
    let mut open = BinaryHeap::new();
    let mut left = Left { points: Vec::new(), spans: Vec::new() };
    for (at, point) in points.iter().enumerate() {
        while let Some(span) = waiting.pop_if(|span| spans[*span].0 <= *point) {
            open.push(Reverse((spans[span].1, span)));
        }
        loop {
            match open.pop() {
                Some(Reverse((to, _))) if to >= *point => break,
                Some(Reverse((_, closed))) => left.spans.push(closed),
                None => {
                    left.points.push(at);
                    break;
                }
            }
        }
    }
    left.spans.extend(open.into_iter().map(|Reverse((_, span))| span));
    left.spans.extend(waiting);
    left.spans.sort_unstable();
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_possible_find_a_place() {
        let left = |spans: &[Span], points: &[u64]| {
            let left = matched(spans, points);
            (left.points, left.spans)
        };
        assert_eq!(left(&[], &[]), (vec![], vec![]));
        assert_eq!(left(&[(0, 9)], &[10]), (vec![0], vec![0]));
        assert_eq!(left(&[(0, 10)], &[10]), (vec![], vec![]));
        // The wide span is kept for the late point.
        assert_eq!(left(&[(0, 100), (0, 10)], &[5, 50]), (vec![], vec![]));
        assert_eq!(left(&[(0, 100), (0, 10)], &[5, 6, 7]), (vec![2], vec![]));
        // A span that has closed is no place for what comes later.
        assert_eq!(left(&[(0, 10), (20, 30)], &[25, 26]), (vec![1], vec![0]));
    }
}

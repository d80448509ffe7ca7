//! What is written is read, and nothing else is.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::Intent;

const D: Digest = Digest([7; 32]);

fn every() -> Vec<Event> {
    let request = RequestId::from_uuid(Uuid::from_bytes([1; 16]));
    let rollout = RolloutId::from_uuid(Uuid::from_bytes([2; 16]));
    let key = KeyId(Digest([9; 32]));
    let mut all = vec![
        Event::Requested { request, manifest: D, requester: Digest([8; 32]) },
        Event::Approved { request, manifest: D, key },
        Event::Unapproved { request, key },
        Event::Released { manifest: D, envelope: Digest([3; 32]), intent: 70_000 },
        Event::Retired { manifest: D, revoked: true },
        Event::Retired { manifest: D, revoked: false },
        Event::Root { version: 2, document: D },
        Event::Revocation { version: 300, document: D },
    ];
    all.extend(
        [End::Signed, End::Cancelled, End::Superseded, End::Expired]
            .map(|end| Event::Closed { request, end }),
    );
    all.extend([Phase::Active, Phase::Halted, Phase::Finished].map(|phase| Event::Rollout {
        rollout,
        manifest: D,
        phase,
    }));
    all.extend(
        [Ruling::Refused, Ruling::Approvals, Ruling::Held, Ruling::Released, Ruling::Agreed]
            .map(|ruling| Event::Decided { request, decision: D, ruling }),
    );
    let changes = [
        KeyChange::Enabled,
        KeyChange::Ending,
        KeyChange::Disabled,
        KeyChange::Destroying,
        KeyChange::Destroyed,
    ];
    all.extend(changes.map(|change| Event::Key { key, by: D, change, due: 1_900_000_000 }));
    all.extend([None, Some(Digest([4; 32]))].map(|previous| Event::Policy {
        number: 70_002,
        policy: D,
        previous,
        root: 3,
        agreed: Digest([5; 32]),
    }));
    all.push(Event::Unusual { request, key, how: 0b1010 });
    let credential = Uuid::from_bytes([6; 16]);
    all.extend([None, Some(Digest([4; 32]))].map(|scope| Event::Credential {
        credential,
        holder: Digest([3; 32]),
        roles: 0b10_0010,
        scope,
        expires: 1_900_000_000,
        by: D,
    }));
    all.push(Event::Revoked { credential, by: D });
    all.push(Event::Product { product: Digest([3; 32]), by: D });
    all.extend(Denial::ALL.map(|why| Event::Denied {
        why,
        caller: (why != Denial::SignIn).then_some(D),
        count: 70_003,
        since: 1_900_000_000,
        until: 1_900_003_600,
    }));
    all.extend([Outcome::Failed, Outcome::Unknown].map(|outcome| Event::Attempt {
        request,
        intent: 70_001,
        outcome,
    }));
    all
}

#[test]
fn what_is_written_is_read_and_is_no_intent() {
    let mut seen = std::collections::BTreeSet::new();
    for event in every() {
        let leaf = event.encode();
        assert_eq!(Event::decode(&leaf), Some(event));
        assert_eq!(Intent::decode(&leaf), None, "{event:?}");
        assert!(seen.insert(leaf.clone()), "{event:?} is written like another");
        for cut in 0..leaf.len() {
            assert_eq!(Event::decode(&leaf[..cut]), None, "{event:?} cut at {cut}");
        }
        for at in 0..leaf.len() {
            let mut other = leaf.clone();
            other[at] ^= 0x20;
            assert_ne!(Event::decode(&other), Some(event), "{event:?} changed at {at}");
        }
        assert_eq!(Event::decode(&[leaf, vec![0]].concat()), None, "{event:?} and more");
    }
}

#[test]
fn the_bytes_are_these() {
    let leaf = Event::Root { version: 2, document: D }.encode();
    let head = [&[0x84, 0x6e][..], TAG.as_bytes(), &[0x07, 0x02, 0x58, 0x20]].concat();
    assert_eq!(leaf, [head, vec![7; 32]].concat());
    for how in [0, 16] {
        let request = RequestId::from_uuid(Uuid::from_bytes([1; 16]));
        let leaf = Event::Unusual { request, key: KeyId(D), how }.encode();
        assert_eq!(Event::decode(&leaf), None, "no deviation, or one that nobody knows");
    }
    let leaf = Event::Credential {
        credential: Uuid::from_bytes([6; 16]),
        holder: D,
        roles: ROLES + 1,
        scope: None,
        expires: 0,
        by: D,
    };
    assert_eq!(Event::decode(&leaf.encode()), None, "a role that nobody knows");
    let other = Event::decode(&[&[0x82, 0x6e][..], TAG.as_bytes(), &[0x18, 99]].concat());
    assert_eq!(other, None, "a kind that nobody knows");
    assert_eq!(Event::decode(&[0x9f]), None);
}

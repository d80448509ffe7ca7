//! Signing keys: one name each for good, states in order, and limits that
//! nobody exceeds.

use std::time::Duration;

use firmseal_fleet::signing_key::hour_of;
use firmseal_fleet::{Environment, KeyHour, KeyLimits, KeyPhase, KeyPurpose, KeyRecord, KeyState, Time};
use firmseal_manifest::{Digest, Event, KeyChange, KeyId, KeyName};

use super::{Engine, conflict, not_found, samples};
use crate::{GrantedUses, Store, WantedUses};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    a_key_stays_what_it_was(engine).await;
    states_follow_each_other(engine).await;
    limits_hold(engine).await;
    limits_hold_in_a_race(engine).await;
    uses_are_remembered(engine).await;
}

fn state(phase: KeyPhase, since: Time, due: Option<Time>) -> KeyState {
    let by_id = Digest([5; 32]);
    KeyState { phase, since, by: "olga".to_owned(), by_id, why: "ä reason".to_owned(), due }
}

fn key(name: &str) -> KeyRecord {
    KeyRecord {
        key: samples::digest(),
        name: name.parse().unwrap(),
        implicit: false,
        purpose: KeyPurpose::Artifact,
        environment: Environment::Test,
        spki: vec![0, 255, 7],
        entered: samples::NOW,
        state: state(KeyPhase::Enabled, samples::NOW, None),
    }
}

async fn a_key_stays_what_it_was(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let boot = key("boot");
    assert_eq!(store.enter_key(boot.clone()).await.unwrap(), boot);
    let again = KeyRecord { entered: samples::later(5), ..boot.clone() };
    assert_eq!(store.enter_key(again).await.unwrap(), boot, "as it was the first time");
    conflict(store.enter_key(KeyRecord { name: "other".parse().unwrap(), ..boot.clone() }).await);
    conflict(store.enter_key(KeyRecord { purpose: KeyPurpose::Release, ..boot.clone() }).await);
    conflict(store.enter_key(KeyRecord { environment: Environment::Production, ..boot.clone() }).await);
    conflict(store.enter_key(key("boot")).await);

    // A key without a name gets one, once.
    let id = samples::digest();
    let nameless = KeyRecord { key: id, name: KeyName::of(&KeyId(id)), implicit: true, ..key("x") };
    store.enter_key(nameless.clone()).await.unwrap();
    store = engine.reopen(store).await;
    let named = KeyRecord { name: "image".parse().unwrap(), implicit: false, ..nameless.clone() };
    assert_eq!(store.enter_key(named.clone()).await.unwrap(), named);
    conflict(store.enter_key(KeyRecord { name: "picture".parse().unwrap(), ..named.clone() }).await);
    // Its table is gone again: it is still called what it was called.
    assert_eq!(store.enter_key(nameless).await.unwrap(), named);
    let store = engine.reopen(store).await;
    assert_eq!(store.key_records().await.unwrap(), [boot, named]);
}

async fn states_follow_each_other(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let boot = store.enter_key(key("boot")).await.unwrap();
    let set = async |store: &dyn Store, state| store.set_key_state(&boot.key, state).await;
    not_found(store.set_key_state(&samples::digest(), state(KeyPhase::Disabled, samples::NOW, None)).await);
    conflict(set(&*store, state(KeyPhase::Destroying, samples::later(1), Some(samples::later(9)))).await);
    let disabled = state(KeyPhase::Disabled, samples::later(1), None);
    for _ in 0..2 {
        let later = KeyState { why: "again".to_owned(), ..disabled.clone() };
        set(&*store, disabled.clone()).await.unwrap();
        assert_eq!(set(&*store, later).await.unwrap().state, disabled, "the first word stays");
        store = engine.reopen(store).await;
    }
    let destroying = state(KeyPhase::Destroying, samples::later(2), Some(samples::later(100)));
    set(&*store, destroying.clone()).await.unwrap();
    conflict(set(&*store, state(KeyPhase::Enabled, samples::later(3), None)).await);
    conflict(set(&*store, state(KeyPhase::Destroyed, samples::later(99), None)).await);
    conflict(set(&*store, state(KeyPhase::Disabled, samples::later(100), None)).await);
    set(&*store, state(KeyPhase::Destroyed, samples::later(100), None)).await.unwrap();
    conflict(set(&*store, state(KeyPhase::Enabled, samples::later(101), None)).await);
    store = engine.reopen(store).await;
    let entered = store.enter_key(boot.clone()).await.unwrap();
    assert_eq!(entered.state.phase, KeyPhase::Destroyed, "settings bring nothing back");
    assert_eq!(entered.spki, boot.spki);
    let events: Vec<_> = store.waiting_events(100).await.unwrap();
    let changes: Vec<_> = events
        .into_iter()
        .map(|waiting| match waiting.event {
            Event::Key { key, change, due, by } if key.0 == boot.key && by == Digest([5; 32]) => {
                (change, due)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let due = samples::later(100).millis() / 1000;
    let expected = [(KeyChange::Disabled, 0), (KeyChange::Destroying, due), (KeyChange::Destroyed, 0)];
    assert_eq!(changes, expected);
}

const HOUR: Duration = Duration::from_secs(3600);

fn wanted(key: &KeyRecord, now: Time, want: u64, limits: KeyLimits) -> WantedUses {
    WantedUses { key: key.key, hour: hour_of(now), want, limits, unused: None, now }
}

async fn limits_hold(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let boot = store.enter_key(key("boot")).await.unwrap();
    let limits = KeyLimits { per_hour: Some(40), total: Some(50) };
    let now = samples::NOW;
    not_found(store.grant_uses(wanted(&key("none"), now, 1, limits)).await);
    let open = store.grant_uses(wanted(&boot, now, 7, KeyLimits::default())).await.unwrap();
    assert_eq!(open, GrantedUses { granted: 7, left_in_hour: None, left: None });
    let back = WantedUses { unused: Some((hour_of(now), 7)), ..wanted(&boot, now, 0, limits) };
    store.grant_uses(back.clone()).await.unwrap();
    conflict(store.grant_uses(back).await);
    let mut had = 0;
    loop {
        let granted = store.grant_uses(wanted(&boot, now, 256, limits)).await.unwrap();
        had += granted.granted;
        assert_eq!(granted.left_in_hour, Some(40 - had));
        if granted.granted == 0 {
            break;
        }
        store = engine.reopen(store).await;
    }
    assert_eq!((had, store.granted(&boot.key, hour_of(now)).await.unwrap()), (40, (40, 40)));
    // The next hour brings what the key has left in all, and what the last
    // hour did not use.
    let next = now.plus(HOUR);
    let with_unused = WantedUses { unused: Some((hour_of(now), 5)), ..wanted(&boot, next, 256, limits) };
    let mut more = store.grant_uses(with_unused).await.unwrap().granted;
    while let GrantedUses { granted: 1.., .. } = {
        let granted = store.grant_uses(wanted(&boot, next, 256, limits)).await.unwrap();
        more += granted.granted;
        granted
    } {}
    assert_eq!(more, 15);
    assert_eq!(store.granted(&boot.key, hour_of(now)).await.unwrap(), (35, 50));
    // Whoever is disabled gets nothing, and may give back.
    store.set_key_state(&boot.key, state(KeyPhase::Disabled, next, None)).await.unwrap();
    conflict(store.grant_uses(wanted(&boot, next.plus(HOUR), 1, KeyLimits::default())).await);
    let back = WantedUses { unused: Some((hour_of(next), 1)), ..wanted(&boot, next, 0, limits) };
    assert_eq!(store.grant_uses(back).await.unwrap().left, Some(1));
}

async fn limits_hold_in_a_race(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let boot = store.enter_key(key("boot")).await.unwrap();
    let limits = KeyLimits { per_hour: Some(100), total: None };
    let want = || store.grant_uses(wanted(&boot, samples::NOW, 9, limits));
    let granted = futures_util::future::join_all((0..200).map(|_| want())).await;
    let all: u64 = granted.into_iter().map(|granted| granted.unwrap().granted).sum();
    assert_eq!(all, 100);
}

async fn uses_are_remembered(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let boot = store.enter_key(key("boot")).await.unwrap();
    let product: firmseal_manifest::ProductId = "gateway".parse().unwrap();
    let uses = |hour: u64, caller: &str, uses: u64, second: u64| KeyHour {
        hour,
        product: product.clone(),
        caller: caller.to_owned(),
        uses,
        last: samples::later(second),
    };
    not_found(store.note_uses(&samples::digest(), vec![uses(1, "ci", 1, 1)]).await);
    store.note_uses(&boot.key, vec![uses(7, "ci", 3, 9), uses(8, "ci", 1, 12)]).await.unwrap();
    store.note_uses(&boot.key, vec![uses(7, "ci", 2, 4), uses(7, "ann", 1, 5)]).await.unwrap();
    store = engine.reopen(store).await;
    let all = store.key_uses(&boot.key, 0, 100).await.unwrap();
    assert_eq!(all, [uses(7, "ann", 1, 5), uses(7, "ci", 5, 9), uses(8, "ci", 1, 12)]);
    assert_eq!(store.key_uses(&boot.key, 8, 9).await.unwrap(), all[2..]);
    assert_eq!(store.key_uses(&samples::digest(), 0, 100).await.unwrap(), []);
}

//! Habits: kept as they were, each under whose it is, and forgotten in time.

use std::net::IpAddr;

use firmseal_fleet::habit::Use;
use firmseal_fleet::{Habit, HabitOf, Time};

use super::{Engine, samples};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    a_habit_is_kept(engine).await;
    a_habit_is_forgotten(engine).await;
}

fn habit(times: u32, at: Time) -> Habit {
    let mut habit = Habit::default();
    let product = "gateway".parse().unwrap();
    for _ in 0..times {
        habit.learn(Use { product: &product, source: Some(IpAddr::from([192, 0, 2, 1])), at });
    }
    habit
}

async fn a_habit_is_kept(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let (key, caller) = (HabitOf::Key("release".to_owned()), HabitOf::Caller("release".to_owned()));
    assert_eq!(store.habit(&key).await.unwrap(), None);
    let (one, two, three) = (habit(1, samples::NOW), habit(2, samples::NOW), habit(3, samples::NOW));
    store.keep_habits(vec![(key.clone(), one), (caller.clone(), two.clone())]).await.unwrap();
    store.keep_habits(vec![(key.clone(), three.clone())]).await.unwrap();
    store = engine.reopen(store).await;
    assert_eq!(store.habit(&key).await.unwrap(), Some(three));
    assert_eq!(store.habit(&caller).await.unwrap(), Some(two), "a key and a caller of one name are two");
}

async fn a_habit_is_forgotten(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let of = |number: u32| HabitOf::Caller(number.to_string());
    let old = habit(1, samples::NOW);
    let day = old.last_day();
    let new = habit(1, samples::later(2 * 24 * 3600));
    store.keep_habits(vec![(of(1), old.clone()), (of(2), old), (of(3), new)]).await.unwrap();
    assert_eq!(store.forget_habits(day, 99).await.unwrap(), 0, "the day itself is not before it");
    assert_eq!(store.forget_habits(day + 1, 1).await.unwrap(), 1, "a few at a time");
    assert_eq!(store.forget_habits(day + 1, 99).await.unwrap(), 1);
    assert!(store.habit(&of(3)).await.unwrap().is_some());
}

//! Rollouts: a halt holds.

use firmseal_fleet::{Cohort, Rollout, RolloutState};
use firmseal_manifest::{DeviceId, ReleaseId, RolloutId};

use super::{Engine, conflict, not_found, samples};
use crate::Page;

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    a_halt_holds(engine).await;
    what_is_inserted_is_read(engine).await;
}

async fn a_halt_holds(engine: &dyn Engine) {
    use RolloutState::{Active, Finished, Halted};
    let mut store = engine.fresh().await;
    let release = samples::release(&*store, "gateway", "1.0.0", 1).await;
    store.insert_release(release.clone()).await.unwrap();
    let (one, two) = (samples::rollout(&release), samples::rollout(&release));
    store.insert_rollout(one.clone()).await.unwrap();
    store.insert_rollout(two.clone()).await.unwrap();
    assert_eq!(store.active_rollouts().await.unwrap().len(), 2);
    store.set_rollout_state(one.id, Halted).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.active_rollouts().await.unwrap(), std::slice::from_ref(&two));
        // Sending the insert again does not resume it.
        store.insert_rollout(one.clone()).await.unwrap();
        store = engine.reopen(store).await;
    }
    for (state, allowed) in
        [(Halted, true), (Active, true), (Halted, true), (Finished, true), (Active, false), (Halted, false)]
    {
        let outcome = store.set_rollout_state(one.id, state).await;
        assert_eq!(outcome.is_ok(), allowed, "{state:?}: {outcome:?}");
    }
    store.set_rollout_state(one.id, Finished).await.unwrap();
    assert_eq!(store.active_rollouts().await.unwrap(), [two]);
    not_found(store.set_rollout_state(RolloutId::new(), Halted).await);
}

async fn what_is_inserted_is_read(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let release = samples::release(&*store, "gateway", "1.0.0", 1).await;
    let sample = samples::rollout(&release);
    not_found(store.insert_rollout(sample.clone()).await);
    store.insert_release(release.clone()).await.unwrap();
    not_found(store.insert_rollout(Rollout { release: ReleaseId::new(), ..sample.clone() }).await);
    let foreign = Rollout { product: "camera".parse().unwrap(), ..sample.clone() };
    conflict(store.insert_rollout(foreign).await);
    let cohorts = [
        Cohort::All,
        Cohort::Devices([DeviceId::new(), DeviceId::new()].into()),
        Cohort::Labels([("site".to_owned(), "lab".to_owned())].into()),
    ];
    let mut all = Vec::new();
    for cohort in cohorts {
        let rollout = Rollout { id: RolloutId::new(), cohort, ..sample.clone() };
        store.insert_rollout(rollout.clone()).await.unwrap();
        conflict(store.insert_rollout(Rollout { starts: samples::later(1), ..rollout.clone() }).await);
        all.insert(0, rollout);
    }
    store = engine.reopen(store).await;
    assert_eq!(store.rollouts(Page::first(9)).await.unwrap(), all);
    assert_eq!(store.rollouts(Page::after(all[0].id, 1)).await.unwrap(), [all[1].clone()]);
    assert_eq!(store.rollout(all[2].id).await.unwrap(), all[2]);
    not_found(store.rollout(RolloutId::new()).await);
}

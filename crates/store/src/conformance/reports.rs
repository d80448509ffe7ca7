//! Reports: each counts once, a batch counts whole.

use std::slice;

use firmseal_fleet::{Bootloader, Equipment, Phase, Report, Running, SlotState};
use firmseal_manifest::{DeviceId, ReleaseId, RolloutId};

use super::{Engine, conflict, not_found, refused, samples};
use crate::fleet::REPORTS_MAX;
use crate::{Observation, Observed, Page, Store, StoreError};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    a_report_counts_once(engine).await;
    a_batch_counts_whole_or_not_at_all(engine).await;
    equipment_is_what_was_said_last(engine).await;
    refusals_hold_until_a_person_says_otherwise(engine).await;
    touches_never_go_back(engine).await;
    reports_are_listed(engine).await;
    outcomes_are_the_newest_of_each_device(engine).await;
    reports_are_bounded_by_the_day(engine).await;
}

fn observation(device: DeviceId, running: Option<Running>, reports: &[Report]) -> Observation {
    Observation {
        device,
        now: samples::NOW,
        running,
        equipment: None,
        reports: reports.to_vec(),
        most: samples::ALLOWANCE.most,
    }
}

async fn observe(store: &dyn Store, device: DeviceId, reports: &[Report]) -> Observed {
    store.observe(observation(device, None, reports)).await.unwrap()
}

async fn a_report_counts_once(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let device = samples::enrolled(&*store, "gateway").await;
    let other = samples::enrolled(&*store, "gateway").await;
    let refused = Phase::Refused { code: 4711, message: "no such \"thing\"".to_owned() };
    let isolated = Phase::Isolated { code: 600, message: "é".to_owned() };
    let failed = Phase::Failed { code: 900, message: String::new() };
    let phases = [
        Phase::Offered,
        Phase::Downloading,
        failed,
        Phase::Installed,
        Phase::Recovered { message: "recovery image 1.0.0".to_owned() },
        Phase::Trial,
        Phase::Confirmed,
        Phase::REVERTED,
        Phase::Reverted { code: Some(600), message: "the health command failed".to_owned() },
        refused,
        isolated,
    ];
    let reports: Vec<_> = phases.into_iter().map(|phase| samples::report(device.id, None, phase)).collect();
    let observed = observe(&*store, device.id, &reports[..3]).await;
    assert_eq!(observed, Observed { recorded: 3, known: 0 });
    store = engine.reopen(store).await;
    let observed = observe(&*store, device.id, &reports).await;
    assert_eq!(observed, Observed { recorded: 8, known: 3 });
    // Another device may use the same ids: they are its own.
    let stolen = Report { device: other.id, ..reports[0].clone() };
    assert_eq!(observe(&*store, other.id, &[stolen]).await.recorded, 1);
    let stored = store.reports(device.id, Page::first(100)).await.unwrap();
    assert!(stored.iter().eq(reports.iter().rev()), "{stored:?}");
}

async fn a_batch_counts_whole_or_not_at_all(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let device = samples::enrolled(&*store, "gateway").await;
    let other = samples::enrolled(&*store, "gateway").await;
    let good = samples::report(device.id, None, Phase::Offered);
    let mut endless = samples::report(device.id, None, Phase::Offered);
    endless.build = Some("x".repeat(100_000));
    let foreign = samples::report(other.id, None, Phase::Offered);
    let running = Some(samples::running(5));
    for bad in [endless, foreign] {
        let observation = observation(device.id, running.clone(), &[good.clone(), bad]);
        let equipment = Some(samples::equipment(1));
        conflict(store.observe(Observation { equipment, ..observation }).await);
    }
    let many: Vec<_> = (0..=REPORTS_MAX).map(|_| samples::report(device.id, None, Phase::Offered)).collect();
    conflict(store.observe(observation(device.id, running.clone(), &many)).await);
    not_found(store.observe(observation(DeviceId::new(), running.clone(), &[])).await);
    assert_eq!(store.device(device.id).await.unwrap(), device, "refusals change nothing");
    assert!(store.reports(device.id, Page::first(9)).await.unwrap().is_empty());

    store.observe(observation(device.id, running.clone(), slice::from_ref(&good))).await.unwrap();
    let now = store.device(device.id).await.unwrap();
    assert_eq!((now.running, now.last_seen), (running, Some(samples::NOW)));
    let trial = Running { state: SlotState::Trial, slot: "b".to_owned(), ..samples::running(6) };
    store.observe(observation(device.id, Some(trial.clone()), &[])).await.unwrap();
    store.observe(observation(device.id, None, &[])).await.unwrap();
    assert_eq!(store.device(device.id).await.unwrap().running, Some(trial));
}

async fn equipment_is_what_was_said_last(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let device = samples::enrolled(&*store, "gateway").await;
    let other = samples::enrolled(&*store, "gateway").await;
    assert_eq!(store.device(device.id).await.unwrap().equipment, None);
    let first = samples::equipment(1);
    let bare = Bootloader { verifies: false, trial: true, epoch_counter: false, ..first.bootloader.clone() };
    let second = Equipment { root_version: 2, hardware: None, bootloader: bare, ..first.clone() };
    for equipment in [first, second.clone()] {
        let said = Observation { equipment: Some(equipment.clone()), ..observation(device.id, None, &[]) };
        store.observe(said).await.unwrap();
        store = engine.reopen(store).await;
        let now = store.device(device.id).await.unwrap();
        assert_eq!((now.equipment, now.running), (Some(equipment), None));
    }
    store.observe(observation(device.id, Some(samples::running(1)), &[])).await.unwrap();
    assert_eq!(store.device(device.id).await.unwrap().equipment, Some(second.clone()));
    assert_eq!(store.device(other.id).await.unwrap().equipment, None, "it is said of one device");
    let listed = store.devices(None, Page::first(9)).await.unwrap();
    assert_eq!(listed[1].equipment, Some(second.clone()));
    let found = store.device_of_certificate(&device.certificate.fingerprint).await.unwrap();
    assert_eq!(found.and_then(|(device, _)| device.equipment), Some(second));
}

async fn refusals_hold_until_a_person_says_otherwise(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let device = samples::enrolled(&*store, "gateway").await;
    let release = samples::release(&*store, "gateway", "1.0.0", 1).await;
    store.insert_release(release.clone()).await.unwrap();
    let refused = Phase::Refused { code: 1, message: String::new() };
    let isolated = Phase::Isolated { code: 1, message: String::new() };
    for phase in [refused, isolated, Phase::REVERTED] {
        let confirmed = samples::report(device.id, Some(release.id), Phase::Confirmed);
        let failed = Phase::Failed { code: 900, message: String::new() };
        let failed = samples::report(device.id, Some(release.id), failed);
        let unknown = samples::report(device.id, Some(ReleaseId::new()), Phase::REVERTED);
        observe(&*store, device.id, &[confirmed, failed, unknown]).await;
        assert!(store.device(device.id).await.unwrap().held.is_empty());
        let report = samples::report(device.id, Some(release.id), phase);
        observe(&*store, device.id, slice::from_ref(&report)).await;
        store = engine.reopen(store).await;
        assert!(store.device(device.id).await.unwrap().held.contains(&release.id));
        store.retry(device.id, release.id).await.unwrap();
        store.retry(device.id, release.id).await.unwrap();
        assert!(store.device(device.id).await.unwrap().held.is_empty());
        // The same batch again is old news; it does not undo the retry.
        observe(&*store, device.id, &[report]).await;
        assert!(store.device(device.id).await.unwrap().held.is_empty());
    }
    not_found(store.retry(DeviceId::new(), release.id).await);
}

async fn touches_never_go_back(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let device = samples::enrolled(&*store, "gateway").await;
    let seen = vec![(device.id, samples::later(9)), (DeviceId::new(), samples::later(9))];
    store.touch(seen).await.unwrap();
    store.touch(vec![(device.id, samples::NOW)]).await.unwrap();
    store.observe(observation(device.id, None, &[])).await.unwrap();
    assert_eq!(store.device(device.id).await.unwrap().last_seen, Some(samples::later(9)));
    let silent = samples::enrolled(&*store, "gateway").await;
    assert_eq!(store.heard(samples::later(9)).await.unwrap(), (1, 2));
    assert_eq!(store.heard(samples::later(10)).await.unwrap(), (0, 2));
    store.set_device_state(silent.id, firmseal_fleet::DeviceState::Revoked).await.unwrap();
    assert_eq!(store.heard(samples::later(9)).await.unwrap(), (1, 1), "those that are revoked do not count");
}

async fn reports_are_listed(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let one = samples::enrolled(&*store, "gateway").await;
    let two = samples::enrolled(&*store, "gateway").await;
    for device in [one.id, two.id, one.id, two.id, one.id] {
        observe(&*store, device, &[samples::report(device, None, Phase::Downloading)]).await;
    }
    let newest = store.reports(one.id, Page::first(1)).await.unwrap().remove(0);
    assert_eq!(store.reports(one.id, Page::after(newest.id, 9)).await.unwrap().len(), 2);
    not_found(store.reports(DeviceId::new(), Page::first(9)).await);
}

async fn outcomes_are_the_newest_of_each_device(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let release = samples::release(&*store, "gateway", "1.0.0", 1).await;
    store.insert_release(release.clone()).await.unwrap();
    let (rollout, other) = (samples::rollout(&release), samples::rollout(&release));
    for rollout in [&rollout, &other] {
        store.insert_rollout(rollout.clone()).await.unwrap();
    }
    let mut newest = std::collections::BTreeMap::new();
    let mut devices = Vec::new();
    for _ in 0..5 {
        devices.push(samples::enrolled(&*store, "gateway").await.id);
    }
    for phase in [Phase::Downloading, Phase::Trial, Phase::Confirmed] {
        for device in devices.iter().rev() {
            let said = samples::report(*device, Some(release.id), phase.clone());
            let report = Report { rollout: Some(rollout.id), ..said };
            observe(&*store, *device, slice::from_ref(&report)).await;
            newest.insert(device.to_string(), report);
        }
    }
    // What is newer, but about another rollout or none, says nothing here;
    // and a device of another product has no word at all.
    let later = samples::report(devices[0], None, Phase::Offered);
    let foreign = Report { rollout: Some(other.id), ..samples::report(devices[0], None, Phase::Offered) };
    observe(&*store, devices[0], &[later, foreign.clone()]).await;
    let camera = samples::enrolled(&*store, "camera").await.id;
    for named in [rollout.id, RolloutId::new()] {
        let intruder = Report { rollout: Some(named), ..samples::report(camera, None, Phase::Confirmed) };
        assert_eq!(observe(&*store, camera, slice::from_ref(&intruder)).await.recorded, 1);
        let kept = store.reports(camera, Page::first(1)).await.unwrap().remove(0);
        assert_eq!(kept, Report { rollout: None, ..intruder }, "kept, but not as a word about the rollout");
    }
    store = engine.reopen(store).await;
    let expected: Vec<Report> = newest.into_values().collect();
    for limit in [1, 2, 5, 100] {
        let mut page = Page::first(limit);
        let mut listed = Vec::new();
        loop {
            let items = store.outcomes(rollout.id, page).await.unwrap();
            assert!(items.len() <= limit as usize);
            let Some(last) = items.last() else { break };
            page = Page::after(last.device, limit);
            listed.extend(items);
        }
        assert_eq!(listed, expected);
    }
    assert_eq!(store.outcomes(other.id, Page::first(9)).await.unwrap(), [foreign]);
}

async fn reports_are_bounded_by_the_day(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let device = samples::enrolled(&*store, "gateway").await.id;
    let other = samples::enrolled(&*store, "gateway").await.id;
    let send = async |store: &dyn Store, device, seconds, reports: &[Report]| {
        let now = samples::later(seconds);
        store.observe(Observation { now, most: 5, ..observation(device, None, reports) }).await
    };
    let fresh = |device, count| -> Vec<Report> {
        (0..count).map(|_| samples::report(device, None, Phase::Offered)).collect()
    };
    let first = fresh(device, 3);
    send(&*store, device, 0, &first).await.unwrap();
    store = engine.reopen(store).await;
    refused!(send(&*store, device, 1, &fresh(device, 3)).await, StoreError::Quota { .. });
    assert_eq!(store.reports(device, Page::first(9)).await.unwrap().len(), 3, "whole or not at all");
    send(&*store, device, 1, &fresh(device, 2)).await.unwrap();
    refused!(send(&*store, device, 2, &fresh(device, 1)).await, StoreError::Quota { .. });
    // What is known already is answered, as is a word without reports.
    assert_eq!(send(&*store, device, 2, &first).await.unwrap(), Observed { recorded: 0, known: 3 });
    send(&*store, device, 2, &[]).await.unwrap();
    send(&*store, other, 2, &fresh(other, 5)).await.unwrap();
    send(&*store, device, 86_400, &fresh(device, 3)).await.unwrap();
    refused!(send(&*store, device, 86_400, &fresh(device, 1)).await, StoreError::Quota { .. });
}

//! The registry: nothing is lost, nothing changes, no sequence goes back.

use firmseal_fleet::{Release, ReleaseState};
use firmseal_manifest::{ReleaseId, RequestId};
use futures_util::future::join_all;
use semver::Version;

use super::{Engine, conflict, not_found, samples};
use crate::Page;

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    what_is_inserted_is_read(engine).await;
    a_release_stands_on_what_exists(engine).await;
    the_sequence_never_goes_back(engine).await;
    of_many_at_once_one_wins(engine).await;
    states_go_one_way(engine).await;
    pages_cover_everything_once(engine).await;
}

async fn what_is_inserted_is_read(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let product = samples::product("gateway");
    not_found(store.product(&product.id).await);
    store.insert_product(product.clone(), &samples::admin()).await.unwrap();
    store.insert_product(product.clone(), &samples::admin()).await.unwrap();
    let mut other = product.clone();
    other.hardware.clear();
    conflict(store.insert_product(other.clone(), &samples::admin()).await);
    other.id = "other".parse().unwrap();
    other.components.clear();
    conflict(store.insert_product(other, &samples::admin()).await);

    let artifact = samples::artifact(&*store, b"firmware").await;
    not_found(store.artifact(&artifact.id).await);
    let mut wrong = artifact.clone();
    wrong.size += 1;
    conflict(store.insert_artifact(wrong).await);
    store.insert_artifact(artifact.clone()).await.unwrap();
    let mut again = artifact.clone();
    again.uploaded_by = "somebody else".to_owned();
    store.insert_artifact(again).await.unwrap();

    let release = samples::release(&*store, "gateway", "1.0.0-rc.1+b7", 7).await;
    not_found(store.release(release.id).await);
    assert_eq!(store.release_of_request(release.request).await.unwrap(), None);
    assert_eq!(store.latest_release(&product.id).await.unwrap(), None);
    store.insert_release(release.clone()).await.unwrap();
    store.insert_release(release.clone()).await.unwrap();
    conflict(store.insert_release(Release { epoch: 2, ..release.clone() }).await);

    store = engine.reopen(store).await;
    assert_eq!(store.product(&product.id).await.unwrap(), product);
    assert_eq!(store.artifact(&artifact.id).await.unwrap(), artifact);
    assert_eq!(store.release(release.id).await.unwrap(), release);
    assert_eq!(store.release_of_request(release.request).await.unwrap(), Some(release.clone()));
    assert_eq!(store.release_of_manifest(&release.manifest).await.unwrap(), Some(release.clone()));
    for (version, expected) in [(&release.version, Some(release.clone())), (&Version::new(99, 0, 0), None)] {
        let found = store.release_of_version(&product.id, &release.channel, version).await;
        assert_eq!(found.unwrap(), expected);
    }
    let other = "elsewhere".parse().unwrap();
    for (channel, expected) in [(&release.channel, Some(release.clone())), (&other, None)] {
        assert_eq!(store.latest_release_on(&product.id, channel).await.unwrap(), expected);
    }
    assert_eq!(store.latest_release(&product.id).await.unwrap(), Some(release));
}

async fn a_release_stands_on_what_exists(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let good = samples::release(&*store, "gateway", "1.0.0", 1).await;
    let breaks: [fn(&mut Release); 5] = [
        |release| release.product = "unknown".parse().unwrap(),
        |release| release.envelope = samples::digest(),
        |release| release.components[0].artifact.0 = samples::digest(),
        |release| release.components[0].payload = samples::digest(),
        |release| release.components[0].hash_blocks = samples::digest(),
    ];
    for break_it in breaks {
        let mut bad = good.clone();
        break_it(&mut bad);
        not_found(store.insert_release(bad).await);
    }
    let mut bad = good.clone();
    bad.components[0].size += 1;
    conflict(store.insert_release(bad).await);
    assert_eq!(store.latest_release(&good.product).await.unwrap(), None);
    store.insert_release(good).await.unwrap();
}

fn next(release: &Release, version: &str, sequence: u64) -> Release {
    Release {
        id: ReleaseId::new(),
        request: RequestId::new(),
        version: version.parse().unwrap(),
        sequence,
        ..release.clone()
    }
}

async fn the_sequence_never_goes_back(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let first = samples::release(&*store, "gateway", "1.0.0", 10).await;
    store.insert_release(first.clone()).await.unwrap();
    store.set_release_state(first.id, ReleaseState::Withdrawn).await.unwrap();
    store = engine.reopen(store).await;
    let beta = |release: Release| Release { channel: "beta".parse().unwrap(), ..release };
    for sequence in [0, 9, 10] {
        conflict(store.insert_release(next(&first, "2.0.0", sequence)).await);
        conflict(store.insert_release(beta(next(&first, "2.0.0", sequence))).await);
    }
    conflict(store.insert_release(next(&first, "1.0.0", 11)).await);
    let reused = Release { request: first.request, ..next(&first, "2.0.0", 11) };
    conflict(store.insert_release(reused).await);
    // The same version on another channel, and a lower version with a
    // higher sequence, are both fine.
    store.insert_release(beta(next(&first, "1.0.0", 11))).await.unwrap();
    store.insert_release(next(&first, "0.9.0", 12)).await.unwrap();
    assert_eq!(store.latest_release(&first.product).await.unwrap().map(|latest| latest.sequence), Some(12));
    let (elsewhere, none) = ("elsewhere".parse().unwrap(), samples::digest());
    let beta = "beta".parse().unwrap();
    for (channel, expected) in [(&first.channel, Some(12)), (&beta, Some(11)), (&elsewhere, None)] {
        let before = store.before_signing(&first.product, channel, none, none).await.unwrap();
        assert_eq!(before.latest.map(|latest| latest.sequence), Some(12));
        assert_eq!(before.latest_on_channel.map(|latest| latest.sequence), expected);
        assert_eq!(before.signature, None);
    }
    // Each product counts for itself.
    let other = samples::release(&*store, "camera", "1.0.0", 1).await;
    store.insert_release(other).await.unwrap();
    // What an engine cannot order it refuses; it never wraps around.
    if store.insert_release(next(&first, "3.0.0", u64::MAX)).await.is_ok() {
        conflict(store.insert_release(next(&first, "4.0.0", 13)).await);
    } else {
        store.insert_release(next(&first, "4.0.0", 13)).await.unwrap();
    }
}

async fn of_many_at_once_one_wins(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let first = samples::release(&*store, "gateway", "1.0.0", 1).await;
    let rivals: Vec<_> = (0..20).map(|n| next(&first, &format!("1.0.{n}"), 5)).collect();
    let outcomes = join_all(rivals.iter().map(|rival| store.insert_release(rival.clone()))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(store.releases(None, Page::first(100)).await.unwrap().len(), 1);
}

async fn states_go_one_way(engine: &dyn Engine) {
    use ReleaseState::{Revoked, Signed, Verified, Withdrawn};
    let store = engine.fresh().await;
    let first = samples::release(&*store, "gateway", "1.0.0", 1).await;
    not_found(store.set_release_state(first.id, Verified).await);
    store.insert_release(first.clone()).await.unwrap();
    for (state, allowed) in
        [(Signed, true), (Verified, true), (Signed, false), (Verified, true), (Withdrawn, true)]
    {
        let outcome = store.set_release_state(first.id, state).await;
        assert_eq!(outcome.is_ok(), allowed, "{state:?}: {outcome:?}");
    }
    conflict(store.set_release_state(first.id, Verified).await);
    conflict(store.set_release_state(first.id, Signed).await);
    assert_eq!(store.release(first.id).await.unwrap().state, Withdrawn);
    store.set_release_state(first.id, Revoked).await.unwrap();
    for state in [Signed, Verified, Withdrawn] {
        conflict(store.set_release_state(first.id, state).await);
    }
    // Sending the insert again does not bring it back.
    store.insert_release(first.clone()).await.unwrap();
    assert_eq!(store.release(first.id).await.unwrap().state, Revoked);
}

async fn pages_cover_everything_once(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let first = samples::release(&*store, "gateway", "1.0.0", 1).await;
    let all: Vec<_> = (1..=7).map(|n| next(&first, &format!("1.0.{n}"), n)).collect();
    for release in &all {
        store.insert_release(release.clone()).await.unwrap();
    }
    let other = samples::release(&*store, "camera", "1.0.0", 1).await;
    store.insert_release(other.clone()).await.unwrap();
    for limit in [1, 3, 7, 100] {
        let mut page = Page::first(limit);
        let mut seen = Vec::new();
        loop {
            let items = store.releases(Some(&first.product), page.clone()).await.unwrap();
            assert!(items.len() <= limit as usize);
            let Some(last) = items.last() else { break };
            page = Page::after(last.id, limit);
            seen.extend(items);
        }
        assert!(seen.iter().eq(all.iter().rev()), "newest first, each once");
    }
    assert_eq!(store.releases(None, Page::first(1)).await.unwrap(), [other]);
    assert!(store.releases(None, Page::first(0)).await.unwrap().is_empty());
    assert!(store.releases(None, Page::after(ReleaseId::new(), 9)).await.unwrap().is_empty());
    assert_eq!(store.products(Page::first(9)).await.unwrap().len(), 2);
    let newest = store.products(Page::first(1)).await.unwrap().remove(0);
    assert_eq!(newest.id.as_str(), "camera");
    assert_eq!(store.products(Page::after(newest.id, 9)).await.unwrap().len(), 1);
    assert_eq!(store.artifacts(Page::first(9)).await.unwrap().len(), 1);
}

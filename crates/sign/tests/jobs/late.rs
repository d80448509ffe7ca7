//! Jobs that take long, and jobs that are too late.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use firmseal_fleet::{Job, JobState};
use firmseal_manifest::{Digest, RequestId};
use firmseal_sign::timestamps::{Stamped, Stamping};
use firmseal_sign::{Bounds, StampAnswer, Timestamps};
use firmseal_store::Jobs;

use crate::bench::{Bench, Fault, Service, now};
use crate::rules::Parrot;

/// An authority that takes its time.
struct Slow(Duration);

impl Timestamps for Slow {
    fn stamp(&self, _: Digest) -> Stamping<'_> {
        let wait = self.0;
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            let answers = vec![StampAnswer { authority: "lab".to_owned(), refused: None }];
            Stamped { token: Some(b"a token".to_vec()), answers }
        })
    }

    fn is_required(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_job_that_takes_longer_than_its_lease_is_nobody_elses() {
    let lease = Duration::from_millis(300);
    let bench = Bench {
        timestamps: Some(Arc::new(Slow(lease * 5))),
        bounds: Bounds { lease, ..Bounds::default() },
        ..Bench::new()
    };
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let id = service.submit(service.wish("a", file)).await;
    assert_eq!(service.settled(id).await.progress.state, JobState::Signed);
    let record = service.store.signature(id).await.unwrap().unwrap();
    assert_eq!((record.attempts, bench.hsm.asked.lock().unwrap().len()), (1, 1));
    assert_eq!(service.events().await, [], "nobody overtook it");
    service.stop().await;
}

/// Waits until a job has ended at its deadline, and was told of.
async fn expired(bench: &Bench, service: &Service, id: RequestId) -> Job {
    loop {
        let found = bench.late.lock().unwrap().iter().find(|job| job.id == id).cloned();
        if let Some(job) = found {
            let ended = service.store.job(id).await.unwrap().unwrap();
            assert_eq!(ended.progress.state, JobState::Expired);
            return job;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn whoever_counts_hears_where_a_job_stood_when_its_time_was_over() {
    let bench = Bench::with_policy(Parrot);
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let submit = async |build: &str| {
        let file = service.upload(build.as_bytes()).await;
        let mut wish = service.wish(build, file);
        (wish.build, wish.deadline) = (build.to_owned(), now().plus(Duration::from_secs(3600)));
        service.submit(wish).await
    };
    let mut stood = Vec::new();
    for (build, state) in [("approvals", JobState::Waiting), ("hold", JobState::Held)] {
        let id = submit(build).await;
        assert_eq!(service.settled(id).await.progress.state, state);
        stood.push((id, state));
    }
    *bench.hsm.mood.lock().unwrap() = Some(Box::new(|| Some(Fault::Away)));
    stood.push((submit("build-17").await, JobState::Queued));
    bench.ahead.store(3601, Ordering::SeqCst);
    for (id, state) in stood {
        assert_eq!(expired(&bench, &service, id).await.progress.state, state);
    }
    assert_eq!(bench.late.lock().unwrap().len(), 3, "each is told of once");
    service.stop().await;
}

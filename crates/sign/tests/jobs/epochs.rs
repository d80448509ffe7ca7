//! Files are held against what was signed before them, releases or not.

use std::sync::{Arc, Mutex};

use firmseal_fleet::{JobState, ReleaseState};
use firmseal_manifest::{Digest, RequestId};
use firmseal_sign::{Ordered, Policy, PolicyError, Previous, Question, Requester, Verdict};
use firmseal_store::{Jobs, Registry};

use crate::bench::{Bench, Service, now};
use crate::releases::{order, released, submit};

/// Asks for a file under an idempotency key.
async fn ask(service: &Service, key: &str, version: &str, epoch: u64, bytes: &str) -> RequestId {
    let file = service.upload(bytes.as_bytes()).await;
    let mut wish = service.wish(key, file);
    (wish.version, wish.epoch) = (version.parse().unwrap(), epoch);
    service.submit(wish).await
}

/// What became of a request: a word, or the rule that it breaks.
async fn told(service: &Service, id: RequestId) -> String {
    let progress = service.settled(id).await.progress;
    match progress.state {
        JobState::Signed => "signed".to_owned(),
        _ => progress.reasons[0].rule.clone(),
    }
}

#[tokio::test]
async fn the_epoch_of_files_rises_in_steps_and_never_falls() {
    let bench = Bench::new();
    let mut service = bench.start().await;
    service.product("gateway", "raw").await;
    let mut all = Vec::new();
    for (number, (version, epoch, bytes, expected)) in [
        ("2.0.0", 5, "two", "signed"),
        ("1.0.0", 0, "one", "gate-epoch"),
        ("1.0.0", 4, "one", "gate-epoch"),
        // Versions are the policy's business, and there is none.
        ("1.0.0", 5, "one", "signed"),
        // A file more of the same build.
        ("2.0.0", 5, "two's modem", "signed"),
        ("2.0.0", 22, "three", "gate-epoch-ahead"),
        ("2.0.0", 21, "three", "signed"),
        ("2.0.0", 37, "four", "signed"),
        ("2.0.0", 21, "five", "gate-epoch"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = ask(&service, &format!("k{number}"), version, epoch, bytes).await;
        assert_eq!(told(&service, id).await, expected, "{version}, epoch {epoch}, {bytes}");
        all.push(id);
        if number == 6 {
            // It is on record, and outlasts the process.
            service.stop().await;
            service = bench.start().await;
        }
    }
    let uses = bench.hsm.asked.lock().unwrap().len();
    assert_eq!(uses, 5);
    // An earlier build once more: the same signature, from the record. What is
    // new of it is not signed.
    let again = ask(&service, "again", "2.0.0", 5, "two").await;
    assert_eq!(told(&service, again).await, "signed");
    assert_eq!(service.store.signature(again).await.unwrap(), None);
    let ahead = ask(&service, "ahead", "2.0.0", 54, "two").await;
    assert_eq!(told(&service, ahead).await, "gate-epoch-ahead");
    assert_eq!(bench.hsm.asked.lock().unwrap().len(), uses, "the key was not asked");
    service.stop().await;
}

#[tokio::test]
async fn releases_are_held_against_files_and_roll_backs_are_not() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let mut made = Vec::new();
    for version in ["1.0.0", "1.1.0"] {
        let id = submit(&service, order(&service, version, version, file)).await;
        let release = released(&service, id).await;
        service.store.set_release_state(release.id, ReleaseState::Verified).await.unwrap();
        made.push(release.id);
    }
    let id = ask(&service, "file", "1.1.0", 3, "loader").await;
    assert_eq!(told(&service, id).await, "signed");
    let uses = bench.release.asked.lock().unwrap().len();
    let late = submit(&service, order(&service, "late", "1.2.0", file)).await;
    assert_eq!(told(&service, late).await, "gate-epoch");
    assert_eq!(bench.release.asked.lock().unwrap().len(), uses, "the key was not asked");

    let requester = Requester(service.wish("back", file).caller);
    let back = service.pipeline.rollback_order(requester, None, made[1], None).await.unwrap();
    let Ordered::Signed(back) = service.pipeline.release(&back, now()).await.unwrap() else { panic!() };
    assert_eq!((back.release.epoch, back.release.version.to_string().as_str()), (0, "1.0.0+rollback.2"));

    let mut next = order(&service, "next", "1.2.0", file);
    next.epoch = 3;
    let id = submit(&service, next).await;
    assert_eq!(released(&service, id).await.epoch, 3);
    // And files against releases.
    let mut next = order(&service, "after", "1.3.0", file);
    next.epoch = 4;
    let id = submit(&service, next).await;
    released(&service, id).await;
    let low = ask(&service, "low", "1.3.0", 3, "another loader").await;
    assert_eq!(told(&service, low).await, "gate-epoch");
    service.stop().await;
}

/// Permits everything, and keeps what it was told of what stands before.
#[derive(Clone, Default)]
struct Keeps(Arc<Mutex<Vec<Option<Previous>>>>);

impl Policy for Keeps {
    fn digest(&self) -> Digest {
        Digest([9; 32])
    }

    fn decide(&self, question: &Question) -> Result<Verdict, PolicyError> {
        self.0.lock().unwrap().push(question.previous.clone());
        Ok(Verdict::Permit)
    }
}

#[tokio::test]
async fn policies_are_told_of_the_highest_file_or_the_latest_release() {
    let keeps = Keeps::default();
    let bench = Bench::with_policy(keeps.clone());
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let last = || keeps.0.lock().unwrap().last().unwrap().clone();
    let previous = |version: &str, epoch| Some(Previous { version: version.parse().unwrap(), epoch });
    for (key, version, epoch, bytes, expected) in [
        ("a", "2.9.0", 5, "two", None),
        ("b", "2.10.0-rc.1", 5, "three", previous("2.9.0", 5)),
        // What stands before is not what came last.
        ("c", "1.0.0", 6, "one", previous("2.10.0-rc.1", 5)),
        ("d", "1.0.1", 6, "four", previous("2.10.0-rc.1", 6)),
        // Bytes that were signed go back behind no file.
        ("e", "2.9.0", 6, "two", None),
    ] {
        let id = ask(&service, key, version, epoch, bytes).await;
        assert_eq!((told(&service, id).await.as_str(), last()), ("signed", expected), "{version}");
    }
    let mut next = order(&service, "f", "3.0.0", file);
    next.epoch = 7;
    let id = submit(&service, next).await;
    released(&service, id).await;
    assert_eq!(last(), previous("2.10.0-rc.1", 6), "releases are asked about the same way");
    for (key, bytes) in [("g", "five"), ("h", "two")] {
        let id = ask(&service, key, "2.9.0", 7, bytes).await;
        assert_eq!((told(&service, id).await.as_str(), last()), ("signed", previous("3.0.0", 7)), "{bytes}");
    }
    // Another channel has versions of its own.
    let elsewhere = service.upload(b"six").await;
    let mut wish = service.wish("i", elsewhere);
    (wish.channel, wish.epoch) = ("beta".parse().unwrap(), 7);
    let id = service.submit(wish).await;
    assert_eq!((told(&service, id).await.as_str(), last()), ("signed", None));
    service.stop().await;
}

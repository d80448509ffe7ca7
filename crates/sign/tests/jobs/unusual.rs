//! Uses of a key that depart from the usual: told, held if policy says so,
//! and usual once a person has let them go.

use std::time::Duration;

use firmseal_fleet::habit::Use;
use firmseal_fleet::{Habit, HabitOf, JobState};
use firmseal_manifest::{Digest, Event, Ruling};
use firmseal_sign::policy::{PolicyError, Question, Reason, Verdict};
use firmseal_sign::{ArtifactWish, Policy};
use firmseal_store::{Habits, Jobs};

use crate::bench::{Bench, Service, now};
use crate::releases::{order, released, submit};

/// Holds what is unusual.
struct Wary;

impl Policy for Wary {
    fn digest(&self) -> Digest {
        Digest([9; 32])
    }

    fn decide(&self, question: &Question) -> Result<Verdict, PolicyError> {
        Ok(match question.anomalies.as_slice() {
            _ if question.released => Verdict::Permit,
            [] => Verdict::Permit,
            several => Verdict::Hold { reasons: vec![Reason::new("unusual", several.join(" "))] },
        })
    }
}

/// A habit of the last days: one use of a key a day for `gateway`, from one
/// site.
async fn used_before(service: &Service, key: &str) {
    let (mut habit, product) = (Habit::default(), "gateway".parse().unwrap());
    for days in (1..9).rev() {
        let at = now().minus(Duration::from_secs(days * 24 * 3600)).unwrap();
        habit.learn(Use { product: &product, source: Some([192, 0, 2, 7].into()), at });
    }
    let both = [HabitOf::Key(key.to_owned()), HabitOf::Caller("ci".to_owned())];
    service.store.keep_habits(both.map(|of| (of, habit.clone())).to_vec()).await.unwrap();
}

async fn wish(service: &Service, name: &str, source: [u8; 4]) -> ArtifactWish {
    let mut wish = service.wish(name, service.upload(name.as_bytes()).await);
    wish.caller.source = Some(source.into());
    wish
}

fn told(events: &[Event]) -> Vec<u8> {
    let how = |event: &Event| if let Event::Unusual { how, .. } = event { Some(*how) } else { None };
    events.iter().filter_map(how).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusual_use_is_held_until_a_person_lets_it_go() {
    let bench = Bench::with_policy(Wary);
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    used_before(&service, "own").await;
    let usual = service.submit(wish(&service, "usual", [192, 0, 2, 99]).await).await;
    assert_eq!(service.settled(usual).await.progress.state, JobState::Signed);
    assert_eq!(told(&service.events().await), [0; 0]);

    let (mut held, mut asked) = (Vec::new(), bench.hsm.asked.lock().unwrap().len());
    for name in ["strange", "strange again"] {
        let request = service.submit(wish(&service, name, [203, 0, 113, 5]).await).await;
        let job = service.settled(request).await;
        assert_eq!(job.progress.state, JobState::Held, "{name}");
        assert_eq!(job.progress.reasons[0].why, "source");
        held.push((request, job.progress.decision.unwrap()));
    }
    assert_eq!(bench.hsm.asked.lock().unwrap().len(), asked, "no key was used");
    assert_eq!(told(&service.events().await), [0b1000], "told once an hour");

    // Both are known after a restart, and neither has taught anybody.
    service.pipeline.keep_habits(now()).await.unwrap();
    service.stop().await;
    let service = bench.start().await;
    let third = service.submit(wish(&service, "strange still", [203, 0, 113, 6]).await).await;
    assert_eq!(service.settled(third).await.progress.state, JobState::Held);
    assert_eq!(told(&service.events().await), [0b1000]);

    let (request, decision) = held[0];
    let event = Event::Decided { request, decision, ruling: Ruling::Released };
    let by = Some("olga".to_owned());
    service.store.resume_job(request, JobState::Held, now(), by, vec![event]).await.unwrap();
    service.dispatcher.wake();
    assert_eq!(service.settled(request).await.progress.state, JobState::Signed);
    asked += 1;
    assert_eq!(bench.hsm.asked.lock().unwrap().len(), asked);
    // What a person has let go is usual from here on.
    let now_usual = service.submit(wish(&service, "a friend", [203, 0, 113, 7]).await).await;
    assert_eq!(service.settled(now_usual).await.progress.state, JobState::Signed);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_policy_it_is_told_all_the_same() {
    let bench = Bench::new();
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    service.product("router", "raw").await;
    used_before(&service, "own").await;
    let other =
        ArtifactWish { product: "router".parse().unwrap(), ..wish(&service, "a", [10, 0, 0, 1]).await };
    let request = service.submit(other).await;
    assert_eq!(service.settled(request).await.progress.state, JobState::Signed);
    assert_eq!(told(&service.events().await), [0b1100]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusual_order_is_held_and_a_usual_one_is_not() {
    let bench = Bench::with_policy(Wary);
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    used_before(&service, "release").await;
    let file = service.upload(b"some firmware").await;
    let usual = submit(&service, order(&service, "a", "1.0.0", file)).await;
    released(&service, usual).await;
    assert_eq!(told(&service.events().await), [0; 0]);
    let mut strange = order(&service, "b", "1.1.0", file);
    strange.requester.0.source = Some([203, 0, 113, 5].into());
    let id = submit(&service, strange).await;
    let job = service.settled(id).await;
    assert_eq!((job.progress.state, job.progress.reasons[0].why.as_str()), (JobState::Held, "source"));
    assert_eq!(told(&service.events().await), [0b1000]);
    assert_eq!(bench.release.asked.lock().unwrap().len(), 1, "no key was used");

    // What a person has let go is usual from here on.
    service.store.resume_job(id, JobState::Held, now(), Some("olga".to_owned()), vec![]).await.unwrap();
    service.dispatcher.wake();
    assert_eq!(released(&service, id).await.sequence, 2);
    let mut again = order(&service, "c", "1.2.0", file);
    again.requester.0.source = Some([203, 0, 113, 6].into());
    let again = submit(&service, again).await;
    assert_eq!(released(&service, again).await.sequence, 3);
    assert_eq!(told(&service.events().await), [0b1000], "told once");
    service.stop().await;
}

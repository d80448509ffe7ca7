//! Timestamps over signatures: kept with the record where somebody gives
//! one, and waited for where one is demanded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::JobState;
use firmseal_manifest::{Digest, Event, Outcome};
use firmseal_sign::timestamps::{Stamped, Stamping};
use firmseal_sign::{StampAnswer, Timestamps};
use firmseal_store::{Blobs, Jobs};

use crate::bench::{Bench, now};

/// Authorities that do as they are told, and then are out of reach.
struct Scripted {
    answers: Mutex<VecDeque<&'static [u8]>>,
    silent: Mutex<u32>,
    asked: Mutex<Vec<Digest>>,
    required: bool,
}

impl Scripted {
    fn new(required: bool, silent: u32, answers: &[&'static [u8]]) -> Arc<Scripted> {
        let answers = Mutex::new(answers.iter().copied().collect());
        Arc::new(Scripted { answers, silent: Mutex::new(silent), asked: Mutex::default(), required })
    }
}

impl Timestamps for Scripted {
    fn stamp(&self, digest: Digest) -> Stamping<'_> {
        self.asked.lock().unwrap().push(digest);
        let mut silent = self.silent.lock().unwrap();
        let answer = match *silent {
            0 => self.answers.lock().unwrap().pop_front(),
            _ => {
                *silent -= 1;
                None
            }
        };
        let refused = answer.is_none().then(|| "nobody answers".to_owned());
        let answers = vec![StampAnswer { authority: "lab".to_owned(), refused }];
        Box::pin(std::future::ready(Stamped { token: answer.map(<[u8]>::to_vec), answers }))
    }

    fn is_required(&self) -> bool {
        self.required
    }
}

#[tokio::test]
async fn a_token_is_over_the_signature_and_kept_with_the_record() {
    let authorities = Scripted::new(false, 0, &[b"a token"]);
    let bench = Bench { timestamps: Some(authorities.clone()), ..Bench::new() };
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let id = service.submit(service.wish("a", file)).await;
    assert_eq!(service.settled(id).await.progress.state, JobState::Signed);
    let record = service.store.signature(id).await.unwrap().unwrap();
    assert_eq!(*authorities.asked.lock().unwrap(), [RustCrypto.digest(&record.value)]);
    let [token] = record.timestamps.as_slice() else { panic!("{record:?}") };
    assert_eq!(&service.store.read_all(&token.0, 99).await.unwrap()[..], b"a token");
    // The next file finds nobody, and leaves without one.
    let other = service.upload(b"another firmware").await;
    let job = service.pipeline.artifact_job(service.wish("b", other), now()).await.unwrap();
    let second = job.id;
    let watch = service.dispatcher.watch(second);
    service.dispatcher.submit(job).await.unwrap();
    let carried = watch.await.unwrap();
    assert_eq!(carried.job.progress.state, JobState::Signed);
    // Whoever runs the service is told all the same, and of which authority.
    let refused = Some("nobody answers".to_owned());
    assert_eq!(carried.stamps, [StampAnswer { authority: "lab".to_owned(), refused }]);
    assert_eq!(service.store.signature(second).await.unwrap().unwrap().timestamps, []);
    assert_eq!(service.events().await, []);
    service.stop().await;
}

#[tokio::test]
async fn a_signature_that_must_be_stamped_leaves_with_a_stamp_or_not_at_all() {
    let authorities = Scripted::new(true, 2, &[b"a token"]);
    let bench = Bench { timestamps: Some(authorities.clone()), ..Bench::new() };
    let service = bench.start().await;
    service.product("gateway", "raw").await;
    let file = service.upload(b"some firmware").await;
    let id = service.submit(service.wish("a", file)).await;
    assert_eq!(service.settled(id).await.progress.state, JobState::Signed);
    let record = service.store.signature(id).await.unwrap().unwrap();
    assert_eq!((record.attempts, record.timestamps.len()), (3, 1));
    assert_eq!(authorities.asked.lock().unwrap().last(), Some(&RustCrypto.digest(&record.value)));
    // The key was used twice for nothing, and the log says so.
    let asked = bench.hsm.asked.lock().unwrap().clone();
    let failed = |intent: &u64| Event::Attempt { request: id, intent: *intent, outcome: Outcome::Failed };
    assert_eq!(service.events().await, asked[..2].iter().map(failed).collect::<Vec<_>>());
    service.stop().await;
}

//! The judge of what chaos has left: every acknowledged request has come to
//! what it should, once, and every use of a key is told of.

use std::collections::{BTreeMap, BTreeSet};

use firmseal_fleet::{CameTo, JobState, Release};
use firmseal_keys::{Signer, verify};
use firmseal_manifest::{
    ArtifactId, Event, Intent, Leaf, Outcome, Purpose, ReleaseId, RequestId, Ruling, Tbs,
};
use firmseal_store::{Jobs, Page, Registry};

use crate::bench::{Bench, Service};
use crate::chaos::{Acknowledged, Asked, breaks};

/// Releases that are listed at once.
const PAGE: u32 = 10;

/// What came of everything, for the judge.
#[derive(Default)]
struct Found {
    /// The signatures and releases on record, by the entry that was opened
    /// for them.
    signed: BTreeMap<u64, RequestId>,
    /// The request that each file was signed for.
    of_file: BTreeMap<ArtifactId, RequestId>,
    releases: BTreeMap<ReleaseId, RequestId>,
}

/// The log, with what it tells of attempts.
struct Told {
    log: Vec<Leaf>,
    attempts: BTreeMap<RequestId, BTreeMap<u64, Outcome>>,
    failed: BTreeSet<u64>,
    refused: BTreeSet<RequestId>,
}

impl Told {
    async fn by(service: &Service) -> Told {
        let log = service.log().await;
        // An event whose note is lost is entered again: twice the same.
        let mut attempts: BTreeMap<RequestId, BTreeMap<u64, Outcome>> = BTreeMap::new();
        let mut refused = BTreeSet::new();
        for leaf in &log {
            match leaf {
                Leaf::Event(Event::Attempt { request, intent, outcome }) => {
                    let first = *attempts.entry(*request).or_default().entry(*intent).or_insert(*outcome);
                    assert_eq!(first, *outcome, "{intent} is told in two ways");
                }
                Leaf::Event(Event::Decided { request, ruling: Ruling::Refused, .. }) => {
                    refused.insert(*request);
                }
                _ => {}
            }
        }
        let failed = attempts.values().flat_map(BTreeMap::keys).copied().collect();
        Told { log, attempts, failed, refused }
    }

    /// Whether a key was asked for a request.
    fn asked_for(&self, request: &RequestId) -> bool {
        let mark = Intent::mark(request);
        self.log.iter().filter_map(Leaf::intent).any(|intent| intent.context.contains(&mark))
    }

    /// The intent that a signature on record names.
    fn intent(&self, index: u64, number: usize) -> &Intent {
        assert!(!self.failed.contains(&index), "{number}: both signed and not");
        self.log[index as usize].intent().unwrap()
    }
}

pub(crate) async fn judge(bench: &Bench, service: &Service, acknowledged: &Acknowledged) {
    let told = Told::by(service).await;
    let (mut found, mut refused) = (Found::default(), 0);
    for (number, (asked, id)) in acknowledged {
        let job = service.store.job(*id).await.unwrap().unwrap();
        if let Some(rule) = breaks(*number) {
            assert_eq!(job.progress.state, JobState::Refused, "{number}: {:?}", job.progress);
            assert_eq!(job.progress.reasons[0].rule, rule, "{number}: {:?}", job.progress);
            assert!(told.refused.contains(id), "{number}: nobody tells that it was refused");
            assert!(!told.asked_for(id), "{number}: a key was asked for what is refused");
            refused += 1;
            continue;
        }
        assert_eq!(job.progress.state, JobState::Signed, "{number}: {:?}", job.progress);
        match (asked, job.progress.came_to) {
            (Asked::File(file), Some(CameTo::Signature(of))) => {
                judge_file(bench, service, &told, &mut found, (*number, *file, of)).await;
            }
            (Asked::Release(version), Some(CameTo::Release(made))) => {
                let release = service.store.release(made).await.unwrap();
                judge_release(&told, &mut found, (*number, version, *id), &release);
            }
            (asked, other) => panic!("{number}: {asked:?} came to {other:?}"),
        }
    }
    // Nothing that a key was asked for is missing, and nothing twice.
    let mut asked = bench.hsm.asked.lock().unwrap().clone();
    asked.extend(bench.release.asked.lock().unwrap().iter());
    let once: BTreeSet<u64> = asked.iter().copied().collect();
    assert_eq!(once.len(), asked.len(), "one entry opens a key once");
    let known = |index: &u64| found.signed.contains_key(index) || told.failed.contains(index);
    for index in &once {
        assert!(known(index), "a key was asked under entry {index}, and nobody tells of it");
    }
    // And every intent came to something that is told.
    for (leaf, index) in told.log.iter().zip(0..) {
        assert!(leaf.intent().is_none() || known(&index), "nobody tells what became of entry {index}");
    }
    // Nor is there a release that nobody ordered.
    let (mut all, mut page) = (BTreeSet::new(), Page::first(PAGE));
    loop {
        let some = service.store.releases(None, page).await.unwrap();
        all.extend(some.iter().map(|release| release.id));
        match some.last() {
            Some(last) => page = Page::after(last.id, PAGE),
            None => break,
        }
    }
    assert!(all.iter().eq(found.releases.keys()));
    println!(
        "{} requests: {} signatures of files, {} releases, {refused} refusals; keys were asked {} times, {} attempts were told of",
        acknowledged.len(),
        found.of_file.len(),
        found.releases.len(),
        asked.len(),
        told.failed.len()
    );
}

async fn judge_file(
    bench: &Bench,
    service: &Service,
    told: &Told,
    found: &mut Found,
    (number, file, of): (usize, ArtifactId, RequestId),
) {
    if let Some(first) = found.of_file.insert(file, of) {
        assert_eq!(first, of, "{number}: two signatures of one file");
        return;
    }
    let record = service.store.signature(of).await.unwrap().unwrap();
    let tbs = Tbs::Message(file.0.as_bytes().to_vec());
    let value = firmseal_manifest::Signature(record.value.clone());
    verify(bench.hsm.public_key(), &tbs, &value).unwrap();
    let intent = told.intent(record.log_index, number);
    assert_eq!((intent.subject, record.tbs), (tbs.fingerprint(), tbs.fingerprint()));
    let own = told.attempts.get(&of).map_or(0, BTreeMap::len);
    assert_eq!(record.attempts as usize, own + 1, "{number}");
    assert_eq!(found.signed.insert(record.log_index, of), None);
}

fn judge_release(
    told: &Told,
    found: &mut Found,
    (number, version, id): (usize, &semver::Version, RequestId),
    release: &Release,
) {
    assert_eq!((release.request, &release.version), (id, version), "{number}");
    let intent = told.intent(release.log_index, number);
    assert_eq!((intent.purpose, intent.subject), (Purpose::Release, release.manifest));
    assert!(intent.context.contains(&Intent::mark(&id)), "{number}");
    assert_eq!(found.signed.insert(release.log_index, id), None);
    assert_eq!(found.releases.insert(release.id, id), None);
}

//! Attacks that are no envelope: each test is named after the one it tries,
//! as docs/threats.md lists them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::sim::SimFiles;
use common::{Memory, Release, TestClock, config, deps, with_server};
use firmseal_agent::files::{Access, Files};
use firmseal_agent::{Agent, Config, Deps, Enrolment, Error, Event, Origin, enrol};
use firmseal_manifest::bundle::BundleWriter;
use firmseal_testkit::Story;
use firmseal_testkit::story::{NOW, freshness};
use firmseal_testkit::vectors::Scene;
use firmseal_testkit::world::{COMPONENT, component, firmware};
use uuid::Uuid;

const DAY: u64 = 86_400;
const STICK: &str = "/sim/stick";

/// A device under a root that demands a proof and two approvals, with a clock
/// and a week of patience.
struct Bench {
    files: SimFiles,
    clock: Arc<TestClock>,
    config: Config,
    deps: Deps,
}

/// A release of the story with this number, after `change`.
fn release(sequence: u64, change: impl FnOnce(&mut Story)) -> (Release, Vec<u8>) {
    let payload = firmware(30_000, sequence);
    let (spec, tree) = component(COMPONENT, &payload);
    let mut scene = Scene::default();
    scene.release(|release| {
        release.sequence = sequence;
        release.components = vec![spec];
    });
    scene.tell(change);
    let vector = scene.finish("", "", Ok(()));
    (Release { envelope: vector.envelope, payloads: vec![payload], trees: vec![tree] }, vector.root)
}

impl Bench {
    async fn new() -> Bench {
        let files = SimFiles::default();
        let mut config = with_server(config(Path::new("/sim"), &[COMPONENT], 1 << 20));
        let vector = Scene::default().finish("", "", Ok(()));
        (config.vendor, config.class) = (Uuid::from_bytes(vector.vendor), Uuid::from_bytes(vector.class));
        (config.max_age, config.leeway) = (Some(7 * DAY), 0);
        let clock = Arc::new(TestClock(Mutex::new(NOW * 1000)));
        let deps = Deps { files: Arc::new(files.clone()), clock: clock.clone(), ..deps(&config) };
        let (_, root) = release(1, |_| ());
        enrol(&config, &deps, &Enrolment { anchor: &root, server: None }).await.unwrap();
        Bench { files, clock, config, deps }
    }

    fn agent(&self) -> Agent {
        Agent::new(self.config.clone(), self.deps.clone()).unwrap()
    }

    fn set_clock(&self, seconds: u64) {
        *self.clock.0.lock().unwrap() = seconds * 1000;
    }

    /// Puts a bundle where the device finds it.
    fn stick(&self, release: &Release, news: &[u8]) -> PathBuf {
        let mut writer = BundleWriter::with_news(Vec::new(), &[], &[], news, &release.envelope).unwrap();
        for (payload, tree) in release.payloads.iter().zip(&release.trees) {
            for blob in [&tree.hash_blocks, payload] {
                writer.blob_head(blob.len() as u64).unwrap();
                writer.blob_piece(blob).unwrap();
            }
        }
        let path = PathBuf::from(STICK);
        let file = self.files.open(&path, Access::Replace).unwrap();
        file.write_at(&writer.finish().unwrap(), 0).unwrap();
        path
    }

    /// Installs a good release from a bundle with news of today, and
    /// confirms it.
    async fn bring_up(&self, agent: &Agent, sequence: u64, today: u64) {
        let (good, _) = release(sequence, |_| ());
        let stick = self.stick(&good, &freshness(0, &[(0, today), (1, today + 1)]));
        agent.install_bundle(&stick).await.unwrap();
        assert!(agent.boot_stage().unwrap().trial);
        assert_eq!(agent.settle().await.unwrap(), Some(Event::Confirmed));
    }
}

fn code(result: Result<firmseal_agent::Installed, Error>) -> u16 {
    match result {
        Err(Error::Refused(refused)) => refused.reason.code(),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

/// Nobody answers any more: the device says so at every poll, boots what it
/// has, and takes the next release from a stick.
#[tokio::test]
async fn drop_request_stops_no_boot_and_no_bundle() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    bench.bring_up(&agent, 1, NOW).await;
    bench.set_clock(NOW + 3 * 365 * DAY);
    for _ in 0..3 {
        assert!(agent.poll_once().await.is_err(), "a poll that nobody answers is trouble, not silence");
    }
    assert!(!agent.boot_stage().unwrap().trial);
    bench.bring_up(&agent, 2, NOW + 3 * 365 * DAY).await;
}

/// A server shows the same news for ever: within a week nothing installs any
/// more, what is confirmed boots, and new news end it.
#[tokio::test]
async fn indefinite_freeze_is_noticed_after_a_week() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    bench.bring_up(&agent, 1, NOW).await;
    let (next, _) = release(2, |_| ());
    bench.set_clock(NOW + 7 * DAY + 2);
    let old = freshness(0, &[(0, NOW), (1, NOW + 1)]);
    assert_eq!(code(agent.install_bundle(&bench.stick(&next, &old)).await), 712);
    assert!(!agent.boot_stage().unwrap().trial);
    bench.bring_up(&agent, 3, NOW + 7 * DAY).await;
}

/// The server signs with the release key and logs it, and two witnesses
/// cosign: without approvals not a byte of the payload is fetched.
#[tokio::test]
async fn stolen_server_signs_nothing_that_installs() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    bench.bring_up(&agent, 1, NOW).await;
    let (signed, _) = release(2, |story| story.approvers.clear());
    let source = signed.source();
    let given = source.given.clone();
    let result = agent.install_from(signed.envelope.clone(), Arc::new(source), Origin::default()).await;
    assert_eq!(code(result), 701);
    assert_eq!(*given.lock().unwrap(), 0);
    assert!(!agent.boot_stage().unwrap().trial);
}

/// One mirror damages what it carries. It is refused, and a good one serves
/// the same release.
#[tokio::test]
async fn malicious_mirror_prevents_no_update() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    bench.bring_up(&agent, 1, NOW).await;
    let (next, _) = release(2, |_| ());
    let mut bad = next.source();
    bad.blobs.values_mut().for_each(|blob| blob[0] ^= 1);
    let result = agent.install_from(next.envelope.clone(), Arc::new(bad), Origin::default()).await;
    assert!(matches!(code(result), 600..=602));
    let good = Arc::new(next.source());
    agent.install_from(next.envelope.clone(), good, Origin::default()).await.unwrap();
    assert!(agent.boot_stage().unwrap().trial);
}

/// A mirror that never stops sending is read up to the signed size.
#[tokio::test]
async fn endless_data_ends_at_the_signed_size() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    bench.bring_up(&agent, 1, NOW).await;
    let (next, _) = release(2, |_| ());
    let source = Memory { endless: true, ..next.source() };
    let given = source.given.clone();
    agent.install_from(next.envelope.clone(), Arc::new(source), Origin::default()).await.unwrap();
    let signed = (next.payloads[0].len() + next.trees[0].hash_blocks.len()) as u64;
    assert!(*given.lock().unwrap() <= signed, "no byte beyond what was signed is taken");
}

/// One witness turns its clock a century ahead. The time floor does not
/// follow, its news are no younger for it, and honest news still count.
#[tokio::test]
async fn dishonest_witness_makes_nothing_young() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    bench.bring_up(&agent, 1, NOW).await;
    let (next, _) = release(2, |_| ());
    bench.set_clock(NOW + 8 * DAY);
    let lie = freshness(0, &[(0, NOW + 1), (1, NOW + 36_500 * DAY)]);
    assert_eq!(code(agent.install_bundle(&bench.stick(&next, &lie)).await), 712);
    bench.bring_up(&agent, 3, NOW + 8 * DAY).await;
}

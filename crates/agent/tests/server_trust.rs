//! Trust documents from a server: taken before its offer, whatever the
//! server makes of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::{Arc, Mutex};

use common::roots::*;
use common::server::*;
use common::*;
use firmseal_agent::{Agent, Config, Deps, Enrolment, Event, ServerEnrolment, enrol};
use firmseal_manifest::Digest;
use firmseal_testkit::story::{NOW, freshness};

/// A device that trusts the first document of the chain, at the time of the
/// story, and its server.
struct Bench {
    _dir: tempfile::TempDir,
    server: Server,
    config: Config,
    deps: Deps,
    clock: Arc<TestClock>,
}

impl Bench {
    async fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let server = serve(Arc::new(authority())).await;
        let config = Config { max_age: None, ..config(dir.path(), &["rootfs"], 1 << 20) };
        let clock = Arc::new(TestClock(Mutex::new(NOW * 1000)));
        let deps = Deps { clock: clock.clone(), ..deps(&config) };
        let anchor = chain(1).remove(0);
        let by_server = ServerEnrolment { url: &server.url, token: "one-time", authority: &server.authority };
        enrol(&config, &deps, &Enrolment { anchor: &anchor, server: Some(by_server) }).await.unwrap();
        server.trust.lock().unwrap().roots = chain(1);
        Bench { _dir: dir, server, config, deps, clock }
    }

    fn agent(&self) -> Agent {
        Agent::new(self.config.clone(), self.deps.clone()).unwrap()
    }

    fn serve(&self, change: impl FnOnce(&mut Served)) {
        change(&mut self.server.trust.lock().unwrap());
    }

    fn offer(&self, release: Release) {
        *self.server.offer.lock().unwrap() = Some(release);
    }

    fn lie(&self, lie: Lie) {
        *self.server.lie.lock().unwrap() = lie;
    }

    /// Paths that were asked for since the last look.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.server.seen.lock().unwrap().paths)
    }

    /// Root documents that were asked for; the first one is what a new
    /// certificate is tried on.
    fn roots_asked(&self) -> usize {
        let is_root = |path: &&String| path.starts_with("/v1/roots/") && *path != "/v1/roots/1";
        self.asked().iter().filter(is_root).count()
    }

    fn set_clock(&self, seconds: u64) {
        *self.clock.0.lock().unwrap() = seconds * 1000;
    }
}

fn release(sequence: u64, root: u64) -> Release {
    Recipe { signer: release_key(root), ..Recipe::new(sequence, noise(30_000, sequence)) }.make()
}

fn manifest(release: &Release) -> Digest {
    *firmseal_core::Envelope::decode(&release.envelope).unwrap().manifest_digest()
}

async fn poll(agent: &Agent) -> Event {
    agent.poll_once().await.unwrap()
}

#[tokio::test]
async fn roots_are_walked_before_the_offer_is_looked_at() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    bench.serve(|trust| trust.roots = chain(3));
    bench.offer(release(2, 3));
    bench.asked();
    assert!(matches!(poll(&agent).await, Event::Installed(_)));
    let asked = bench.asked();
    let at = |path: &str| asked.iter().position(|asked| asked == path).unwrap();
    assert!(at("/v1/poll") < at("/v1/roots/2") && at("/v1/roots/3") < at("/v1/releases/x/envelope"));
    assert!(agent.boot_stage().unwrap().trial, "the boot stage knows the newest root as well");
    assert_eq!(poll(&agent).await, Event::Confirmed);
    // The next poll says where the device stands.
    *bench.server.offer.lock().unwrap() = None;
    poll(&agent).await;
    assert_eq!(bench.server.seen.lock().unwrap().polls.last().unwrap().state.root_version, 3);
}

#[tokio::test]
async fn hundreds_of_missed_roots_are_walked_in_turns_while_the_offer_waits() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    bench.serve(|trust| trust.roots = chain(300));
    bench.offer(release(2, 300));
    for version in [129, 257] {
        assert_eq!(poll(&agent).await, Event::Idle { poll_after: 60 });
        assert_eq!(agent.status().unwrap().root_version, version);
    }
    assert!(matches!(poll(&agent).await, Event::Installed(_)));
    drop(agent);
    // What was walked is verified again at every start.
    assert_eq!(bench.agent().status().unwrap().root_version, 300);
}

#[tokio::test]
async fn a_server_that_lies_about_roots_moves_nothing_and_keeps_nobody() {
    let foreign = Link { lineage: 8, ..Link::new(2) }.make();
    let forked = Link { linked: false, ..Link::new(2) }.make();
    let with = |second: Vec<u8>| [chain(1), vec![second]].concat();
    for (name, lie, roots, claims) in [
        ("noise", Lie::NoiseForRoots, chain(1), 2),
        ("an endless document", Lie::EndlessRoot, chain(1), 2),
        ("the same again", Lie::SameRoot, chain(1), 9),
        ("not found", Lie::None, chain(1), u64::MAX),
        ("another lineage", Lie::None, with(foreign), 2),
        ("a fork", Lie::None, with(forked), 2),
        ("a gap", Lie::None, with(Link::new(3).make()), 3),
    ] {
        let bench = Bench::new().await;
        let agent = bench.agent();
        bench.serve(|trust| (trust.roots, trust.claims) = (roots, Some(claims)));
        bench.lie(lie);
        bench.offer(release(2, 1));
        bench.asked();
        // What is offered is judged from where the device stands.
        let event = poll(&agent).await;
        assert!(matches!(event, Event::Installed(_) | Event::Idle { .. }), "{name}: {event:?}");
        assert_eq!(agent.status().unwrap().root_version, 1, "{name}");
        assert_eq!(bench.roots_asked(), 1, "{name}");
        drop(agent);
        assert_eq!(bench.agent().status().unwrap().root_version, 1, "{name}");
    }
}

#[tokio::test]
async fn a_server_with_always_one_more_root_does_not_keep_a_device() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    bench.serve(|trust| (trust.roots, trust.claims) = (chain(400), Some(u64::MAX)));
    for _ in 0..2 {
        bench.asked();
        assert_eq!(poll(&agent).await, Event::Idle { poll_after: 60 });
        assert_eq!(bench.roots_asked(), 128);
    }
}

#[tokio::test]
async fn an_expired_certificate_still_opens_roots_and_revocations() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    let revoked = revocation(3, 1, &[Digest([9; 32])], &[]);
    bench.serve(|trust| (trust.roots, trust.revocation) = (chain(3), Some((1, revoked))));
    bench.lie(Lie::Locked);
    agent.poll_once().await.unwrap_err();
    let status = agent.status().unwrap();
    assert_eq!((status.root_version, status.revocation_version), (3, 1));
}

#[tokio::test]
async fn a_revocation_stops_an_offer_and_never_goes_back() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    let (bad, good) = (release(2, 1), release(3, 1));
    bench.offer(bad.clone());
    bench.serve(|trust| trust.revocation = Some((2, revocation(1, 2, &[manifest(&bad)], &[]))));
    assert!(matches!(poll(&agent).await, Event::Refused { code: 710, .. }));
    // An older one, one of another root, and noise: none is taken.
    for document in [revocation(1, 1, &[], &[]), revocation(2, 3, &[], &[]), noise(3000, 1)] {
        bench.serve(|trust| trust.revocation = Some((9, document)));
        for _ in 0..3 {
            assert!(matches!(poll(&agent).await, Event::Refused { code: 710, .. }));
            assert_eq!(agent.status().unwrap().revocation_version, 2);
        }
    }
    let seen = std::mem::take(&mut bench.server.seen.lock().unwrap().reports);
    let told = |report: &&firmseal_api::updates::Report| {
        report.message.as_ref().is_some_and(|message| message.starts_with("revocation: "))
    };
    assert_eq!(seen.iter().filter(told).count(), 2, "each that was refused is told once");
    bench.offer(good);
    assert!(matches!(poll(&agent).await, Event::Installed(_)));
}

#[tokio::test]
async fn an_image_on_trial_that_was_revoked_is_not_confirmed() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    let (first, second) = (release(1, 1), release(2, 1));
    bench.offer(first.clone());
    poll(&agent).await;
    agent.boot_stage().unwrap();
    assert_eq!(poll(&agent).await, Event::Confirmed);
    bench.offer(second.clone());
    poll(&agent).await;
    assert_eq!(agent.boot_stage().unwrap().version, "2.0.0");
    // It runs, it is healthy, and the word comes: also against the first.
    let both = [manifest(&first), manifest(&second)];
    bench.serve(|trust| trust.revocation = Some((1, revocation(1, 1, &both, &[]))));
    assert!(matches!(poll(&agent).await, Event::Reverted { .. }));
    assert_eq!(agent.boot_stage().unwrap().version, "1.0.0", "what is confirmed goes on booting");
    assert!(agent.confirm().is_ok(), "and it is confirmed still");
}

#[tokio::test]
async fn a_new_revocation_role_has_the_last_word_over_a_stolen_one() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    // The thief gives his the highest number there is.
    let stolen = revocation(1, u64::MAX, &[Digest([1; 32])], &[]);
    bench.serve(|trust| trust.revocation = Some((u64::MAX, stolen)));
    poll(&agent).await;
    assert_eq!(agent.status().unwrap().revocation_version, u64::MAX);
    let ours = revocation(2, 1, &[Digest([2; 32])], &[]);
    bench.serve(|trust| (trust.roots, trust.revocation) = (chain(2), Some((1, ours))));
    poll(&agent).await;
    assert_eq!(agent.status().unwrap().revocation_version, 1);
    drop(agent);
    assert_eq!(bench.agent().status().unwrap().revocation_version, 1);
}

#[tokio::test]
async fn news_is_fetched_where_it_is_demanded_and_clocks_may_lie() {
    let mut bench = Bench::new().await;
    (bench.config.max_age, bench.config.leeway) = (Some(3600), 300);
    let agent = bench.agent();
    bench.offer(release(2, 1));
    let refused = |event: &Event| matches!(event, Event::Refused { code: 712, .. });
    assert!(refused(&poll(&agent).await), "there is no news");
    let news = |age: u64| freshness(0, &[(0, NOW - age), (1, NOW - age + 2)]);
    bench.serve(|trust| trust.freshness = Some(news(5000)));
    assert!(refused(&poll(&agent).await), "the news is old");
    let floor = agent.status().unwrap().time_floor;
    assert_eq!(floor, NOW - 5000, "the earliest of both");

    // A clock that runs ahead makes everything look old; within the leeway
    // it does not. One that stands behind sees nothing as old: only going
    // back is refused.
    bench.serve(|trust| trust.freshness = Some(news(0)));
    bench.set_clock(NOW + 3600 + 310);
    assert!(refused(&poll(&agent).await), "ahead by more than the leeway");
    let status = agent.status().unwrap();
    assert_eq!((status.freshness.unwrap().age, status.time_floor), (Some(3910), NOW));
    bench.set_clock(NOW + 3600 + 290);
    assert!(matches!(poll(&agent).await, Event::Installed(_)), "ahead within the leeway");
    assert!(agent.boot_stage().unwrap().trial);
    assert_eq!(poll(&agent).await, Event::Confirmed);
    bench.set_clock(1000);
    bench.offer(release(3, 1));
    assert!(matches!(poll(&agent).await, Event::Installed(_)), "the clock was reset");
    // Stale news ends installs, never a boot.
    bench.set_clock(NOW + 1_000_000);
    assert_eq!(agent.boot_stage().unwrap().version, "3.0.0");
    assert_eq!(poll(&agent).await, Event::Confirmed);
    bench.offer(release(4, 1));
    assert!(refused(&poll(&agent).await));
    assert_eq!(agent.boot_stage().unwrap().version, "3.0.0");
    // A replay of older news takes nothing back.
    bench.serve(|trust| trust.freshness = Some(news(5000)));
    poll(&agent).await;
    assert_eq!(agent.status().unwrap().freshness.unwrap().at, NOW);
    drop(agent);
    assert_eq!(bench.agent().status().unwrap().time_floor, NOW, "the floor is durable");
}

#[tokio::test]
async fn one_witness_cannot_end_the_news() {
    let mut bench = Bench::new().await;
    bench.config.max_age = Some(3600);
    let agent = bench.agent();
    // One of the two lies about the future, once.
    bench.serve(|trust| trust.freshness = Some(freshness(0, &[(0, NOW), (1, u64::MAX >> 1)])));
    poll(&agent).await;
    assert_eq!(agent.status().unwrap().time_floor, NOW, "the floor follows the earliest");
    bench.serve(|trust| trust.freshness = Some(freshness(3, &[(0, NOW + 60), (1, NOW + 61)])));
    poll(&agent).await;
    assert_eq!(agent.status().unwrap().freshness.unwrap().at, NOW + 60, "honest news replaces it");
    // News that knows of a revocation which the device has not.
    bench.offer(release(2, 1));
    assert!(matches!(poll(&agent).await, Event::Refused { code: 711, .. }));
    bench.serve(|trust| trust.freshness = Some(freshness(2, &[(0, NOW + 90), (1, NOW + 91)])));
    poll(&agent).await;
    let held = agent.status().unwrap().freshness.unwrap();
    assert_eq!((held.at, held.revocation), (NOW + 60, 3), "it does not go back");
}

//! Against a server that is honest, gone, moved, or hostile.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::server::*;
use common::*;
use firmseal_agent::{Agent, Deps, Error, Event};
use uuid::Uuid;

#[tokio::test]
async fn an_offer_becomes_a_confirmed_image_and_every_step_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (config, deps) = enrolled(dir.path(), &server).await;
    let key = std::fs::metadata(dir.path().join("state/device.key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    let agent = Agent::new(config, deps).unwrap();
    assert_eq!(agent.poll_once().await.unwrap(), Event::Idle { poll_after: 60 });
    *server.offer.lock().unwrap() = Some(Recipe::new(2, noise(5 << 20, 1)).make());
    for lie in [Lie::None, Lie::NoRanges] {
        *server.lie.lock().unwrap() = lie;
        let release = server.offer.lock().unwrap().clone().unwrap();
        let event = agent.poll_once().await.unwrap();
        assert!(matches!(&event, Event::Installed(_)), "{event:?}");
        assert_eq!(agent.poll_once().await.unwrap(), Event::RebootNeeded);
        assert!(agent.boot_stage().unwrap().trial);
        assert_eq!(agent.poll_once().await.unwrap(), Event::Confirmed);
        assert_eq!(agent.reports().unwrap(), []);
        assert!(!release.payloads.is_empty());
        *server.offer.lock().unwrap() = Some(Recipe::new(3, noise(3 << 20, 2)).make());
    }
    let seen = server.seen.lock().unwrap();
    let phases: Vec<&str> = seen.reports.iter().map(|report| report.phase.as_str()).collect();
    assert_eq!(phases, ["downloading", "installed", "trial", "confirmed"].repeat(2));
    for report in &seen.reports {
        assert_eq!(report.build.as_deref(), Some("build-17"));
        assert_eq!(report.release.unwrap().uuid(), Uuid::from_u128(7));
        assert_eq!(report.rollout.unwrap().uuid(), Uuid::from_u128(8));
        assert_eq!(report.request.unwrap().uuid(), Uuid::from_u128(9));
    }
    server.task.abort();
}

#[tokio::test]
async fn a_server_that_lies_about_lengths_gets_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (config, deps) = enrolled(dir.path(), &server).await;
    let agent = Agent::new(config, deps).unwrap();
    *server.offer.lock().unwrap() = Some(Recipe::new(2, noise(5 << 20, 1)).make());
    *server.lie.lock().unwrap() = Lie::LongEnvelope;
    let event = agent.poll_once().await.unwrap();
    assert!(matches!(event, Event::Refused { code: 101, .. }), "{event:?}");
    for lie in [Lie::EndlessEnvelope, Lie::ShortEnvelope, Lie::OtherRange] {
        *server.lie.lock().unwrap() = lie;
        let err = agent.poll_once().await.unwrap_err();
        assert!(matches!(err, Error::Server(_) | Error::Carrier { .. }), "{lie:?}: {err}");
    }
    // Half of every range arrives: it comes to its end all the same.
    *server.lie.lock().unwrap() = Lie::Breaks;
    assert!(matches!(agent.poll_once().await.unwrap(), Event::Installed(_)));
    assert!(agent.boot_stage().unwrap().trial);
    server.task.abort();
}

#[tokio::test]
async fn reports_wait_while_the_server_is_gone_and_find_its_new_address() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Arc::new(authority());
    let server = serve(authority.clone()).await;
    let (mut config, deps) = enrolled(dir.path(), &server).await;
    let agent = Agent::new(config.clone(), deps.clone()).unwrap();
    let release = Recipe::new(2, noise(1 << 20, 1)).make();
    *server.offer.lock().unwrap() = Some(release.clone());
    assert!(matches!(agent.poll_once().await.unwrap(), Event::Installed(_)));
    *server.lie.lock().unwrap() = Lie::Gone;
    server.task.abort();
    agent.boot_stage().unwrap();
    assert_eq!(agent.poll_once().await.unwrap(), Event::Confirmed);
    let waiting = agent.reports().unwrap();
    assert!(waiting.iter().any(|report| report.phase.as_str() == "confirmed"));
    let err = agent.poll_once().await.unwrap_err();
    assert_eq!(err.exit_code(), firmseal_agent::exit::UNREACHABLE, "{err}");
    assert_eq!(agent.reports().unwrap(), waiting);
    drop(agent);

    let moved = serve(authority).await;
    config.server = Some(moved.url.clone());
    let agent = Agent::new(config, deps).unwrap();
    assert!(matches!(agent.poll_once().await.unwrap(), Event::Idle { .. }));
    assert_eq!(moved.seen.lock().unwrap().reports, waiting);
    assert_eq!(agent.reports().unwrap(), []);
    let polls = &moved.seen.lock().unwrap().polls;
    let running = polls[0].state.running.as_ref().unwrap();
    assert_eq!((running.sequence, running.confirmed), (2, true));
    moved.task.abort();
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_expires_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (config, deps) = enrolled(dir.path(), &server).await;
    for (seconds, renewals) in [(1_500_000_000, 0), (1_800_000_000, 1), (1_999_999_999, 2)] {
        let clock = Arc::new(TestClock::default());
        *clock.0.lock().unwrap() = seconds * 1000;
        let agent = Agent::new(config.clone(), Deps { clock, ..deps.clone() }).unwrap();
        agent.poll_once().await.unwrap();
        assert_eq!(server.seen.lock().unwrap().renewals, renewals);
    }
    server.task.abort();
}

#[tokio::test]
async fn a_certificate_that_does_not_serve_the_device_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (config, deps) = enrolled(dir.path(), &server).await;
    let path = config.state.join("device.crt");
    let before = std::fs::read(&path).unwrap();
    for (lie, seconds) in [(Lie::OtherKey, 1_800_000_000), (Lie::NoEntry, 1_800_000_000)] {
        *server.lie.lock().unwrap() = lie;
        let clock = Arc::new(TestClock::default());
        *clock.0.lock().unwrap() = seconds * 1000;
        let agent = Agent::new(config.clone(), Deps { clock, ..deps.clone() }).unwrap();
        // The old one still works, so the poll goes on with it.
        agent.poll_once().await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    assert_eq!(server.seen.lock().unwrap().renewals, 2);
    server.task.abort();
}

#[tokio::test]
async fn another_server_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (mut config, deps) = enrolled(dir.path(), &server).await;
    let other = serve(Arc::new(authority())).await;
    config.server = Some(other.url.clone());
    let agent = Agent::new(config, deps).unwrap();
    let err = agent.poll_once().await.unwrap_err();
    assert_eq!(err.exit_code(), firmseal_agent::exit::SERVER, "{err}");
    assert_eq!(other.seen.lock().unwrap().polls.len(), 0);
    server.task.abort();
    other.task.abort();
}

#[tokio::test]
async fn the_daemon_polls_until_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (mut config, deps) = enrolled(dir.path(), &server).await;
    config.poll.interval = 1;
    config.poll.jitter = 0;
    *server.offer.lock().unwrap() = Some(Recipe::new(2, noise(1 << 20, 1)).make());
    let agent = Agent::new(config, deps).unwrap();
    let installed = async {
        while agent.boot_state().unwrap().trial.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    agent.run(installed).await.unwrap();
    assert!(agent.boot_stage().unwrap().trial);
    let confirmed = async {
        while agent.boot_state().unwrap().confirmed.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    agent.run(confirmed).await.unwrap();
    server.task.abort();
}

#[tokio::test]
async fn an_unreadable_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(authority())).await;
    let (config, deps) = enrolled(dir.path(), &server).await;
    let agent = Agent::new(config, deps).unwrap();
    for (name, junk) in [("device.key", &b"junk"[..]), ("device.crt", b""), ("authority.crt", b"junk")] {
        let path = dir.path().join("state").join(name);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, junk).unwrap();
        let err = agent.poll_once().await.unwrap_err();
        assert_eq!(err.exit_code(), firmseal_agent::exit::IDENTITY, "{name}: {err}");
        std::fs::write(&path, good).unwrap();
    }
    agent.poll_once().await.unwrap();
    server.task.abort();
}

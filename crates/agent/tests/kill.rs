//! SIGKILL: the true program on the true file system, killed at moments
//! nobody chose. `FIRMSEAL_KILLS` says how often.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::*;
use firmseal_core::Environment;

const AGENT: &str = env!("CARGO_BIN_EXE_firmseal-agent");

fn agent(config: &Path) -> Command {
    let mut command = Command::new(AGENT);
    command.arg("--config").arg(config).env("FIRMSEAL_LOG", "off").stdin(Stdio::null());
    command
}

fn output(config: &Path, arguments: &[&str]) -> Output {
    agent(config).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[test]
fn kills_at_random_moments_lose_nothing() {
    let kills: u32 = std::env::var("FIRMSEAL_KILLS").map_or(25, |count| count.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("agent.toml");
    let head = "sync_bytes = 1048576\ntries = 20\nreports_max = 512\n";
    std::fs::write(&config, format!("{head}{}", config_text(dir.path(), &["rootfs"], 64 << 20))).unwrap();
    let anchor = dir.path().join("root.cbor");
    std::fs::write(&anchor, root(Environment::Test, 0)).unwrap();
    assert!(output(&config, &["enrol", "--anchor", anchor.to_str().unwrap()]).status.success());

    let bundle = dir.path().join("release.bundle");
    let (mut sequence, mut killed, mut took) = (0, 0, Duration::from_millis(300));
    let mut seed = 12345u64;
    while killed < kills {
        sequence += 1;
        let release = Recipe::new(sequence, noise(24 << 20, sequence)).make();
        std::fs::write(&bundle, release.bundle()).unwrap();
        let mut confirmed = false;
        for _ in 0..200 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let started = Instant::now();
            let mut child = agent(&config)
                .arg("install")
                .arg(&bundle)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            if sequence > 1 && killed < kills {
                // The moment is random; nothing below depends on which it is.
                std::thread::sleep(took * ((seed >> 40) % 1000) as u32 / 1000);
                if child.try_wait().unwrap().is_none() {
                    child.kill().unwrap();
                    killed += 1;
                }
            }
            let done = child.wait_with_output().unwrap();
            let code = done.status.code();
            assert!(matches!(code, None | Some(0 | 11)), "{code:?}: {}", text(&done.stderr));
            if code == Some(0) {
                took = (took + started.elapsed()) / 2;
            }
            // Whatever was killed: something boots, once there was something.
            let booted = output(&config, &["boot"]);
            if sequence == 1 && !booted.status.success() {
                continue;
            }
            assert!(booted.status.success(), "{}", text(&booted.stderr));
            if text(&booted.stderr).contains("on trial") {
                let confirm = output(&config, &["confirm"]);
                assert!(confirm.status.success(), "{}", text(&confirm.stderr));
                confirmed = true;
                break;
            }
        }
        assert!(confirmed);
        let status = output(&config, &["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        assert_eq!(status["floors"]["sequence"]["rootfs"], sequence);
        assert_eq!(status["install"], serde_json::Value::Null);
        let slot = status["boot"]["active"].as_str().unwrap();
        let image = std::fs::read(dir.path().join(format!("rootfs.{slot}"))).unwrap();
        assert!(image[..24 << 20] == release.payloads[0][..]);
    }
}

#[test]
fn every_failure_has_its_exit_code_and_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("agent.toml");
    let check = |arguments: &[&str], code: i32, says: &str| {
        let done = output(&config, arguments);
        let err = text(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {err}");
        assert!(err.contains(says), "{arguments:?}: {err}");
        assert!(done.stdout.is_empty() || code == 0, "{arguments:?}");
    };
    check(&["status"], 3, "agent.toml");
    std::fs::write(&config, "server = 5\n").unwrap();
    check(&["status"], 3, "server");
    let good = config_text(dir.path(), &["rootfs"], 1 << 20);
    std::fs::write(&config, format!("colour = \"red\"\n{good}")).unwrap();
    check(&["status"], 3, "colour");
    std::fs::write(&config, format!("on_refusal = \"allow\"\n{good}")).unwrap();
    check(&["status"], 3, "allow");
    std::fs::write(&config, &good).unwrap();
    check(&["frobnicate"], 2, "Usage");
    check(&["status"], 5, "hint: run `firmseal-agent enrol`");
    let anchor = dir.path().join("root.cbor");
    std::fs::write(&anchor, b"\xffnonsense").unwrap();
    let anchor = anchor.to_str().unwrap();
    check(&["enrol", "--anchor", anchor], 3, "trust anchor");
    check(&["enrol", "--anchor", "/nowhere"], 4, "/nowhere");
    std::fs::write(anchor, root(Environment::Production, 0)).unwrap();
    check(&["enrol", "--anchor", anchor], 0, "");
    check(&["boot"], 12, "nothing was installed");
    check(&["confirm", "--now"], 11, "no image is on trial");
    check(&["poll-once"], 5, "not enrolled");
    check(&["install", "/nowhere.bundle"], 6, "/nowhere.bundle");
    let bundle = dir.path().join("release.bundle");
    std::fs::write(&bundle, b"").unwrap();
    check(&["install", bundle.to_str().unwrap()], 6, "bundle");
    let release = Recipe::new(1, noise(9000, 1)).make();
    std::fs::write(&bundle, release.bundle()).unwrap();
    check(&["install", bundle.to_str().unwrap()], 8, "code 302");
    check(&["status", "--json"], 0, "");
}

#[test]
fn the_development_build_refuses_a_production_root() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("agent.toml");
    std::fs::write(&config, config_text(dir.path(), &["rootfs"], 1 << 20)).unwrap();
    let mut release = Recipe::new(1, noise(9000, 1)).make();
    release.payloads[0][5000] ^= 1;
    let bundle = dir.path().join("broken.bundle");
    std::fs::write(&bundle, release.bundle()).unwrap();
    let anchor = dir.path().join("root.cbor");
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_firmseal-agent-dev"))
            .arg("--config")
            .arg(&config)
            .arg(&bundle)
            .output()
            .unwrap()
    };
    for (environment, allowed) in [(Environment::Production, false), (Environment::Test, true)] {
        std::fs::write(&anchor, root(environment, 0)).unwrap();
        assert!(output(&config, &["enrol", "--anchor", anchor.to_str().unwrap()]).status.success());
        let done = run();
        assert!(text(&done.stderr).contains("WARNING"));
        assert_eq!(done.status.success(), allowed, "{}", text(&done.stderr));
        assert_eq!(dir.path().join("rootfs.b").exists(), allowed);
    }
    assert!(text(&run().stderr).contains("trial boot"));
    // The boot stage knows nothing of allowances.
    assert_eq!(output(&config, &["boot"]).status.code(), Some(12));
}

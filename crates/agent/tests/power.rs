//! Power cuts: at every operation on files, and again while recovering.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::sim::SimFiles;
use common::*;
use firmseal_agent::{Agent, Config, Deps, Error, Event};

struct Scene {
    files: SimFiles,
    config: Config,
    deps: Deps,
    old: Release,
    new: Release,
}

async fn scene(old: &Release, new: &Release) -> Scene {
    let files = SimFiles::default();
    let config = with_server(config(Path::new("/sim"), &["rootfs", "boot"], 8 << 20));
    let config = Config { sync_bytes: 1 << 20, tries: 20, ..config };
    let deps = Deps { files: Arc::new(files.clone()), ..deps(&config) };
    let agent = device(&config, &deps).await;
    bring_up(&agent, old).await;
    drop(agent);
    Scene { files, config, deps, old: old.clone(), new: new.clone() }
}

/// Everything from the offer to the confirmed image.
async fn update(agent: &Agent, release: &Release) -> Result<(), Error> {
    install(agent, release).await?;
    agent.boot_stage()?;
    match agent.settle().await? {
        Some(Event::Confirmed) => Ok(()),
        other => panic!("{other:?}"),
    }
}

impl Scene {
    /// The same scene once more, and its agent.
    fn again(&self) -> (Scene, Agent) {
        let files = self.files.fork();
        let deps = Deps { files: Arc::new(files.clone()), ..self.deps.clone() };
        let agent = Agent::new(self.config.clone(), deps.clone()).unwrap();
        let (config, old, new) = (self.config.clone(), self.old.clone(), self.new.clone());
        (Scene { files, config, deps, old, new }, agent)
    }

    /// Power is back: whatever happened, something boots; and after at most
    /// a few more rounds the new image is confirmed.
    async fn recovers(&self, seed: u64, label: &str) {
        for round in 0..6 {
            let agent = Agent::new(self.config.clone(), self.deps.clone()).unwrap();
            let booted = agent.boot_stage().unwrap_or_else(|err| panic!("{label}: bricked: {err}"));
            assert!(["1.0.0", "2.0.0"].contains(&booted.version.as_str()), "{label}");
            self.check_slot(&agent, &booted.version, label);
            // A second cut, in the middle of the recovery.
            if round == 0 && seed % 3 == 1 {
                self.files.cut_after(1 + seed % 40);
                let _ = agent.settle().await;
                let _ = install(&agent, &self.new).await;
                drop(agent);
                self.files.restart(seed.wrapping_mul(31));
                continue;
            }
            agent.settle().await.unwrap();
            let status = agent.status().unwrap();
            if status.floors.sequence.get("rootfs") == Some(&2) {
                assert_eq!(status.boot.confirmed, Some(status.boot.active), "{label}");
                assert_eq!(status.install, None, "{label}");
                let confirmed: Vec<_> = agent
                    .reports()
                    .unwrap()
                    .into_iter()
                    .filter(|report| report.phase.as_str() == "confirmed")
                    .collect();
                assert_eq!(confirmed.len(), 2, "{label}: each image once");
                return;
            }
            match install(&agent, &self.new).await {
                Ok(_) | Err(Error::TrialPending) => {}
                Err(err) => panic!("{label}: {err}"),
            }
        }
        panic!("{label}: no end");
    }

    /// What boots is what was signed, to the byte.
    fn check_slot(&self, agent: &Agent, version: &str, label: &str) {
        let release = if version == "1.0.0" { &self.old } else { &self.new };
        let active = agent.boot_state().unwrap().active;
        for (component, payload) in self.config.components.iter().zip(&release.payloads) {
            let slot = self.files.read(component.slot(active)).unwrap();
            assert_eq!(&slot[..payload.len()], payload, "{label}");
        }
    }
}

fn releases() -> (Release, Release) {
    let make = |sequence: u64| {
        let mut image = noise(1_400_000, 1);
        // The second image shares its beginning with the first.
        image.splice(700_000.., noise(700_000, sequence));
        let components = vec![("rootfs", image), ("boot", noise(9000, sequence))];
        Recipe { components, epoch: sequence, ..Recipe::new(sequence, vec![]) }.make()
    };
    (make(1), make(2))
}

#[tokio::test]
async fn a_cut_at_any_operation_leaves_a_device_that_boots_and_updates() {
    let (old, new) = releases();
    let first = scene(&old, &new).await;
    let (whole, agent) = first.again();
    let start = whole.files.operations();
    update(&agent, &new).await.unwrap();
    let operations = whole.files.operations() - start;
    assert!(operations > 60, "{operations}");
    for at in 1..=operations {
        for seed in 0..3 {
            let (scene, agent) = first.again();
            scene.files.cut_after(at);
            let result = update(&agent, &new).await;
            drop(agent);
            let label = format!("cut at {at} of {operations}, seed {seed}");
            assert!(result.is_err() || !scene.files.was_cut(), "{label}");
            scene.files.restart(at * 3 + seed);
            scene.recovers(at * 3 + seed, &label).await;
        }
    }
}

#[tokio::test]
async fn a_cut_while_going_back_leaves_a_device_that_boots() {
    let (old, new) = releases();
    let unhealthy = |deps: &Deps| {
        let health = TestHealth::default();
        *health.0.lock().unwrap() = Some("no service".to_owned());
        Deps { health: Arc::new(health), ..deps.clone() }
    };
    let first = scene(&old, &new).await;
    for at in 1.. {
        let (scene, agent) = first.again();
        drop(agent);
        let agent = Agent::new(scene.config.clone(), unhealthy(&scene.deps)).unwrap();
        install(&agent, &new).await.unwrap();
        agent.boot_stage().unwrap();
        scene.files.cut_after(at);
        let result = agent.settle().await;
        drop(agent);
        if !scene.files.was_cut() {
            assert!(matches!(result, Ok(Some(Event::Reverted { .. }))));
            break;
        }
        scene.files.restart(at);
        let agent = Agent::new(scene.config.clone(), unhealthy(&scene.deps)).unwrap();
        for _ in 0..3 {
            let booted = agent.boot_stage().unwrap_or_else(|err| panic!("cut at {at}: {err}"));
            scene.check_slot(&agent, &booted.version, &format!("cut at {at}"));
            agent.settle().await.unwrap();
        }
        let status = agent.status().unwrap();
        assert_eq!(status.floors.sequence["rootfs"], 1);
        assert_eq!((status.boot.trial, status.boot.failed), (None, None));
        let reverted = |report: &&_| -> bool {
            let report: &firmseal_api::updates::Report = report;
            report.phase.as_str() == "reverted"
        };
        assert_eq!(agent.reports().unwrap().iter().filter(reverted).count(), 1, "cut at {at}");
    }
}

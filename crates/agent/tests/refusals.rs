//! Everything that must not be installed: each refused with its own number,
//! with the state as it was, to the byte, and the active slot untouched.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::sim::SimFiles;
use common::*;
use firmseal_agent::{Agent, Config, Deps, Enrolment, Error, OnRefusal, enrol};
use firmseal_core::Environment;
use uuid::Uuid;

const CAPACITY: u64 = 256 * 1024;

/// A device that runs release 10 of epoch 2, under a root that demands
/// epoch 3 of new installs.
struct Bench {
    files: SimFiles,
    agent: Agent,
    config: Config,
}

async fn bench(on_refusal: OnRefusal, minimum_epoch: u64) -> Bench {
    let files = SimFiles::default();
    let config = with_server(Config { on_refusal, ..config(Path::new("/sim"), &["rootfs"], CAPACITY) });
    let deps = Deps { files: Arc::new(files.clone()), ..deps(&config) };
    let first = device(&config, &deps).await;
    bring_up(&first, &Recipe { epoch: 2, ..recipe(10) }.make()).await;
    drop(first);
    let anchor = root(Environment::Test, minimum_epoch);
    enrol(&config, &deps, &Enrolment { anchor: &anchor, server: None }).await.unwrap();
    let agent = Agent::new(config.clone(), deps.clone()).unwrap();
    Bench { files, agent, config }
}

/// Numbers of the trouble that is reported; each says why.
fn troubles(agent: &Agent) -> Vec<u16> {
    let reports = agent.reports().unwrap();
    let failed = reports.iter().filter(|report| report.phase.as_str() == "failed");
    failed.inspect(|report| assert!(report.message.is_some())).map(|report| report.code.unwrap()).collect()
}

fn recipe(sequence: u64) -> Recipe {
    Recipe { epoch: 3, ..Recipe::new(sequence, noise(150_000, sequence)) }
}

impl Bench {
    /// Files that a refused offer may not change.
    fn state(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let inactive = self.config.components[0].slot(self.agent.boot_state().unwrap().inactive());
        let mut files = self.files.snapshot();
        files.retain(|path, _| {
            let name = path.file_name().unwrap().to_string_lossy();
            path != inactive
                && !name.starts_with("reports.")
                && !name.starts_with("quarantine.")
                && !path.starts_with("/sim/state/quarantine")
        });
        files
    }

    async fn refuses(&self, name: &str, code: u16, release: &Release, source: Memory) {
        let (before, reports) = (self.state(), self.agent.reports().unwrap().len());
        let err = install_from(&self.agent, release, source).await.unwrap_err();
        let Error::Refused(refused) = err else { panic!("{name}: {err}") };
        assert_eq!(refused.reason.code(), code, "{name}: {}", refused.reason);
        assert_eq!(self.state(), before, "{name}");
        // The same refusal of the same offer is one report while it waits.
        let all = self.agent.reports().unwrap();
        let report = all.iter().rfind(|report| report.code == Some(code)).unwrap();
        let phase = match self.config.on_refusal {
            OnRefusal::Reject => "refused",
            OnRefusal::Isolate => "isolated",
        };
        assert_eq!(report.phase.as_str(), phase, "{name}");
        assert!(report.message.is_some(), "{name}");
        assert!(all.len() <= reports + 2, "{name}");
        assert!(self.agent.boot_stage().is_ok(), "{name}");
    }
}

#[tokio::test]
async fn what_the_facts_forbid_is_refused_before_a_byte_is_fetched() {
    let strict = bench(OnRefusal::Reject, 3).await;
    let low = Recipe { epoch: 2, ..recipe(11) }.make();
    strict.refuses("epoch below the root's minimum", 402, &low, low.source()).await;
    let bench = bench(OnRefusal::Reject, 0).await;
    let two = vec![("rootfs", noise(9000, 1)), ("extra", noise(9000, 2))];
    let cases = [
        ("replayed", 400, Recipe { epoch: 2, ..recipe(10) }),
        ("older sequence", 400, recipe(9)),
        ("older epoch", 401, Recipe { epoch: 1, ..recipe(11) }),
        ("wrong class", 305, Recipe { class: Uuid::from_u128(9), ..recipe(11) }),
        ("wrong vendor", 304, Recipe { vendor: Uuid::from_u128(9), ..recipe(11) }),
        ("wrong product", 303, Recipe { product: "toaster", ..recipe(11) }),
        ("wrong environment", 302, Recipe { environment: Environment::Production, ..recipe(11) }),
        ("wrong key", 202, Recipe { signer: 9, ..recipe(11) }),
        ("root key", 202, Recipe { signer: 1, ..recipe(11) }),
        ("wrong slot", 308, Recipe { slot: Some(1), ..recipe(11) }),
        ("too large", 307, Recipe { components: vec![("rootfs", noise(300_000, 1))], ..recipe(11) }),
        ("unknown component", 306, Recipe { components: two, ..recipe(11) }),
    ];
    for (name, code, recipe) in cases {
        let release = recipe.make();
        let source = release.source();
        let given = source.given.clone();
        bench.refuses(name, code, &release, source).await;
        assert_eq!(*given.lock().unwrap(), 0, "{name}");
    }
    // And what is good still installs.
    bring_up(&bench.agent, &recipe(11).make()).await;
}

#[tokio::test]
async fn a_release_for_some_of_the_components_is_refused() {
    let files = SimFiles::default();
    let config = config(Path::new("/sim"), &["rootfs", "boot"], CAPACITY);
    let deps = Deps { files: Arc::new(files.clone()), ..deps(&config) };
    let agent = device(&config, &deps).await;
    let err = install(&agent, &recipe(1).make()).await.unwrap_err();
    assert!(matches!(err, Error::Refused(refused) if refused.reason.code() == 800));
}

#[tokio::test]
async fn no_byte_of_an_envelope_can_change() {
    let bench = bench(OnRefusal::Reject, 0).await;
    let good = recipe(11).make();
    let before = bench.state();
    for at in 0..good.envelope.len() {
        let mut bad = good.clone();
        bad.envelope[at] ^= 1 << (at % 8);
        let result = install(&bench.agent, &bad).await;
        assert!(matches!(result, Err(Error::Refused(_))), "byte {at}: {result:?}");
        let reports = bench.agent.reports().unwrap();
        // Outcomes are never dropped; here nobody collects them.
        if reports.len() > 200 {
            break;
        }
    }
    for len in 0..good.envelope.len() {
        let envelope = good.envelope[..len].to_vec();
        let result = firmseal_core::Envelope::decode(&envelope);
        assert!(result.is_err(), "{len} bytes");
    }
    assert_eq!(bench.state(), before);
}

#[tokio::test]
async fn no_byte_of_a_payload_or_tree_can_change() {
    for policy in [OnRefusal::Reject, OnRefusal::Isolate] {
        let bench = bench(policy, 0).await;
        let good = recipe(11).make();
        let payload = format!("payloads/{}", good.trees[0].digest);
        let tree = format!("{payload}.tree");
        for at in [0, 4095, 4096, 75_000, 149_999] {
            let mut source = good.source();
            source.blobs.get_mut(&payload).unwrap()[at] ^= 4;
            bench.refuses(&format!("payload at {at}"), 600, &good, source).await;
        }
        for at in [0, 31, 100, 37 * 32 - 1, 4095] {
            let mut source = good.source();
            source.blobs.get_mut(&tree).unwrap()[at] ^= 4;
            bench.refuses(&format!("tree at {at}"), 601, &good, source).await;
        }
        let source = Memory { changes_at: Some(90_000), ..good.source() };
        bench.refuses("a source that changes", 600, &good, source).await;

        // The quarantine is bounded, and no slot saw any of it.
        let kept: Vec<PathBuf> = bench
            .files
            .snapshot()
            .into_keys()
            .filter(|path| path.starts_with("/sim/state/quarantine"))
            .collect();
        match policy {
            OnRefusal::Reject => assert_eq!(kept, Vec::<PathBuf>::new()),
            OnRefusal::Isolate => {
                assert_eq!(kept.len(), 12, "{kept:?}");
                let envelope = bench.files.read(Path::new("/sim/state/quarantine/case-0.envelope"));
                assert_eq!(envelope.unwrap(), good.envelope);
                let block = bench.files.read(Path::new("/sim/state/quarantine/case-2.block")).unwrap();
                assert_eq!(block.len(), 4096);
                let note = bench.files.read(Path::new("/sim/state/quarantine/case-2.json")).unwrap();
                assert!(String::from_utf8(note).unwrap().contains("\"code\": 600"));
            }
        }
        bring_up(&bench.agent, &good).await;
    }
}

#[tokio::test]
async fn a_carrier_that_ends_early_or_never_is_no_danger() {
    let bench = bench(OnRefusal::Reject, 0).await;
    let good = recipe(11).make();
    let payload = format!("payloads/{}", good.trees[0].digest);
    for name in [payload.clone(), format!("{payload}.tree")] {
        for len in [0, 1, 4000] {
            let mut source = good.source();
            source.blobs.get_mut(&name).unwrap().truncate(len);
            let err = install_from(&bench.agent, &good, source).await.unwrap_err();
            assert!(matches!(err, Error::Carrier { .. }), "{name} {len}: {err}");
        }
        let mut source = good.source();
        source.blobs.remove(&name);
        assert!(matches!(install_from(&bench.agent, &good, source).await, Err(Error::Carrier { .. })));
    }
    // Trouble is told, once, and is no refusal.
    assert_eq!(troubles(&bench.agent), [900]);
    let source = Memory { endless: true, ..good.source() };
    let given = source.given.clone();
    install_from(&bench.agent, &good, source).await.unwrap();
    assert!(*given.lock().unwrap() <= 150_000 + 8192);
    assert!(bench.agent.boot_stage().unwrap().trial);
}

#[tokio::test]
async fn what_was_written_before_a_cut_is_not_believed() {
    let bench = bench(OnRefusal::Reject, 0).await;
    let config = Config { sync_bytes: 1 << 20, ..config(Path::new("/sim2"), &["rootfs"], 8 << 20) };
    let deps = Deps { files: Arc::new(bench.files.clone()), ..deps(&config) };
    drop(bench.agent);
    let agent = device(&config, &deps).await;
    let release = Recipe::new(1, noise(4 << 20, 5)).make();
    let source = Memory { left: Some(Arc::new(Mutex::new(3 << 20))), ..release.source() };
    assert!(matches!(install_from(&agent, &release, source).await, Err(Error::Carrier { .. })));
    // The disk lies: a synced block changed.
    bench.files.tamper(Path::new("/sim2/rootfs.b"), |bytes| bytes[70_000] ^= 1);
    let installed = install(&agent, &release).await.unwrap();
    assert_eq!(installed.counts.resumed, 0);
    assert!(agent.boot_stage().unwrap().trial);
}

#[tokio::test]
async fn a_full_disk_is_no_refusal() {
    let files = SimFiles::default();
    let config = with_server(config(Path::new("/sim"), &["rootfs"], 8 << 20));
    let deps = Deps { files: Arc::new(files.clone()), ..deps(&config) };
    let agent = device(&config, &deps).await;
    bring_up(&agent, &Recipe::new(1, noise(1 << 20, 1)).make()).await;
    let release = Recipe::new(2, noise(5 << 20, 2)).make();
    files.set_room(Some(4 << 20));
    let err = install(&agent, &release).await.unwrap_err();
    assert!(matches!(err, Error::DiskFull(_)), "{err}");
    assert_eq!(err.exit_code(), firmseal_agent::exit::DISK_FULL);
    assert!(!agent.boot_stage().unwrap().trial);
    // There was no room for the report either, or it says what it was.
    assert!(troubles(&agent).iter().all(|code| *code == 903));
    files.set_room(None);
    let installed = install(&agent, &release).await.unwrap();
    assert!(installed.counts.resumed > 0);
}

#[tokio::test]
async fn a_bad_anchor_is_no_anchor() {
    let files = SimFiles::default();
    let config = config(Path::new("/sim"), &["rootfs"], CAPACITY);
    let deps = Deps { files: Arc::new(files.clone()), ..deps(&config) };
    let good = root(Environment::Test, 0);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let result = enrol(&config, &deps, &Enrolment { anchor: &bad, server: None }).await;
        assert!(matches!(result, Err(Error::Anchor(_))), "byte {at}");
    }
    assert!(matches!(Agent::new(config, deps), Err(Error::NotEnrolled)));
}

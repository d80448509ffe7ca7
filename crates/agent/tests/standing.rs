//! Who else has a say: the owner's root beside the vendor's, and the
//! recovery role where nothing boots.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::roots::*;
use common::sim::SimFiles;
use common::*;
use firmseal_agent::files::{Access, Files};
use firmseal_agent::{Agent, Config, Deps, Enrolment, Error, Slot, enrol};
use firmseal_api::updates::Phase;
use firmseal_core::{BlockSize, Environment, Refusal};
use firmseal_manifest::bundle::News;
use firmseal_testkit::TestKey;
use firmseal_testkit::story::{NOW, OWNER, freshness, owner};
use firmseal_testkit::vectors::Vector;
use firmseal_testkit::world::firmware;
use firmseal_trust::{Demands, DemandsSpec, Holder, Role, RoleSpec, RootSpec};
use uuid::Uuid;

struct Bench {
    files: SimFiles,
    config: Config,
    deps: Deps,
}

const PRESENCE: &str = "/sim/presence";

impl Bench {
    async fn new() -> Bench {
        let files = SimFiles::default();
        let mut config = with_server(config(Path::new("/sim"), &["rootfs"], 1 << 20));
        config.presence = Some(PRESENCE.into());
        let deps = Deps { files: Arc::new(files.clone()), ..deps(&config) };
        enrol(&config, &deps, &Enrolment { anchor: &chain(1)[0], server: None }).await.unwrap();
        Bench { files, config, deps }
    }

    fn agent(&self) -> Agent {
        Agent::new(self.config.clone(), self.deps.clone()).unwrap()
    }

    fn fork(&self) -> Bench {
        let files = self.files.fork();
        let deps = Deps { files: Arc::new(files.clone()), ..self.deps.clone() };
        Bench { files, config: self.config.clone(), deps }
    }

    fn rot(&self, path: &str) {
        self.files.tamper(Path::new(path), |bytes| bytes[30] ^= 1);
    }

    fn present(&self, text: &[u8]) {
        let file = self.files.open(Path::new(PRESENCE), Access::Replace).unwrap();
        file.write_at(text, 0).unwrap();
    }
}

fn release(sequence: u64) -> Release {
    Recipe { signer: release_key(1), ..Recipe::new(sequence, noise(30_000, sequence)) }.make()
}

/// What both holders of the recovery role have signed.
fn rescue(sequence: u64, epoch: u64) -> Release {
    let payload = noise(30_000, 1000 + sequence);
    Recipe { signer: 81, cosigner: Some(82), epoch, ..Recipe::new(sequence, payload) }.make()
}

/// The owner's root; it demands consent, and each version has a new root key
/// that the one before it vouches for.
fn owners(version: u64, lineage: [u8; 16]) -> Vec<u8> {
    let key = |version: u64| TestKey::ed25519(150 + version as u8);
    let role = |role, name: &str, key: TestKey| RoleSpec {
        role,
        threshold: 1,
        holders: vec![Holder { name: name.to_owned(), keys: vec![key.public().clone()] }],
        products: vec![],
        channels: vec![],
        both_kinds: false,
    };
    let demands = Demands { proof: false, approvals: false, delegation: false, owner: true };
    let spec = RootSpec {
        version,
        lineage,
        environment: Environment::Test,
        roles: vec![role(Role::Root, "owner", key(version)), role(Role::Approver, "owner", owner())],
        minimum_epoch: 0,
        demands: vec![DemandsSpec { demands, products: vec![] }],
        closed_logs: vec![],
        sequence_resets: vec![],
    };
    let unsigned = spec.assemble().unwrap();
    let keys: Vec<TestKey> = [version - 1, version].into_iter().filter(|at| *at > 0).map(key).collect();
    let sign = |key: &TestKey| key.sign(&unsigned.to_be_signed(key.public()).unwrap());
    let signatures: Vec<_> = keys.iter().map(|key| (key.public(), sign(key))).collect();
    unsigned.seal(&signatures).unwrap()
}

fn code(result: Result<impl Sized, Error>) -> u16 {
    match result {
        Err(Error::Refused(refused)) => refused.reason.code(),
        Err(other) => panic!("{other}"),
        Ok(_) => 0,
    }
}

#[tokio::test]
async fn an_owner_has_a_say_that_no_carrier_can_give_or_take() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    bring_up(&agent, &release(1)).await;
    // No bundle brings the first one.
    agent.learn(&News { roots: vec![owners(1, OWNER)], ..News::default() }).unwrap();
    assert_eq!(agent.status().unwrap().owner_root_version, None);
    // The vendor's own lineage is nobody else's, and a torn one is nothing.
    assert_eq!(code(agent.adopt_owner(&owners(1, [7; 16]))), Refusal::WrongLineage.code());
    let mut torn = owners(1, OWNER);
    torn.pop();
    assert_eq!(code(agent.adopt_owner(&torn)), 100);
    bring_up(&agent, &release(2)).await;

    agent.adopt_owner(&owners(1, OWNER)).unwrap();
    agent.adopt_owner(&owners(1, OWNER)).unwrap();
    let refused = code(install(&agent, &release(3)).await);
    assert!((700..800).contains(&refused), "there is no consent: {refused}");
    assert_eq!(agent.boot_stage().unwrap().version, "2.0.0", "what was confirmed before boots");
    // Another's, a gap, a fork: none follows.
    assert_eq!(code(agent.adopt_owner(&owners(2, [9; 16]))), Refusal::WrongLineage.code());
    let gap = Refusal::RootVersion { offered: 3, held: 1 };
    assert_eq!(code(agent.adopt_owner(&owners(3, OWNER))), gap.code());
    // Later ones come by bundles, beside the vendor's, whatever goes wrong
    // with those.
    let roots = vec![Link::new(3).make(), owners(1, OWNER), owners(2, OWNER), owners(3, OWNER)];
    agent.learn(&News { roots, ..News::default() }).unwrap();
    drop(agent);
    let agent = bench.agent();
    let status = agent.status().unwrap();
    assert_eq!((status.owner_root_version, status.root_version), (Some(3), 1));
    drop(agent);

    // Whoever spoils the file has not got the consent.
    bench.rot("/sim/state/trust-owner-anchor.0");
    bench.rot("/sim/state/trust-owner-anchor.1");
    let agent = bench.agent();
    assert!(matches!(install(&agent, &release(3)).await, Err(Error::Corrupt { .. })));
    assert_eq!(agent.boot_stage().unwrap().version, "2.0.0");
    agent.adopt_owner(&owners(1, OWNER)).unwrap();
    assert_eq!(agent.status().unwrap().owner_root_version, Some(3));
}

#[tokio::test]
async fn a_cut_while_an_owner_is_adopted_leaves_one_of_both() {
    let first = Bench::new().await;
    bring_up(&first.agent(), &release(1)).await;
    for from in [1, 2] {
        for cut in 1.. {
            let bench = first.fork();
            let agent = bench.agent();
            (1..from).for_each(|version| agent.adopt_owner(&owners(version, OWNER)).unwrap());
            bench.files.cut_after(cut);
            let adopted = agent.adopt_owner(&owners(from, OWNER));
            drop(agent);
            let was_cut = bench.files.was_cut();
            assert!(adopted.is_ok() || was_cut);
            bench.files.restart(cut.wrapping_mul(0x9e37_79b9));
            let agent = bench.agent();
            let version = agent.status().unwrap().owner_root_version.unwrap_or(0);
            assert!([from - 1, from].contains(&version), "cut {cut}: {version}");
            assert!(adopted.is_err() || version == from, "cut {cut}: it was durable");
            agent.boot_stage().unwrap();
            agent.adopt_owner(&owners(from, OWNER)).unwrap();
            assert_eq!(agent.status().unwrap().owner_root_version, Some(from));
            if !was_cut {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_cut_while_news_is_taken_lets_no_floor_fall() {
    let mut first = Bench::new().await;
    first.config.max_age = Some(3600);
    let news = |at: u64| News { freshness: Some(freshness(0, &[(0, at), (1, at + 1)])), ..News::default() };
    first.agent().learn(&news(NOW)).unwrap();
    for cut in 1.. {
        let bench = first.fork();
        let agent = bench.agent();
        bench.files.cut_after(cut);
        let taken = agent.learn(&news(NOW + 100));
        drop(agent);
        let was_cut = bench.files.was_cut();
        bench.files.restart(cut.wrapping_mul(0x9e37_79b9));
        let agent = bench.agent();
        let status = agent.status().unwrap();
        let at = status.freshness.unwrap().at;
        assert!([NOW, NOW + 100].contains(&at) && [NOW, NOW + 100].contains(&status.time_floor), "cut {cut}");
        assert!(taken.is_err() || (at, status.time_floor) == (NOW + 100, NOW + 100), "cut {cut}");
        // The next brings both up.
        agent.learn(&news(NOW + 200)).unwrap();
        assert_eq!(agent.status().unwrap().time_floor, NOW + 200);
        if !was_cut {
            break;
        }
    }
}

#[tokio::test]
async fn a_device_on_which_nothing_boots_comes_back_by_the_recovery_role() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    bring_up(&agent, &Recipe { epoch: 2, signer: release_key(1), ..Recipe::new(5, noise(9000, 5)) }.make())
        .await;
    // While it boots, the recovery role is nobody.
    assert_eq!(code(install(&agent, &rescue(1, 2)).await), Refusal::UnknownSigner.code());
    drop(agent);
    bench.files.tamper(bench.config.components[0].slot(Slot::B), |bytes| bytes[5000] ^= 1);
    let agent = bench.agent();
    assert!(matches!(agent.boot_stage(), Err(Error::NothingBootable(_))));
    drop(agent);
    let agent = bench.agent();
    assert!(agent.status().unwrap().stranded);
    // One holder alone is none, and an older epoch stays out.
    let alone = Recipe { signer: 81, ..Recipe::new(6, noise(9000, 6)) }.make();
    assert!((200..300).contains(&code(install(&agent, &alone).await)));
    let counter = Refusal::EpochTooLow { offered: 1, counter: 2 };
    assert_eq!(code(install(&agent, &rescue(1, 1)).await), counter.code());

    let floors = agent.status().unwrap().floors;
    install(&agent, &rescue(1, 2)).await.unwrap();
    let booted = agent.boot_stage().unwrap();
    assert!(booted.trial && booted.version == "1.0.0", "{booted:?}");
    assert!(!agent.status().unwrap().stranded, "it boots again");
    agent.settle().await.unwrap();
    let reports = agent.reports().unwrap();
    let told: Vec<_> = reports.iter().filter(|report| report.phase == Phase::Recovered).collect();
    let [told] = told[..] else { panic!("it is told once: {reports:?}") };
    assert!(told.message.as_ref().unwrap().starts_with("recovery image 1.0.0 ("), "{told:?}");
    assert_eq!(agent.status().unwrap().floors, floors, "it moves no floor");
    assert_eq!(agent.boot_stage().unwrap().version, "1.0.0", "confirmed, it goes on booting");
    // From there on everything is as ever.
    assert_eq!(code(install(&agent, &rescue(7, 2)).await), Refusal::UnknownSigner.code());
    let next = Recipe { epoch: 2, signer: release_key(1), ..Recipe::new(6, noise(9000, 7)) };
    bring_up(&agent, &next.make()).await;
    assert_eq!(agent.status().unwrap().floors.sequence["rootfs"], 6);
}

#[tokio::test]
async fn whoever_is_present_may_recover_and_nobody_else() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    bring_up(&agent, &release(5)).await;
    for text in [&b""[..], b"0\n", b"10", b"yes", b"\x01"] {
        bench.present(text);
        assert_eq!(code(install(&agent, &rescue(1, 0)).await), Refusal::UnknownSigner.code(), "{text:?}");
    }
    bench.present(b"1\n");
    install(&agent, &rescue(1, 0)).await.unwrap();
    // The button is let go before the trial boots.
    bench.present(b"0\n");
    assert!(agent.boot_stage().unwrap().trial);
    agent.settle().await.unwrap();
    assert_eq!(agent.status().unwrap().floors.sequence["rootfs"], 5);
}

#[tokio::test]
async fn a_word_that_comes_while_an_image_is_downloaded_counts() {
    /// Tells the device, at the first block, that the release was revoked.
    struct Late {
        agent: Arc<Agent>,
        revocation: Vec<u8>,
        source: Memory,
    }
    impl firmseal_agent::Source for Late {
        fn open(
            &self,
            blob: &firmseal_agent::Blob,
            offset: u64,
            len: u64,
        ) -> Result<Box<dyn std::io::Read + Send + '_>, Error> {
            self.agent.learn(&News { revocation: Some(self.revocation.clone()), ..News::default() })?;
            self.source.open(blob, offset, len)
        }
    }
    let bench = Bench::new().await;
    let agent = Arc::new(bench.agent());
    bring_up(&agent, &release(1)).await;
    let bad = release(2);
    let manifest = *firmseal_core::Envelope::decode(&bad.envelope).unwrap().manifest_digest();
    let revocation = revocation(1, 1, &[manifest], &[]);
    let source = Late { agent: agent.clone(), revocation, source: bad.source() };
    let result = agent.install_from(bad.envelope.clone(), Arc::new(source), Default::default()).await;
    assert_eq!(code(result), Refusal::ReleaseRevoked.code());
    let boot = agent.boot_state().unwrap();
    assert_eq!((boot.trial, agent.status().unwrap().install), (None, None));
    assert_eq!(agent.boot_stage().unwrap().version, "1.0.0");
}

/// The release of a vector, with its payload.
fn of_vector(name: &str) -> (Vector, Release) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors").join(format!("{name}.txt"));
    let vector = Vector::parse(name, &std::fs::read_to_string(path).unwrap()).unwrap();
    let payload = firmware(9000, 1);
    let trees = vec![tree_of(&payload, BlockSize::B4096)];
    let release = Release { envelope: vector.envelope.clone(), payloads: vec![payload], trees };
    (vector, release)
}

#[tokio::test]
async fn what_a_channel_brought_boots_whatever_is_set_later() {
    let (vector, release) = of_vector("ok_channel_of_its_own");
    let files = SimFiles::default();
    let mut config = with_server(config(Path::new("/sim"), &[&vector.components[0].name], 1 << 20));
    config.product = vector.product.parse().unwrap();
    (config.vendor, config.class) = (Uuid::from_bytes(vector.vendor), Uuid::from_bytes(vector.class));
    let deps = Deps { files: Arc::new(files), ..deps(&config) };
    enrol(&config, &deps, &Enrolment { anchor: &vector.root, server: None }).await.unwrap();
    let taking = |channel: Option<&str>| {
        let config = Config { channel: channel.map(|name| name.parse().unwrap()), ..config.clone() };
        Agent::new(config, deps.clone()).unwrap()
    };
    // One person agreed, which is enough on `nightly` and nowhere else.
    let two = Refusal::ApprovalsMissing { have: 0, need: 2 }.code();
    assert_eq!(code(install(&taking(None), &release).await), two);
    assert_eq!(code(install(&taking(Some("stable")), &release).await), Refusal::WrongChannel.code());
    bring_up(&taking(Some("nightly")), &release).await;
    for channel in [None, Some("stable"), Some("nightly")] {
        let booted = taking(channel).boot_stage().unwrap();
        assert!(!booted.trial && booted.version == "1.2.3", "{channel:?}: {booted:?}");
    }
}

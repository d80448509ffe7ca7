//! Every rule of the gate, broken by an order or a real image; and what keeps
//! the rule is taken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use firmseal_core::Environment as CoreEnvironment;
use firmseal_fleet::product::{BlockSize, ComponentSpec, Environment};
use firmseal_fleet::{
    AddressMap, Artifact, Caller, JobState, Priority, Product, Region, Release, ReleaseState, Time,
};
use firmseal_keys::{Backend, Covered, FileKey, Secret, SignError};
use firmseal_manifest::{ArtifactId, KeyAlgorithm, PublicKey, Signature};
use firmseal_sign::assemble::{Names, assemble};
use firmseal_sign::{
    ArtifactWish, Carried, GateRefusal, Health, KeyHealth, KeyPurpose, Keys, Order, Ordered,
    OrderedComponent, Pipeline, PipelineError, Requester, SigningKey, gate, verify_release,
};
use firmseal_store::conformance::samples;
use firmseal_store::{Blobs, Claiming, Jobs, Registry, Room, Store};
use firmseal_store_local::LocalStore;
use firmseal_testkit::TestKey;
use firmseal_trust::{DemandsSpec, Holder, Role, RoleSpec, RootSpec};
use uuid::Uuid;

/// A test key as a signer.
struct Held(TestKey);

impl Backend for Held {
    fn public_half(&self) -> &PublicKey {
        self.0.public()
    }

    async fn sign_unverified(&self, covered: Covered) -> Result<Signature, SignError> {
        Ok(self.0.sign(covered.tbs()))
    }
}

/// Every key may be used.
struct Healthy;

impl KeyHealth for Healthy {
    fn takes(&self, _: &str) -> bool {
        true
    }

    fn heard(&self, _: &str, _: Health) {}
}

/// A key whose private half is in a book. Nobody asks it for a signature.
struct Published(PublicKey);

impl Backend for Published {
    fn public_half(&self) -> &PublicKey {
        &self.0
    }

    async fn sign_unverified(&self, _: Covered) -> Result<Signature, SignError> {
        panic!("a published key was used")
    }
}

/// MCUboot's sample on P-256.
const SAMPLE: [u8; 65] = [
    0x04, 0x2a, 0xcb, 0x40, 0x3c, 0xe8, 0xfe, 0xed, 0x5b, 0xa4, 0x49, 0x95, 0xa1, 0xa9, 0x1d, 0xae, 0xe8,
    0xdb, 0xbe, 0x19, 0x37, 0xcd, 0x14, 0xfb, 0x2f, 0x24, 0x57, 0x37, 0xe5, 0x95, 0x39, 0x88, 0xd9, 0x94,
    0xb9, 0xd6, 0x5a, 0xeb, 0xd7, 0xcd, 0xd5, 0x30, 0x8a, 0xd6, 0xfe, 0x48, 0xb2, 0x4a, 0x6a, 0x81, 0x0e,
    0xe5, 0xf0, 0x7d, 0x8b, 0x68, 0x34, 0xcc, 0x3a, 0x6a, 0xfc, 0x53, 0x8e, 0xfa, 0xc1,
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/fixtures").join(name)
}

fn product(format: &str, environment: Environment) -> Product {
    Product {
        id: "gateway".parse().unwrap(),
        environment,
        vendor: Uuid::from_u128(1),
        class: Uuid::from_u128(2),
        hardware: vec![],
        format: format.to_owned(),
        components: vec![ComponentSpec {
            name: "main".to_owned(),
            capacity: 1 << 20,
            block_size: BlockSize::Page,
            addresses: None,
        }],
        created: Time::EPOCH,
    }
}

fn root(release: &PublicKey, environment: CoreEnvironment, minimum_epoch: u64) -> Vec<u8> {
    let root_key = TestKey::ed25519(100);
    let role = |role, name: &str, key: &PublicKey| RoleSpec {
        role,
        threshold: 1,
        holders: vec![Holder { name: name.into(), keys: vec![key.clone()] }],
        products: vec![],
        channels: vec![],
        both_kinds: false,
    };
    let unsigned = RootSpec {
        version: 1,
        lineage: [1; 16],
        environment,
        roles: vec![role(Role::Root, "custodian", root_key.public()), role(Role::Release, "ci", release)],
        minimum_epoch,
        demands: vec![DemandsSpec::NOTHING],
        closed_logs: vec![],
        sequence_resets: vec![],
    }
    .assemble()
    .unwrap();
    let signature = root_key.sign(&unsigned.to_be_signed(root_key.public()).unwrap());
    unsigned.seal(&[(root_key.public(), signature)]).unwrap()
}

struct Bench {
    store: LocalStore,
    pipeline: Pipeline,
    _directory: tempfile::TempDir,
}

impl Bench {
    /// Without a key for images.
    async fn new(format: &str, environment: Environment) -> Bench {
        Bench::with(product(format, environment), None).await
    }

    async fn with(product: Product, images: Option<Arc<SigningKey>>) -> Bench {
        Bench::under(product, images, 0).await
    }

    /// Under a root document with this lowest security epoch.
    async fn under(product: Product, images: Option<Arc<SigningKey>>, lowest: u64) -> Bench {
        let (directory, environment) = (tempfile::tempdir().unwrap(), product.environment);
        let store = LocalStore::open(&directory.path().join("store")).unwrap();
        let own = match environment {
            Environment::Test => CoreEnvironment::Test,
            Environment::Production => CoreEnvironment::Production,
        };
        let key = Held(TestKey::ed25519(7));
        let root = root(key.public_half(), own, lowest);
        let release = SigningKey::implicit(KeyPurpose::Release, environment, Arc::new(key));
        let keys = Keys { release: vec![release], artifact: images, ..Keys::default() };
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let pipeline = Pipeline::new(shared, Arc::new(store.intents().clone()), root, keys);
        store.insert_product(product, &Caller::local("alice")).await.unwrap();
        Bench { store, pipeline, _directory: directory }
    }

    async fn order(&self, version: &str, bytes: Vec<u8>) -> Order {
        let size = bytes.len() as u64;
        let id = ArtifactId(self.store.put_bytes(bytes.into()).await.unwrap());
        let artifact = Artifact {
            id,
            size,
            format: "raw".to_owned(),
            inspection: serde_json::Value::Null,
            uploaded_by: "ci".to_owned(),
            created: Time::EPOCH,
        };
        self.store.insert_artifact(artifact).await.unwrap();
        Order {
            key: None,
            requester: Requester(Caller::local("ci")),
            product: "gateway".parse().unwrap(),
            channel: "stable".parse().unwrap(),
            version: version.parse().unwrap(),
            sequence: None,
            epoch: 5,
            components: vec![OrderedComponent { name: "main".to_owned(), artifact: id }],
            sbom: None,
            evidence: vec![],
            parameters: Default::default(),
            build: "build-17".to_owned(),
            commit: "abc123".to_owned(),
            rollback: None,
        }
    }

    async fn release(&self, order: &Order) -> Result<Release, PipelineError> {
        match self.pipeline.release(order, Time::EPOCH).await? {
            Ordered::Signed(signed) => Ok(signed.release),
            Ordered::Waiting(request) => panic!("{request:?}"),
        }
    }

    /// Has a file of its own signed, as the order has it.
    async fn file(&self, order: &Order) -> Carried {
        let wish = ArtifactWish {
            key: None,
            caller: order.requester.0.clone(),
            product: order.product.clone(),
            channel: order.channel.clone(),
            artifact: order.components[0].artifact,
            signing_key: None,
            version: order.version.clone(),
            epoch: order.epoch,
            parameters: Default::default(),
            build: order.build.clone(),
            commit: order.commit.clone(),
            evidence: vec![],
            priority: Priority::Release,
            deadline: Time::EPOCH.plus(Duration::from_secs(60)),
        };
        let job = self.pipeline.artifact_job(wish, Time::EPOCH).await.unwrap();
        let room = Room { key: job.asked.signing_key.clone(), most: 1, after: None };
        self.store.insert_job(job, 1).await.unwrap();
        let lease = Duration::from_secs(60);
        let claiming = Claiming { rooms: vec![room], now: Time::EPOCH, lease, log_size: 0 };
        let claimed = self.store.claim_jobs(claiming).await.unwrap().remove(0);
        self.pipeline.carry_out_job(claimed, None, Arc::new(Healthy), &|| Time::EPOCH).await
    }

    /// The rule that an order breaks. No key is used for it.
    async fn refused(&self, order: &Order) -> &'static str {
        let entries = self.store.intents().len();
        let rule = rule(self.release(order).await);
        assert_eq!(self.store.intents().len(), entries, "{rule}: what the gate refuses reaches no key");
        rule
    }
}

/// The rule that something breaks.
fn rule<T>(told: Result<T, PipelineError>) -> &'static str {
    match told {
        Err(PipelineError::Gate(refusal)) => refusal.rule(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the gate lets it through"),
    }
}

async fn numbers() -> Vec<&'static str> {
    let bench = Bench::new("raw", Environment::Test).await;
    let first = Order { sequence: Some(10), ..bench.order("1.0.0", b"one".to_vec()).await };
    bench.release(&first).await.unwrap();
    let good = bench.order("1.0.1", b"two".to_vec()).await;
    let mut other = good.clone();
    other.components[0].name = "radio".to_owned();
    let large = bench.order("1.0.1", vec![7; (1 << 20) + 1]).await;
    let mut rules = Vec::new();
    for order in [
        Order { sequence: Some(10), ..good.clone() },
        Order { sequence: Some(1 << 40), ..good.clone() },
        Order { epoch: 4, ..good.clone() },
        Order { epoch: 22, ..good.clone() },
        Order { version: "1.0.0".parse().unwrap(), ..good.clone() },
        other,
        large,
    ] {
        rules.push(bench.refused(&order).await);
    }
    let told = [
        "gate-sequence",
        "gate-sequence-ahead",
        "gate-epoch",
        "gate-epoch-ahead",
        "gate-version-exists",
        "gate-components",
        "gate-size",
    ];
    assert_eq!(rules, told);
    // A database keeps no such number; a log of other people's releases may.
    let last = Release { sequence: u64::MAX, ..samples::release(&bench.store, "camera", "9.0.0", 1).await };
    let product = product("raw", Environment::Test);
    let epochs = gate::Epochs { lowest: 0, highest: 5 };
    let exhausted = gate::check_order(&good, &product, Some(&last), epochs).unwrap_err();
    assert_eq!(exhausted, GateRefusal::SequenceExhausted(u64::MAX));
    rules.push(exhausted.rule());
    bench.release(&good).await.unwrap();
    rules
}

/// A root document says that devices take nothing below epoch 20.
async fn lowest_epochs() -> Vec<&'static str> {
    let key = Arc::new(Held(TestKey::ed25519(8)));
    let images = SigningKey::implicit(KeyPurpose::Artifact, Environment::Test, key);
    let bench = Bench::under(product("raw", Environment::Test), Some(images), 20).await;
    let order = bench.order("1.0.0", b"one".to_vec()).await;
    let with = |epoch| Order { epoch, ..order.clone() };
    let told = GateRefusal::EpochRoot { offered: 19, lowest: 20 }.to_string();
    let said = "security epoch 19 is below 20, the lowest of the root document in force, and devices would \
                refuse it; use 20 or a higher one";
    assert_eq!(told, said);
    let mut rules = vec![bench.refused(&with(19)).await, bench.refused(&with(37)).await];
    for epoch in [19, 37] {
        let carried = bench.file(&with(epoch)).await;
        assert_eq!((carried.job.progress.state, carried.trouble), (JobState::Refused, None), "no failure");
        let Some(PipelineError::Gate(refusal)) = carried.error.as_deref() else { panic!("{epoch}") };
        assert_eq!(carried.job.progress.reasons[0].rule, refusal.rule());
        rules.push(refusal.rule());
    }
    let ahead = "gate-epoch-ahead";
    assert_eq!(rules, ["gate-epoch-root", ahead, "gate-epoch-root", ahead]);
    assert_eq!(bench.store.intents().len(), 0);
    // The first of the product may be anywhere in the step above the lowest.
    assert_eq!(bench.file(&with(20)).await.job.progress.state, JobState::Signed);
    bench.release(&with(36)).await.unwrap();
    rules
}

async fn rollbacks() -> Vec<&'static str> {
    let bench = Bench::new("raw", Environment::Test).await;
    let mut releases = Vec::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        let order = bench.order(version, version.as_bytes().to_vec()).await;
        let release = bench.release(&order).await.unwrap();
        bench.store.set_release_state(release.id, ReleaseState::Verified).await.unwrap();
        releases.push(release.id);
    }
    let [first, second, third] = releases[..] else { panic!("{releases:?}") };
    let back = async |of, to| {
        let requester = Requester(Caller::local("ci"));
        bench.pipeline.rollback_order(requester, None, of, to).await
    };
    let late = bench.refused(&back(second, Some(first)).await.unwrap()).await;
    let nothing = rule(back(first, None).await);
    let good = back(third, Some(second)).await.unwrap();
    bench.store.set_release_state(second, ReleaseState::Withdrawn).await.unwrap();
    let withdrawn = bench.refused(&good).await;
    assert_eq!((late, nothing, withdrawn), ("gate-rollback-late", "gate-rollback-to", "gate-rollback-to"));
    bench.release(&back(third, Some(first)).await.unwrap()).await.unwrap();
    vec![late, nothing, withdrawn]
}

async fn environments() -> Vec<&'static str> {
    // A release for test, as if it were one for production.
    let bench = Bench::new("raw", Environment::Test).await;
    let release = bench.release(&bench.order("1.0.0", b"one".to_vec()).await).await.unwrap();
    let envelope = bench.store.read_all(&release.envelope, 1 << 16).await.unwrap();
    let trust = bench.pipeline.trust();
    let seen = async |environment| {
        let product = product("raw", environment);
        verify_release(&bench.store, &product, &trust, None, &envelope).await
    };
    seen(Environment::Test).await.unwrap();
    let mixed = rule(seen(Environment::Production).await);

    let sample = || Arc::new(Published(PublicKey::from_point(KeyAlgorithm::P256, &SAMPLE).unwrap()));
    let with = async |environment| {
        let images = SigningKey::implicit(KeyPurpose::Artifact, environment, sample());
        Bench::with(product("raw", environment), Some(images)).await
    };
    let bench = with(Environment::Production).await;
    let known = bench.refused(&bench.order("1.0.0", b"one".to_vec()).await).await;
    let bench = with(Environment::Test).await;
    bench.release(&bench.order("1.0.0", b"one".to_vec()).await).await.unwrap();
    assert_eq!((mixed, known), ("gate-environment", "gate-development-key"));
    vec![mixed, known]
}

/// avbtool made it with `--flags 3`: a device that boots it checks nothing of
/// what it starts afterwards.
async fn debug_builds() -> Vec<&'static str> {
    let image = std::fs::read(fixture("avb/sha512.bin")).unwrap();
    assert_eq!(firmseal_formats::inspect(&image).unwrap().debug, Some(true));
    let ordered =
        async |bench: &Bench, image: &[u8]| Order { epoch: 7, ..bench.order("1.0.0", image.to_vec()).await };
    let keys = tempfile::tempdir().unwrap();
    let secret = Secret::new(b"correct horse".to_vec());
    let key = FileKey::generate(&keys.path().join("rsa.pem"), KeyAlgorithm::Rsa(2048), &secret).unwrap();
    let key = Arc::new(key);
    let with = async |environment| {
        let images = SigningKey::implicit(KeyPurpose::Artifact, environment, key.clone());
        Bench::with(product("avb", environment), Some(images)).await
    };
    let bench = with(Environment::Production).await;
    let debug = bench.refused(&ordered(&bench, &image).await).await;
    assert_eq!(debug, "gate-debug");
    // The same partitions, and nothing switched off.
    let checked = std::fs::read(fixture("avb/vbmeta.bin")).unwrap();
    bench.release(&ordered(&bench, &checked).await).await.unwrap();
    let bench = with(Environment::Test).await;
    bench.release(&ordered(&bench, &image).await).await.unwrap();
    vec![debug]
}

/// Images that say something else than what they are released as.
fn images() -> Vec<&'static str> {
    let names = Names {
        channel: "stable".parse().unwrap(),
        version: "1.2.3+4".parse().unwrap(),
        sequence: 1,
        epoch: 7,
        rollback_of: None,
    };
    let ask = |names: &Names, product: &Product, name: &str| {
        let file = File::open(fixture(&format!("mcuboot/{name}.bin"))).unwrap();
        assemble(product, names.clone(), &[("main".to_owned(), file)]).map(drop)
    };
    let mcuboot = product("mcuboot", Environment::Production);
    ask(&names, &mcuboot, "ed25519").unwrap();
    let map = |allowed: u64, protected: Option<u64>| {
        let region = |name: &str, start, size| Region { name: name.to_owned(), start, size };
        let protected = protected.map(|start| region("key store", start, 16));
        let mut product = mcuboot.clone();
        product.components[0].addresses = Some(AddressMap {
            allowed: vec![region("slot", allowed, 1 << 20)],
            protected: protected.into_iter().collect(),
            allow_unplaced: Some(false),
        });
        product
    };
    let loaded = firmseal_formats::inspect(&std::fs::read(fixture("mcuboot/ram_load.bin")).unwrap()).unwrap();
    let at = loaded.load_addresses[0];
    let own = Names { epoch: loaded.epoch.unwrap_or(7), ..names.clone() };
    ask(&own, &map(at, None), "ram_load").unwrap();
    let rules = vec![
        rule(ask(&names, &map(at, None), "ed25519")),
        rule(ask(&names, &mcuboot, "digest_only")),
        rule(ask(&Names { epoch: 8, ..names.clone() }, &mcuboot, "ed25519")),
        rule(ask(&Names { version: "1.2.4".parse().unwrap(), ..names }, &mcuboot, "ed25519")),
        rule(ask(&own, &map(at + (1 << 20), None), "ram_load")),
        rule(ask(&own, &map(at, Some(at)), "ram_load")),
        another_format(),
    ];
    let told = [
        "gate-no-address",
        "gate-unsigned",
        "gate-artifact-epoch",
        "gate-artifact-version",
        "gate-address",
        "gate-protected-region",
        "gate-format",
    ];
    assert_eq!(rules, told);
    rules
}

/// What a parser read, held against a product of another format.
fn another_format() -> &'static str {
    let image = std::fs::read(fixture("mcuboot/ed25519.bin")).unwrap();
    let inspection = firmseal_formats::inspect(&image).unwrap();
    let (version, product) = ("1.2.3+4".parse().unwrap(), product("avb", Environment::Test));
    let said = gate::Said { version: &version, epoch: 7 };
    let told = gate::check_payload(said, &product, &product.components[0], &inspection, 200);
    told.unwrap_err().rule()
}

#[tokio::test]
async fn each_rule_refuses_what_breaks_it_and_none_is_left_out() {
    let mut broken: BTreeSet<&str> = BTreeSet::new();
    broken.extend(numbers().await);
    broken.extend(lowest_epochs().await);
    broken.extend(rollbacks().await);
    broken.extend(environments().await);
    broken.extend(debug_builds().await);
    broken.extend(images());
    // The names, as the gate itself gives them.
    let source = include_str!("../src/gate.rs");
    let names: BTreeSet<&str> = source.split('"').filter(|text| text.starts_with("gate-")).collect();
    assert!(names.len() >= 20, "{names:?}");
    assert_eq!(broken, names);
}

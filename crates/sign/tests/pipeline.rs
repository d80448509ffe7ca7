//! Orders and what becomes of them, over a real store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use firmseal_core::Environment as CoreEnvironment;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_evidence::scan::Report;
use firmseal_evidence::{Attests, Builder, Builders, dsse, statement};
use firmseal_fleet::product::{BlockSize, ComponentSpec, Environment};
use firmseal_fleet::{Caller, Product, Time};
use firmseal_keys::{Backend, Covered, FileKey, Secret, SignError, Signer};
use firmseal_manifest::{ArtifactId, KeyAlgorithm, PublicKey, Signature, Tbs};
use firmseal_sign::{
    GateRefusal, KeyPurpose, Keys, Order, Ordered, OrderedComponent, Pipeline, PipelineError, Requester,
    Signed, SigningKey, verify_release,
};
use firmseal_store::{Blobs, Registry, Store, StoreError};
use firmseal_store_local::LocalStore;
use firmseal_testkit::TestKey;
use firmseal_testkit::world::firmware;
use firmseal_trust::{DemandsSpec, Holder, Role, RoleSpec, RootSpec};
use uuid::Uuid;

struct Bench {
    store: LocalStore,
    pipeline: Pipeline,
    _directory: tempfile::TempDir,
}

fn secret() -> Secret {
    Secret::new(b"correct horse".to_vec())
}

fn root_for(release: &PublicKey, environment: CoreEnvironment) -> Vec<u8> {
    let root_key = TestKey::ed25519(100);
    let holder = |name: &str, key: &PublicKey| Holder { name: name.into(), keys: vec![key.clone()] };
    let role = |role, holder| RoleSpec {
        role,
        threshold: 1,
        holders: vec![holder],
        products: vec![],
        channels: vec![],
        both_kinds: false,
    };
    let unsigned = RootSpec {
        version: 1,
        lineage: [1; 16],
        environment,
        roles: vec![
            role(Role::Root, holder("custodian", root_key.public())),
            role(Role::Release, holder("ci", release)),
        ],
        minimum_epoch: 0,
        demands: vec![DemandsSpec::NOTHING],
        closed_logs: vec![],
        sequence_resets: vec![],
    }
    .assemble()
    .unwrap();
    let signature = root_key.sign(&unsigned.to_be_signed(root_key.public()).unwrap());
    unsigned.seal(&[(root_key.public(), signature)]).unwrap()
}

fn key(directory: &Path, name: &str, algorithm: KeyAlgorithm) -> Arc<FileKey> {
    Arc::new(FileKey::generate(&directory.join(name), algorithm, &secret()).unwrap())
}

fn releases(key: Arc<dyn firmseal_keys::DynSigner>) -> Arc<SigningKey> {
    SigningKey::implicit(KeyPurpose::Release, Environment::Test, key)
}

async fn bench(format: &str) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&directory.path().join("store")).unwrap();
    let release = key(directory.path(), "release.pem", KeyAlgorithm::Ed25519);
    let artifact = key(directory.path(), "artifact.pem", KeyAlgorithm::P256);
    let root = root_for(release.public_key(), CoreEnvironment::Test);
    let images = SigningKey::implicit(KeyPurpose::Artifact, Environment::Test, artifact);
    let keys = Keys { release: vec![releases(release)], artifact: Some(images), ..Keys::default() };
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let pipeline = Pipeline::new(shared, Arc::new(store.intents().clone()), root, keys);
    let product = Product {
        id: "gateway".parse().unwrap(),
        environment: Environment::Test,
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
    };
    store.insert_product(product, &Caller::local("alice")).await.unwrap();
    Bench { store, pipeline, _directory: directory }
}

impl Bench {
    async fn upload(&self, bytes: &[u8]) -> ArtifactId {
        let id = ArtifactId(self.store.put_bytes(bytes.to_vec().into()).await.unwrap());
        self.store
            .insert_artifact(firmseal_fleet::Artifact {
                id,
                size: bytes.len() as u64,
                format: "raw".to_owned(),
                inspection: serde_json::Value::Null,
                uploaded_by: "ci".to_owned(),
                created: Time::EPOCH,
            })
            .await
            .unwrap();
        id
    }

    async fn order(&self, version: &str, payload: &[u8]) -> Order {
        Order {
            key: None,
            requester: Requester(Caller::local("ci")),
            product: "gateway".parse().unwrap(),
            channel: "stable".parse().unwrap(),
            version: version.parse().unwrap(),
            sequence: None,
            epoch: 1,
            components: vec![OrderedComponent {
                name: "main".to_owned(),
                artifact: self.upload(payload).await,
            }],
            sbom: None,
            evidence: Vec::new(),
            parameters: Default::default(),
            build: "build-17".to_owned(),
            commit: "abc123".to_owned(),
            rollback: None,
        }
    }

    async fn sign(&self, order: &Order) -> Result<Signed, PipelineError> {
        match self.pipeline.release(order, Time::EPOCH).await? {
            Ordered::Signed(signed) => Ok(*signed),
            Ordered::Waiting(request) => panic!("{request:?}"),
        }
    }
}

#[tokio::test]
async fn the_same_order_is_signed_once() {
    let bench = bench("raw").await;
    let order = bench.order("1.0.0", &firmware(50_000, 1)).await;
    let first = bench.sign(&order).await.unwrap();
    let entries = bench.store.intents().len();
    let second = bench.sign(&order).await.unwrap();
    assert_eq!((first.stored, second.stored), (false, true));
    assert_eq!(first.release, second.release);
    assert_eq!(bench.store.intents().len(), entries, "no key was used again");

    let mut keyed = order.clone();
    keyed.key = Some("k1".to_owned());
    keyed.version = "1.0.1".parse().unwrap();
    let third = bench.sign(&keyed).await.unwrap();
    assert_eq!(third.release.sequence, 2);
    keyed.epoch = 2;
    let reused = bench.sign(&keyed).await;
    assert!(matches!(reused, Err(PipelineError::KeyReused(_))), "{reused:?}");
}

#[tokio::test]
async fn evidence_is_read_before_a_key_is_used_and_kept() {
    let mut bench = bench("raw").await;
    let key = TestKey::ed25519(42);
    let builder = Builder {
        id: "https://ci.example.com".to_owned(),
        key: key.public().clone(),
        products: vec!["gateway".parse().unwrap()],
        attests: Builder::USUAL.to_vec(),
    };
    bench.pipeline = bench.pipeline.with_builders(Builders::new(vec![builder]).unwrap());
    let mut order = bench.order("1.0.0", &firmware(50_000, 1)).await;
    let artifact = order.components[0].artifact;

    let unreadable = bench.upload(b"{\"a\":1,\"a\":2}").await;
    order.evidence = vec![unreadable];
    let refused = bench.sign(&order).await;
    assert!(matches!(&refused, Err(PipelineError::Evidence(id, _)) if *id == unreadable), "{refused:?}");
    order.evidence = vec![ArtifactId(RustCrypto.digest(b"never uploaded"))];
    assert!(matches!(bench.sign(&order).await, Err(PipelineError::Store(_))));
    assert_eq!(bench.store.intents().len(), 0, "no key was used");

    let predicate = serde_json::json!({
        "buildDefinition": { "buildType": "make" },
        "runDetails": { "builder": { "id": "https://ci.example.com" } },
    });
    let statement =
        statement::encode(&[("firmware", artifact)], "https://slsa.dev/provenance/v1", &predicate);
    let message = Tbs::Message(dsse::pae(dsse::STATEMENT, &statement));
    let envelope = dsse::encode(dsse::STATEMENT, &statement, key.public(), &key.sign(&message));
    let provenance = bench.upload(&envelope).await;
    let junit = bench.upload(b"<testsuite name='unit'><testcase name='a'/></testsuite>").await;
    order.evidence = vec![provenance, junit, provenance];
    let facts = bench.pipeline.facts(&order.product, &order.evidence, &[artifact]).await.unwrap();
    assert!(facts.attested && facts.unproven == 0, "{facts:?}");
    assert_eq!((facts.provenance.len(), facts.tests.len()), (1, 1));
    // It says nothing for another product, which this builder does not build.
    let other = "sensor".parse().unwrap();
    let facts = bench.pipeline.facts(&other, &order.evidence, &[artifact]).await.unwrap();
    assert!(!facts.attested && facts.unproven == 1, "{facts:?}");

    let release = bench.sign(&order).await.unwrap().release;
    assert_eq!(release.evidence, order.evidence);
    assert_eq!(bench.store.release(release.id).await.unwrap().evidence, order.evidence);
    // Other evidence is another order.
    let mut less = order.clone();
    less.evidence.pop();
    assert_ne!(less.fingerprint(), order.fingerprint());
}

#[tokio::test]
async fn scans_are_told_by_those_who_may_and_of_each_component() {
    let mut bench = bench("raw").await;
    let (scanner, ci) = (TestKey::ed25519(43), TestKey::ed25519(44));
    let builder = |id: &str, key: &TestKey, attests: &[Attests]| Builder {
        id: id.to_owned(),
        key: key.public().clone(),
        products: vec![],
        attests: attests.to_vec(),
    };
    let known = vec![builder("scanner", &scanner, &[Attests::Scan]), builder("ci", &ci, &Builder::USUAL)];
    bench.pipeline = bench.pipeline.with_builders(Builders::new(known).unwrap());
    let order = bench.order("1.0.0", &firmware(50_000, 1)).await;
    let (first, second) = (order.components[0].artifact, bench.upload(b"the other").await);
    let report = Report {
        scanner: "https://scanner.example.com".to_owned(),
        version: "1".to_owned(),
        database: None,
        updated: Time::from_millis(1000),
        started: Time::from_millis(2000),
        finished: Time::from_millis(3000),
        findings: Vec::new(),
    };
    let statement = report.statement(&[("firmware", first)]);
    let signed = |key: &TestKey| {
        let message = Tbs::Message(dsse::pae(dsse::STATEMENT, &statement));
        dsse::encode(dsse::STATEMENT, &statement, key.public(), &key.sign(&message))
    };
    let both = [first, second];
    for (document, scans, unproven) in
        [(signed(&scanner), 1, 0), (signed(&ci), 0, 1), (signed(&TestKey::ed25519(45)), 0, 1)]
    {
        let evidence = [bench.upload(&document).await];
        let facts = bench.pipeline.facts(&order.product, &evidence, &both).await.unwrap();
        assert_eq!((facts.scans.len(), facts.unproven), (scans, unproven));
        assert!(facts.scans.iter().all(|scan| scan.artifacts == [first]), "nothing of the other one");
    }
}

#[tokio::test]
async fn a_release_verifies_like_one_from_elsewhere() {
    let bench = bench("raw").await;
    let order = bench.order("1.0.0", &firmware(600_000, 2)).await;
    let release = bench.sign(&order).await.unwrap().release;
    let product = bench.store.product(&order.product).await.unwrap();
    let envelope = bench.store.read_all(&release.envelope, 1 << 16).await.unwrap();
    let trust = bench.pipeline.trust();
    let verify = |latest| verify_release(&bench.store, &product, &trust, latest, &envelope);
    let verified = verify(None).await.unwrap();
    assert_eq!(verified.components, release.components);
    assert_eq!((verified.sequence, verified.manifest), (release.sequence, release.manifest));
    let stale = verify(Some(&release)).await;
    assert!(matches!(stale, Err(PipelineError::Refused(_))), "{stale:?}");
}

#[tokio::test]
async fn the_gate_keeps_numbers_from_going_back() {
    let bench = bench("raw").await;
    let mut order = bench.order("1.0.0", b"one").await;
    (order.epoch, order.sequence) = (5, Some(10));
    bench.sign(&order).await.unwrap();

    let mut lower = bench.order("1.0.1", b"two").await;
    (lower.epoch, lower.sequence) = (5, Some(10));
    let refused = bench.sign(&lower).await;
    let expected = GateRefusal::Sequence { offered: 10, latest: 10 };
    assert!(matches!(&refused, Err(PipelineError::Gate(gate)) if *gate == expected), "{refused:?}");
    (lower.epoch, lower.sequence) = (4, None);
    let refused = bench.sign(&lower).await;
    let expected = GateRefusal::Epoch { offered: 4, latest: 5 };
    assert!(matches!(&refused, Err(PipelineError::Gate(gate)) if *gate == expected), "{refused:?}");

    (lower.epoch, lower.sequence) = (22, None);
    let refused = bench.sign(&lower).await;
    assert!(matches!(refused, Err(PipelineError::Gate(GateRefusal::EpochAhead { .. }))), "{refused:?}");
    (lower.epoch, lower.sequence) = (5, Some(1 << 40));
    let refused = bench.sign(&lower).await;
    assert!(matches!(refused, Err(PipelineError::Gate(GateRefusal::SequenceAhead { .. }))), "{refused:?}");

    let entries = bench.store.intents().len();
    let mut again = bench.order("1.0.0", b"other bytes").await;
    again.epoch = 5;
    let refused = bench.sign(&again).await;
    assert!(matches!(refused, Err(PipelineError::Gate(GateRefusal::VersionExists { .. }))), "{refused:?}");
    let mut large = bench.order("1.0.2", &firmware((1 << 20) + 1, 3)).await;
    large.epoch = 5;
    let refused = bench.sign(&large).await;
    assert!(matches!(refused, Err(PipelineError::Gate(GateRefusal::TooLarge { .. }))), "{refused:?}");
    let mut other = bench.order("1.0.3", b"x").await;
    other.components[0].name = "radio".to_owned();
    let refused = bench.sign(&other).await;
    assert!(matches!(refused, Err(PipelineError::Gate(GateRefusal::Components { .. }))), "{refused:?}");
    assert_eq!(bench.store.intents().len(), entries, "what the gate refuses reaches no key");
}

#[tokio::test]
async fn an_mcuboot_image_is_signed_before_its_release() {
    let bench = bench("mcuboot").await;
    let mut order = bench.order("2.1.0", &firmware(40_000, 4)).await;
    order.parameters =
        [("header-size", "512"), ("pad-header", "true"), ("slot-size", "0x40000")].into_iter().collect();
    let release = bench.sign(&order).await.unwrap().release;
    assert_eq!(bench.store.intents().len(), 2, "the image's own signing, then the release's");
    let component = &release.components[0];
    assert_ne!(component.payload, component.artifact.0);
    let payload = bench.store.read_all(&component.payload, 1 << 20).await.unwrap().to_vec();
    let inspection = firmseal_formats::inspect(&payload).unwrap();
    assert_eq!(inspection.semver(), Some("2.1.0".parse().unwrap()));
    assert_eq!(inspection.epoch, Some(1));
    // The signed image may itself be an artifact of a later order; its
    // version must then be the ordered one.
    let mut again = bench.order("2.2.0", &payload).await;
    again.parameters = Default::default();
    assert!(bench.sign(&again).await.is_err());
}

#[tokio::test]
async fn concurrent_orders_get_one_sequence_number_each() {
    let bench = Arc::new(bench("raw").await);
    let mut tasks = tokio::task::JoinSet::new();
    for patch in 0..12 {
        let bench = bench.clone();
        tasks.spawn(async move {
            let order = bench.order(&format!("1.0.{patch}"), &firmware(5_000, patch)).await;
            bench.sign(&order).await.unwrap().release.sequence
        });
    }
    let mut sequences = tasks.join_all().await;
    sequences.sort();
    assert_eq!(sequences, (1..=12).collect::<Vec<_>>());
}

/// A key that waits for leave before it signs, and counts.
struct Slow {
    key: Arc<FileKey>,
    begun: tokio::sync::Semaphore,
    leave: tokio::sync::Semaphore,
}

impl Backend for Slow {
    fn public_half(&self) -> &PublicKey {
        self.key.public_half()
    }

    async fn sign_unverified(&self, covered: Covered) -> Result<Signature, SignError> {
        self.begun.add_permits(1);
        self.leave.acquire().await.unwrap().forget();
        self.key.sign_unverified(covered).await
    }
}

/// Two pipelines over one store, as two processes have: their locks know
/// nothing of each other.
#[tokio::test]
async fn of_two_pipelines_with_one_sequence_number_one_uses_a_key() {
    let bench = bench("raw").await;
    let key = key(bench._directory.path(), "slow.pem", KeyAlgorithm::Ed25519);
    let root = root_for(key.public_key(), CoreEnvironment::Test);
    let (begun, leave) = (tokio::sync::Semaphore::new(0), tokio::sync::Semaphore::new(0));
    let slow = Arc::new(Slow { key, begun, leave });
    let pipeline = || {
        let shared: Arc<dyn Store> = Arc::new(bench.store.clone());
        let keys = Keys { release: vec![releases(slow.clone())], artifact: None, ..Keys::default() };
        Pipeline::new(shared, Arc::new(bench.store.intents().clone()), root.clone(), keys)
    };
    let (one, two) = (pipeline(), pipeline());
    let mut first = bench.order("1.0.0", &firmware(5_000, 1)).await;
    let mut second = bench.order("1.0.1", &firmware(5_000, 2)).await;
    (first.sequence, second.sequence) = (Some(7), Some(7));

    let signing = tokio::spawn(async move { one.release(&first, Time::EPOCH).await });
    slow.begun.acquire().await.unwrap().forget();
    let entries = bench.store.intents().len();
    // The first is in the middle of its signature.
    let waits = two.release(&second, Time::EPOCH).await;
    assert!(matches!(waits, Err(PipelineError::Store(StoreError::Busy { .. }))), "{waits:?}");
    assert_eq!(slow.begun.available_permits(), 0, "the second asked no key");
    assert_eq!(bench.store.intents().len(), entries, "and logged nothing");

    slow.leave.add_permits(1);
    assert_eq!(signing.await.unwrap().unwrap().signed().unwrap().release.sequence, 7);
    let refused = two.release(&second, Time::EPOCH).await;
    assert!(matches!(refused, Err(PipelineError::Gate(GateRefusal::Sequence { .. }))), "{refused:?}");
    slow.leave.add_permits(1);
    second.sequence = Some(8);
    assert_eq!(two.release(&second, Time::EPOCH).await.unwrap().signed().unwrap().release.sequence, 8);
}

#[tokio::test]
async fn a_key_the_root_does_not_name_signs_nothing() {
    let mut bench = bench("raw").await;
    let foreign = root_for(TestKey::ed25519(44).public(), CoreEnvironment::Test);
    let keys = bench.pipeline.keys(&"gateway".parse().unwrap()).clone();
    let shared: Arc<dyn Store> = Arc::new(bench.store.clone());
    bench.pipeline = Pipeline::new(shared, Arc::new(bench.store.intents().clone()), foreign, keys);
    let order = bench.order("1.0.0", b"x").await;
    let entries = bench.store.intents().len();
    let refused = bench.sign(&order).await;
    assert!(matches!(refused, Err(PipelineError::NotEntitled { .. })), "{refused:?}");
    assert_eq!(bench.store.intents().len(), entries, "no key was used");
    assert!(bench.store.latest_release(&order.product).await.unwrap().is_none());
}

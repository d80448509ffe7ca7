//! Keys that sign under a delegation, and those that may not any more: what
//! is refused is refused before any key is used.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use firmseal_core::mldsa::Set;
use firmseal_core::{Demands, Environment as CoreEnvironment};
use firmseal_fleet::product::{BlockSize, ComponentSpec, Environment};
use firmseal_fleet::{Artifact, Caller, Product, Release, Time};
use firmseal_keys::{Backend, Covered, DynSigner, FileKey, Secret, SignError, Signer};
use firmseal_manifest::{
    ArtifactId, BirthProof, Checkpoint, Cosignature, DelegationChain, Digest, KeyAlgorithm, KeyId, LinkSpec,
    PublicKey, Signature,
};
use firmseal_sign::{
    KeyPurpose, Keys, Order, Ordered, OrderedComponent, Pipeline, PipelineError, Proofs, Proving, Requester,
    SigningKey,
};
use firmseal_store::{Blobs, Registry, Store};
use firmseal_store_local::LocalStore;
use firmseal_testkit::TestKey;
use firmseal_testkit::story::seal;
use firmseal_testkit::world::firmware;
use firmseal_trust::{DemandsSpec, Holder, Role, RoleSpec, RootSpec};
use semver::Version;
use uuid::Uuid;

/// Seconds since 1970.
const NOW: u64 = 1_800_000_000;
const LINEAGE: [u8; 16] = [1; 16];

/// The role's own key: in a safe, while builds sign.
fn safe() -> TestKey {
    TestKey::ed25519(1)
}

fn root(proof: bool) -> Vec<u8> {
    let custodian = TestKey::ed25519(100);
    let role = |role, name: &str, key: &TestKey| RoleSpec {
        role,
        threshold: 1,
        holders: vec![Holder { name: name.into(), keys: vec![key.public().clone()] }],
        products: vec![],
        channels: vec![],
        both_kinds: false,
    };
    let demands = Demands { delegation: true, proof, ..DemandsSpec::NOTHING.demands };
    let unsigned = RootSpec {
        version: 1,
        lineage: LINEAGE,
        environment: CoreEnvironment::Test,
        roles: vec![role(Role::Root, "custodian", &custodian), role(Role::Release, "alice", &safe())],
        minimum_epoch: 0,
        demands: vec![DemandsSpec { demands, products: vec![] }],
        closed_logs: vec![],
        sequence_resets: vec![],
    }
    .assemble()
    .unwrap();
    let signature = custodian.sign(&unsigned.to_be_signed(custodian.public()).unwrap());
    unsigned.seal(&[(custodian.public(), signature)]).unwrap()
}

struct Bench {
    store: LocalStore,
    ci: Arc<FileKey>,
    artifact: Arc<FileKey>,
    _directory: tempfile::TempDir,
}

impl Bench {
    async fn new(format: &str) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let secret = Secret::new(b"correct horse".to_vec());
        let key = |name: &str, algorithm| {
            Arc::new(FileKey::generate(&directory.path().join(name), algorithm, &secret).unwrap())
        };
        let (ci, artifact) = (key("ci.pem", KeyAlgorithm::Ed25519), key("artifact.pem", KeyAlgorithm::P256));
        let store = LocalStore::open(&directory.path().join("store")).unwrap();
        let component = ComponentSpec {
            name: "main".to_owned(),
            capacity: 1 << 20,
            block_size: BlockSize::Page,
            addresses: None,
        };
        let product = Product {
            id: "gateway".parse().unwrap(),
            environment: Environment::Test,
            vendor: Uuid::from_u128(1),
            class: Uuid::from_u128(2),
            hardware: vec![],
            format: format.to_owned(),
            components: vec![component],
            created: Time::EPOCH,
        };
        store.insert_product(product, &Caller::local("alice")).await.unwrap();
        Bench { store, ci, artifact, _directory: directory }
    }

    /// A delegation by the role's key to the build's.
    fn link(&self) -> LinkSpec {
        LinkSpec {
            not_before: NOW - 60,
            expiry: NOW + 3600,
            key: self.ci.public_key().clone(),
            environment: CoreEnvironment::Test,
            lineage: LINEAGE,
            products: vec!["gateway".parse().unwrap()],
            versions: (Version::new(1, 0, 0), Version::new(1, 99, 0)),
            epoch: 3,
            index: 5,
        }
    }

    fn keys(&self, link: &LinkSpec) -> Keys {
        let chain = DelegationChain::new(vec![seal(link, &safe())]).unwrap();
        Keys {
            release: vec![releases(self.ci.clone())],
            artifact: Some(SigningKey::implicit(
                KeyPurpose::Artifact,
                Environment::Test,
                self.artifact.clone(),
            )),
            delegations: vec![chain],
        }
    }

    async fn order(&self, version: &str) -> Order {
        let bytes = firmware(20_000, 7);
        let id = ArtifactId(self.store.put_bytes(bytes.clone().into()).await.unwrap());
        let artifact = Artifact {
            id,
            size: bytes.len() as u64,
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
            epoch: 1,
            components: vec![OrderedComponent { name: "main".to_owned(), artifact: id }],
            sbom: None,
            evidence: Vec::new(),
            parameters: Default::default(),
            build: String::new(),
            commit: String::new(),
            rollback: None,
        }
    }

    async fn sign(&self, keys: Keys, order: &Order, now: u64) -> Result<Release, PipelineError> {
        let shared: Arc<dyn Store> = Arc::new(self.store.clone());
        let pipeline = Pipeline::new(shared, Arc::new(self.store.intents().clone()), root(false), keys);
        match pipeline.release(order, Time::from_millis(now * 1000)).await? {
            Ordered::Signed(signed) => Ok(signed.release),
            Ordered::Waiting(request) => panic!("nobody has to approve: {request:?}"),
        }
    }

    /// Demands this refusal, and that no key was used on the way to it.
    async fn refuses(&self, code: u16, keys: Keys, order: &Order, now: u64) {
        let entries = self.store.intents().len();
        match self.sign(keys, order, now).await {
            Err(PipelineError::NotEntitled { refusal, .. }) => assert_eq!(refusal.code(), code, "{refusal}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(self.store.intents().len(), entries, "no key was used");
    }
}

#[tokio::test]
async fn a_delegated_key_signs_what_devices_take() {
    let bench = Bench::new("raw").await;
    let release = bench.sign(bench.keys(&bench.link()), &bench.order("1.2.0").await, NOW).await.unwrap();
    let envelope = bench.store.read_all(&release.envelope, 1 << 16).await.unwrap();
    let text = firmseal_manifest::print::envelope(&envelope).unwrap().to_string();
    assert!(text.contains("delegation index: 5") && text.contains("chain 0"), "{text}");
    // The same delegation signs the next release, and so does a later one.
    bench.sign(bench.keys(&bench.link()), &bench.order("1.2.1").await, NOW).await.unwrap();
    let later = LinkSpec { index: 6, ..bench.link() };
    bench.sign(bench.keys(&later), &bench.order("1.2.2").await, NOW).await.unwrap();
    // What came before it does not.
    bench.refuses(403, bench.keys(&bench.link()), &bench.order("1.2.3").await, NOW).await;
}

#[tokio::test]
async fn after_its_time_or_outside_its_scope_nothing_is_signed() {
    // A format that signs images first: not even that key is used.
    let bench = Bench::new("mcuboot").await;
    let mut order = bench.order("1.2.0").await;
    order.parameters =
        [("header-size", "512"), ("pad-header", "true"), ("slot-size", "0x40000")].into_iter().collect();
    let link = bench.link();
    bench.refuses(211, bench.keys(&link), &order, NOW + 3601).await;
    bench.refuses(212, bench.keys(&link), &order, NOW - 61).await;
    let refused = [
        (210, LinkSpec { products: vec!["radio".parse().unwrap()], ..link.clone() }),
        (210, LinkSpec { versions: (Version::new(1, 3, 0), Version::new(2, 0, 0)), ..link.clone() }),
        (210, LinkSpec { versions: (Version::new(1, 0, 0), Version::new(1, 1, 9)), ..link.clone() }),
        (210, LinkSpec { epoch: 0, ..link.clone() }),
        (208, LinkSpec { lineage: [2; 16], ..link.clone() }),
        (302, LinkSpec { environment: CoreEnvironment::Production, ..link.clone() }),
        (702, link.clone()),
        (202, LinkSpec { key: TestKey::ed25519(77).public().clone(), ..link.clone() }),
        (206, LinkSpec { key: safe().public().clone(), ..link.clone() }),
    ];
    for (code, link) in refused {
        let mut keys = bench.keys(&link);
        if code == 702 {
            keys.delegations.clear();
        }
        bench.refuses(code, keys, &order, NOW).await;
    }
    // A stranger's delegation is none.
    let mut keys = bench.keys(&link);
    keys.delegations = vec![DelegationChain::new(vec![seal(&link, &TestKey::ed25519(99))]).unwrap()];
    bench.refuses(202, keys, &order, NOW).await;
    bench.sign(bench.keys(&link), &order, NOW).await.unwrap();
}

#[tokio::test]
async fn a_chain_allows_what_every_link_allows() {
    let bench = Bench::new("raw").await;
    let (team, link) = (TestKey::ed25519(78), bench.link());
    let first = LinkSpec { key: team.public().clone(), expiry: NOW + 10, ..link.clone() };
    let second = LinkSpec { versions: (Version::new(1, 2, 0), Version::new(1, 2, 0)), ..link.clone() };
    let chain = DelegationChain::new(vec![seal(&first, &safe()), seal(&second, &team)]).unwrap();
    let keys = || Keys { delegations: vec![chain.clone()], ..bench.keys(&link) };
    bench.refuses(211, keys(), &bench.order("1.2.0").await, NOW + 11).await;
    bench.refuses(210, keys(), &bench.order("1.2.1").await, NOW).await;
    bench.sign(keys(), &bench.order("1.2.0").await, NOW).await.unwrap();
}

#[tokio::test]
async fn keys_of_one_kind_sign_nothing_where_both_are_demanded() {
    let bench = Bench::new("raw").await;
    let secret = Secret::new(b"correct horse".to_vec());
    let path = bench._directory.path().join("lattice.pem");
    let lattice = Arc::new(FileKey::generate(&path, KeyAlgorithm::MlDsa(Set::MlDsa65), &secret).unwrap());
    let pair = vec![bench.ci.public_key().clone(), lattice.public_key().clone()];
    let role = |role, name: &str, keys, both_kinds| RoleSpec {
        role,
        threshold: 1,
        holders: vec![Holder { name: name.into(), keys }],
        products: vec![],
        channels: vec![],
        both_kinds,
    };
    let custodian = TestKey::ed25519(100);
    let unsigned = RootSpec {
        version: 1,
        lineage: LINEAGE,
        environment: CoreEnvironment::Test,
        roles: vec![
            role(Role::Root, "custodian", vec![custodian.public().clone()], false),
            role(Role::Release, "builder", pair, true),
        ],
        minimum_epoch: 0,
        demands: vec![DemandsSpec::NOTHING],
        closed_logs: vec![],
        sequence_resets: vec![],
    }
    .assemble()
    .unwrap();
    let signature = custodian.sign(&unsigned.to_be_signed(custodian.public()).unwrap());
    let root = unsigned.seal(&[(custodian.public(), signature)]).unwrap();
    let sign = async |release: Vec<Arc<dyn DynSigner>>, version: &str| {
        let keys = Keys { release: release.into_iter().map(releases).collect(), ..Keys::default() };
        let shared: Arc<dyn Store> = Arc::new(bench.store.clone());
        let log = Arc::new(bench.store.intents().clone());
        let pipeline = Pipeline::new(shared, log, root.clone(), keys);
        pipeline.release(&bench.order(version).await, Time::from_millis(NOW * 1000)).await
    };
    let alone: [Arc<dyn DynSigner>; 2] = [bench.ci.clone(), lattice.clone()];
    for key in alone {
        match sign(vec![Arc::new(Untouched(key.dyn_public_key().clone()))], "1.2.0").await {
            Err(PipelineError::BothKinds { have: 0, need: 1, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.store.intents().len(), 0, "nothing was even announced");
    let signed = sign(vec![bench.ci.clone(), lattice.clone()], "1.2.0").await.unwrap().signed().unwrap();
    let envelope = bench.store.read_all(&signed.release.envelope, 1 << 16).await.unwrap();
    let text = firmseal_manifest::print::envelope(&envelope).unwrap().to_string();
    for key in [bench.ci.public_key(), lattice.public_key()] {
        assert!(text.contains(&key.id().to_string()), "{text}");
    }
}

fn releases(key: Arc<dyn DynSigner>) -> Arc<SigningKey> {
    SigningKey::implicit(KeyPurpose::Release, Environment::Test, key)
}

/// Witnesses whose clocks say this.
struct Late(u64);

impl Proofs for Late {
    fn prove(&self, index: u64) -> Proving<'_> {
        let time = self.0;
        Box::pin(async move {
            let key = KeyId(Digest([3; 32]));
            let checkpoint = Checkpoint {
                origin: "log.example/1".to_owned(),
                size: index + 1,
                hash: Digest([0; 32]),
                signature: (key, vec![0; 64]),
                cosignatures: vec![Cosignature { key, time, signature: vec![0; 64] }],
            };
            Ok(BirthProof { checkpoint, index, path: vec![] })
        })
    }
}

/// A key that must not be used.
struct Untouched(PublicKey);

impl Backend for Untouched {
    fn public_half(&self) -> &PublicKey {
        &self.0
    }

    async fn sign_unverified(&self, _: Covered) -> Result<Signature, SignError> {
        panic!("the key was used")
    }
}

#[tokio::test]
async fn witnesses_who_say_that_it_is_over_are_believed_before_the_key_is_used() {
    let bench = Bench::new("raw").await;
    let keys = bench.keys(&bench.link());
    let keys = Keys { release: vec![releases(Arc::new(Untouched(bench.ci.public_key().clone())))], ..keys };
    let shared: Arc<dyn Store> = Arc::new(bench.store.clone());
    let log = Arc::new(bench.store.intents().clone());
    let pipeline = Pipeline::new(shared, log, root(true), keys).with_proofs(Arc::new(Late(NOW + 3601)));
    // By the clock of this machine there is an hour left.
    let refused = pipeline.release(&bench.order("1.2.0").await, Time::from_millis(NOW * 1000)).await;
    match refused {
        Err(PipelineError::NotEntitled { refusal, .. }) => assert_eq!(refusal.code(), 211),
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.store.intents().len(), 1, "it was announced, and not done");
}

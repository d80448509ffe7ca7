//! Releases that wait for people: who counts, who does not, and what a
//! crash leaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use firmseal_core::{Demands, Environment as CoreEnvironment};
use firmseal_evidence::Materials;
use firmseal_fleet::product::{BlockSize, ComponentSpec, Environment};
use firmseal_fleet::{ApprovalSignature, Artifact, Caller, Product, RequestState, SigningRequest, Time};
use firmseal_keys::{FileKey, Log, LogError, Secret, Signer};
use firmseal_manifest::{ArtifactId, Digest, End, Event, KeyAlgorithm, Leaf, PublicKey, Statement};
use firmseal_sign::review::{Difference, Side};
use firmseal_sign::{
    ApprovalError, EventError, GateRefusal, KeyPurpose, Keys, NewApproval, Order, Ordered, OrderedComponent,
    Pipeline, PipelineError, Requester, Rollback, Signed, SigningKey, review,
};
use firmseal_store::{Blobs, Events, Registry, SigningRequests, Store};
use firmseal_store_local::{IntentLog, LocalStore};
use firmseal_testkit::TestKey;
use firmseal_testkit::world::firmware;
use firmseal_trust::{DemandsSpec, Holder, Role, RoleSpec, RootSpec};
use uuid::Uuid;

const NOW: Time = Time::from_millis(1_800_000_000_000);
/// Two of these must agree.
const APPROVERS: [&str; 3] = ["ann", "ben", "cleo"];

fn key_of(name: &str) -> TestKey {
    if name == "ned" {
        return TestKey::ed25519(69);
    }
    let place = APPROVERS.iter().position(|own| *own == name).unwrap() as u8;
    if name == "ben" { TestKey::p256(61) } else { TestKey::ed25519(60 + place) }
}

struct Bench {
    store: LocalStore,
    pipeline: Pipeline,
    root: Vec<u8>,
    _directory: tempfile::TempDir,
}

fn root_for(release: &PublicKey, version: u64, minimum_epoch: u64) -> Vec<u8> {
    let root_key = TestKey::ed25519(100);
    let holder = |name: &str, key: &PublicKey| Holder { name: name.into(), keys: vec![key.clone()] };
    let role = |role, threshold, holders| RoleSpec {
        role,
        threshold,
        holders,
        products: vec![],
        channels: vec![],
        both_kinds: false,
    };
    let approvers = APPROVERS.iter().map(|name| holder(name, key_of(name).public())).collect();
    let demands = Demands { approvals: true, ..DemandsSpec::NOTHING.demands };
    let unsigned = RootSpec {
        version,
        lineage: [1; 16],
        environment: CoreEnvironment::Test,
        roles: vec![
            role(Role::Root, 1, vec![holder("custodian", root_key.public())]),
            role(Role::Release, 1, vec![holder("ci", release)]),
            role(Role::Approver, 2, approvers),
            RoleSpec {
                channels: vec!["nightly".parse().unwrap()],
                ..role(Role::Approver, 1, vec![holder("ned", key_of("ned").public())])
            },
        ],
        minimum_epoch,
        demands: vec![DemandsSpec { demands, products: vec![] }],
        closed_logs: vec![],
        sequence_resets: vec![],
    }
    .assemble()
    .unwrap();
    let signature = root_key.sign(&unsigned.to_be_signed(root_key.public()).unwrap());
    unsigned.seal(&[(root_key.public(), signature)]).unwrap()
}

impl Bench {
    async fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let secret = Secret::new(b"correct horse".to_vec());
        let path = directory.path().join("release.pem");
        let release = FileKey::generate(&path, KeyAlgorithm::Ed25519, &secret).unwrap();
        let root = root_for(release.public_key(), 1, 0);
        let store = LocalStore::open(&directory.path().join("store")).unwrap();
        let product = Product {
            id: "gateway".parse().unwrap(),
            environment: Environment::Test,
            vendor: Uuid::from_u128(1),
            class: Uuid::from_u128(2),
            hardware: vec![],
            format: "raw".to_owned(),
            components: vec![ComponentSpec {
                name: "main".to_owned(),
                capacity: 1 << 20,
                block_size: BlockSize::Page,
                addresses: None,
            }],
            created: NOW,
        };
        store.insert_product(product, &Caller::local("alice")).await.unwrap();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let release = SigningKey::implicit(KeyPurpose::Release, Environment::Test, Arc::new(release));
        let keys = Keys { release: vec![release], artifact: None, ..Keys::default() };
        let pipeline = Pipeline::new(shared, Arc::new(store.intents().clone()), root.clone(), keys);
        Bench { store, pipeline, root, _directory: directory }
    }

    async fn order(&self, version: &str, requester: &str) -> Order {
        let bytes = firmware(20_000, version.len() as u64 + u64::from(version.as_bytes()[0]));
        let id = ArtifactId(self.store.put_bytes(bytes.clone().into()).await.unwrap());
        let artifact = Artifact {
            id,
            size: bytes.len() as u64,
            format: "raw".to_owned(),
            inspection: serde_json::Value::Null,
            uploaded_by: "ci".to_owned(),
            created: NOW,
        };
        self.store.insert_artifact(artifact).await.unwrap();
        Order {
            key: Some(version.to_owned()),
            requester: Requester(Caller::local(requester)),
            product: "gateway".parse().unwrap(),
            channel: "stable".parse().unwrap(),
            version: version.parse().unwrap(),
            sequence: None,
            epoch: 1,
            components: vec![OrderedComponent { name: "main".to_owned(), artifact: id }],
            sbom: None,
            evidence: Vec::new(),
            parameters: Default::default(),
            build: "build-17".to_owned(),
            commit: "abc123".to_owned(),
            rollback: None,
        }
    }

    async fn request(&self, version: &str, requester: &str) -> SigningRequest {
        let order = self.order(version, requester).await;
        match self.pipeline.release(&order, NOW).await.unwrap() {
            Ordered::Waiting(request) => *request,
            Ordered::Signed(signed) => panic!("{signed:?}"),
        }
    }

    fn statement(&self, request: &SigningRequest) -> Statement {
        review::statement(request, &firmseal_core::Root::decode(&self.root).unwrap())
    }

    /// An approval by the key of `name` over what `change` makes of the
    /// Statement.
    fn signed(
        &self,
        request: &SigningRequest,
        name: &str,
        change: impl FnOnce(&mut Statement),
    ) -> NewApproval {
        let key = key_of(name);
        let mut statement = self.statement(request);
        change(&mut statement);
        let signature = key.sign(&statement.to_be_signed(key.public()).unwrap());
        NewApproval {
            key: key.public().id(),
            signature: ApprovalSignature::Cose { signature: signature.0 },
            brought_by: "courier".to_owned(),
        }
    }

    async fn agree(&self, request: &SigningRequest, name: &str) -> Result<(), PipelineError> {
        let approval = self.signed(request, name, |_| ());
        self.pipeline.approve(request.id, approval, NOW).await.map(drop)
    }

    async fn finish(&self, request: &SigningRequest) -> Option<Signed> {
        self.pipeline.finish(request.id, NOW).await.unwrap()
    }
}

fn why(outcome: Result<impl std::fmt::Debug, PipelineError>) -> ApprovalError {
    match outcome {
        Err(PipelineError::Approval(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_people_agree_and_the_release_carries_their_word() {
    let bench = Bench::new().await;
    let request = bench.request("1.0.0", "ci").await;
    assert_eq!(bench.store.intents().len(), 0, "no key was used");
    let order = bench.order("1.0.0", "ci").await;
    let again = bench.pipeline.release(&order, NOW).await.unwrap();
    assert_eq!(again, Ordered::Waiting(Box::new(request.clone())), "the same order, the same request");
    assert_eq!(bench.finish(&request).await, None);
    bench.agree(&request, "ann").await.unwrap();
    bench.agree(&request, "ann").await.unwrap();
    assert_eq!(bench.finish(&request).await, None, "one person twice is one person");
    bench.agree(&request, "ben").await.unwrap();
    let signed = bench.finish(&request).await.unwrap();
    assert_eq!((signed.release.request, signed.release.sequence), (request.id, 1));
    assert_eq!(signed.release.manifest, request.manifest, "what was approved is what was signed");
    assert_eq!(bench.store.intents().len(), 1);
    let closed = bench.store.signing_request(request.id).await.unwrap().unwrap();
    assert_eq!(closed.state, RequestState::Signed);
    // The pipeline asked core as a device would; a device that demands the
    // approvals accepts it.
    match bench.pipeline.release(&order, NOW).await.unwrap() {
        Ordered::Signed(stored) => assert_eq!((stored.stored, stored.release), (true, signed.release)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(why(bench.agree(&request, "cleo").await), ApprovalError::Closed(_, "signed")));
}

#[tokio::test]
async fn one_dishonest_approver() {
    let bench = Bench::new().await;
    let request = bench.request("1.0.0", "ann").await;
    // Ann asked for it: her word does not count.
    assert_eq!(why(bench.agree(&request, "ann").await), ApprovalError::Own("ann".to_owned()));
    let other = bench.request("2.0.0", "ci").await;
    let approve = |approval| bench.pipeline.approve(request.id, approval, NOW);
    for (name, change) in [
        (
            "another manifest",
            Box::new(|s: &mut Statement| s.manifest = Digest([1; 32])) as Box<dyn Fn(&mut Statement)>,
        ),
        ("another request", Box::new(move |s: &mut Statement| s.request = other.id)),
        ("another key", Box::new(|s: &mut Statement| s.signers.clear())),
        ("a longer life", Box::new(|s: &mut Statement| s.expiry += 1)),
        ("another policy", Box::new(|s: &mut Statement| s.policy = Digest([2; 32]))),
    ] {
        let approval = bench.signed(&request, "ben", |statement| change(statement));
        assert_eq!(why(approve(approval).await), ApprovalError::BadSignature, "{name}");
    }
    // Ben signs as cleo, and as somebody whom nobody knows.
    let mut forged = bench.signed(&request, "ben", |_| ());
    forged.key = key_of("cleo").public().id();
    assert_eq!(why(approve(forged.clone()).await), ApprovalError::BadSignature);
    forged.key = TestKey::ed25519(7).public().id();
    assert!(matches!(why(approve(forged).await), ApprovalError::Stranger { .. }));
    bench.agree(&request, "ben").await.unwrap();
    assert_eq!(bench.finish(&request).await, None, "one dishonest approver alone releases nothing");
    assert_eq!(bench.store.intents().len(), 0, "and no key was used");
}

#[tokio::test]
async fn approvals_expire_and_can_be_withdrawn() {
    let bench = Bench::new().await;
    let request = bench.request("1.0.0", "ci").await;
    bench.agree(&request, "ann").await.unwrap();
    bench.agree(&request, "ben").await.unwrap();
    assert_eq!(bench.store.remove_approvals(request.id, "courier").await.unwrap(), 2);
    assert_eq!(bench.finish(&request).await, None);
    bench.agree(&request, "ann").await.unwrap();
    bench.agree(&request, "ben").await.unwrap();
    let late = Time::from_millis((request.expiry + 1) * 1000);
    let expired = bench.pipeline.finish(request.id, late).await;
    assert!(matches!(why(expired), ApprovalError::Closed(_, "expired")));
    assert_eq!(bench.store.intents().len(), 0);
}

#[tokio::test]
async fn a_request_that_was_overtaken_is_closed() {
    let bench = Bench::new().await;
    let first = bench.request("1.0.0", "ci").await;
    let second = bench.request("2.0.0", "ci").await;
    assert_eq!((first.sequence, second.sequence), (1, 2), "numbers that wait are not given out again");
    for request in [&first, &second] {
        bench.agree(request, "ann").await.unwrap();
        bench.agree(request, "ben").await.unwrap();
    }
    bench.finish(&second).await.unwrap();
    let overtaken = bench.pipeline.finish(first.id, NOW).await;
    assert!(matches!(overtaken, Err(PipelineError::Superseded(_))), "{overtaken:?}");
    let closed = bench.store.signing_request(first.id).await.unwrap().unwrap();
    assert_eq!(closed.state, RequestState::Superseded);
}

#[tokio::test]
async fn what_is_below_the_lowest_epoch_by_now_reaches_no_key() {
    let bench = Bench::new().await;
    bench.pipeline.load_trust(NOW).await.unwrap();
    let request = bench.request("1.0.0", "ci").await;
    bench.agree(&request, "ann").await.unwrap();
    bench.agree(&request, "ben").await.unwrap();
    let release = bench.pipeline.keys(&request.product).release[0].public_key().clone();
    let next = root_for(&release, 2, request.epoch + 1);
    bench.pipeline.publish_root(next.into(), "custodian", NOW).await.unwrap();

    let used = bench.store.intents().len();
    let refused = bench.pipeline.finish(request.id, NOW).await;
    let expected = GateRefusal::EpochRoot { offered: request.epoch, lowest: request.epoch + 1 };
    assert!(matches!(&refused, Err(PipelineError::Gate(gate)) if *gate == expected), "{refused:?}");
    let closed = bench.store.signing_request(request.id).await.unwrap().unwrap();
    assert_eq!(closed.state, RequestState::Superseded);
    assert!(bench.pipeline.finish_waiting(NOW).await.unwrap().is_empty());
    assert_eq!(bench.store.intents().len(), used, "no key is used");
}

#[tokio::test]
async fn what_a_crash_left_is_finished() {
    let bench = Bench::new().await;
    let request = bench.request("1.0.0", "ci").await;
    bench.agree(&request, "ann").await.unwrap();
    bench.agree(&request, "cleo").await.unwrap();
    // Nobody called finish: the process died. The task of the next one does.
    let signed = bench.pipeline.finish_waiting(NOW).await.unwrap();
    assert_eq!(signed.len(), 1);
    assert!(bench.pipeline.finish_waiting(NOW).await.unwrap().is_empty());
    assert_eq!(bench.store.intents().len(), 1, "signed once");
}

/// A log that takes the first leaves only.
struct Tired(IntentLog, AtomicU64);

impl Log for Tired {
    async fn append(&self, leaf: &[u8]) -> Result<u64, LogError> {
        match self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => self.0.append(leaf).await,
            Err(_) => Err(LogError::Unwitnessed("nobody is there".to_owned())),
        }
    }
}

#[tokio::test]
async fn the_log_tells_what_happened() {
    let bench = Bench::new().await;
    let request = bench.request("1.0.0", "ci").await;
    let (id, manifest) = (request.id, request.manifest);
    bench.agree(&request, "ann").await.unwrap();
    bench.store.remove_approvals(id, "courier").await.unwrap();
    bench.agree(&request, "ben").await.unwrap();
    bench.agree(&request, "cleo").await.unwrap();
    let release = bench.finish(&request).await.unwrap().release;
    assert_eq!(bench.store.intents().len(), 1, "events wait for whoever enters them");

    // Three fit; the others wait, and are not lost.
    let shared: Arc<dyn Store> = Arc::new(bench.store.clone());
    let tired = Arc::new(Tired(bench.store.intents().clone(), AtomicU64::new(3)));
    let pipeline = Pipeline::new(shared, tired, bench.root.clone(), Keys::default());
    let stuck = pipeline.enter_events().await;
    assert!(matches!(stuck, Err(EventError::Log(LogError::Unwitnessed(_)))), "{stuck:?}");
    assert_eq!(bench.store.waiting_events(9).await.unwrap().len(), 5);
    assert_eq!(bench.pipeline.enter_events().await.unwrap(), 5);
    assert_eq!(bench.pipeline.enter_events().await.unwrap(), 0, "once");

    let key = |name: &str| key_of(name).public().id();
    let agreed = |name| Event::Approved { request: id, manifest, key: key(name) };
    let leaves = bench.store.intents().read(0, 99).await.unwrap();
    let leaves: Vec<_> = leaves.iter().map(|entry| Leaf::decode(&entry.leaf).unwrap()).collect();
    let intent = leaves[0].intent().unwrap();
    assert_eq!((intent.subject, intent.requester), (manifest, request.requester_id));
    let events = [
        Event::Requested { request: id, manifest, requester: request.requester_id },
        agreed("ann"),
        Event::Unapproved { request: id, key: key("ann") },
        agreed("ben"),
        agreed("cleo"),
        Event::Released { manifest, envelope: release.envelope, intent: 0 },
        Event::Closed { request: id, end: End::Signed },
    ];
    assert!(matches!(leaves[1], Leaf::Event(Event::Product { .. })), "{leaves:?}");
    assert_eq!(leaves[2..], events.map(Leaf::Event));
}

#[tokio::test]
async fn people_agree_to_a_roll_back_and_see_that_it_is_one() {
    let bench = Bench::new().await;
    let mut made = Vec::new();
    for version in ["1.0.0", "1.1.0"] {
        let request = bench.request(version, "ci").await;
        bench.agree(&request, "ann").await.unwrap();
        bench.agree(&request, "ben").await.unwrap();
        made.push(bench.finish(&request).await.unwrap().release);
    }
    let (good, bad) = (&made[0], &made[1]);
    let requester = Requester(Caller::local("ci"));
    let order = bench.pipeline.rollback_order(requester, None, bad.id, None).await.unwrap();
    assert_eq!(order.rollback, Some(Rollback { of: bad.id, to: good.id }));
    // What waits holds a number: nothing goes between it and the bad one.
    let next = bench.request("1.2.0", "ci").await;
    let late = bench.pipeline.release(&order, NOW).await.unwrap_err().to_string();
    assert!(late.contains("a signing request that waits came after 1.1.0"), "{late}");
    bench.store.close_signing_request(next.id, RequestState::Cancelled).await.unwrap();

    let request = match bench.pipeline.release(&order, NOW).await.unwrap() {
        Ordered::Waiting(request) => *request,
        Ordered::Signed(signed) => panic!("{signed:?}"),
    };
    assert_eq!((request.sequence, request.rollback_of), (3, Some(bad.manifest)));
    let after = Side::read(&bench.store.read_all(&request.unsigned, 1 << 20).await.unwrap()).unwrap();
    assert_eq!(after.rollback_of, Some(bad.manifest));
    let before = Side::read(&bench.store.read_all(&bad.envelope, 1 << 20).await.unwrap()).unwrap();
    let lines = Difference { before: Some(before), after, sboms: [None, None], evidence: vec![] }.lines();
    assert!(lines.iter().any(|line| line.starts_with("rolls back ")), "{lines:?}");
    bench.agree(&request, "ann").await.unwrap();
    bench.agree(&request, "cleo").await.unwrap();
    let release = bench.finish(&request).await.unwrap().release;
    assert_eq!(bench.pipeline.waits_for(&release).await.unwrap(), Some(bad.manifest));
    assert_eq!(release.components, good.components);
    assert_eq!(bench.pipeline.waits_for(good).await.unwrap(), None);
    assert_eq!(bench.request("1.2.1", "ci").await.sequence, 4, "its number is taken");
}

#[tokio::test]
async fn a_channel_may_ask_others() {
    let bench = Bench::new().await;
    let order = Order { channel: "nightly".parse().unwrap(), ..bench.order("1.0.0-3", "ci").await };
    let Ordered::Waiting(request) = bench.pipeline.release(&order, NOW).await.unwrap() else {
        panic!("approvals are demanded");
    };
    let stranger = why(bench.agree(&request, "ann").await);
    assert!(matches!(stranger, ApprovalError::Stranger { .. }), "{stranger:?}");
    assert_eq!(bench.pipeline.missing_approvals(&request).await.unwrap(), 1);
    bench.agree(&request, "ned").await.unwrap();
    let release = bench.finish(&request).await.unwrap().release;
    assert_eq!(release.channel.as_str(), "nightly");
    // His word counts there alone.
    let stable = bench.request("1.0.0", "ci").await;
    let stranger = why(bench.agree(&stable, "ned").await);
    assert!(matches!(stranger, ApprovalError::Stranger { .. }), "{stranger:?}");
    assert_eq!(bench.pipeline.missing_approvals(&stable).await.unwrap(), 2);
}

impl Bench {
    /// A document as an artifact.
    async fn document(&self, text: &str) -> ArtifactId {
        let id = ArtifactId(self.store.put_bytes(text.to_owned().into()).await.unwrap());
        let artifact = Artifact {
            id,
            size: text.len() as u64,
            format: "raw".to_owned(),
            inspection: serde_json::Value::Null,
            uploaded_by: "ci".to_owned(),
            created: NOW,
        };
        self.store.insert_artifact(artifact).await.unwrap();
        id
    }
}

#[tokio::test]
async fn what_a_release_is_made_of_is_agreed_to() {
    let bench = Bench::new().await;
    let sbom = |version: &str| {
        format!(
            r#"{{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{{"type":"library","name":"zlib","version":"{version}"}}]}}"#
        )
    };
    let none = Order { sbom: Some(bench.document("no list").await), ..bench.order("1.0.0", "ci").await };
    let refused = bench.pipeline.release(&none, NOW).await;
    assert!(matches!(refused, Err(PipelineError::Sbom(..))), "{refused:?}");
    assert_eq!(bench.store.intents().len(), 0, "no key was used");

    let first = bench.document(&sbom("1.2")).await;
    let order = Order { sbom: Some(first), key: None, ..bench.order("1.0.0", "ci").await };
    let Ordered::Waiting(request) = bench.pipeline.release(&order, NOW).await.unwrap() else { panic!() };
    assert_eq!((request.sbom, request.previous_sbom), (Some(first.0), None));
    bench.agree(&request, "ann").await.unwrap();
    bench.agree(&request, "ben").await.unwrap();
    assert_eq!(bench.finish(&request).await.unwrap().release.sbom, Some(first.0));

    let next = bench.document(&sbom("1.3")).await;
    let report = bench.document(r#"<testsuite name="unit" tests="3" failures="0"/>"#).await;
    let order = Order { sbom: Some(next), evidence: vec![report], ..bench.order("1.1.0", "ci").await };
    let Ordered::Waiting(request) = bench.pipeline.release(&order, NOW).await.unwrap() else { panic!() };
    assert_eq!((request.sbom, request.previous_sbom), (Some(next.0), Some(first.0)));
    let side = |bytes: &[u8]| Side::read(bytes).unwrap();
    let after = side(&bench.store.read_all(&request.unsigned, 1 << 20).await.unwrap());
    let release = bench.store.latest_release(&order.product).await.unwrap().unwrap();
    let before = Some(side(&bench.store.read_all(&release.envelope, 1 << 20).await.unwrap()));
    let read = |text: &str| Some(Materials::read(text.as_bytes()).unwrap());
    let sboms = [read(&sbom("1.2")), read(&sbom("1.3"))];
    let seen = Difference { before, after, sboms, evidence: vec![report] };
    assert_eq!(seen.digest(), request.difference);
    assert!(seen.lines().contains(&"SBOM ~ zlib 1.2 -> 1.3".to_owned()), "{:?}", seen.lines());
    // Another list is another Statement.
    let hidden = Difference { sboms: [read(&sbom("1.3")), read(&sbom("1.3"))], ..seen.clone() };
    assert_ne!(hidden.digest(), request.difference);
    // Other evidence as well: what somebody saw of the build is agreed to.
    for evidence in [vec![], vec![next], vec![report, next]] {
        let other = Difference { evidence, ..seen.clone() };
        assert_ne!(other.digest(), request.difference, "{:?}", other.evidence);
    }
    assert!(seen.lines().contains(&format!("evidence of the build {report}")), "{:?}", seen.lines());
}

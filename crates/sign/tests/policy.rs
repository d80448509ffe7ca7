//! A policy beside the gate: what it says counts before a key is used, and
//! the log has it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use firmseal_core::Environment as CoreEnvironment;
use firmseal_fleet::product::{BlockSize, ComponentSpec, Environment};
use firmseal_fleet::{ApprovalSignature, Artifact, Caller, Product, Time};
use firmseal_keys::{FileKey, Secret, Signer};
use firmseal_manifest::{
    ArtifactId, Digest, Event, Intent, KeyAlgorithm, Leaf, PublicKey, RequestId, Ruling,
};
use firmseal_sign::{
    Decision, KeyPurpose, KeyRules, Keys, NewApproval, Order, Ordered, OrderedComponent, Pipeline,
    PipelineError, Policy, PolicyError, Question, Reason, Requester, Rotation, SigningKey, Verdict, gate,
    review,
};
use firmseal_store::{Blobs, Events, Registry, SigningRequests, Store};
use firmseal_store_local::LocalStore;
use firmseal_testkit::TestKey;
use firmseal_testkit::world::firmware;
use firmseal_trust::{DemandsSpec, Holder, Role, RoleSpec, RootSpec};
use uuid::Uuid;

const NOW: Time = Time::from_millis(1_800_000_000_000);
const RECORD_MAX: u64 = 1 << 20;

type Answer = dyn Fn(&Question) -> Result<Verdict, PolicyError> + Send + Sync;

/// A policy that says what it is told to, and keeps what it was asked.
struct Says {
    digest: Digest,
    answer: Box<Answer>,
    asked: Mutex<Vec<Question>>,
}

impl Policy for Says {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn decide(&self, question: &Question) -> Result<Verdict, PolicyError> {
        self.asked.lock().unwrap().push(question.clone());
        (self.answer)(question)
    }
}

fn says(
    number: u8,
    answer: impl Fn(&Question) -> Result<Verdict, PolicyError> + Send + Sync + 'static,
) -> Arc<Says> {
    Arc::new(Says { digest: Digest([number; 32]), answer: Box::new(answer), asked: Mutex::default() })
}

fn reasons(rule: &str) -> Vec<Reason> {
    vec![Reason::new(rule, "because")]
}

struct Bench {
    store: LocalStore,
    pipeline: Pipeline,
    root: Vec<u8>,
    _directory: tempfile::TempDir,
}

fn approver(name: &str) -> TestKey {
    if name == "ann" { TestKey::ed25519(60) } else { TestKey::ed25519(61) }
}

/// A root that names approvers and demands nothing of them.
fn root_for(release: &PublicKey) -> Vec<u8> {
    let root_key = TestKey::ed25519(100);
    let holder = |name: &str, key: &PublicKey| Holder { name: name.into(), keys: vec![key.clone()] };
    let role = |role, holders| RoleSpec {
        role,
        threshold: 1,
        holders,
        products: vec![],
        channels: vec![],
        both_kinds: false,
    };
    let approvers = ["ann", "ben"].map(|name| holder(name, approver(name).public()));
    let unsigned = RootSpec {
        version: 1,
        lineage: [1; 16],
        environment: CoreEnvironment::Test,
        roles: vec![
            role(Role::Root, vec![holder("custodian", root_key.public())]),
            role(Role::Release, vec![holder("ci", release)]),
            role(Role::Approver, approvers.to_vec()),
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

impl Bench {
    async fn new() -> Bench {
        Bench::with_rotation(None).await
    }

    /// With a release key that is to be rotated.
    async fn with_rotation(rotation: Option<Rotation>) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&directory.path().join("store")).unwrap();
        let secret = Secret::new(b"correct horse".to_vec());
        let key = FileKey::generate(&directory.path().join("key"), KeyAlgorithm::Ed25519, &secret).unwrap();
        let root = root_for(key.public_key());
        let name = "release".parse().unwrap();
        let rules = KeyRules { rotation, ..KeyRules::new(name, KeyPurpose::Release, Environment::Test) };
        let key = SigningKey::new(rules, Arc::new(key)).unwrap();
        let keys = Keys { release: vec![key], ..Keys::default() };
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let pipeline = Pipeline::new(shared, Arc::new(store.intents().clone()), root.clone(), keys);
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
            created: Time::EPOCH,
        };
        store.insert_product(product, &Caller::local("alice")).await.unwrap();
        Bench { store, pipeline, root, _directory: directory }
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
            created: NOW,
        };
        self.store.insert_artifact(artifact).await.unwrap();
        Order {
            key: Some(version.to_owned()),
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
            build: "build-17".to_owned(),
            commit: "abc123".to_owned(),
            rollback: None,
        }
    }

    async fn sign(&self, version: &str) -> Result<Ordered, PipelineError> {
        self.pipeline.release(&self.order(version).await, NOW).await
    }

    async fn intent(&self, index: u64) -> Intent {
        let leaves = self.store.intents().read(index, 1).await.unwrap();
        Leaf::decode(&leaves[0].leaf).unwrap().intent().unwrap().clone()
    }

    async fn decision(&self, digest: &Digest) -> Decision {
        serde_json::from_slice(&self.store.read_all(digest, RECORD_MAX).await.unwrap()).unwrap()
    }

    async fn approve(&self, id: RequestId, name: &str) {
        let request = self.store.signing_request(id).await.unwrap().unwrap();
        let key = approver(name);
        let statement = review::statement(&request, &firmseal_core::Root::decode(&self.root).unwrap());
        let signature = key.sign(&statement.to_be_signed(key.public()).unwrap());
        let brought = NewApproval {
            key: key.public().id(),
            signature: ApprovalSignature::Cose { signature: signature.0 },
            brought_by: "courier".to_owned(),
        };
        self.pipeline.approve(id, brought, NOW).await.unwrap();
    }
}

#[tokio::test]
async fn a_permit_is_in_the_log_with_what_was_asked() {
    let bench = Bench::new().await;
    let policy = says(1, |_| Ok(Verdict::Permit));
    bench.pipeline.set_policy(Some(policy.clone()));
    let signed = bench.sign("1.0.0").await.unwrap().signed().unwrap();
    let intent = bench.intent(signed.release.log_index).await;
    assert_eq!(intent.policy, bench.pipeline.rules());
    assert_ne!(intent.policy, gate::policy(), "the policy is in the digest");
    let [record] = intent.context.as_slice() else { panic!("{intent:?}") };
    let decision = bench.decision(record).await;
    assert_eq!(decision.digest(), *record);
    assert_eq!((decision.policy.0, &decision.answer), (intent.policy, &Verdict::Permit));
    let asked = policy.asked.lock().unwrap().remove(0);
    assert_eq!(decision.question, asked);
    assert_eq!((asked.caller.name.as_str(), asked.artifacts[0].size, asked.keys.len()), ("ci", 20_000, 1));
    assert_eq!((asked.previous, asked.salt.len()), (None, 32));

    bench.sign("1.1.0").await.unwrap();
    let asked = policy.asked.lock().unwrap().remove(0);
    assert_eq!(asked.previous.unwrap().version.to_string(), "1.0.0");
}

#[tokio::test]
async fn what_the_policy_does_not_permit_uses_no_key() {
    let bench = Bench::new().await;
    let refused = |outcome: Result<Ordered, PipelineError>| outcome.unwrap_err();
    bench.pipeline.set_policy(Some(says(1, |_| Ok(Verdict::Refuse { reasons: reasons("no-debug") }))));
    let error = refused(bench.sign("1.0.0").await);
    assert_eq!(error.reasons(), reasons("no-debug"));
    assert!(error.is_refusal());
    assert_eq!(error.to_string(), "the policy refuses: because (no-debug)");
    let waiting = bench.store.waiting_events(9).await.unwrap();
    let [_product, event] = waiting.as_slice() else { panic!("{waiting:?}") };
    let Event::Decided { decision, ruling: Ruling::Refused, .. } = event.event else { panic!("{event:?}") };
    assert_eq!(bench.decision(&decision).await.answer, Verdict::Refuse { reasons: reasons("no-debug") });

    bench.pipeline.set_policy(Some(says(2, |_| Ok(Verdict::Hold { reasons: reasons("unusual") }))));
    let error = refused(bench.sign("1.0.0").await);
    assert_eq!(error.reasons(), reasons("unusual"));
    bench.pipeline.set_policy(Some(says(3, |_| Err(PolicyError("overflow".to_owned())))));
    let error = refused(bench.sign("1.0.0").await);
    assert!(matches!(error, PipelineError::NoVerdict(_)), "{error}");
    let many = |_: &Question| Ok(Verdict::Approvals { need: 3, reasons: reasons("three") });
    bench.pipeline.set_policy(Some(says(4, many)));
    let error = refused(bench.sign("1.0.0").await);
    assert!(matches!(error, PipelineError::TooFewApprovers { need: 3, have: 2 }), "{error}");
    assert_eq!(bench.store.intents().len(), 0, "no key was used");

    bench.pipeline.set_policy(None);
    bench.sign("1.0.0").await.unwrap();
    assert_eq!(bench.intent(0).await.policy, gate::policy(), "without a policy it is the gate's alone");
}

#[tokio::test]
async fn a_policy_asks_for_people_and_is_asked_again_when_they_have_agreed() {
    let bench = Bench::new().await;
    let two = |question: &Question| match question.approvals {
        2.. if question.now > NOW => Ok(Verdict::Permit),
        _ => Ok(Verdict::Approvals { need: 2, reasons: reasons("two") }),
    };
    bench.pipeline.set_policy(Some(says(1, two)));
    let Ordered::Waiting(request) = bench.sign("1.0.0").await.unwrap() else { panic!() };
    assert_eq!(bench.pipeline.missing_approvals(&request).await.unwrap(), 2, "the root asks for none");
    bench.approve(request.id, "ann").await;
    assert_eq!(bench.pipeline.finish(request.id, NOW).await.unwrap(), None);
    bench.approve(request.id, "ben").await;
    assert_eq!(bench.pipeline.finish(request.id, NOW).await.unwrap(), None, "not at this time");
    assert_eq!(bench.store.intents().len(), 0);
    let later = NOW.plus(std::time::Duration::from_secs(60));
    let signed = bench.pipeline.finish(request.id, later).await.unwrap().unwrap();
    let intent = bench.intent(signed.release.log_index).await;
    let decision = bench.decision(intent.context.last().unwrap()).await;
    assert_eq!((decision.question.approvals, decision.answer), (2, Verdict::Permit));
    assert_ne!(Some(*intent.context.last().unwrap()), request.decision, "asked a second time");
    assert_eq!(intent.statements.len(), 1, "what they agreed to is announced");

    // What people agreed to was judged by a policy that is in force no more.
    let Ordered::Waiting(request) = bench.sign("1.1.0").await.unwrap() else { panic!() };
    bench.approve(request.id, "ann").await;
    bench.approve(request.id, "ben").await;
    bench.pipeline.set_policy(Some(says(2, |_| Ok(Verdict::Permit))));
    let error = bench.pipeline.finish(request.id, later).await.unwrap_err();
    assert!(matches!(error, PipelineError::Superseded(_)), "{error}");
    assert_eq!(bench.store.intents().len(), 1);
}

#[tokio::test]
async fn a_key_whose_day_has_passed_while_people_thought_is_seen_to_be_overdue() {
    let day = std::time::Duration::from_secs(24 * 3600);
    let rotation = Rotation { by: NOW.plus(day), warn: day, grace: None };
    let bench = Bench::with_rotation(Some(rotation)).await;
    let fresh = |question: &Question| match (question.keys[0].overdue, question.approvals) {
        (true, _) => Ok(Verdict::Refuse { reasons: reasons("overdue") }),
        (false, 0) => Ok(Verdict::Approvals { need: 1, reasons: reasons("one") }),
        (false, _) => Ok(Verdict::Permit),
    };
    bench.pipeline.set_policy(Some(says(1, fresh)));
    let Ordered::Waiting(request) = bench.sign("1.0.0").await.unwrap() else { panic!() };
    bench.approve(request.id, "ann").await;
    assert_eq!(bench.pipeline.finish(request.id, NOW.plus(2 * day)).await.unwrap(), None);
    assert_eq!(bench.store.intents().len(), 0);
    bench.pipeline.finish(request.id, NOW).await.unwrap().unwrap();
}

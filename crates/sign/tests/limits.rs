//! Limits and states of signing keys, over the store of one machine: in a
//! race, after a restart, and in the middle of a signature.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use firmseal_fleet::signing_key::hour_of;
use firmseal_fleet::{BlockSize, Caller, ComponentSpec, Environment, KeyPhase, Product, Time};
use firmseal_keys::{Backend, Covered, Destruction, FileKey, Logged, Secret, SignError, Signer};
use firmseal_manifest::{Digest, Intent, KeyAlgorithm, KeyName, PublicKey, Purpose, Signature, Tbs};
use firmseal_sign::{
    Ask, DestroyedKey, KeyLimits, KeyOrder, KeyPurpose, KeyRefusal, KeyRules, KeyStateError, Keyring, Keys,
    Pipeline, PipelineError, Requester, SigningKey, finish_destruction,
};
use firmseal_store::{KeyUses, Store, StoreError};
use firmseal_store_local::LocalStore;
use uuid::Uuid;

const NOW: Time = Time::from_millis(1_800_000_000_000);

struct Bench {
    directory: tempfile::TempDir,
    key: Arc<FileKey>,
    product: Product,
}

impl Bench {
    fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        let key =
            FileKey::generate(&path, KeyAlgorithm::Ed25519, &Secret::new(b"a passphrase".to_vec())).unwrap();
        let product = Product {
            id: "router".parse().unwrap(),
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
        Bench { directory, key: Arc::new(key), product }
    }

    fn store(&self) -> LocalStore {
        LocalStore::open(&self.directory.path().join("store")).unwrap()
    }

    /// A service with the key in no set.
    fn pipeline(&self, store: &LocalStore, limits: KeyLimits) -> Pipeline {
        let rules = KeyRules::new(name(), KeyPurpose::Artifact, Environment::Test);
        let destruction = Destruction::Here(Box::new(|| Ok(Some("it lay in a drawer".to_owned()))));
        let rules = KeyRules { limits, ..rules };
        let key = SigningKey::with_destruction(rules, self.key.clone(), destruction).unwrap();
        let ring = Keyring::new(Environment::Test, [key]).unwrap();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        Pipeline::new(shared, Arc::new(store.intents().clone()), Vec::new(), ring)
    }

    fn ask(&self, now: Time) -> Ask<'_> {
        Ask { purpose: KeyPurpose::Artifact, product: &self.product, caller: "ci", now }
    }

    /// Signs once, as the pipeline does.
    async fn sign(&self, pipeline: &Pipeline, store: &LocalStore, now: Time) -> Result<(), PipelineError> {
        let key = pipeline.keyring().key(&name()).unwrap();
        let used = pipeline.claim(key, self.ask(now)).await?;
        let tbs = Tbs::Message(b"a header".to_vec());
        let logged = Logged::append(store.intents(), intent(&tbs, self.key.public_key())).await.unwrap();
        used.sign(logged, tbs).await.unwrap();
        Ok(())
    }
}

fn name() -> KeyName {
    "boot".parse().unwrap()
}

fn intent(tbs: &Tbs, key: &PublicKey) -> Intent {
    Intent {
        purpose: Purpose::Artifact,
        subject: tbs.fingerprint(),
        keys: vec![key.id()],
        delegation: None,
        statements: Vec::new(),
        requester: Digest([0; 32]),
        policy: Digest([0; 32]),
        context: Vec::new(),
    }
}

fn officer() -> Requester {
    Requester(Caller::local("olga"))
}

fn limits(per_hour: u64, total: u64) -> KeyLimits {
    KeyLimits { per_hour: Some(per_hour), total: Some(total) }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_race_never_exceed_a_limit() {
    let bench = Arc::new(Bench::new());
    let store = bench.store();
    // Two services over one store, as two processes would be.
    let services = [
        Arc::new(bench.pipeline(&store, limits(150, 200))),
        Arc::new(bench.pipeline(&store, limits(150, 200))),
    ];
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..400 {
        let (bench, service, store) = (bench.clone(), services[task % 2].clone(), store.clone());
        tasks.spawn(async move { bench.sign(&service, &store, NOW).await });
    }
    let mut signed = 0;
    while let Some(outcome) = tasks.join_next().await {
        match outcome.unwrap() {
            Ok(()) => signed += 1,
            Err(PipelineError::KeyRefused(KeyRefusal::HourlyLimit { limit: 150, until, .. })) => {
                assert_eq!(hour_of(until), hour_of(NOW) + 1);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(signed, 150);
    // In the next hour the key has fifty signatures left in all.
    let next = NOW.plus(Duration::from_secs(3600));
    let mut more = 0;
    let end = loop {
        match bench.sign(&services[0], &store, next).await {
            Ok(()) => more += 1,
            Err(end) => break end,
        }
    };
    assert_eq!(more, 50);
    assert!(matches!(end, PipelineError::KeyRefused(KeyRefusal::Spent { limit: 200, .. })), "{end}");
    for service in &services {
        service.note_uses().await.unwrap();
    }
    let uses = store.key_uses(&bench.key.public_key().id().0, 0, u64::from(u32::MAX)).await.unwrap();
    assert_eq!(
        uses.iter().map(|hour| (hour.uses, hour.caller.as_str())).collect::<Vec<_>>(),
        [(150, "ci"), (50, "ci")]
    );
}

#[tokio::test]
async fn a_restart_brings_no_use_back_but_those_that_were_given_back() {
    let bench = Bench::new();
    let mut signed = 0;
    for round in 0..3 {
        let store = bench.store();
        let service = bench.pipeline(&store, limits(64, 1000));
        bench.sign(&service, &store, NOW).await.unwrap();
        signed += 1;
        if round == 1 {
            service.settle_keys(NOW).await.unwrap();
        }
        // Otherwise the process is killed: what it held is wasted.
        drop(service);
    }
    let store = bench.store();
    let id = bench.key.public_key().id().0;
    let (in_hour, all) = store.granted(&id, hour_of(NOW)).await.unwrap();
    assert!(in_hour == all && all > signed && all < 64, "{in_hour} {all}");
    let service = bench.pipeline(&store, limits(64, 1000));
    while bench.sign(&service, &store, NOW).await.is_ok() {
        signed += 1;
    }
    assert!(signed < 64, "a crash wastes");
    assert_eq!(store.granted(&id, hour_of(NOW)).await.unwrap(), (64, 64), "and never exceeds");
}

#[tokio::test]
async fn a_use_that_is_not_made_is_not_lost() {
    let bench = Bench::new();
    let store = bench.store();
    let service = bench.pipeline(&store, limits(3, 3));
    let key = service.keyring().key(&name()).unwrap();
    for _ in 0..10 {
        // Between claim and signature the log failed, say.
        drop(service.claim(key, bench.ask(NOW)).await.unwrap());
    }
    for _ in 0..3 {
        bench.sign(&service, &store, NOW).await.unwrap();
    }
    assert!(bench.sign(&service, &store, NOW).await.is_err());
}

#[tokio::test]
async fn what_an_officer_says_is_in_force_at_once() {
    let bench = Bench::new();
    let store = bench.store();
    let service = bench.pipeline(&store, KeyLimits::default());
    service.enter_keys(NOW).await.unwrap();
    bench.sign(&service, &store, NOW).await.unwrap();
    let order = async |order, now| service.order_key(&name(), order, &officer(), "it leaked", now).await;
    order(KeyOrder::Disable { at: None }, NOW).await.unwrap();
    let refused = bench.sign(&service, &store, NOW).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("disabled by olga") && text.contains("it leaked"), "{text}");
    // Another service over the same store, after a restart.
    let other = bench.pipeline(&store, KeyLimits::default());
    assert!(matches!(
        bench.sign(&other, &store, NOW).await,
        Err(PipelineError::KeyRefused(KeyRefusal::Disabled { .. }))
    ));
    order(KeyOrder::Enable, NOW).await.unwrap();
    bench.sign(&service, &store, NOW).await.unwrap();
    // From a day on, without anybody there.
    let day = NOW.plus(Duration::from_secs(86_400));
    order(KeyOrder::Disable { at: Some(day) }, NOW).await.unwrap();
    bench.sign(&service, &store, NOW).await.unwrap();
    assert!(bench.sign(&service, &store, day).await.is_err());
    let unknown = service.order_key(&"none".parse().unwrap(), KeyOrder::Enable, &officer(), "", NOW).await;
    assert!(matches!(unknown, Err(KeyStateError::Unknown(_))));
}

#[tokio::test]
async fn a_key_is_destroyed_when_its_day_comes_and_not_before() {
    let bench = Bench::new();
    let store = bench.store();
    let service = bench.pipeline(&store, KeyLimits::default());
    service.enter_keys(NOW).await.unwrap();
    let day = NOW.plus(Duration::from_secs(86_400));
    let order = async |order, now| service.order_key(&name(), order, &officer(), "over", now).await;
    let early = order(KeyOrder::Destroy { at: day }, NOW).await;
    assert!(matches!(early, Err(KeyStateError::Store(StoreError::Conflict { .. }))), "{early:?}");
    assert!(matches!(order(KeyOrder::Keep, NOW).await, Err(KeyStateError::NotScheduled(_))));
    order(KeyOrder::Disable { at: None }, NOW).await.unwrap();
    order(KeyOrder::Destroy { at: day }, NOW).await.unwrap();
    assert!(service.destroy_due(NOW).await.is_empty());
    order(KeyOrder::Keep, NOW).await.unwrap();
    assert!(service.destroy_due(day).await.is_empty(), "it was cancelled");
    order(KeyOrder::Destroy { at: day }, NOW).await.unwrap();
    assert!(order(KeyOrder::Keep, day).await.is_err(), "too late");
    let gone = service.destroy_due(day).await;
    let Ok(DestroyedKey { note: Some(note), .. }) = &gone[0] else { panic!("{gone:?}") };
    assert_eq!((gone.len(), note.as_str()), (1, "it lay in a drawer"));
    assert!(service.destroy_due(day).await.is_empty());
    assert!(order(KeyOrder::Enable, day).await.is_err());
    let kept = store.key_records().await.unwrap();
    assert_eq!(
        (kept[0].state.phase, kept[0].spki.as_slice()),
        (KeyPhase::Destroyed, bench.key.public_key().spki())
    );
}

#[tokio::test]
async fn a_key_that_signs_for_products_is_not_destroyed() {
    struct Shown(PublicKey);
    impl Backend for Shown {
        fn public_half(&self) -> &PublicKey {
            &self.0
        }
        async fn sign_unverified(&self, _: Covered) -> Result<Signature, SignError> {
            Err(SignError::Refused("never".to_owned()))
        }
    }
    let bench = Bench::new();
    let store = bench.store();
    let public = bench.key.public_key().clone();
    let key = SigningKey::implicit(KeyPurpose::Artifact, Environment::Test, Arc::new(Shown(public)));
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let keys = Keys { artifact: Some(key.clone()), ..Keys::default() };
    let service = Pipeline::new(shared, Arc::new(store.intents().clone()), Vec::new(), keys);
    service.enter_keys(NOW).await.unwrap();
    let refused = service.order_key(key.name(), KeyOrder::Destroy { at: NOW }, &officer(), "", NOW).await;
    assert!(matches!(refused, Err(KeyStateError::InUse(_))), "{refused:?}");
}

#[tokio::test]
async fn a_key_that_lies_elsewhere_is_destroyed_there() {
    let bench = Bench::new();
    let store = bench.store();
    let rules = KeyRules::new(name(), KeyPurpose::Artifact, Environment::Test);
    let elsewhere = Destruction::Elsewhere("on the key host `vault-1`".to_owned());
    let key = SigningKey::with_destruction(rules, bench.key.clone(), elsewhere).unwrap();
    let ring = Keyring::new(Environment::Test, [key]).unwrap();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let service = Pipeline::new(shared, Arc::new(store.intents().clone()), Vec::new(), ring);
    service.enter_keys(NOW).await.unwrap();
    service.order_key(&name(), KeyOrder::Disable { at: None }, &officer(), "", NOW).await.unwrap();
    let refused = service.order_key(&name(), KeyOrder::Destroy { at: NOW }, &officer(), "", NOW).await;
    let Err(error @ KeyStateError::OutOfHand { .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().ends_with("destroy it on the key host `vault-1`"), "{error}");
}

#[tokio::test]
async fn a_service_that_was_cut_off_after_the_key_was_gone_records_it() {
    let bench = Bench::new();
    let store = bench.store();
    let service = bench.pipeline(&store, KeyLimits::default());
    service.enter_keys(NOW).await.unwrap();
    let order = async |order| service.order_key(&name(), order, &officer(), "over", NOW).await.unwrap();
    order(KeyOrder::Disable { at: None }).await;
    let day = NOW.plus(Duration::from_secs(86_400));
    order(KeyOrder::Destroy { at: day }).await;
    let record = store.key_records().await.unwrap().remove(0);
    assert!(!record.state.is_to_be_destroyed(NOW) && record.state.is_to_be_destroyed(day));
    let fails = finish_destruction(&store, &record, Box::new(|| Err("the token is away".to_owned())), day);
    assert!(matches!(fails.await, Err(KeyStateError::Failed { .. })));
    assert_eq!(store.key_records().await.unwrap()[0].state.phase, KeyPhase::Destroying);
    finish_destruction(&store, &record, Box::new(|| Ok(None)), day).await.unwrap();
    let left = store.key_records().await.unwrap().remove(0).state;
    assert_eq!((left.phase, left.why.as_str()), (KeyPhase::Destroyed, "over"));
}

//! A store, a key that fails as it is told, and a dispatcher between them.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use firmseal_core::Environment as CoreEnvironment;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::product::{BlockSize, ComponentSpec, Environment};
use firmseal_fleet::{
    Artifact, Caller, CallerKind, Job, JobState, Priority, Product, Role as Operator, Scope, Time,
};
use firmseal_keys::{Backend, Covered, SignError};
use firmseal_manifest::{ArtifactId, Event, Leaf, PublicKey, RequestId, Signature};
use firmseal_sign::{
    ArtifactWish, Bounds, Dispatcher, KeyPurpose, KeyRules, Keyring, Keys, Pipeline, Policy, Seen,
    SigningKey, Timestamps,
};
use firmseal_store::{Blobs, Inserted, Jobs, Registry, Store};
use firmseal_store_local::LocalStore;
use firmseal_testkit::TestKey;
use firmseal_trust::{DemandsSpec, Holder, Role, RoleSpec, RootSpec};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::faulty::{FaultyStore, StoreMood};

/// What a key does with one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// It is not there.
    Away,
    /// It signs, and the answer is lost.
    Lost,
    /// It answers something else.
    Wrong,
    /// It never answers.
    Hang,
    /// It refuses our credential.
    Denied,
    /// It refuses its PIN.
    Pin,
    /// It is not where it was.
    Gone,
    /// It refuses this request.
    Refuse,
    /// What speaks to it has a fault of its own.
    Panic,
}

/// Says of each request what goes wrong with it.
pub(crate) type Mood = Box<dyn FnMut() -> Option<Fault> + Send>;

/// A key behind a network, as a test wants it to be. It outlives the service.
pub(crate) struct Hsm {
    key: TestKey,
    /// What it does next; then it signs.
    pub(crate) faults: Mutex<VecDeque<Fault>>,
    /// Decides on each request, if nothing is planned.
    pub(crate) mood: Mutex<Option<Mood>>,
    /// Indexes of the intents under which it was asked, in order.
    pub(crate) asked: Mutex<Vec<u64>>,
}

impl Hsm {
    /// One with the key of a number.
    pub(crate) fn of(key: u8) -> Arc<Hsm> {
        let (faults, mood, asked) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Hsm { key: TestKey::ed25519(key), faults, mood, asked })
    }

    pub(crate) fn plan(&self, faults: &[Fault]) {
        self.faults.lock().unwrap().extend(faults);
    }

    fn next(&self) -> Option<Fault> {
        if let Some(fault) = self.faults.lock().unwrap().pop_front() {
            return Some(fault);
        }
        self.mood.lock().unwrap().as_mut().and_then(|mood| mood())
    }
}

impl Backend for Hsm {
    fn public_half(&self) -> &PublicKey {
        self.key.public()
    }

    async fn sign_unverified(&self, covered: Covered) -> Result<Signature, SignError> {
        self.asked.lock().unwrap().push(covered.intent().index());
        let away = || Err(SignError::Unavailable("the network is gone".to_owned()));
        match self.next() {
            None => Ok(self.key.sign(covered.tbs())),
            Some(Fault::Away | Fault::Lost) => away(),
            Some(Fault::Wrong) => Ok(Signature(vec![7; 64])),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Denied) => Err(SignError::Denied("it has expired".to_owned())),
            Some(Fault::Gone) => Err(SignError::Unfit("the token holds no such key".to_owned())),
            Some(Fault::Pin) => Err(SignError::WrongPin),
            Some(Fault::Refuse) => Err(SignError::Refused("not this one".to_owned())),
            Some(Fault::Panic) => panic!("a fault of our own, which the test wants"),
        }
    }
}

fn root(release: &PublicKey) -> Vec<u8> {
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
        environment: CoreEnvironment::Test,
        roles: vec![
            role(Role::Root, "custodian", root_key.public()),
            role(Role::Release, "ci", release),
            role(Role::Approver, "ann", TestKey::ed25519(101).public()),
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

/// The service, as often as it is started over one directory.
pub(crate) struct Bench {
    pub(crate) hsm: Arc<Hsm>,
    /// Has the release key.
    pub(crate) release: Arc<Hsm>,
    /// Has a key that stands in for that of files.
    pub(crate) spare: Option<Arc<Hsm>>,
    pub(crate) directory: TempDir,
    pub(crate) policy: Option<Arc<dyn Policy>>,
    pub(crate) timestamps: Option<Arc<dyn Timestamps>>,
    /// What bounds its dispatcher.
    pub(crate) bounds: Bounds,
    /// How far its dispatcher's clock is ahead, in seconds.
    pub(crate) ahead: Arc<AtomicU64>,
    /// Jobs that its dispatcher told of as too late.
    pub(crate) late: Arc<Mutex<Vec<Job>>>,
    /// What goes wrong with the store, as the pipeline has it.
    pub(crate) store: Arc<Mutex<StoreMood>>,
}

/// A service that runs.
pub(crate) struct Service {
    pub(crate) store: LocalStore,
    /// Where the store is.
    path: PathBuf,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Now, as if this process had begun at half past an hour: what is told once an
/// hour is told once.
pub(crate) fn now() -> Time {
    static AHEAD: LazyLock<Duration> = LazyLock::new(|| {
        let begun = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        Duration::from_secs(3600 - begun % 3600 + 1800)
    });
    Time::from(SystemTime::now()).plus(*AHEAD)
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench {
            hsm: Hsm::of(7),
            release: Hsm::of(102),
            spare: None,
            directory: tempfile::tempdir().unwrap(),
            policy: None,
            timestamps: None,
            bounds: Bounds { open: u64::MAX, ..Bounds::default() },
            ahead: Arc::default(),
            late: Arc::default(),
            store: Arc::new(Mutex::new(Box::new(|| None))),
        }
    }

    pub(crate) fn with_policy(policy: impl Policy + 'static) -> Bench {
        Bench { policy: Some(Arc::new(policy)), ..Bench::new() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Opens the store, and nothing that works on it. Waits for threads of a
    /// service that was killed.
    pub(crate) async fn stopped(&self) -> (LocalStore, Arc<Pipeline>) {
        let store = loop {
            match LocalStore::open(&self.path()) {
                Ok(store) => break store,
                Err(firmseal_store::StoreError::InUse { .. }) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        };
        let rules = |name: &str, purpose| KeyRules::new(name.parse().unwrap(), purpose, Environment::Test);
        let mut own = rules("own", KeyPurpose::Artifact);
        let mut keys = Vec::new();
        if let Some(spare) = &self.spare {
            own.fallback = Some("spare".parse().unwrap());
            keys.push(SigningKey::new(rules("spare", KeyPurpose::Artifact), spare.clone()).unwrap());
        }
        let artifact = SigningKey::new(own, self.hsm.clone()).unwrap();
        let release = SigningKey::new(rules("release", KeyPurpose::Release), self.release.clone()).unwrap();
        keys.extend([artifact.clone(), release.clone()]);
        let signing = Keys { release: vec![release.clone()], artifact: Some(artifact), ..Keys::default() };
        let ring = Keyring::new(Environment::Test, keys).unwrap().with_default(signing).unwrap();
        let shared = FaultyStore { store: Arc::new(store.clone()), mood: self.store.clone() };
        let (shared, log) = (Arc::new(shared), Arc::new(store.intents().clone()));
        let mut pipeline = Pipeline::new(shared as Arc<dyn Store>, log, root(release.public_key()), ring)
            .with_attempt_limit(Duration::from_millis(300));
        if let Some(timestamps) = &self.timestamps {
            pipeline = pipeline.with_timestamps(timestamps.clone());
        }
        pipeline.set_policy(self.policy.clone());
        (store, Arc::new(pipeline))
    }

    pub(crate) async fn start(&self) -> Service {
        let (store, pipeline) = self.stopped().await;
        let late = self.late.clone();
        let observer = Box::new(move |seen: Seen<'_>| {
            if let Seen::Late(job) = seen {
                late.lock().unwrap().push(job.clone());
            }
        });
        let ahead = self.ahead.clone();
        let clock = Arc::new(move || now().plus(Duration::from_secs(ahead.load(Ordering::SeqCst))));
        let dispatcher = Dispatcher::bounded(pipeline.clone(), clock, 16, self.bounds, observer);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(dispatcher.clone().run(stopped));
        Service { store, path: self.path(), pipeline, dispatcher, stop, task }
    }
}

impl Service {
    pub(crate) async fn product(&self, name: &str, format: &str) {
        let component = ComponentSpec {
            name: "main".to_owned(),
            capacity: 1 << 20,
            block_size: BlockSize::Page,
            addresses: None,
        };
        let product = Product {
            id: name.parse().unwrap(),
            environment: Environment::Test,
            vendor: Uuid::from_u128(1),
            class: Uuid::from_u128(2),
            hardware: vec![],
            format: format.to_owned(),
            components: vec![component],
            created: Time::EPOCH,
        };
        self.store.insert_product(product, &Caller::local("alice")).await.unwrap();
    }

    pub(crate) async fn upload(&self, bytes: &[u8]) -> ArtifactId {
        let id = ArtifactId(self.store.put_bytes(bytes.to_vec().into()).await.unwrap());
        self.enter(id, bytes.len()).await;
        id
    }

    /// Uploads a file whose bytes go bad on the disk before anybody asks for
    /// it; once, since the same bytes again would mend it.
    pub(crate) async fn upload_damaged(&self, bytes: &[u8]) -> ArtifactId {
        let id = ArtifactId(RustCrypto.digest(bytes));
        if self.store.artifact(&id).await.is_ok() {
            return id;
        }
        self.store.put_bytes(bytes.to_vec().into()).await.unwrap();
        let name = id.0.to_string();
        std::fs::write(self.path.join("blobs").join(&name[..2]).join(&name[2..]), vec![0; bytes.len()])
            .unwrap();
        self.enter(id, bytes.len()).await;
        id
    }

    async fn enter(&self, id: ArtifactId, size: usize) {
        let artifact = Artifact {
            id,
            size: size as u64,
            format: "raw".to_owned(),
            inspection: serde_json::Value::Null,
            uploaded_by: "ci".to_owned(),
            created: Time::EPOCH,
        };
        self.store.insert_artifact(artifact).await.unwrap();
    }

    /// A wish for a file of product `gateway`, under an idempotency key.
    pub(crate) fn wish(&self, key: &str, artifact: ArtifactId) -> ArtifactWish {
        let caller = Caller {
            name: "ci".to_owned(),
            kind: CallerKind::Token,
            team: Some("red".to_owned()),
            roles: [Operator::Admin].into(),
            claims: Default::default(),
            scope: Scope::default(),
            source: Some([192, 0, 2, 7].into()),
        };
        ArtifactWish {
            key: Some(key.to_owned()),
            caller,
            product: "gateway".parse().unwrap(),
            channel: "stable".parse().unwrap(),
            artifact,
            signing_key: None,
            version: "1.2.3".parse().unwrap(),
            epoch: 0,
            parameters: Default::default(),
            build: "build-17".to_owned(),
            commit: "abc123".to_owned(),
            evidence: vec![],
            priority: Priority::Release,
            deadline: now().plus(Duration::from_secs(600)),
        }
    }

    /// Hands a wish in; the id of its job.
    pub(crate) async fn submit(&self, wish: ArtifactWish) -> RequestId {
        let job = self.pipeline.artifact_job(wish, now()).await.unwrap();
        let id = job.id;
        match self.dispatcher.submit(job).await.unwrap() {
            Inserted::Fresh => id,
            Inserted::Same(job) => job.id,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until a job is not queued any more.
    pub(crate) async fn settled(&self, id: RequestId) -> Job {
        loop {
            let watch = self.dispatcher.watch(id);
            let job = self.store.job(id).await.unwrap().unwrap();
            if job.progress.state != JobState::Queued {
                return job;
            }
            let _ = watch.await;
        }
    }

    /// Everything that the log tells, events included.
    pub(crate) async fn log(&self) -> Vec<Leaf> {
        self.pipeline.enter_events().await.unwrap();
        let (mut leaves, mut from) = (Vec::new(), 0);
        loop {
            let page = self.store.intents().read(from, 1000).await.unwrap();
            if page.is_empty() {
                return leaves;
            }
            from += page.len() as u64;
            leaves.extend(page.iter().map(|entry| Leaf::decode(&entry.leaf).unwrap()));
        }
    }

    /// What the log tells of jobs.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let told = |leaf| match leaf {
            Leaf::Event(Event::Product { .. }) => None,
            Leaf::Event(event) => Some(event),
            _ => None,
        };
        self.log().await.into_iter().filter_map(told).collect()
    }

    /// Ends, as a person would end it.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        self.task.await.unwrap();
    }

    /// Ends wherever it is.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

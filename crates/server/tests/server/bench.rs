//! A server with a store, keys and callers, on free ports.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use firmseal_api::client::{Builder, Client};
use firmseal_api::enrolment::{CreateToken, Enrol};
use firmseal_api::fleet::{Cohort, CreateRollout, Rollout};
use firmseal_api::registry::{Component, CreateUpload, Environment, Product};
use firmseal_api::signing::{CreateRelease, Release, ReleaseComponent};
use firmseal_api::updates::{Bootloader, DeviceState, Poll, Running as Runs};
use firmseal_fleet::{Caller, Credential, CredentialId, CredentialKind, Role, Scope, Time};
use firmseal_keys::{Backend, Covered, FileKey, Secret, SignError, Signer};
use firmseal_manifest::{ArtifactId, DeviceId, Digest, KeyAlgorithm, PublicKey, Signature};
use firmseal_server::NamedOperator;
use firmseal_server::{
    Clock, Config, Deps, DeviceCaFiles, Limits, Listener, Running, Server, Serves, create_device_ca,
    create_server_certificate,
};
use firmseal_sign::{KeyPurpose, Keys, Pipeline, Policy, PolicyReader, SigningKey};
use firmseal_store::{Events, Operators, Store};
use firmseal_store_local::LocalStore;
use firmseal_testkit::TestKey;
use firmseal_trust::{DemandsSpec, Holder, Role as RootRole, RoleSpec, RootSpec};
use firmseal_witness::{PublicLog, Quorum};
use tokio::net::TcpListener;
use uuid::Uuid;

/// The machine's clock, which a test can move.
#[derive(Default)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    /// Moves the clock by some days, back if negative.
    pub(crate) fn forward(&self, days: i64) {
        self.0.fetch_add(days * 24 * 3600 * 1000, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        Time::from_millis(
            Time::from(SystemTime::now()).millis().saturating_add_signed(self.0.load(Ordering::Relaxed)),
        )
    }
}

pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) store: LocalStore,
    pub(crate) config: Config,
    pub(crate) running: Option<Running>,
    pub(crate) quorum: Option<Quorum>,
    /// What decides after the next start, and what reads proposals.
    pub(crate) policy: Option<(Arc<dyn Policy>, Arc<dyn PolicyReader>)>,
    release_key: Arc<FileKey>,
    root: Vec<u8>,
}

pub(crate) struct TestDevice {
    pub(crate) id: DeviceId,
    pub(crate) client: Client,
    pub(crate) chain: String,
    pub(crate) key: String,
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref()).unwrap()
}

/// Writes a file that its owner alone may read.
pub(crate) fn private(path: &Path, content: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
}

pub(crate) fn listener(directory: &Path, serves: Serves) -> Listener {
    Listener {
        serves,
        address: Ipv4Addr::LOCALHOST.into(),
        port: 0,
        certificate: directory.join("server.pem"),
        key: directory.join("server.key"),
        validate_client_certificates: false,
        authority: None,
        check_remote_host: Vec::new(),
    }
}

impl Bench {
    pub(crate) async fn start() -> Bench {
        Bench::with(|_| {}).await
    }

    /// A server whose configuration is changed before it starts.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Bench {
        Bench::make(change, None).await
    }

    /// Another server with a store of its own, under the same root and with
    /// the same release key.
    pub(crate) async fn twin(&self) -> Bench {
        Bench::make(|_| {}, Some(self.release_key.clone())).await
    }

    async fn make(change: impl FnOnce(&mut Config), key: Option<Arc<FileKey>>) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let clock = Arc::new(TestClock::default());
        let ca = create_device_ca(clock.now()).unwrap();
        fs::write(path.join("ca.pem"), &ca.certificate).unwrap();
        private(&path.join("ca.key"), &ca.key);
        let server =
            create_server_certificate(&["localhost".to_owned(), "127.0.0.1".to_owned()], 365, clock.now())
                .unwrap();
        fs::write(path.join("server.pem"), &server.certificate).unwrap();
        private(&path.join("server.key"), &server.key);
        let mut config = Config {
            listener: [Serves::Operator, Serves::Device, Serves::Public].map(|s| listener(path, s)).to_vec(),
            device_ca: DeviceCaFiles {
                certificate: path.join("ca.pem"),
                key: path.join("ca.key"),
                valid_days: 30,
            },
            operator: Vec::new(),
            identity: Vec::new(),
            limits: Limits { piece_bytes: 64 * 1024, ..Limits::default() },
            notify: Vec::new(),
            confine: false,
            writable: Vec::new(),
            base: path.to_owned(),
        };
        change(&mut config);
        let secret = Secret::new(b"correct horse".to_vec());
        let release_key = key.unwrap_or_else(|| {
            Arc::new(FileKey::generate(&path.join("release.pem"), KeyAlgorithm::Ed25519, &secret).unwrap())
        });
        let root = root_for(&release_key);
        let store = LocalStore::open(&path.join("store")).unwrap();
        let (running, quorum, policy) = (None, None, None);
        let mut bench = Bench { directory, clock, store, config, running, quorum, policy, release_key, root };
        bench.run().await;
        bench
    }

    pub(crate) fn deps(&self) -> Deps {
        let store: Arc<dyn Store> = Arc::new(self.store.clone());
        let public = match &self.quorum {
            None => PublicLog::alone(self.store.intents().clone()),
            Some(quorum) => PublicLog::watched(self.store.intents().clone(), quorum.clone()),
        };
        let log = Arc::new(public.clone());
        let keys = Keys {
            release: vec![releases(self.release_key.clone())],
            artifact: Some(files()),
            ..Keys::default()
        };
        let mut pipeline = Pipeline::new(store.clone(), log.clone(), self.root.clone(), keys);
        if public.is_watched() {
            pipeline = pipeline.with_proofs(Arc::new(public.clone()));
        }
        if let Some((policy, reader)) = &self.policy {
            pipeline = pipeline.with_policy(policy.clone()).with_policy_reader(reader.clone());
        }
        // An operator whom the server knows by a name in a certificate.
        let named = NamedOperator {
            name: "ci.example.com".to_owned(),
            roles: [Role::Auditor].into(),
            team: None,
            scope: Default::default(),
        };
        Deps {
            clock: self.clock.clone(),
            operators: vec![named],
            public: Some(public),
            ..Deps::new(store, Arc::new(pipeline), log)
        }
    }

    async fn run(&mut self) {
        let mut sockets = Vec::new();
        for _ in &self.config.listener {
            sockets.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        }
        self.running = Some(Server::start_on(self.config.clone(), self.deps(), sockets).await.unwrap());
    }

    pub(crate) async fn restart(&mut self) {
        self.running.take().unwrap().shutdown().await;
        self.run().await;
    }

    /// Waits until the log tells of everything that happened.
    pub(crate) async fn told(&self) {
        while !self.store.waiting_events(1).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn address(&self, serves: Serves) -> SocketAddr {
        self.running.as_ref().unwrap().address(serves).unwrap()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn release_key(&self) -> Arc<FileKey> {
        self.release_key.clone()
    }

    pub(crate) fn root(&self) -> &[u8] {
        &self.root
    }

    /// A client that trusts this server.
    pub(crate) fn builder(&self, serves: Serves) -> Builder {
        let authority = fs::read(self.file("server.pem")).unwrap();
        Client::builder(&format!("https://{}", self.address(serves))).authorities(&authority)
    }

    pub(crate) fn anybody(&self, serves: Serves) -> Client {
        self.builder(serves).build().unwrap()
    }

    /// A token with these roles.
    pub(crate) async fn token(&self, roles: &[Role]) -> (String, CredentialId) {
        self.scoped(roles, Scope::default()).await
    }

    /// A token with these roles, for this scope only.
    pub(crate) async fn scoped(&self, roles: &[Role], scope: Scope) -> (String, CredentialId) {
        let secret = format!("fsop_{}", Uuid::new_v4());
        let id = CredentialId(Uuid::now_v7());
        let credential = Credential {
            id,
            operator: if scope.is_open() { "tester" } else { "confined" }.to_owned(),
            kind: CredentialKind::Token,
            digest: sha256(secret.as_bytes()),
            roles: BTreeSet::from_iter(roles.iter().copied()),
            team: None,
            scope,
            created: self.clock.now(),
            expires: None,
            revoked: None,
        };
        self.store.insert_credential(credential, &Caller::local("bench")).await.unwrap();
        (secret, id)
    }

    pub(crate) async fn operator(&self, roles: &[Role]) -> Client {
        let (secret, _) = self.token(roles).await;
        self.builder(Serves::Operator).token(&secret).build().unwrap()
    }

    pub(crate) async fn everything(&self) -> Client {
        self.operator(&Role::ALL).await
    }

    /// Enrols a device of a product.
    pub(crate) async fn device(&self, admin: &Client, product: &str) -> TestDevice {
        let token = CreateToken {
            product: product.parse().unwrap(),
            labels: Default::default(),
            uses: None,
            valid_for: None,
        };
        let token = admin.operator().create_enrolment_token(&token).await.unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let enrol = Enrol { token: token.token, csr: csr(&key) };
        let enrolled = self.anybody(Serves::Device).device().enrol(&enrol).await.unwrap();
        let key = key.serialize_pem();
        let client = self
            .builder(Serves::Device)
            .identity(enrolled.certificate.as_bytes(), key.as_bytes())
            .build()
            .unwrap();
        TestDevice { id: enrolled.device, client, chain: enrolled.certificate, key }
    }

    /// Uploads in pieces and completes.
    pub(crate) async fn upload(&self, admin: &Client, bytes: &[u8]) -> ArtifactId {
        let wish = CreateUpload { size: bytes.len() as u64, sha256: ArtifactId(sha256(bytes)) };
        let upload = admin.operator().create_upload(&wish).await.unwrap();
        let mut offset = 0;
        for piece in bytes.chunks(self.config.limits.piece_bytes) {
            let piece = Bytes::copy_from_slice(piece);
            offset = admin.operator().append(upload.id, offset, piece).await.unwrap().offset;
        }
        admin.operator().complete(upload.id).await.unwrap().id
    }

    /// A verified release of one component.
    pub(crate) async fn release(
        &self,
        admin: &Client,
        product: &str,
        version: &str,
        bytes: &[u8],
    ) -> Release {
        let artifact = self.upload(admin, bytes).await;
        admin
            .operator()
            .create_release(&format!("key-{version}"), &order(product, version, artifact))
            .await
            .unwrap()
            .release()
            .unwrap()
    }

    /// A release that every device of its product is offered.
    pub(crate) async fn rollout(&self, admin: &Client, release: &Release) -> Rollout {
        let wish = CreateRollout { release: release.id, cohort: Cohort::All, starts: None };
        admin.operator().create_rollout(&wish).await.unwrap()
    }
}

pub(crate) fn csr(key: &rcgen::KeyPair) -> String {
    rcgen::CertificateParams::default().serialize_request(key).unwrap().pem().unwrap()
}

pub(crate) fn product(name: &str) -> Product {
    Product {
        id: name.parse().unwrap(),
        environment: Environment::Test,
        vendor: Uuid::from_u128(1),
        class: Uuid::from_u128(2),
        hardware: Vec::new(),
        format: "raw".to_owned(),
        components: vec![Component {
            name: "main".to_owned(),
            capacity: 1 << 24,
            block_size: 4096,
            addresses: None,
        }],
        created: None,
    }
}

pub(crate) fn order(product: &str, version: &str, artifact: ArtifactId) -> CreateRelease {
    CreateRelease {
        sbom: None,
        evidence: Vec::new(),
        product: product.parse().unwrap(),
        channel: "stable".parse().unwrap(),
        version: version.parse().unwrap(),
        sequence: None,
        epoch: 1,
        components: vec![ReleaseComponent { component: "main".to_owned(), artifact }],
        build: "build-77".to_owned(),
        commit: "c0ffee".to_owned(),
        parameters: Default::default(),
        priority: Default::default(),
        deadline_seconds: None,
    }
}

pub(crate) fn poll_at(sequence: u64) -> Poll {
    Poll {
        state: DeviceState {
            agent: "test 1".to_owned(),
            root_version: 1,
            running: Some(Runs {
                manifest: None,
                version: "0.0.1".parse().unwrap(),
                sequence,
                epoch: 1,
                slot: "a".to_owned(),
                confirmed: true,
            }),
            hardware: None,
            bootloader: Bootloader::default(),
        },
        reports: Vec::new(),
    }
}

/// The key of the root role, and that of the revocation role.
pub(crate) fn root_key() -> TestKey {
    TestKey::ed25519(100)
}

pub(crate) fn revocation_key() -> TestKey {
    TestKey::ed25519(105)
}

/// What the first root document of every bench says.
pub(crate) fn root_spec(release: &FileKey) -> RootSpec {
    let role = |role, name: &str, key: &firmseal_manifest::PublicKey| RoleSpec {
        role,
        threshold: 1,
        holders: vec![Holder { name: name.into(), keys: vec![key.clone()] }],
        products: vec![],
        channels: vec![],
        both_kinds: false,
    };
    RootSpec {
        version: 1,
        lineage: [1; 16],
        environment: firmseal_core::Environment::Test,
        roles: vec![
            role(RootRole::Root, "custodian", root_key().public()),
            role(RootRole::Release, "ci", release.public_key()),
            role(RootRole::Revocation, "duty officer", revocation_key().public()),
        ],
        minimum_epoch: 0,
        demands: vec![DemandsSpec::NOTHING],
        closed_logs: vec![],
        sequence_resets: vec![],
    }
}

fn root_for(release: &FileKey) -> Vec<u8> {
    let (key, unsigned) = (root_key(), root_spec(release).assemble().unwrap());
    let signature = key.sign(&unsigned.to_be_signed(key.public()).unwrap());
    unsigned.seal(&[(key.public(), signature)]).unwrap()
}

/// A root document that follows another, signed by these keys.
pub(crate) fn successor(spec: &RootSpec, previous: &[u8], keys: &[TestKey]) -> Vec<u8> {
    let unsigned = spec.assemble().unwrap();
    let sign = |key: &TestKey| key.sign(&unsigned.to_be_signed(key.public()).unwrap());
    let signatures: Vec<_> = keys.iter().map(|key| (key.public(), sign(key))).collect();
    unsigned.seal_after(previous, &signatures).unwrap()
}

/// A key for files: the same in every run, and deterministic.
pub(crate) struct FilesKey(TestKey);

impl Backend for FilesKey {
    fn public_half(&self) -> &PublicKey {
        self.0.public()
    }

    async fn sign_unverified(&self, covered: Covered) -> Result<Signature, SignError> {
        Ok(self.0.sign(covered.tbs()))
    }
}

/// The key that signs files here.
pub(crate) fn files() -> Arc<SigningKey> {
    let key = Arc::new(FilesKey(TestKey::ed25519(77)));
    SigningKey::implicit(KeyPurpose::Artifact, firmseal_fleet::Environment::Test, key)
}

/// A key without rules, for releases.
pub(crate) fn releases(key: Arc<dyn firmseal_keys::DynSigner>) -> Arc<SigningKey> {
    SigningKey::implicit(KeyPurpose::Release, firmseal_fleet::Environment::Test, key)
}

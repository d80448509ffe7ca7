//! Signatures of files as a service gives them: HTTPS, policy, log, durable
//! records, each signature verified. Against what its HSM alone can do.
//!
//! The HSM is simulated: it signs for real, so many times a second and no
//! more, and answers after a network's time. One without a limit shows the
//! service's own ceiling. Whoever asks is another process on this machine,
//! and has its share of the processors.
//!
//! `cargo bench -p firmseal --bench service`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use firmseal_api::client::Client;
use firmseal_api::signatures::{CreateSignature, Priority, SignatureState};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::product::{BlockSize, ComponentSpec, Environment};
use firmseal_fleet::{Artifact, Credential, CredentialId, CredentialKind, Product, Role, Scope, Time};
use firmseal_keys::{FileKey, Log, LogError, Logged, Secret, SignError, Signer};
use firmseal_manifest::{
    ArtifactId, Digest, Intent, KeyAlgorithm, PolicyDocument, PolicyFile, PublicKey, Purpose, Signature, Tbs,
};
use firmseal_policy::{CedarPolicy, NUMBER};
use firmseal_server::{
    Config, Deps, DeviceCaFiles, Limits, Listener, Pair, Server, Serves, create_device_ca,
    create_server_certificate,
};
use firmseal_sign::{KeyPurpose, Keys, Pipeline, SigningKey};
use firmseal_store::{Blobs, Operators, Registry, Store};
use firmseal_store_local::LocalStore;
use firmseal_testkit::TestKey;
use firmseal_trust::{DemandsSpec, Holder, Role as RootRole, RoleSpec, RootSpec};
use firmseal_witness::PublicLog;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Signatures each second of a small HSM in the network, and of a large one.
const RATES: [u32; 2] = [1_000, 3_000];
/// How long its answer is on the way.
const WAY: Duration = Duration::from_millis(2);
/// Requests at once that keep it busy.
const CLIENTS: usize = 96;
const SECONDS: u32 = 10;
/// What lets the benchmark in, beside the rules of an example.
const PERMIT: &str = r#"
@id("bench")
@reason("the firmware team signs the gateway's small files")
permit (principal in Team::"firmware", action in Action::"sign", resource == Product::"gateway")
when { context.channel == "stable" && context.artifact.size < 1048576 };
"#;
/// Names a process that asks.
const ASKING: &str = "FIRMSEAL_BENCH_ASKING";

/// An HSM behind a network.
struct NetworkHsm {
    key: FileKey,
    /// Between two signatures; none for one without a limit.
    pace: Option<Duration>,
    next: Mutex<Instant>,
}

impl NetworkHsm {
    fn new(directory: &Path, rate: Option<u32>) -> NetworkHsm {
        let secret = Secret::new(b"bench".to_vec());
        let key = FileKey::generate(&directory.join("key.pem"), KeyAlgorithm::P256, &secret).unwrap();
        let pace = rate.map(|rate| Duration::from_secs(1) / rate);
        NetworkHsm { key, pace, next: Mutex::new(Instant::now()) }
    }
}

impl Signer for NetworkHsm {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    async fn sign(&self, intent: Logged<Intent>, tbs: Tbs) -> Result<Signature, SignError> {
        if let Some(pace) = self.pace {
            let turn = {
                let mut next = self.next.lock().unwrap();
                let turn = (*next).max(Instant::now());
                *next = turn + pace;
                turn
            };
            tokio::time::sleep_until((turn + pace + WAY).into()).await;
        }
        self.key.sign(intent, tbs).await
    }
}

/// A log that forgets: only to measure the HSM alone.
struct Forgetful(AtomicU64);

impl Log for Forgetful {
    async fn append(&self, _: &[u8]) -> Result<u64, LogError> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Signatures each second of the HSM alone, asked by as many.
async fn bare(hsm: &Arc<NetworkHsm>) -> f64 {
    let (log, end) = (Arc::new(Forgetful(AtomicU64::new(0))), Instant::now() + Duration::from_secs(3));
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for client in 0..CLIENTS as u8 {
        let (hsm, log) = (hsm.clone(), log.clone());
        asking.spawn(async move {
            let tbs = Tbs::Message(vec![client; 100]);
            let intent = Intent {
                purpose: Purpose::Artifact,
                subject: tbs.fingerprint(),
                keys: vec![hsm.public_key().id()],
                delegation: None,
                statements: Vec::new(),
                requester: Digest([0; 32]),
                policy: Digest([0; 32]),
                context: Vec::new(),
            };
            let mut count = 0u32;
            while Instant::now() < end {
                let logged = Logged::append(&*log, intent.clone()).await.unwrap();
                hsm.sign(logged, tbs.clone()).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let count: u32 = asking.join_all().await.into_iter().sum();
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// What a process that asks is told.
#[derive(Serialize, Deserialize)]
struct Wishes {
    url: String,
    authority: String,
    token: String,
    files: Vec<ArtifactId>,
    /// Requests each second, if not as many as go.
    rate: Option<u32>,
}

/// What it found.
#[derive(Serialize, Deserialize)]
struct Found {
    signed: usize,
    seconds: f64,
    p50: f64,
    p99: f64,
}

fn wish(artifact: ArtifactId) -> CreateSignature {
    CreateSignature {
        product: "gateway".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        artifact,
        key: None,
        version: semver::Version::new(1, 0, 0),
        epoch: 1,
        parameters: Default::default(),
        build: "bench".to_owned(),
        commit: "bench".to_owned(),
        evidence: Vec::new(),
        priority: Priority::Release,
        deadline_seconds: None,
    }
}

/// From the request to the signature with its proof.
async fn once(client: &Client, file: ArtifactId) -> Duration {
    let begun = Instant::now();
    let operator = client.operator();
    let request =
        operator.create_signature(&file.to_string(), &wish(file), Duration::from_secs(30)).await.unwrap();
    assert_eq!(request.state, SignatureState::Signed, "{:?}", request.reasons);
    operator.signature_proof(request.id).await.unwrap();
    begun.elapsed()
}

async fn ask(wishes: Wishes) -> Found {
    let client = Client::builder(&wishes.url)
        .authorities(wishes.authority.as_bytes())
        .token(&wishes.token)
        .build()
        .unwrap();
    let files = Arc::new(Mutex::new(wishes.files.into_iter()));
    let (begun, end) = (Instant::now(), Instant::now() + Duration::from_secs(SECONDS.into()));
    let mut asking = JoinSet::new();
    match wishes.rate {
        None => {
            for _ in 0..CLIENTS {
                let (client, files) = (client.clone(), files.clone());
                asking.spawn(async move {
                    let mut times = Vec::new();
                    while Instant::now() < end {
                        let file = files.lock().unwrap().next().expect("files enough");
                        // A proof is for whoever audits: the rate is that of
                        // signatures.
                        let (operator, begun) = (client.operator(), Instant::now());
                        let wait = Duration::from_secs(30);
                        let request =
                            operator.create_signature(&file.to_string(), &wish(file), wait).await.unwrap();
                        assert_eq!(request.state, SignatureState::Signed, "{:?}", request.reasons);
                        times.push(begun.elapsed());
                    }
                    times
                });
            }
        }
        Some(rate) => {
            for number in 0..rate * SECONDS {
                tokio::time::sleep_until((begun + Duration::from_secs(1) / rate * number).into()).await;
                let file = files.lock().unwrap().next().expect("files enough");
                let client = client.clone();
                asking.spawn(async move { vec![once(&client, file).await] });
            }
        }
    }
    let mut times: Vec<Duration> = asking.join_all().await.into_iter().flatten().collect();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    Found { signed: times.len(), seconds: begun.elapsed().as_secs_f64(), p50: at(0.5), p99: at(0.99) }
}

/// Has another process ask.
fn asked(wishes: &Wishes) -> Found {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(ASKING, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(wishes).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn root() -> Vec<u8> {
    let (root, release) = (TestKey::ed25519(100), TestKey::ed25519(102));
    let role = |role, key: &TestKey| RoleSpec {
        role,
        threshold: 1,
        holders: vec![Holder { name: "bench".into(), keys: vec![key.public().clone()] }],
        products: vec![],
        channels: vec![],
        both_kinds: false,
    };
    let unsigned = RootSpec {
        version: 1,
        lineage: [1; 16],
        environment: firmseal_core::Environment::Test,
        roles: vec![role(RootRole::Root, &root), role(RootRole::Release, &release)],
        minimum_epoch: 0,
        demands: vec![DemandsSpec::NOTHING],
        closed_logs: vec![],
        sequence_resets: vec![],
    }
    .assemble()
    .unwrap();
    let signature = root.sign(&unsigned.to_be_signed(root.public()).unwrap());
    unsigned.seal(&[(root.public(), signature)]).unwrap()
}

/// A server in this process, on its own threads, and files to be signed.
struct Service {
    running: firmseal_server::Running,
    address: SocketAddr,
    authority: String,
    token: String,
    store: LocalStore,
    made: u32,
    _directory: tempfile::TempDir,
}

impl Service {
    async fn start(rate: Option<u32>) -> (Service, Arc<NetworkHsm>) {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = directory.path();
        let hsm = Arc::new(NetworkHsm::new(path, rate));
        let now = Time::from(SystemTime::now());
        let write = |name: &str, Pair { certificate, key }: &Pair| {
            std::fs::write(path.join(format!("{name}.pem")), certificate).unwrap();
            support::private(&path.join(format!("{name}.key")), key);
        };
        write("ca", &create_device_ca(now).unwrap());
        let server = create_server_certificate(&["localhost".to_owned()], 30, now).unwrap();
        write("server", &server);
        let listener = Listener {
            serves: Serves::Operator,
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            certificate: path.join("server.pem"),
            key: path.join("server.key"),
            validate_client_certificates: false,
            authority: None,
            check_remote_host: Vec::new(),
        };
        let device_ca =
            DeviceCaFiles { certificate: path.join("ca.pem"), key: path.join("ca.key"), valid_days: 30 };
        let config = Config {
            listener: vec![listener],
            device_ca,
            operator: Vec::new(),
            identity: Vec::new(),
            limits: Limits::default(),
            notify: Vec::new(),
            confine: false,
            writable: Vec::new(),
            base: path.to_owned(),
        };
        let store = LocalStore::open(&path.join("store")).unwrap();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let log = PublicLog::alone(store.intents().clone());
        let key = SigningKey::implicit(KeyPurpose::Artifact, Environment::Test, hsm.clone());
        let keys = Keys { artifact: Some(key), ..Keys::default() };
        let examples = include_str!("../../../spec/policies/who/policy.cedar");
        let file = |name: &str, text: &str| PolicyFile { name: name.to_owned(), text: text.to_owned() };
        let files = vec![file("bench.cedar", PERMIT), file("examples.cedar", examples)];
        let policy = CedarPolicy::load(&PolicyDocument::new(NUMBER, files).unwrap()).unwrap();
        let pipeline =
            Pipeline::new(shared.clone(), Arc::new(log.clone()), root(), keys).with_policy(Arc::new(policy));
        let deps = Deps { public: Some(log.clone()), ..Deps::new(shared, Arc::new(pipeline), Arc::new(log)) };
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let running = Server::start_on(config, deps, vec![socket]).await.unwrap();
        let token = format!("fsop_{}", Uuid::new_v4());
        let credential = Credential {
            id: CredentialId(Uuid::now_v7()),
            operator: "bench".to_owned(),
            kind: CredentialKind::Token,
            digest: RustCrypto.digest(token.as_bytes()),
            roles: BTreeSet::from([Role::Signer, Role::Auditor]),
            team: Some("firmware".to_owned()),
            scope: Scope::default(),
            created: now,
            expires: None,
            revoked: None,
        };
        store.insert_credential(credential).await.unwrap();
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
            format: "raw".to_owned(),
            components: vec![component],
            created: now,
        };
        store.insert_product(product).await.unwrap();
        let authority = server.certificate;
        (Service { running, address, authority, token, store, made: 0, _directory: directory }, hsm)
    }

    /// New files of four kilobytes.
    async fn files(&mut self, count: u32) -> Vec<ArtifactId> {
        let mut making = JoinSet::new();
        let mut ids = Vec::new();
        for number in self.made..self.made + count {
            let mut bytes = vec![0xa5; 4096];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            let store = self.store.clone();
            making.spawn(async move {
                let id = ArtifactId(store.put_bytes(bytes.into()).await.unwrap());
                let artifact = Artifact {
                    id,
                    size: 4096,
                    format: "raw".to_owned(),
                    inspection: serde_json::Value::Null,
                    uploaded_by: "bench".to_owned(),
                    created: Time::EPOCH,
                };
                store.insert_artifact(artifact).await.unwrap();
                id
            });
            if making.len() == 256 {
                ids.push(making.join_next().await.unwrap().unwrap());
            }
        }
        self.made += count;
        ids.extend(making.join_all().await);
        ids
    }

    async fn ask(&mut self, rate: Option<u32>, most: u32) -> (Found, Duration) {
        let files = self.files(most * SECONDS * 5 / 4 + CLIENTS as u32).await;
        let wishes = Wishes {
            url: format!("https://localhost:{}", self.address.port()),
            authority: self.authority.clone(),
            token: self.token.clone(),
            files,
            rate,
        };
        let cpu = support::cpu_of("self");
        let found = tokio::task::spawn_blocking(move || asked(&wishes)).await.unwrap();
        (found, support::cpu_of("self") - cpu)
    }
}

async fn measure(rate: Option<u32>) {
    let (mut service, hsm) = Service::start(rate).await;
    let alone = bare(&hsm).await;
    let name = rate.map_or("no limit".to_owned(), |rate| format!("{rate}/s"));
    println!("HSM of {name}, alone                {alone:>10.0} signatures/s");
    let (found, cpu) = service.ask(None, rate.unwrap_or(4_000)).await;
    let through = found.signed as f64 / found.seconds;
    println!("  the service, {CLIENTS} at once            {through:>10.0} signatures/s");
    println!("  service / HSM                       {:>10.3}", through / alone);
    println!("  latency p50 {:.1} ms, p99 {:.1} ms", found.p50, found.p99);
    let each = cpu.as_secs_f64() * 1e3 / found.signed as f64;
    println!("  processor of the service for each   {each:>10.3} ms");
    if let Some(rate) = rate {
        let (found, _) = service.ask(Some(rate / 2), rate / 2).await;
        let through = found.signed as f64 / found.seconds;
        println!(
            "  at half load, {through:.0}/s, to signature and proof: p50 {:.1} ms, p99 {:.1} ms",
            found.p50, found.p99
        );
    }
    service.running.shutdown().await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if std::env::var_os(ASKING).is_some() {
        let wishes: Wishes = serde_json::from_reader(std::io::stdin()).unwrap();
        let found = runtime.block_on(ask(wishes));
        serde_json::to_writer(std::io::stdout(), &found).unwrap();
        return;
    }
    for rate in RATES.map(Some).into_iter().chain([None]) {
        runtime.block_on(measure(rate));
    }
}

//! Whoever asks: pipelines, each with a connection of its own, in a process
//! beside the service.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use firmseal_api::client::Client;
use firmseal_api::signatures::{CreateSignature, Priority, SignatureAnswer, SignatureState};
use firmseal_manifest::{ArtifactId, RequestId};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::{OUTSTANDING, SECONDS, support};

/// Names a process that asks.
const ASKING: &str = "FIRMSEAL_BENCH_ASKING";

/// How much is asked.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Load {
    /// So many that ask again as soon as they have their signature.
    AtOnce(usize),
    /// So many, each of which asks for so many files in one request.
    Batches(usize, usize),
    /// So many requests each second, for the signature and its proof,
    /// whether or not those before have been answered.
    Rate(u32),
}

/// What a process that asks is told.
#[derive(Serialize, Deserialize)]
pub(crate) struct Wishes {
    pub(crate) url: String,
    pub(crate) authority: String,
    pub(crate) token: String,
    pub(crate) files: Vec<ArtifactId>,
    pub(crate) load: Load,
}

/// Times, in milliseconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// What it found.
#[derive(Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) signed: usize,
    pub(crate) seconds: f64,
    /// Processor time of the process that asked, in seconds.
    pub(crate) cpu: f64,
    pub(crate) signature: Times,
    pub(crate) proof: Times,
}

/// Since a request was due: until its signature, and until its proof.
type Took = (Duration, Duration);

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

async fn sign(client: &Client, file: ArtifactId) -> RequestId {
    let wait = Duration::from_secs(30);
    let request = client.operator().create_signature(&file.to_string(), &wish(file), wait).await.unwrap();
    assert_eq!(request.state, SignatureState::Signed, "{:?}", request.reasons);
    request.id
}

/// Has a batch signed; how many files were in it.
async fn sign_all(client: &Client, batch: &[ArtifactId]) {
    let (key, wishes) = (batch[0].to_string(), batch.iter().map(|file| wish(*file)).collect());
    let answers = client.operator().create_signatures(&key, wishes, Duration::from_secs(30)).await.unwrap();
    for answer in answers {
        match answer {
            SignatureAnswer::Request(request) => {
                assert_eq!(request.state, SignatureState::Signed, "{:?}", request.reasons)
            }
            SignatureAnswer::Problem(problem) => panic!("{problem}"),
        }
    }
}

/// Clients whose connections stand; each is used by one request at a time.
struct Clients {
    wishes: Wishes,
    idle: Mutex<Vec<Client>>,
}

impl Clients {
    fn take(&self) -> Client {
        self.idle.lock().unwrap().pop().unwrap_or_else(|| {
            let client = Client::builder(&self.wishes.url).authorities(self.wishes.authority.as_bytes());
            client.token(&self.wishes.token).build().unwrap()
        })
    }

    fn put(&self, client: Client) {
        self.idle.lock().unwrap().push(client);
    }

    /// Has some sign once, so that what is measured connects no more.
    async fn connect(self: &Arc<Self>, count: usize, files: &Files) {
        let mut connecting = JoinSet::new();
        for _ in 0..count {
            let (client, file) = (self.take(), files.next());
            connecting.spawn(async move {
                sign(&client, file).await;
                client
            });
        }
        for client in connecting.join_all().await {
            self.put(client);
        }
    }
}

/// Files that nobody has asked about.
struct Files(Mutex<std::vec::IntoIter<ArtifactId>>);

impl Files {
    fn next(&self) -> ArtifactId {
        self.0.lock().unwrap().next().expect("files enough")
    }
}

async fn at_once(clients: &Arc<Clients>, files: &Arc<Files>, count: usize) -> Vec<Took> {
    let end = Instant::now() + Duration::from_secs(SECONDS.into());
    let mut asking = JoinSet::new();
    for _ in 0..count {
        let (client, files) = (clients.take(), files.clone());
        asking.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                sign(&client, files.next()).await;
                // A proof is for whoever audits: the rate is that of
                // signatures.
                took.push((begun.elapsed(), begun.elapsed()));
            }
            took
        });
    }
    asking.join_all().await.into_iter().flatten().collect()
}

async fn in_batches(clients: &Arc<Clients>, files: &Arc<Files>, count: usize, size: usize) -> Vec<Took> {
    let end = Instant::now() + Duration::from_secs(SECONDS.into());
    let mut asking = JoinSet::new();
    for _ in 0..count {
        let (client, files) = (clients.take(), files.clone());
        asking.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let batch: Vec<ArtifactId> = (0..size).map(|_| files.next()).collect();
                let begun = Instant::now();
                sign_all(&client, &batch).await;
                took.extend(batch.iter().map(|_| (begun.elapsed(), begun.elapsed())));
            }
            took
        });
    }
    asking.join_all().await.into_iter().flatten().collect()
}

/// Times count from when a request was due: one that has to wait for a place
/// is as late as one that is answered late.
async fn at_a_rate(clients: &Arc<Clients>, files: &Arc<Files>, rate: u32) -> Vec<Took> {
    let (begun, places) = (Instant::now(), Arc::new(Semaphore::new(OUTSTANDING)));
    let mut asking = JoinSet::new();
    for number in 0..rate * SECONDS {
        let due = begun + Duration::from_secs(1) * number / rate;
        tokio::time::sleep_until(due.into()).await;
        let place = places.clone().acquire_owned().await.unwrap();
        let (clients, file) = (clients.clone(), files.next());
        asking.spawn(async move {
            let client = clients.take();
            let request = sign(&client, file).await;
            let signed = due.elapsed();
            client.operator().signature_proof(request).await.unwrap();
            let proven = due.elapsed();
            clients.put(client);
            drop(place);
            (signed, proven)
        });
    }
    asking.join_all().await
}

async fn ask(mut wishes: Wishes) -> Found {
    let files = Arc::new(Files(Mutex::new(std::mem::take(&mut wishes.files).into_iter())));
    let load = wishes.load;
    let clients = Arc::new(Clients { wishes, idle: Mutex::default() });
    clients.connect(crate::CLIENTS, &files).await;
    let (begun, cpu) = (Instant::now(), support::cpu_of("self"));
    let took = match load {
        Load::AtOnce(count) => at_once(&clients, &files, count).await,
        Load::Batches(count, size) => in_batches(&clients, &files, count, size).await,
        Load::Rate(rate) => at_a_rate(&clients, &files, rate).await,
    };
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), (support::cpu_of("self") - cpu).as_secs_f64());
    let times = |which: fn(&Took) -> Duration| {
        let mut times: Vec<Duration> = took.iter().map(which).collect();
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        Times { p50: at(0.5), p99: at(0.99) }
    };
    Found { signed: took.len(), seconds, cpu, signature: times(|took| took.0), proof: times(|took| took.1) }
}

/// Has another process ask.
pub(crate) fn asked(wishes: &Wishes) -> Found {
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

/// Whether this is a process that asks.
pub(crate) fn is_asked() -> bool {
    std::env::var_os(ASKING).is_some()
}

/// Asks.
pub(crate) fn main(runtime: &tokio::runtime::Runtime) {
    let wishes: Wishes = serde_json::from_reader(std::io::stdin()).unwrap();
    let found = runtime.block_on(ask(wishes));
    serde_json::to_writer(std::io::stdout(), &found).unwrap();
}

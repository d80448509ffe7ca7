//! The monitor against a server that is honest, and one that was taken over.

use std::sync::Arc;
use std::time::Duration;

use firmseal_api::client::Client;
use firmseal_api::registry::Product;
use firmseal_api::signatures::CreateSignature;
use firmseal_api::signing::CreateRelease;
use firmseal_keys::{Log, LogError};
use firmseal_manifest::{Digest, Intent, Purpose};
use firmseal_monitor::{Kind, Memory, Report, Trusted, look};
use firmseal_outbound::Endpoint;
use firmseal_server::{Clock, Deps, Server, Serves};
use firmseal_sign::{Keys, Pipeline};
use firmseal_testkit::world::firmware;
use tokio::net::TcpListener;

use crate::bench::{Bench, files, order, poll_at, product, releases};
use crate::signatures::{WAIT, wish};

/// A log that says that it logged.
struct Silent;

impl Log for Silent {
    async fn append(&self, _: &[u8]) -> Result<u64, LogError> {
        Ok(1000)
    }
}

/// All keys of the log, each of which must have signed.
pub(crate) fn trusted(bench: &Bench) -> Trusted {
    let keys = bench.store.intents().verifiers();
    let (log, beside) = keys.split_first().unwrap();
    assert_eq!(beside.len(), 1, "ML-DSA-44 beside Ed25519");
    Trusted { log: log.clone(), beside: beside.to_vec(), witnesses: Vec::new(), quorum: 0, stale: 3600 }
}

async fn looked(bench: &Bench, memory: &mut Memory, later: u64) -> Report {
    // Published a moment after it is durable; the test does not wait.
    bench.store.intents().checkpoint().await.unwrap();
    let pem = std::fs::read(bench.file("server.pem")).unwrap();
    let url = format!("https://{}/log", bench.address(Serves::Public));
    let log = Endpoint::new(&url, Some(&pem), Duration::from_secs(20)).unwrap();
    let trusted = trusted(bench);
    let viewer = bench.operator(&[firmseal_fleet::Role::Auditor]).await;
    let now = bench.clock.now().millis() / 1000 + later;
    let (report, trouble) =
        look(&log, &trusted, Some((&viewer, Some(bench.root()))), None, memory, (now, 900)).await;
    assert!(trouble.is_none(), "{trouble:?}");
    report
}

/// Has a file signed; its request.
async fn sign(bench: &Bench, admin: &Client, content: &[u8]) -> String {
    let wish = CreateSignature { epoch: 1, ..wish(bench.upload(admin, content).await) };
    let key = wish.artifact.to_string();
    let signed = admin.operator().create_signature(&key, &wish, WAIT).await.unwrap();
    signed.signature.unwrap().request.to_string()
}

fn kinds(report: &Report) -> Vec<(Kind, &str)> {
    report.findings.iter().map(|finding| (finding.kind, finding.about.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_signs_without_logging_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut memory = Memory::open(dir.path()).unwrap();
    let mut bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let honest = bench.release(&admin, "gateway", "1.0.0", &firmware(1, 10_000)).await;
    sign(&bench, &admin, b"some firmware").await;
    // Its image is signed as well, and is no file that anybody asked for.
    let of_images = Product { format: "mcuboot".to_owned(), ..product("camera") };
    admin.operator().create_product(&of_images).await.unwrap();
    let layout = [("header-size", "512"), ("pad-header", "true"), ("slot-size", "0x40000")];
    let image = CreateRelease {
        parameters: layout.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..order("camera", "2.1.0", bench.upload(&admin, &firmware(3, 10_000)).await)
    };
    admin.operator().create_release("image", &image).await.unwrap().release().unwrap();
    let report = looked(&bench, &mut memory, 7200).await;
    assert_eq!(kinds(&report), []);
    let counts = (report.releases, report.signatures, report.devices);
    assert_eq!((report.entries, counts), (memory.size(), (Some(2), Some(1), Some(0))));
    assert!(memory.size() > honest.log_index);

    // A key was used, and nothing came of it that anybody knows.
    let intent = Intent {
        purpose: Purpose::Release,
        subject: Digest([7; 32]),
        keys: Vec::new(),
        delegation: None,
        statements: Vec::new(),
        requester: Digest([1; 32]),
        policy: Digest([2; 32]),
        context: Vec::new(),
    };
    let file = Intent { purpose: Purpose::Artifact, ..intent.clone() };
    let log = bench.store.intents();
    let lost = [log.append(&intent.encode()).await.unwrap(), log.append(&file.encode()).await.unwrap()];
    let lost = lost.map(|index| index.to_string());
    assert_eq!(kinds(&looked(&bench, &mut memory, 0).await), [], "it may be on its way");
    let lost = lost.each_ref().map(|index| (Kind::Unreleased, index.as_str()));
    assert_eq!(kinds(&looked(&bench, &mut memory, 7200).await), lost);

    // The server is taken over: it signs, and logs nothing.
    bench.running.take().unwrap().shutdown().await;
    let honest = bench.deps();
    let artifact = Some(files());
    let keys = Keys { release: vec![releases(bench.release_key())], artifact, ..Keys::default() };
    let silent = Pipeline::new(honest.store.clone(), Arc::new(Silent), bench.root().to_vec(), keys);
    let deps = Deps { pipeline: Arc::new(silent), ..honest };
    let mut sockets = Vec::new();
    for _ in &bench.config.listener {
        sockets.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    bench.running = Some(Server::start_on(bench.config.clone(), deps, sockets).await.unwrap());
    let admin = bench.everything().await;
    let secret = bench.release(&admin, "gateway", "1.1.0", &firmware(2, 10_000)).await;
    let unlogged = sign(&bench, &admin, b"other firmware").await;
    // And a device runs what was never released.
    let device = bench.device(&admin, "gateway").await;
    device.client.device().poll(&poll_at(99)).await.unwrap();
    let report = looked(&bench, &mut memory, 7200).await;
    let (release, device) = (secret.id.to_string(), device.id.to_string());
    let [whole, part] = lost;
    let want =
        [whole, (Kind::Unlogged, &unlogged), part, (Kind::Unlogged, &release), (Kind::UnknownImage, &device)];
    assert_eq!(kinds(&report), want);
    // Without leave to look at the registry that is said, not passed over.
    let pem = std::fs::read(bench.file("server.pem")).unwrap();
    let url = format!("https://{}/log", bench.address(Serves::Public));
    let log = Endpoint::new(&url, Some(&pem), Duration::from_secs(20)).unwrap();
    let trusted = trusted(&bench);
    let nobody = bench.anybody(Serves::Operator);
    let (report, trouble) = look(&log, &trusted, Some((&nobody, None)), None, &mut memory, (1, 900)).await;
    assert!(trouble.is_some() && report.trouble.is_some() && report.metrics().contains("monitor_up 0"));
}

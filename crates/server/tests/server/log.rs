//! The public log: served as C2SP says, witnessed before a key is used, and
//! judged by somebody else's program.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use firmseal_api::client::Client;
use firmseal_api::requests::{ApprovalSignature, Approve, Ordered};
use firmseal_api::signatures::{RequestKind, SignatureState};
use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Demands, Root};
use firmseal_manifest::{ArtifactId, Event, Leaf, Phase, PublicKey, Purpose};
use firmseal_outbound::{Endpoint, Fetched};
use firmseal_server::Serves;
use firmseal_testkit::ports;
use firmseal_testkit::world::firmware;
use firmseal_tlog::{Checkpoint, Note, Tile, decode_bundle, leaf_hash, written};
use firmseal_trust::{DemandsSpec, Holder, Role, RoleSpec, RootSpec};
use firmseal_witness::{Quorum, QuorumSettings, Witness, WitnessSettings, service};
use http::{HeaderMap, Method, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::bench::{Bench, order, poll_at, product, root_key, root_spec, sha256, successor};

fn public(bench: &Bench) -> Endpoint {
    let pem = std::fs::read(bench.file("server.pem")).unwrap();
    let url = format!("https://{}/log/", bench.address(Serves::Public));
    Endpoint::new(&url, Some(&pem), Duration::from_secs(20)).unwrap()
}

async fn get(log: &Endpoint, path: &str) -> Fetched {
    log.get(path, 32 << 20).await.unwrap()
}

/// Everything that is served, below a directory.
async fn mirror(log: &Endpoint, into: &Path) -> (Note, Checkpoint) {
    let fetched = get(log, "checkpoint").await;
    assert_eq!((fetched.status, fetched.content_type()), (200, Some("text/plain; charset=utf-8")));
    let note = Note::parse(&fetched.body).unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    let keep = |path: &str, bytes: &[u8]| {
        let path = into.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    keep("checkpoint", &fetched.body);
    for tile in written(0, checkpoint.size) {
        for path in [Some(tile.path()), (tile.level == 0).then(|| tile.entries_path())].into_iter().flatten()
        {
            let fetched = get(log, &path).await;
            assert_eq!(
                (fetched.status, fetched.content_type()),
                (200, Some("application/octet-stream")),
                "{path}"
            );
            keep(&path, &fetched.body);
        }
    }
    (note, checkpoint)
}

/// The reference implementation's verdict; `None` without Go.
fn judged(dir: &Path, key: &str) -> Option<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tlog/judges/log.go");
    let mut go = Command::new("go");
    go.arg("run").arg(source).arg(dir).arg(key).stdin(Stdio::null());
    go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOFLAGS", "");
    go.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go"));
    let output = go.output().ok()?;
    let said = String::from_utf8(output.stdout).unwrap();
    (!said.is_empty()).then_some(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_can_read_the_log_and_nothing_else() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let release = bench.release(&admin, "gateway", "1.0.0", &firmware(1, 10_000)).await;
    let rollout = bench.rollout(&admin, &release).await;
    bench.told().await;
    bench.store.intents().checkpoint().await.unwrap();
    let log = public(&bench);
    let dir = tempfile::tempdir().unwrap();
    let (note, checkpoint) = mirror(&log, dir.path()).await;
    note.verify(std::slice::from_ref(bench.store.intents().verifier())).unwrap();
    assert_eq!(checkpoint.size, bench.store.intents().len());
    let tile = Tile::of(checkpoint.size, 0, 0).unwrap();
    let bundle = get(&log, &tile.entries_path()).await.body;
    let leaves: Vec<Option<Leaf>> = decode_bundle(&bundle).unwrap().into_iter().map(Leaf::decode).collect();
    assert_eq!(leaves.len() as u64, checkpoint.size);
    // What was going to be signed, and what came of it.
    let (manifest, intent) = (release.manifest.0, release.log_index);
    let signed = leaves[intent as usize].as_ref().and_then(Leaf::intent).unwrap();
    assert_eq!((signed.purpose, signed.subject), (Purpose::Release, manifest));
    let envelope = sha256(&admin.operator().envelope(release.id).await.unwrap());
    let events = [
        Event::Released { manifest, envelope, intent },
        Event::Rollout { rollout: rollout.id, manifest, phase: Phase::Active },
    ];
    for event in events {
        let told = leaves.iter().filter(|leaf| **leaf == Some(Leaf::Event(event))).count();
        assert_eq!(told, 1, "{event}: {leaves:?}");
    }
    match judged(dir.path(), &bench.store.intents().verifier().to_string()) {
        Some(said) => assert_eq!(said.trim(), "good"),
        None => eprintln!("skipped: Go or golang.org/x/mod is missing"),
    }
    // Nothing outside, however it is spelt; and no tile that is not there.
    for path in [
        "tile/0/001",
        "tile/0/000.p/200",
        "tile/0/000.p/256",
        "tile/8/000",
        "tile/entries/x001/000",
        "tile/0/../../../intents.key",
        "tile/..%2f..%2fintents.key",
        "tile/0/%2e%2e/%2e%2e/intents.key",
        "tile/0/000.p/1/",
        "tile//0/000",
        "tile/00/000",
        "tile/0/000.p",
        "intents.key",
        "../store/intents.log",
        "",
    ] {
        let fetched = get(&log, path).await;
        assert_eq!(fetched.status, 404, "{path}: {fetched:?}");
        assert!(!String::from_utf8_lossy(&fetched.body).contains("PRIVATE"));
    }
    // Caches may keep a tile for ever and a checkpoint for a moment.
    let anybody = bench.anybody(Serves::Public);
    let cached = async |path: &str| {
        let answer = anybody.send(Method::GET, path, HeaderMap::new(), Bytes::new()).await.unwrap();
        answer.headers()["cache-control"].to_str().unwrap().to_owned()
    };
    assert_eq!(cached("/log/checkpoint").await, "public, max-age=2");
    assert!(cached(&format!("/log/{}", tile.path())).await.contains("immutable"));
    let none = anybody.send(Method::GET, "/v1/freshness", HeaderMap::new(), Bytes::new()).await;
    assert_eq!(none.unwrap_err().status(), Some(StatusCode::NOT_FOUND), "no witnesses, no freshness");
}

/// Witnesses on loopback, each with its directory.
struct Panel {
    homes: Vec<PathBuf>,
    keys: Vec<firmseal_tlog::VerifierKey>,
    addresses: Vec<SocketAddr>,
    stops: Vec<Option<(watch::Sender<bool>, tokio::task::JoinHandle<()>)>>,
}

impl Panel {
    async fn start(&mut self, number: usize) {
        let witness = Arc::new(Witness::open(&self.homes[number]).unwrap());
        let socket = TcpListener::bind(self.addresses[number]).await.unwrap();
        self.addresses[number] = socket.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        self.stops[number] = Some((stop, tokio::spawn(service::serve(witness, socket, stopped))));
    }

    async fn stop(&mut self, number: usize) {
        let (stop, task) = self.stops[number].take().unwrap();
        stop.send(true).unwrap();
        task.await.unwrap();
    }
}

/// Gives a bench two witnesses, both of them needed, and a root that demands
/// proof.
async fn watched(bench: &mut Bench) -> (Panel, Vec<u8>) {
    let log = bench.store.intents().verifier().clone();
    let mut panel = Panel { homes: vec![], keys: vec![], addresses: vec![], stops: vec![] };
    for number in 0..2 {
        let home = bench.file(&format!("w{number}"));
        panel.keys.push(Witness::create(&home, &format!("w{number}.example")).unwrap());
        std::fs::write(home.join("witness.toml"), format!("[[log]]\nkey = \"{log}\"\n")).unwrap();
        panel.homes.push(home);
        panel.addresses.push((Ipv4Addr::LOCALHOST, ports::free()).into());
        panel.stops.push(None);
        panel.start(number).await;
    }
    let witness = panel.keys.iter().zip(&panel.addresses).map(|(key, address)| WitnessSettings {
        key: key.to_string(),
        url: format!("http://{address}"),
        authority: None,
    });
    let settings =
        QuorumSettings { quorum: 2, patience_seconds: 10, timeout_seconds: 10, witness: witness.collect() };
    bench.quorum = Some(Quorum::new(&settings, Path::new("")).unwrap());
    bench.restart().await;
    let holder = |key: &firmseal_tlog::VerifierKey| Holder {
        name: key.name().into(),
        keys: vec![PublicKey::from_ed25519(*key.ed25519().unwrap()).unwrap()],
    };
    let mut spec = RootSpec { version: 2, ..root_spec(&bench.release_key()) };
    spec.roles.push(RoleSpec {
        role: Role::Log,
        threshold: 1,
        holders: vec![holder(&log)],
        products: vec![],
        channels: vec![],
        both_kinds: false,
    });
    let holders = panel.keys.iter().map(holder).collect();
    spec.roles.push(RoleSpec {
        role: Role::Witness,
        threshold: 2,
        holders,
        products: vec![],
        channels: vec![],
        both_kinds: false,
    });
    let demands = Demands { proof: true, approvals: false, delegation: false, owner: false };
    spec.demands = vec![DemandsSpec { demands, products: vec![] }];
    let root = successor(&spec, bench.root(), &[root_key()]);
    bench.everything().await.operator().publish_root(Bytes::from(root.clone())).await.unwrap();
    (panel, root)
}

async fn freshness(client: &Client) -> Option<Bytes> {
    body(client, "/v1/freshness").await
}

async fn body(client: &Client, path: &str) -> Option<Bytes> {
    use http_body_util::BodyExt;
    let answer = client.send(Method::GET, path, HeaderMap::new(), Bytes::new()).await.ok()?;
    Some(answer.into_body().collect().await.unwrap().to_bytes())
}

async fn status(client: &Client, path: &str) -> u16 {
    match client.send(Method::GET, path, HeaderMap::new(), Bytes::new()).await {
        Ok(answer) => answer.status().as_u16(),
        Err(err) => err.status().unwrap().as_u16(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_used_before_the_witnesses_have_seen_why() {
    let mut bench = Bench::start().await;
    let (mut panel, root) = watched(&mut bench).await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let device = bench.device(&admin, "gateway").await;
    // Core, as a device, demands the proof: the server has asked it.
    let release = bench.release(&admin, "gateway", "1.0.0", &firmware(1, 10_000)).await;
    let dir = tempfile::tempdir().unwrap();
    let log = public(&bench);
    let (note, checkpoint) = mirror(&log, dir.path()).await;
    assert!(checkpoint.size > release.log_index);
    assert_eq!(note.verify(&panel.keys).unwrap().len(), 2, "what is published is cosigned");
    if let Some(said) = judged(dir.path(), &bench.store.intents().verifier().to_string()) {
        assert_eq!(said.trim(), "good");
    }
    // The entry is the intent of the release.
    let bundle = get(&log, &Tile::of(checkpoint.size, 0, 0).unwrap().entries_path()).await.body;
    let entries = decode_bundle(&bundle).unwrap();
    let logged = entries[release.log_index as usize];
    assert!(logged.windows(32).any(|part| part == release.manifest.0.as_bytes()), "{}", leaf_hash(logged));

    // Devices hear how fresh this is, and core believes it.
    let fresh = loop {
        if let Some(fresh) = freshness(&device.client).await {
            break fresh;
        }
    };
    assert!(freshness(&bench.anybody(Serves::Public)).await.is_some());
    let decoded = Root::decode(&root).unwrap();
    let fresh = decoded.freshness(&fresh, "gateway", |_| false, &RustCrypto).unwrap();
    assert_eq!((fresh.revocation, fresh.checkpoint.origin), (0, bench.store.intents().verifier().name()));

    // One of two is not enough: the server serves, and does not sign.
    let (secret, _) = bench.token(&firmseal_fleet::Role::ALL).await;
    bench.told().await;
    let size = bench.store.intents().len();
    panel.stop(1).await;
    bench.restart().await;
    let admin = bench.builder(Serves::Operator).token(&secret).build().unwrap();
    let wish = order("gateway", "1.1.0", bench.upload(&admin, &firmware(2, 10_000)).await);
    let Ordered::Open(queued) = admin.operator().create_release("key-2", &wish).await.unwrap() else {
        panic!("it is kept until the witness is back")
    };
    assert_eq!((queued.state, queued.reasons[0].rule.as_str()), (SignatureState::Queued, "log"));
    assert!(queued.reasons[0].why.contains("w1.example"), "{queued:?}");
    // It is shown among requests, as what it is. Nobody agrees to it there.
    let operator = admin.operator();
    let shown = operator.signature(queued.id, Duration::ZERO).await.unwrap();
    assert_eq!(
        (shown.kind, shown.release, shown.artifact),
        (RequestKind::Release, None, wish.components[0].artifact)
    );
    let word = Approve {
        key: ArtifactId(sha256(b"somebody")),
        signature: ApprovalSignature::Cose { signature: firmseal_api::Base64(vec![7; 64]) },
    };
    let not_here = operator.approve_signature(queued.id, &word).await.unwrap_err();
    assert_eq!(not_here.status(), Some(StatusCode::NOT_FOUND));
    // One that is taken back is not made when the witness comes back.
    let other = order("gateway", "1.0.9", wish.components[0].artifact);
    let Ordered::Open(unwanted) =
        operator.create_release_within("key-3", &other, Duration::ZERO).await.unwrap()
    else {
        panic!("it is queued")
    };
    let gone = loop {
        match operator.cancel_signature(unwanted.id).await {
            Ok(gone) => break gone,
            // Somebody is at it, asking the witness.
            Err(busy) => assert_eq!(busy.status(), Some(StatusCode::SERVICE_UNAVAILABLE), "{busy}"),
        }
    };
    assert_eq!((gone.id, gone.state), (unwanted.id, SignatureState::Cancelled));
    let again = operator.create_release("key-3", &other).await.unwrap_err();
    assert_eq!(again.status(), Some(StatusCode::CONFLICT), "{again}");
    assert_eq!(bench.store.intents().len(), size, "the log did not grow");
    assert_eq!(status(&admin, "/readyz").await, 503);
    assert_eq!(status(&admin, "/healthz").await, 200);
    device_again(&bench, &device).device().poll(&poll_at(0)).await.unwrap();
    assert_eq!(get(&public(&bench), "checkpoint").await.status, 200, "the last one is still there");

    // The witness comes back, and nobody restarts the server.
    panel.start(1).await;
    let signed = loop {
        match admin.operator().create_release("key-2", &wish).await.unwrap() {
            Ordered::Release(release) => break release,
            Ordered::Open(open) => assert_eq!((open.id, open.state), (queued.id, SignatureState::Queued)),
            Ordered::Request(request) => panic!("{request:?}"),
        }
    };
    assert_eq!((signed.sequence, signed.request), (2, queued.id));
    while status(&admin, "/readyz").await != 200 {
        tokio::task::yield_now().await;
    }
    let metrics = String::from_utf8(body(&admin, "/metrics").await.unwrap().to_vec()).unwrap();
    assert!(metrics.contains("firmseal_log_entries{outcome=\"durable\"}"), "{metrics}");
}

fn device_again(bench: &Bench, device: &crate::bench::TestDevice) -> Client {
    let builder = bench.builder(Serves::Device);
    builder.identity(device.chain.as_bytes(), device.key.as_bytes()).build().unwrap()
}

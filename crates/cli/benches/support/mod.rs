//! A server as users run it, for benchmarks: its own process and place.
#![allow(dead_code, reason = "each benchmark uses its part")]

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use firmseal_api::client::Client;
use firmseal_api::registry::{Component, CreateUpload, Environment, Product};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::ArtifactId;
use tempfile::TempDir;
use uuid::Uuid;

/// A child process that ends with the benchmark.
pub(crate) struct Server(Child);

impl Server {
    /// Starts a command on processor 0, so that what loads it can have the
    /// other one.
    pub(crate) fn start(command: &[&str]) -> Server {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", "0"]).args(command).stdout(Stdio::null());
        Server(pinned.spawn().expect("taskset (util-linux) starts the server"))
    }

    /// Processor time that the process has used so far: proc(5), fields 14
    /// and 15, in ticks of 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(&self.0.id().to_string())
    }
}

/// The same of any process; `self` is this one.
pub(crate) fn cpu_of(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let rest = stat.rsplit_once(") ").expect("proc(5)").1;
    let ticks: u64 =
        rest.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(10 * ticks)
}

/// Writes a file that its owner alone may read.
pub(crate) fn private(path: &Path, content: &str) {
    let file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content.as_bytes())).expect("writable");
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A place with a running server.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) operator: Client,
    pub(crate) authority: Vec<u8>,
    pub(crate) place: PathBuf,
    pub(crate) devices: u16,
    _directory: TempDir,
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// Makes a place and serves it.
pub(crate) async fn serve() -> Running {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let place = directory.path().join("place");
    let firmseal = env!("CARGO_BIN_EXE_firmseal");
    let made = Command::new(firmseal).arg("init").arg(&place).stdout(Stdio::null()).status();
    assert!(made.expect("firmseal runs").success());
    let ports = [free_port(), free_port(), free_port()];
    let settings = place.join("server.toml");
    let mut text = std::fs::read_to_string(&settings).expect("init wrote it");
    for (was, port) in ["8443", "8444", "8445"].iter().zip(ports) {
        text = text.replace(&format!("port = {was}"), &format!("port = {port}"));
    }
    std::fs::write(&settings, text).expect("writable");
    let server = Server::start(&[firmseal, "serve", &place.display().to_string(), "--filter", "error"]);
    let authority = std::fs::read(place.join("tls/server.pem")).expect("init wrote it");
    let token = std::fs::read_to_string(place.join("operator.token")).expect("init wrote it");
    let operator = Client::builder(&format!("https://localhost:{}", ports[0]))
        .authorities(&authority)
        .token(token.trim())
        .build()
        .expect("a client");
    let deadline = Instant::now() + Duration::from_secs(20);
    while operator.operator().products(&Default::default()).await.is_err() {
        assert!(Instant::now() < deadline, "the server does not answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Running { server, operator, authority, place, devices: ports[1], _directory: directory }
}

impl Running {
    /// A product of one raw component.
    pub(crate) async fn product(&self, name: &str) {
        let product = Product {
            id: name.parse().expect("a name"),
            environment: Environment::Test,
            vendor: Uuid::from_u128(1),
            class: Uuid::from_u128(2),
            hardware: Vec::new(),
            format: "raw".to_owned(),
            components: vec![Component {
                name: "main".to_owned(),
                capacity: 1 << 30,
                block_size: 4096,
                addresses: None,
            }],
            created: None,
        };
        self.operator.operator().create_product(&product).await.expect("a product");
    }

    /// An artifact of these bytes.
    pub(crate) async fn artifact(&self, bytes: &[u8]) -> ArtifactId {
        let operator = self.operator.operator();
        let sha256 = ArtifactId(RustCrypto.digest(bytes));
        let upload = operator.create_upload(&CreateUpload { size: bytes.len() as u64, sha256 }).await;
        let upload = upload.expect("an upload");
        operator.append(upload.id, 0, bytes.to_vec().into()).await.expect("a piece");
        operator.complete(upload.id).await.expect("an artifact").id
    }
}

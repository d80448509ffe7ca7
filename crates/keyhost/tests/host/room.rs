//! A host in a directory, and the log of a server beside it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use firmseal_fleet::{Environment, Time};
use firmseal_keyhost::{ConnectError, Connection, Hosted, HostedKey, KeyHost, Use, service};
use firmseal_keys::{FileKey, Secret};
use firmseal_keys_remote::Options;
use firmseal_manifest::KeyAlgorithm;
use firmseal_outbound::{Endpoint, Fetched};
use firmseal_server::{
    Listener, ListenerLimits, Pair, Serves, SigningConfig, SigningListener, create_client_certificate,
    create_server_certificate,
};
use firmseal_store_local::IntentLog;
use firmseal_testkit::ports;
use firmseal_witness::Witness;
use serde_json::Value;
use tempfile::TempDir;

use crate::DEADLINE;

pub(crate) struct Room {
    pub(crate) dir: TempDir,
    pub(crate) log: IntentLog,
    pub(crate) server: Pair,
    pub(crate) client: Pair,
    pub(crate) environment: Environment,
}

pub(crate) fn server_certificate() -> Pair {
    create_server_certificate(&["localhost".to_owned()], 7, Time::from(SystemTime::now())).unwrap()
}

pub(crate) fn client_certificate() -> Pair {
    create_client_certificate("server", 7, Time::from(SystemTime::now())).unwrap()
}

fn clone(pair: &Pair) -> Pair {
    Pair { certificate: pair.certificate.clone(), key: pair.key.clone() }
}

impl Room {
    pub(crate) fn new() -> Room {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("log")).unwrap();
        let log = IntentLog::open(&dir.path().join("log/intents")).unwrap();
        let room = Room::furnished(dir, log, server_certificate(), client_certificate());
        room.new_key();
        room
    }

    /// Another host for the same server and with the same key. It has seen
    /// nothing of the log.
    pub(crate) fn beside(&self) -> Room {
        self.beside_with(clone(&self.server), clone(&self.client))
    }

    /// The same, with certificates of its own.
    pub(crate) fn beside_with(&self, server: Pair, client: Pair) -> Room {
        let room = Room::furnished(tempfile::tempdir().unwrap(), self.log.clone(), server, client);
        std::fs::copy(self.path("key.pem"), room.path("key.pem")).unwrap();
        room
    }

    fn furnished(dir: TempDir, log: IntentLog, server: Pair, client: Pair) -> Room {
        Witness::create(&dir.path().join("witness"), "keys.example/1").unwrap();
        let watched = format!("[[log]]\nkey = \"{}\"\n", log.verifier());
        std::fs::write(dir.path().join("witness/witness.toml"), watched).unwrap();
        std::fs::create_dir(dir.path().join("uses")).unwrap();
        let room = Room { log, server, client, dir, environment: Environment::Test };
        for (name, text) in [
            ("server.pem", &room.server.certificate),
            ("server.key", &room.server.key),
            ("clients.pem", &room.client.certificate),
        ] {
            write_private(&room.path(name), text);
        }
        room
    }

    /// Gives the host another key, under the same name.
    pub(crate) fn new_key(&self) {
        let path = self.path("key.pem");
        let _ = std::fs::remove_file(&path);
        FileKey::generate(&path, KeyAlgorithm::P256, &Secret::new(b"pass".to_vec())).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) async fn serve(&self, uses: &[Use]) -> SigningListener {
        self.serve_on(ports::free(), uses).await
    }

    pub(crate) async fn serve_on(&self, port: u16, uses: &[Use]) -> SigningListener {
        let key = FileKey::open(&self.path("key.pem"), &Secret::new(b"pass".to_vec())).unwrap();
        let hosted = Hosted {
            name: "release".parse().unwrap(),
            signer: Arc::new(key),
            uses: uses.iter().copied().collect(),
        };
        let witness = Witness::open(&self.path("witness")).unwrap();
        let host = KeyHost::open(self.environment, witness, &self.path("uses/log"), vec![hosted]).unwrap();
        let listener = Listener {
            serves: Serves::Signing,
            address: Ipv4Addr::LOCALHOST.into(),
            port,
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            validate_client_certificates: true,
            authority: Some(self.path("clients.pem")),
            check_remote_host: Vec::new(),
        };
        let config = SigningConfig { listener, limits: ListenerLimits::default() };
        SigningListener::start(config, service::router(Arc::new(host))).await.unwrap()
    }

    pub(crate) fn connect(
        &self,
        addresses: &[SocketAddr],
        log: &IntentLog,
        deadline: Duration,
    ) -> Connection {
        let identity = (self.client.certificate.as_bytes(), self.client.key.as_bytes());
        let addresses: Vec<_> =
            addresses.iter().map(|address| format!("https://localhost:{}", address.port())).collect();
        let options = Options { deadline, ..Options::default() };
        let authority = self.server.certificate.as_bytes();
        Connection::new(&addresses, authority, identity, log.clone(), options).unwrap()
    }

    /// What somebody sends who has the server's certificate and no manners.
    pub(crate) async fn send(&self, address: SocketAddr, body: &Value) -> Fetched {
        let identity = (self.client.certificate.as_bytes(), self.client.key.as_bytes());
        let url = format!("https://localhost:{}", address.port());
        let authority = self.server.certificate.as_bytes();
        let endpoint = Endpoint::with_identity(&url, Some(authority), Some(identity), DEADLINE).unwrap();
        endpoint.post("sign", serde_json::to_vec(body).unwrap().into(), 1 << 20).await.unwrap()
    }
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

pub(crate) async fn open(
    room: &Room,
    address: SocketAddr,
    log: &IntentLog,
) -> Result<HostedKey, ConnectError> {
    open_at(room, &[address], log, DEADLINE).await
}

pub(crate) async fn open_at(
    room: &Room,
    addresses: &[SocketAddr],
    log: &IntentLog,
    deadline: Duration,
) -> Result<HostedKey, ConnectError> {
    let connection = room.connect(addresses, log, deadline);
    let environment = Environment::Test;
    let open = move || firmseal_keyhost::open(&connection, &"release".parse().unwrap(), environment);
    tokio::task::spawn_blocking(open).await.unwrap()
}

//! A place with a server in this process, and files to be signed.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::product::{BlockSize, ComponentSpec, Environment};
use firmseal_fleet::{
    Artifact, Caller, Credential, CredentialId, CredentialKind, Product, Role, Scope, Time,
};
use firmseal_keys::DynSigner;
use firmseal_manifest::{ArtifactId, PolicyDocument, PolicyFile};
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
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::asking::{Found, Load, Wishes, asked};
use crate::support;

/// What lets the benchmark in, beside the rules of an example.
const PERMIT: &str = r#"
@id("bench")
@reason("the firmware team signs the gateway's small files")
permit (principal in Team::"firmware", action in Action::"sign", resource == Product::"gateway")
when { context.channel == "stable" && context.artifact.size < 1048576 };
"#;

/// A directory on the disk that is measured.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
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
pub(crate) struct Service {
    running: firmseal_server::Running,
    address: SocketAddr,
    authority: String,
    token: String,
    store: LocalStore,
    made: u32,
    _directory: tempfile::TempDir,
}

impl Service {
    pub(crate) async fn start(hsm: Arc<dyn DynSigner>) -> Service {
        let directory = directory();
        let path = directory.path();
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
        let key = SigningKey::implicit(KeyPurpose::Artifact, Environment::Test, hsm);
        let keys = Keys { artifact: Some(key), ..Keys::default() };
        let examples = include_str!("../../../../spec/policies/who/policy.cedar");
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
        store.insert_credential(credential, &Caller::local("bench")).await.unwrap();
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
        store.insert_product(product, &Caller::local("bench")).await.unwrap();
        let authority = server.certificate;
        Service { running, address, authority, token, store, made: 0, _directory: directory }
    }

    /// New files of four kilobytes.
    pub(crate) async fn files(&mut self, count: u32) -> Vec<ArtifactId> {
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

    /// Has somebody else ask; what they found, and the processor time that
    /// this process used meanwhile.
    pub(crate) async fn ask(&mut self, load: Load, files: Vec<ArtifactId>) -> (Found, Duration) {
        let wishes = Wishes {
            url: format!("https://localhost:{}", self.address.port()),
            authority: self.authority.clone(),
            token: self.token.clone(),
            files,
            load,
        };
        let cpu = support::cpu_of("self");
        let found = tokio::task::spawn_blocking(move || asked(&wishes)).await.unwrap();
        (found, support::cpu_of("self") - cpu)
    }

    pub(crate) async fn stop(self) {
        self.running.shutdown().await;
    }
}

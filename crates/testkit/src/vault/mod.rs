//! A fake of HashiCorp Vault's transit engine: a real HTTPS server with real
//! keys and signatures, that can also fail in every way that matters.
//!
//! What it imitates, after
//! <https://developer.hashicorp.com/vault/api-docs/secret/transit> ("Create
//! key", "Read key", "List keys", "Rotate key", "Sign data", "Update key
//! configuration", "Trim key", "Delete key") and
//! <https://developer.hashicorp.com/vault/api-docs> ("HTTP status codes",
//! "Namespaces"), which OpenBao shares:
//! - tokens in `X-Vault-Token`, namespaces in `X-Vault-Namespace`; 403
//!   `permission denied` for any other token, 404 for another namespace;
//! - answers under `data`, refusals under `errors`;
//! - `POST keys/NAME` answers 200 for a key that exists and changes nothing;
//! - public halves in PEM, those of Ed25519 in plain Base64;
//! - `sign` with `key_version`, `prehashed`, `hash_algorithm`,
//!   `signature_algorithm`, `salt_length` and `marshaling_algorithm`; answers
//!   `vault:vN:BASE64`, URL-safe and unpadded for `jws`;
//! - a key is deleted only with `deletion_allowed`, and versions are trimmed
//!   only below both `min_decryption_version` and `min_encryption_version`;
//!   what is below the former is not shown;
//! - 404 without a word for a key that is not there, 404 `no handler for
//!   route` where no engine is;
//! - 400 for a version below `min_encryption_version`, for Ed25519 with
//!   `prehashed`, for a key that is not there.
//!
//! What it does not: every other engine and key type, policies, batches,
//! leases, and PSS salts other than 32 bytes, which it refuses where Vault
//! would take the longest that fits.

mod engine;
mod server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use engine::Engine;
pub use engine::Flags;

/// How the fake behaves from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// As Vault does.
    #[default]
    Well,
    /// 503, as when sealed.
    Sealed,
    /// 429, as beyond a rate limit quota.
    RateLimited,
    /// 500 with an error of a storage backend.
    Broken,
    /// 307 to another host, as a standby that does not forward.
    Standby,
    /// 412, as a replica that has not seen the token yet.
    Lagging,
    /// Takes the request, says nothing.
    Hangs,
    /// Closes the connection instead of answering.
    Cuts,
    /// Answers 200 with a proxy's page.
    Page,
    /// Answers 200 without end.
    Endless,
    /// Refuses, and repeats the token while it does.
    Echoes,
    /// Shows its keys, and signs nothing with them.
    Picky,
    /// Signs with another key.
    WrongKey,
    /// Signs something else.
    WrongInput,
    /// Says that another version signed.
    WrongVersion,
    /// Signatures that are none.
    Garbage,
}

/// A fake Vault on a free port of this machine. Dropping it stops it.
pub struct Vault {
    shared: Arc<Shared>,
    address: SocketAddr,
    authorities: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
}

pub(crate) struct State {
    mode: Mode,
    token: String,
    namespace: Option<String>,
    /// Method and path of requests that the token's policy forbids.
    forbidden: Vec<(String, String)>,
    engine: Engine,
    /// Requests so far.
    requests: usize,
    /// Signatures made so far.
    signatures: usize,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Vault {
    /// Starts one with a transit engine at `transit`.
    pub fn start() -> Vault {
        let state = State {
            mode: Mode::Well,
            token: "hvs.CAESIJlU-test-only".to_owned(),
            namespace: None,
            forbidden: Vec::new(),
            engine: Engine::default(),
            requests: 0,
            signatures: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let (authorities, tls) = server::identity();
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || server::serve(for_thread, tls, ready, stopped));
        let address = started.recv().unwrap();
        Vault { shared, address, authorities, stop: Some(stop), thread: Some(thread) }
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The authority of its certificate, in PEM.
    pub fn authorities(&self) -> &str {
        &self.authorities
    }

    /// Writes authority and token into a directory, and returns the URI of a
    /// key there.
    pub fn uri(&self, directory: &Path, name: &str, version: u32) -> String {
        use std::os::unix::fs::OpenOptionsExt;
        let (ca, token) = (directory.join("vault-ca.pem"), self.token_file(directory));
        std::fs::write(&ca, &self.authorities).unwrap();
        let mut options = std::fs::File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&token);
        std::io::Write::write_all(&mut file.unwrap(), self.token().as_bytes()).unwrap();
        format!(
            "vault:{}/transit/keys/{name}?version={version}&ca-file={}&token-source=file:{}",
            self.url(),
            ca.display(),
            token.display()
        )
    }

    /// Where [`Vault::uri`] puts the token.
    pub fn token_file(&self, directory: &Path) -> PathBuf {
        directory.join("vault-token")
    }

    /// The token in force.
    pub fn token(&self) -> String {
        self.shared.lock().token.clone()
    }

    /// Puts another token in force.
    pub fn set_token(&self, token: &str) {
        self.shared.lock().token = token.to_owned();
    }

    /// Demands a namespace.
    pub fn set_namespace(&self, namespace: &str) {
        self.shared.lock().namespace = Some(namespace.to_owned());
    }

    /// Has the token's policy forbid a request: method and path below `/v1/`.
    pub fn forbid(&self, method: &str, path: &str) {
        self.shared.lock().forbidden.push((method.to_owned(), path.to_owned()));
    }

    /// Lets the token's policy forbid nothing again.
    pub fn permit_all(&self) {
        self.shared.lock().forbidden.clear();
    }

    /// Adds a version to a key, as an administrator would.
    pub fn rotate(&self, name: &str) {
        self.shared.lock().engine.rotate(name).unwrap();
    }

    /// A key as Vault describes it; `null` where there is none.
    pub fn described(&self, name: &str) -> serde_json::Value {
        self.shared.lock().engine.read(name).unwrap_or_default()
    }

    /// Behaves differently from now on.
    pub fn set(&self, mode: Mode) {
        self.shared.lock().mode = mode;
    }

    /// Makes a key as an administrator would, of Vault's type `kind`.
    pub fn make(&self, name: &str, kind: &str, flags: Flags) {
        self.shared.lock().engine.create(name, kind, flags).unwrap();
    }

    /// Puts another key under a name.
    pub fn replace(&self, name: &str, kind: &str) {
        let mut state = self.shared.lock();
        state.engine.remove(name);
        state.engine.create(name, kind, Flags::default()).unwrap();
    }

    /// Takes a key from its name, or brings it back to it.
    pub fn rename(&self, from: &str, to: &str) {
        self.shared.lock().engine.rename(from, to);
    }

    /// Changes a key's settings as an administrator would.
    pub fn configure(&self, name: &str, change: &serde_json::Value) {
        self.shared.lock().engine.configure(name, change).unwrap();
    }

    /// Requests so far, and signatures made.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.requests, state.signatures)
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

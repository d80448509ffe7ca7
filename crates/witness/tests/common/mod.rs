//! A log that says what a test wants it to, and witnesses that are served.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use firmseal_core::Digest;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_outbound::Endpoint;
use firmseal_testkit::ports;
use firmseal_tlog::{
    Checkpoint, Edge, Error, Kind, NoteSignature, Prover, Request, Tile, Tiles, VerifierKey, leaf_hash,
};
use firmseal_witness::{Witness, service};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Entries that a fake log has.
const ENTRIES: u64 = 4_000;

/// A log in memory: key and history are chosen.
pub struct FakeLog {
    pair: Ed25519KeyPair,
    key: VerifierKey,
    tiles: Memory,
}

#[derive(Default)]
struct Memory(BTreeMap<Tile, Vec<u8>>);

impl Tiles for Memory {
    fn read(&self, tile: Tile) -> Result<Vec<u8>, Error> {
        let wider = |(other, _): &(&Tile, &Vec<u8>)| (other.level, other.index) == (tile.level, tile.index);
        let found = self.0.iter().filter(wider).map(|(_, bytes)| bytes).next_back();
        found.cloned().ok_or(Error::Unreadable { tile: tile.path(), why: "it is not there".to_owned() })
    }
}

impl FakeLog {
    pub fn new(origin: &str, seed: u8, history: &str) -> FakeLog {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        let (mut edge, mut tiles) = (Edge::new(), Memory::default());
        for number in 0..ENTRIES {
            edge.push(leaf_hash(format!("{history} {number}").as_bytes()));
        }
        tiles.0.extend(edge.take());
        FakeLog { pair, key: VerifierKey::new(origin, Kind::Ed25519, public).unwrap(), tiles }
    }

    pub fn verifier(&self) -> VerifierKey {
        self.key.clone()
    }

    /// The name of its monitoring address.
    pub fn name(&self) -> String {
        RustCrypto.digest(self.key.name().as_bytes()).to_string()
    }

    fn root(&self, size: u64) -> Digest {
        Prover::new(&self.tiles, size).root().unwrap()
    }

    fn signed(&self, size: u64) -> firmseal_tlog::Note {
        let origin = self.key.name().to_owned();
        let mut note =
            Checkpoint { origin, size, root: self.root(size), extensions: vec![] }.to_note().unwrap();
        let signature = self.pair.sign(note.text().as_bytes());
        note.push(NoteSignature::new(&self.key, signature.as_ref())).unwrap();
        note
    }

    /// The signed checkpoint.
    pub fn note(&self, size: u64) -> String {
        self.signed(size).to_string()
    }

    /// A request to go from one size to another.
    pub fn request(&self, old: u64, size: u64) -> String {
        let proof = Prover::new(&self.tiles, size).consistency(old).unwrap();
        Request { old, proof, checkpoint: self.signed(size) }.to_string()
    }

    /// The same with an old size that cannot be proven.
    pub fn request_as(&self, old: u64, size: u64) -> String {
        Request { old, proof: Vec::new(), checkpoint: self.signed(size) }.to_string()
    }
}

/// Adds a log to a witness's settings.
pub fn add_log(home: &Path, log: &FakeLog) {
    add_key(home, &log.verifier());
}

pub fn add_key(home: &Path, key: &VerifierKey) {
    add_keys(home, std::slice::from_ref(key));
}

/// The keys of one log.
pub fn add_keys(home: &Path, keys: &[VerifierKey]) {
    let text: String = keys.iter().map(|key| format!("[[log]]\nkey = \"{key}\"\n")).collect();
    std::fs::write(home.join("witness.toml"), text).unwrap();
}

/// A witness that is served on a port of its own.
pub struct Serving {
    pub address: SocketAddr,
    pub endpoint: Endpoint,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Serving {
    pub async fn start(home: &Path) -> Serving {
        Serving::start_on(home, (Ipv4Addr::LOCALHOST, ports::free()).into()).await
    }

    pub async fn start_on(home: &Path, address: SocketAddr) -> Serving {
        let witness = Arc::new(Witness::open(home).unwrap());
        let socket = TcpListener::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let endpoint = Endpoint::new(&format!("http://{address}"), None, Duration::from_secs(20)).unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(service::serve(witness, socket, stopped));
        Serving { address, endpoint, stop, task }
    }

    pub async fn stop(self) {
        let _ = self.stop.send(true);
        self.task.await.unwrap();
    }
}

//! What the tests share: a maker of releases, sources that misbehave, and a
//! file system that loses power.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

pub mod roots;
pub mod server;
pub mod sim;

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use firmseal_agent::clock::{Chance, Clock};
use firmseal_agent::{
    Agent, Blob, Config, Deps, Enrolment, Error, Event, Health, Installed, Origin, Source, Verdict, enrol,
};
use firmseal_core::{BlockSize, Environment, Role};
use firmseal_manifest::author::{ComponentSpec, ReleaseSpec};
use firmseal_manifest::bundle::BundleWriter;
use firmseal_manifest::tree::{PayloadTree, TreeBuilder};
use firmseal_manifest::{PublicKey, Signature, Tbs};
use firmseal_trust::{DemandsSpec, Holder, RoleSpec, RootSpec};
use uuid::Uuid;

pub const VENDOR: Uuid = Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0001);
pub const CLASS: Uuid = Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0002);

/// A key that signs in tests.
pub struct Key {
    pair: Ed25519KeyPair,
    pub public: PublicKey,
}

impl Key {
    pub fn new(seed: u8) -> Key {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = PublicKey::from_ed25519(pair.public_key().as_ref().try_into().unwrap()).unwrap();
        Key { pair, public }
    }

    pub fn sign(&self, tbs: &Tbs) -> Signature {
        let Tbs::Message(message) = tbs else { panic!("Ed25519 signs messages") };
        Signature(self.pair.sign(message).as_ref().to_vec())
    }
}

/// The root document of a test product.
pub fn root(environment: Environment, minimum_epoch: u64) -> Vec<u8> {
    let (root, release) = (Key::new(1), Key::new(2));
    let role = |role, key: &Key| RoleSpec {
        role,
        threshold: 1,
        holders: vec![Holder { name: "tester".to_owned(), keys: vec![key.public.clone()] }],
        products: vec![],
        channels: vec![],
        both_kinds: false,
    };
    let spec = RootSpec {
        version: 1,
        lineage: [7; 16],
        environment,
        roles: vec![role(Role::Root, &root), role(Role::Release, &release)],
        minimum_epoch,
        demands: vec![DemandsSpec::NOTHING],
        closed_logs: vec![],
        sequence_resets: vec![],
    };
    let unsigned = spec.assemble().unwrap();
    let signature = root.sign(&unsigned.to_be_signed(&root.public).unwrap());
    unsigned.seal(&[(&root.public, signature)]).unwrap()
}

/// Bytes that compress badly and differ everywhere.
pub fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 8);
    seed = 2 * seed + 1;
    while out.len() < len {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        out.extend(seed.to_le_bytes());
    }
    out.truncate(len);
    out
}

pub fn tree_of(payload: &[u8], block: BlockSize) -> PayloadTree {
    let mut builder = TreeBuilder::new(block);
    builder.update(payload);
    builder.finish().unwrap()
}

/// A signed release with its payloads.
#[derive(Clone)]
pub struct Release {
    pub envelope: Vec<u8>,
    pub payloads: Vec<Vec<u8>>,
    pub trees: Vec<PayloadTree>,
}

/// How a release is made; every member has a good default.
pub struct Recipe {
    pub sequence: u64,
    pub epoch: u64,
    pub class: Uuid,
    pub vendor: Uuid,
    pub environment: Environment,
    pub product: &'static str,
    pub components: Vec<(&'static str, Vec<u8>)>,
    pub slot: Option<u64>,
    pub block: BlockSize,
    pub signer: u8,
    /// A second signer.
    pub cosigner: Option<u8>,
    /// Image digests that are said in place of the true ones.
    pub digests: Vec<firmseal_core::Digest>,
}

impl Recipe {
    pub fn new(sequence: u64, payload: Vec<u8>) -> Recipe {
        Recipe {
            sequence,
            epoch: 0,
            class: CLASS,
            vendor: VENDOR,
            environment: Environment::Test,
            product: "gateway",
            components: vec![("rootfs", payload)],
            slot: None,
            block: BlockSize::B4096,
            signer: 2,
            cosigner: None,
            digests: Vec::new(),
        }
    }

    pub fn make(&self) -> Release {
        let mut trees: Vec<PayloadTree> =
            self.components.iter().map(|(_, payload)| tree_of(payload, self.block)).collect();
        for (tree, digest) in trees.iter_mut().zip(&self.digests) {
            tree.digest = *digest;
        }
        let spec = ReleaseSpec {
            environment: self.environment,
            vendor: self.vendor,
            class: self.class,
            product: self.product.parse().unwrap(),
            channel: "stable".parse().unwrap(),
            version: semver::Version::new(self.sequence, 0, 0),
            sequence: self.sequence,
            epoch: self.epoch,
            delegation: 0,
            rollback_of: None,
            components: self
                .components
                .iter()
                .zip(&trees)
                .map(|((name, payload), tree)| ComponentSpec {
                    name: (*name).to_owned(),
                    size: payload.len() as u64,
                    digest: tree.digest,
                    slot: self.slot,
                    block: self.block,
                    tree_root: *tree.tree.root(),
                })
                .collect(),
            description: Some("a release for tests".to_owned()),
        };
        let keys: Vec<Key> = [self.signer].into_iter().chain(self.cosigner).map(Key::new).collect();
        let manifest = spec.assemble().unwrap();
        let sign = |key: &Key| key.sign(&manifest.to_be_signed(&key.public).unwrap());
        let signatures: Vec<_> = keys.iter().map(|key| (&key.public, sign(key))).collect();
        let envelope = manifest.seal(&signatures).unwrap();
        Release {
            envelope,
            payloads: self.components.iter().map(|(_, payload)| payload.clone()).collect(),
            trees,
        }
    }
}

impl Release {
    pub fn source(&self) -> Memory {
        let mut blobs = HashMap::new();
        for (payload, tree) in self.payloads.iter().zip(&self.trees) {
            blobs.insert(format!("payloads/{}", tree.digest), payload.clone());
            blobs.insert(format!("payloads/{}.tree", tree.digest), tree.hash_blocks.clone());
        }
        Memory { blobs, ..Memory::default() }
    }

    pub fn bundle(&self) -> Vec<u8> {
        let mut writer = BundleWriter::new(Vec::new(), &[], &self.envelope).unwrap();
        for (payload, tree) in self.payloads.iter().zip(&self.trees) {
            for blob in [&tree.hash_blocks, payload] {
                writer.blob_head(blob.len() as u64).unwrap();
                writer.blob_piece(blob).unwrap();
            }
        }
        writer.finish().unwrap()
    }
}

/// A carrier in memory that can break off and counts what it gave.
#[derive(Default)]
pub struct Memory {
    pub blobs: HashMap<String, Vec<u8>>,
    /// Bytes it still gives before every read fails.
    pub left: Option<Arc<Mutex<u64>>>,
    /// Bytes it gave.
    pub given: Arc<Mutex<u64>>,
    /// Never ends: repeats zeros behind the blob.
    pub endless: bool,
    pub metered: bool,
    /// Flips a bit of the payload at this offset from the second opening on.
    pub changes_at: Option<u64>,
    pub openings: Mutex<u64>,
}

impl Source for Memory {
    fn open(&self, blob: &Blob, offset: u64, _: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        let name = blob.to_string();
        let bytes = self
            .blobs
            .get(&name)
            .ok_or_else(|| Error::Carrier { what: name, why: "not found".to_owned() })?;
        *self.openings.lock().unwrap() += 1;
        Ok(Box::new(Reading { memory: self, bytes, at: offset as usize }))
    }

    fn is_metered(&self) -> bool {
        self.metered
    }
}

struct Reading<'a> {
    memory: &'a Memory,
    bytes: &'a [u8],
    at: usize,
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = buffer.len().min(16 * 1024);
        if let Some(left) = &self.memory.left {
            let mut left = left.lock().unwrap();
            if *left == 0 {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            count = count.min(*left as usize);
            *left -= count as u64;
        }
        let there = self.bytes.len().saturating_sub(self.at).min(count);
        buffer[..there].copy_from_slice(&self.bytes[self.at..self.at + there]);
        if self.memory.endless {
            buffer[there..count].fill(0);
        } else {
            count = there;
        }
        if let Some(at) = self.memory.changes_at
            && *self.memory.openings.lock().unwrap() > 1
            && let Some(inside) = (at as usize).checked_sub(self.at).filter(|inside| *inside < count)
        {
            buffer[inside] ^= 1;
        }
        self.at += count;
        *self.memory.given.lock().unwrap() += count as u64;
        Ok(count)
    }
}

/// A clock that stands where it is set.
#[derive(Default)]
pub struct TestClock(pub Mutex<u64>);

impl Clock for TestClock {
    fn now(&self) -> Option<u64> {
        Some(*self.0.lock().unwrap())
    }
}

pub struct NoChance;

impl Chance for NoChance {
    fn draw(&self) -> u64 {
        0
    }
}

/// Healthy unless told otherwise.
#[derive(Default)]
pub struct TestHealth(pub Mutex<Option<String>>);

impl Health for TestHealth {
    fn check(&self) -> Verdict<'_> {
        let verdict = self.0.lock().unwrap().clone();
        Box::pin(async move { verdict.map_or(Ok(()), Err) })
    }
}

pub fn config_text(dir: &Path, components: &[&str], capacity: u64) -> String {
    let dir = dir.display();
    let mut text = format!(
        "state = \"{dir}/state\"\nproduct = \"gateway\"\nvendor = \"{VENDOR}\"\nclass = \"{CLASS}\"\n"
    );
    for name in components {
        text += &format!(
            "[[components]]\nname = \"{name}\"\nslots = [\"{dir}/{name}.a\", \"{dir}/{name}.b\"]\ncapacity = {capacity}\n"
        );
    }
    text
}

pub fn config(dir: &Path, components: &[&str], capacity: u64) -> Config {
    let config: Config = toml::from_str(&config_text(dir, components, capacity)).unwrap();
    config.check().unwrap();
    config
}

/// A device of a server that is out of reach: it keeps its reports.
pub fn with_server(config: Config) -> Config {
    Config { server: Some("https://127.0.0.1:1".to_owned()), ..config }
}

pub fn deps(config: &Config) -> Deps {
    Deps { health: Arc::new(TestHealth::default()), chance: Arc::new(NoChance), ..Deps::new(config) }
}

/// A device with its trust anchor and nothing else.
pub async fn device(config: &Config, deps: &Deps) -> Agent {
    let anchor = root(Environment::Test, 0);
    enrol(config, deps, &Enrolment { anchor: &anchor, server: None }).await.unwrap();
    Agent::new(config.clone(), deps.clone()).unwrap()
}

pub async fn install(agent: &Agent, release: &Release) -> Result<Installed, Error> {
    install_from(agent, release, release.source()).await
}

pub async fn install_from(agent: &Agent, release: &Release, source: Memory) -> Result<Installed, Error> {
    agent.install_from(release.envelope.clone(), Arc::new(source), Origin::default()).await
}

/// Installs, reboots and confirms.
pub async fn bring_up(agent: &Agent, release: &Release) {
    install(agent, release).await.unwrap();
    assert!(agent.boot_stage().unwrap().trial);
    assert_eq!(agent.settle().await.unwrap(), Some(Event::Confirmed));
}

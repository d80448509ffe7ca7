//! Chains of root documents with new keys in each, and what their roles sign.
use firmseal_core::{Environment, Root};
use firmseal_manifest::{Digest, PublicKey, Signature};
use firmseal_testkit::TestKey;
use firmseal_testkit::story::{ORIGIN, log_key, rescuer, witness};
use firmseal_trust::{DemandsSpec, Holder, RevocationSpec, RevokedKey, Role, RoleSpec, RootSpec};

use super::Key;

/// The key that signs releases under each root, and the key of the role root.
pub fn release_key(version: u64) -> u8 {
    20 + (version % 15) as u8
}

pub fn root_key(version: u64) -> Key {
    Key::new(40 + (version % 15) as u8)
}

/// A root document; every version has new keys for everything.
pub struct Link {
    pub version: u64,
    pub lineage: u8,
    pub environment: Environment,
    pub reset: Option<u64>,
    /// Whether the role before it signs as well.
    pub linked: bool,
}

impl Link {
    pub fn new(version: u64) -> Link {
        Link { version, lineage: 7, environment: Environment::Test, reset: None, linked: true }
    }

    pub fn make(&self) -> Vec<u8> {
        let role = |role, key: &Key| RoleSpec {
            role,
            threshold: 1,
            holders: vec![Holder { name: "tester".to_owned(), keys: vec![key.public.clone()] }],
            products: vec![],
            channels: vec![],
            both_kinds: false,
        };
        let own = root_key(self.version);
        let spec = RootSpec {
            version: self.version,
            lineage: [self.lineage; 16],
            environment: self.environment,
            roles: vec![
                role(Role::Root, &own),
                role(Role::Release, &Key::new(release_key(self.version))),
                role(Role::Revocation, &revoker(self.version)),
                held(Role::Log, 1, vec![(ORIGIN.to_owned(), log_key())]),
                held(Role::Witness, 2, (0..3).map(|at| (format!("w{at}"), witness(at))).collect()),
                held(Role::Recovery, 2, (0..2).map(|at| (format!("r{at}"), rescuer(at))).collect()),
            ],
            minimum_epoch: 0,
            demands: vec![DemandsSpec::NOTHING],
            closed_logs: vec![],
            sequence_resets: self.reset.map(|to| ("gateway".parse().unwrap(), to)).into_iter().collect(),
        };
        let unsigned = spec.assemble().unwrap();
        let sign = |key: &Key| -> (PublicKey, Signature) {
            (key.public.clone(), key.sign(&unsigned.to_be_signed(&key.public).unwrap()))
        };
        let mut signatures = vec![sign(&own)];
        if self.linked && self.version > 1 {
            signatures.push(sign(&root_key(self.version - 1)));
        }
        let signatures: Vec<_> = signatures.iter().map(|(key, signature)| (key, signature.clone())).collect();
        unsigned.seal(&signatures).unwrap()
    }
}

fn held(role: Role, threshold: u64, keys: Vec<(String, TestKey)>) -> RoleSpec {
    let holders = keys.into_iter().map(|(name, key)| Holder { name, keys: vec![key.public().clone()] });
    RoleSpec {
        role,
        threshold,
        holders: holders.collect(),
        products: vec![],
        channels: vec![],
        both_kinds: false,
    }
}

pub fn chain(to: u64) -> Vec<Vec<u8>> {
    (1..=to).map(|version| Link::new(version).make()).collect()
}

pub fn revoker(version: u64) -> Key {
    Key::new(110 + (version % 15) as u8)
}

pub fn revocation(root: u64, version: u64, manifests: &[Digest], keys: &[u8]) -> Vec<u8> {
    let spec = RevocationSpec {
        version,
        lineage: [7; 16],
        environment: Environment::Test,
        keys: keys
            .iter()
            .map(|seed| RevokedKey { key: Key::new(*seed).public.id(), last_good: vec![], allowed: vec![] })
            .collect(),
        releases: manifests.to_vec(),
    };
    let (key, unsigned) = (revoker(root), spec.assemble());
    let signature = key.sign(&unsigned.to_be_signed(&key.public).unwrap());
    let under = Link::new(root).make();
    unsigned.seal(&Root::decode(&under).unwrap(), &[(&key.public, signature)]).unwrap()
}

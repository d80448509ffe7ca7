//! A small world: one vendor, one product, a root, and releases in it.

use firmseal_manifest::{
    BlockSize, ComponentSpec, Environment, PayloadTree, ReleaseSpec, TreeBuilder, UnsignedManifest,
};
use firmseal_trust::{DemandsSpec, Holder, Role, RoleSpec, RootSpec};
use semver::Version;
use uuid::Uuid;

use crate::keys::TestKey;

/// Product name in the world.
pub const PRODUCT: &str = "gateway";
/// Component name in the world.
pub const COMPONENT: &str = "main";

/// Holders of the release role, their threshold, and the ids of a product.
pub struct World {
    /// Signs the root document.
    pub root_key: TestKey,
    /// Holders of the release role by name.
    pub release: Vec<(String, Vec<TestKey>)>,
    /// The root document before it is signed; change it as a test needs.
    pub root: RootSpec,
}

impl Default for World {
    fn default() -> World {
        World::new(1, vec![("alice", vec![TestKey::ed25519(1)])])
    }
}

impl World {
    /// A test world with these holders of the release role.
    pub fn new(threshold: u64, release: Vec<(&str, Vec<TestKey>)>) -> World {
        let root_key = TestKey::ed25519(100);
        let release: Vec<_> = release.into_iter().map(|(name, keys)| (name.to_owned(), keys)).collect();
        let holders = release
            .iter()
            .map(|(name, keys)| Holder {
                name: name.clone(),
                keys: keys.iter().map(|key| key.public().clone()).collect(),
            })
            .collect();
        let root = RootSpec {
            version: 1,
            lineage: *b"firmseal-testkit",
            environment: Environment::Test,
            roles: vec![
                RoleSpec {
                    role: Role::Root,
                    threshold: 1,
                    holders: vec![Holder {
                        name: "custodian".to_owned(),
                        keys: vec![root_key.public().clone()],
                    }],
                    products: vec![],
                    channels: vec![],
                    both_kinds: false,
                },
                RoleSpec {
                    role: Role::Release,
                    threshold,
                    holders,
                    products: vec![],
                    channels: vec![],
                    both_kinds: false,
                },
            ],
            minimum_epoch: 0,
            demands: vec![DemandsSpec::NOTHING],
            closed_logs: vec![],
            sequence_resets: vec![],
        };
        World { root_key, release, root }
    }

    /// The root document, signed.
    pub fn root_document(&self) -> Vec<u8> {
        let unsigned = self.root.assemble().unwrap();
        let key = &self.root_key;
        let signature = key.sign(&unsigned.to_be_signed(key.public()).unwrap());
        unsigned.seal(&[(key.public(), signature)]).unwrap()
    }

    /// Vendor id.
    pub fn vendor(&self) -> Uuid {
        Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"example.com")
    }

    /// Class id.
    pub fn class(&self) -> Uuid {
        Uuid::new_v5(&self.vendor(), b"gateway rev 1")
    }

    /// A release of one payload, sequence number 7, epoch 3.
    pub fn release(&self, payload: &[u8]) -> ReleaseSpec {
        ReleaseSpec {
            environment: Environment::Test,
            vendor: self.vendor(),
            class: self.class(),
            product: PRODUCT.parse().unwrap(),
            channel: "stable".parse().unwrap(),
            version: Version::new(1, 2, 3),
            sequence: 7,
            epoch: 3,
            delegation: 0,
            rollback_of: None,
            components: vec![component(COMPONENT, payload).0],
            description: None,
        }
    }

    /// Signs a manifest with the first key of each of the first `holders`
    /// holders.
    pub fn seal(&self, manifest: &UnsignedManifest, holders: usize) -> Vec<u8> {
        let signatures: Vec<_> = self.release[..holders]
            .iter()
            .map(|(_, keys)| {
                let key = &keys[0];
                (key.public(), key.sign(&manifest.to_be_signed(key.public()).unwrap()))
            })
            .collect();
        manifest.seal(&signatures).unwrap()
    }
}

/// A component that holds `payload`, with its tree in 4096-byte blocks.
pub fn component(name: &str, payload: &[u8]) -> (ComponentSpec, PayloadTree) {
    let mut builder = TreeBuilder::new(BlockSize::B4096);
    builder.update(payload);
    let tree = builder.finish().unwrap();
    let spec = ComponentSpec {
        name: name.to_owned(),
        size: tree.tree.size(),
        digest: tree.digest,
        slot: None,
        block: BlockSize::B4096,
        tree_root: *tree.tree.root(),
    };
    (spec, tree)
}

/// Bytes that look like firmware: different in every block, the same on
/// every machine.
pub fn firmware(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(size + 8);
    while out.len() < size {
        // xorshift64* (Vigna 2016): enough to tell blocks apart.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(size);
    out
}

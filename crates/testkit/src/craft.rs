//! Craft: an assembled manifest, taken apart so that single members can be
//! replaced and the rest put together and signed again.

use firmseal_core::command::Section;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::{Digest, Tbs, UnsignedManifest};

use crate::item::{self, Item};
use crate::keys::TestKey;

/// Members of a map: encoded keys and encoded values.
#[derive(Clone, Default)]
pub struct Members(pub Vec<(Item, Item)>);

impl Members {
    /// Takes an encoded map apart.
    pub fn parse(map: &[u8]) -> Members {
        Members(item::split(map).chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
    }

    /// A member's value.
    pub fn get(&self, label: i64) -> Item {
        let key = item::int(label);
        self.0.iter().find(|(own, _)| *own == key).expect("no such member").1.clone()
    }

    /// Replaces a member, or inserts it where it belongs.
    pub fn set(&mut self, label: i64, value: Item) {
        self.set_key(item::int(label), value)
    }

    /// The same for a key of any type.
    pub fn set_key(&mut self, key: Item, value: Item) {
        match self.0.binary_search_by(|(own, _)| own.cmp(&key)) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    /// Removes a member.
    pub fn remove(&mut self, label: i64) {
        let key = item::int(label);
        self.0.retain(|(own, _)| *own != key);
    }

    /// The encoded map, in the order the members stand.
    pub fn encode(&self) -> Item {
        item::map(&self.0)
    }
}

/// A command sequence: labels and encoded arguments.
#[derive(Clone, Default)]
pub struct Commands(pub Vec<(i64, Item)>);

impl Commands {
    /// Takes an encoded sequence apart.
    pub fn parse(sequence: &[u8]) -> Commands {
        let items = item::split(sequence);
        Commands(items.chunks(2).map(|pair| (item::number(&pair[0]), pair[1].clone())).collect())
    }

    /// Adds a command.
    pub fn add(&mut self, label: i64, argument: Item) {
        self.0.push((label, argument));
    }

    /// The encoded sequence.
    pub fn encode(&self) -> Item {
        item::array(
            &self
                .0
                .iter()
                .flat_map(|(label, argument)| [item::int(*label), argument.clone()])
                .collect::<Vec<_>>(),
        )
    }

    /// A sequence of these commands.
    pub fn of(commands: &[(i64, Item)]) -> Item {
        Commands(commands.to_vec()).encode()
    }
}

/// The label of a section's member in the manifest.
fn label(section: Section) -> i64 {
    match section {
        Section::Shared => 4,
        Section::PayloadFetch => 16,
        Section::Install => 20,
        Section::Validate => 7,
        Section::Load => 8,
        Section::Invoke => 9,
    }
}

/// A manifest and its severed members in pieces.
#[derive(Clone)]
pub struct Craft {
    /// Members of the manifest.
    pub manifest: Members,
    /// Members of the envelope besides authentication wrapper and manifest.
    pub envelope: Members,
}

impl Craft {
    /// Takes an assembled manifest apart.
    pub fn of(manifest: &UnsignedManifest) -> Craft {
        Craft::of_envelope(&manifest.seal(&[]).unwrap())
    }

    /// Takes an envelope apart and forgets its signatures.
    pub fn of_envelope(envelope: &[u8]) -> Craft {
        let mut envelope = Members::parse(&item::untag(envelope));
        let manifest = Members::parse(&item::content(&envelope.get(3)));
        envelope.remove(2);
        envelope.remove(3);
        Craft { manifest, envelope }
    }

    /// Changes the common section.
    pub fn common(&mut self, change: impl FnOnce(&mut Members)) -> &mut Craft {
        let mut common = Members::parse(&item::content(&self.manifest.get(3)));
        change(&mut common);
        self.manifest.set(3, item::bytes(&common.encode()));
        self
    }

    /// Changes the facts.
    pub fn facts(&mut self, change: impl FnOnce(&mut Members)) -> &mut Craft {
        let mut facts = Members::parse(&item::content(&self.manifest.get(-257)));
        change(&mut facts);
        self.manifest.set(-257, item::bytes(&facts.encode()));
        self
    }

    /// Changes the facts of one component.
    pub fn component_facts(&mut self, index: usize, change: impl FnOnce(&mut Members)) -> &mut Craft {
        self.facts(|facts| {
            let mut components = item::split(&facts.get(10));
            let mut own = Members::parse(&components[index]);
            change(&mut own);
            components[index] = own.encode();
            facts.set(10, item::array(&components));
        })
    }

    /// Changes the commands of a section that the manifest has.
    pub fn commands(&mut self, section: Section, change: impl FnOnce(&mut Commands)) -> &mut Craft {
        let label = label(section);
        let bytes = match section {
            Section::Shared => Members::parse(&item::content(&self.manifest.get(3))).get(4),
            Section::PayloadFetch | Section::Install => self.envelope.get(label),
            _ => self.manifest.get(label),
        };
        let mut commands = Commands::parse(&item::content(&bytes));
        change(&mut commands);
        self.sequence(section, &commands.encode())
    }

    /// Replaces or adds a section's encoded sequence; what can be severed
    /// is.
    pub fn sequence(&mut self, section: Section, sequence: &[u8]) -> &mut Craft {
        let (label, member) = (label(section), item::bytes(sequence));
        match section {
            Section::Shared => return self.common(|common| common.set(4, member)),
            Section::PayloadFetch | Section::Install => return self.sever(label, member),
            _ => self.manifest.set(label, member),
        };
        self
    }

    /// Puts a member, a byte string with its head, into the envelope and
    /// its digest into the manifest.
    pub fn sever(&mut self, label: i64, member: Item) -> &mut Craft {
        self.manifest.set(label, item::suit_digest(&RustCrypto.digest(&member)));
        self.envelope.set(label, member);
        self
    }

    /// The manifest member with its head.
    pub fn wrapped(&self) -> Item {
        item::bytes(&self.manifest.encode())
    }

    /// The digest that is signed.
    pub fn digest(&self) -> Digest {
        RustCrypto.digest(&self.wrapped())
    }

    /// A signature by a key, in pieces.
    pub fn sign(&self, key: &TestKey) -> Block {
        let mut block = Block::unsigned(key);
        block.sign(key, b"", &self.digest());
        block
    }

    /// The signed envelope with these authentication blocks.
    pub fn assemble(&self, blocks: &[Item]) -> Vec<u8> {
        let mut wrapper = vec![item::bytes(&item::suit_digest(&self.digest()))];
        wrapper.extend(blocks.iter().map(|block| item::bytes(block)));
        self.assemble_wrapper(&item::array(&wrapper))
    }

    /// The envelope with this encoded authentication wrapper.
    pub fn assemble_wrapper(&self, wrapper: &[u8]) -> Vec<u8> {
        let mut envelope = self.envelope.clone();
        envelope.set(2, item::bytes(wrapper));
        envelope.set(3, self.wrapped());
        item::tag(107, &envelope.encode())
    }

    /// The envelope signed by these keys.
    pub fn seal(&self, keys: &[&TestKey]) -> Vec<u8> {
        self.assemble(&keys.iter().map(|key| self.sign(key).encode()).collect::<Vec<_>>())
    }
}

/// A COSE_Sign1 in pieces.
#[derive(Clone)]
pub struct Block {
    /// CBOR tag.
    pub tag: u64,
    /// Protected header.
    pub protected: Members,
    /// Unprotected header.
    pub unprotected: Members,
    /// Payload; null where it is detached.
    pub payload: Item,
    /// The signature's bytes.
    pub signature: Vec<u8>,
}

impl Block {
    /// A block with a key's algorithm and id, yet to be signed.
    pub fn unsigned(key: &TestKey) -> Block {
        let (mut protected, mut unprotected) = (Members::default(), Members::default());
        protected.set(1, item::int(key.algorithm()));
        unprotected.set(4, item::bytes(key.public().id().0.as_bytes()));
        Block { tag: 18, protected, unprotected, payload: item::null(), signature: Vec::new() }
    }

    /// Signs as RFC 9052 §4.4 says, over the protected header as it stands.
    pub fn sign(&mut self, key: &TestKey, external_aad: &[u8], digest: &Digest) -> &mut Block {
        self.signature = key.sign(&Tbs::Message(self.to_be_signed(external_aad, digest))).0;
        self
    }

    /// What is signed.
    pub fn to_be_signed(&self, external_aad: &[u8], digest: &Digest) -> Vec<u8> {
        item::array(&[
            item::text("Signature1"),
            item::bytes(&self.protected.encode()),
            item::bytes(external_aad),
            item::bytes(&item::suit_digest(digest)),
        ])
    }

    /// The encoded block.
    pub fn encode(&self) -> Item {
        item::tag(
            self.tag,
            &item::array(&[
                item::bytes(&self.protected.encode()),
                self.unprotected.encode(),
                self.payload.clone(),
                item::bytes(&self.signature),
            ]),
        )
    }
}

//! A story: how a release came to be, with everything a strict root asks
//! for, and a place at each step where something can go wrong.
//!
//! A delegated key, two of three approvers, a log with two of three
//! witnesses, an owner. The log is a list of leaves here and its tree is
//! hashed naively: it shares nothing with the crates that it judges.

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Hasher, evidence};
use firmseal_manifest::{
    Agreement, BirthProof, Checkpoint, Cosignature, Delegation, Digest, Environment, Evidence, Intent, KeyId,
    LinkSpec, PublicKey, Purpose, RequestId, SignedStatement, Statement, StatementPurpose, Tbs,
};
use firmseal_trust::{Demands, DemandsSpec, FreshnessSpec, Holder, Role, RoleSpec, RootSpec};
use semver::Version;

use crate::craft::Craft;
use crate::keys::TestKey;
use crate::world::{PRODUCT, World};

/// When the story happens, in seconds since 1970.
pub const NOW: u64 = 1_800_000_000;
/// The log's origin.
pub const ORIGIN: &str = "log.example.com/1";
/// The lineage of the owner's root.
pub const OWNER: [u8; 16] = *b"owner of devices";

/// Approvers by name; two of them must agree.
pub const APPROVERS: [&str; 3] = ["ann", "ben", "cleo"];

/// The key of the n-th approver; the second has a P-256 key.
pub fn approver(place: usize) -> TestKey {
    if place == 1 { TestKey::p256(61) } else { TestKey::ed25519(60 + place as u8) }
}

/// The log's key.
pub fn log_key() -> TestKey {
    TestKey::ed25519(70)
}

/// The key of the n-th of three witnesses, two of whom must cosign.
pub fn witness(place: usize) -> TestKey {
    TestKey::ed25519(71 + place as u8)
}

/// The holder of the revocation role.
pub fn revoker() -> TestKey {
    TestKey::ed25519(80)
}

/// The two holders of the recovery role, both of whom must sign.
pub fn rescuer(place: usize) -> TestKey {
    TestKey::ed25519(81 + place as u8)
}

/// The short-lived key to which the release role delegates.
pub fn delegate() -> TestKey {
    TestKey::ed25519(90)
}

/// The owner's own key.
pub fn owner() -> TestKey {
    TestKey::ed25519(95)
}

/// What a strict root demands.
pub const STRICT: Demands = Demands { proof: true, approvals: true, delegation: false, owner: false };

/// How the approver at a place signs a Statement.
pub type Agree = Box<dyn Fn(&Statement, usize) -> Agreement>;

/// One release's story. Each step makes its part right; the hook beside it
/// may then change it, and later steps build on what it left.
pub struct Story {
    /// What the root demands.
    pub demands: Demands,
    /// Whether the release is signed under a delegation.
    pub delegated: bool,
    /// The delegation.
    pub link: fn(&mut LinkSpec),
    /// The approvers who sign.
    pub approvers: Vec<usize>,
    /// The approval.
    pub statement: fn(&mut Statement),
    /// How the approver at a place signs it.
    pub agree: Agree,
    /// Other keys than [`approver`]'s, by place.
    pub keys: Vec<(usize, PublicKey)>,
    /// Whether the owner consents.
    pub owned: bool,
    /// The owner's consent.
    pub consent: fn(&mut Statement),
    /// The Intent, before it is logged.
    pub intent: fn(&mut Intent),
    /// Levels of a full tree with the Intent in it; without them the log
    /// has seven entries.
    pub levels: Option<u8>,
    /// The witnesses that cosign, and when.
    pub witnesses: Vec<(usize, u64)>,
    /// The proof, after everybody has signed.
    pub proof: fn(&mut BirthProof),
    /// Everything, at last.
    pub evidence: fn(&mut Evidence),
}

impl Default for Story {
    fn default() -> Story {
        Story {
            demands: STRICT,
            delegated: false,
            link: |_| (),
            approvers: vec![0, 1],
            statement: |_| (),
            agree: Box::new(|statement, place| agree(statement, &approver(place))),
            keys: vec![],
            owned: false,
            consent: |_| (),
            intent: |_| (),
            levels: None,
            witnesses: vec![(0, NOW), (1, NOW + 2)],
            proof: |_| (),
            evidence: |_| (),
        }
    }
}

impl Story {
    /// Gives a world every role, and these demands.
    pub fn furnish(&self, world: &mut World) {
        world.root.demands = vec![DemandsSpec { demands: self.demands, products: vec![] }];
        let mut approvers: Vec<Holder> =
            (0..3).map(|place| holder(APPROVERS[place], approver(place))).collect();
        for (place, key) in &self.keys {
            approvers[*place].keys = vec![key.clone()];
        }
        let witnesses =
            (0..3).map(|place| holder(&format!("w{place}.example.com"), witness(place))).collect();
        let rescuers = (0..2).map(|place| holder(&format!("rescuer {place}"), rescuer(place))).collect();
        world.root.roles.extend([
            role(Role::Approver, 2, approvers),
            role(Role::Log, 1, vec![holder(ORIGIN, log_key())]),
            role(Role::Witness, 2, witnesses),
            role(Role::Revocation, 1, vec![holder("sue", revoker())]),
            role(Role::Recovery, 2, rescuers),
        ]);
    }

    /// Puts delegation and evidence into an envelope and signs it: by the
    /// delegate where there is one, otherwise by `key`.
    pub fn tell(&self, craft: &mut Craft, world: &World, key: &TestKey) -> Vec<u8> {
        let delegated = delegate();
        let signer = if self.delegated { &delegated } else { key };
        let delegation = self.delegated.then(|| {
            let mut link = link(world);
            (self.link)(&mut link);
            Delegation { chains: vec![vec![seal(&link, key)]] }
        });
        if let Some(delegation) = &delegation {
            craft.envelope.set(1, crate::item::bytes(&delegation.encode()));
        }
        let evidence = self.evidence(craft.digest(), world, signer, delegation.as_ref());
        craft.envelope.set(-258, crate::item::bytes(&evidence.encode().unwrap()));
        craft.seal(&[signer])
    }

    fn evidence(
        &self,
        manifest: Digest,
        world: &World,
        signer: &TestKey,
        delegation: Option<&Delegation>,
    ) -> Evidence {
        let mut approval = statement(manifest, world.root.lineage, signer.public().id());
        approval.environment = world.root.environment;
        (self.statement)(&mut approval);
        let mut statements = Vec::new();
        if !self.approvers.is_empty() {
            let signatures = self.approvers.iter().map(|place| (self.agree)(&approval, *place)).collect();
            statements.push(SignedStatement { statement: approval.clone(), signatures });
        }
        let mut intent = Intent {
            purpose: Purpose::Release,
            subject: manifest,
            keys: vec![signer.public().id()],
            delegation: delegation.map(Delegation::digest),
            statements: statements.iter().map(|signed| signed.statement.digest()).collect(),
            requester: approval.requester,
            policy: approval.policy,
            context: vec![],
        };
        (self.intent)(&mut intent);
        if self.owned {
            let mut consent = Statement { purpose: StatementPurpose::Owner, lineage: OWNER, ..approval };
            (self.consent)(&mut consent);
            let signatures = vec![agree(&consent, &owner())];
            statements.push(SignedStatement { statement: consent, signatures });
        }
        let mut proof = match self.levels {
            Some(levels) => prove_deep(&intent, levels, &self.witnesses),
            None => prove(&intent, &self.witnesses),
        };
        (self.proof)(&mut proof);
        let mut evidence = Evidence { intent: Some(intent), statements, proof: Some(proof) };
        (self.evidence)(&mut evidence);
        evidence
    }
}

fn holder(name: &str, key: TestKey) -> Holder {
    Holder { name: name.to_owned(), keys: vec![key.public().clone()] }
}

fn role(role: Role, threshold: u64, holders: Vec<Holder>) -> RoleSpec {
    RoleSpec { role, threshold, holders, products: vec![], channels: vec![], both_kinds: false }
}

/// An owner's root: one holder who consents for all products.
pub fn owner_root() -> Vec<u8> {
    let custodian = TestKey::ed25519(96);
    let spec = RootSpec {
        version: 1,
        lineage: OWNER,
        environment: Environment::Test,
        roles: vec![
            role(
                Role::Root,
                1,
                vec![Holder { name: "owner".to_owned(), keys: vec![custodian.public().clone()] }],
            ),
            role(Role::Approver, 1, vec![holder("owner", owner())]),
        ],
        minimum_epoch: 0,
        demands: vec![DemandsSpec::NOTHING],
        closed_logs: vec![],
        sequence_resets: vec![],
    };
    let unsigned = spec.assemble().unwrap();
    let signature = custodian.sign(&unsigned.to_be_signed(custodian.public()).unwrap());
    unsigned.seal(&[(custodian.public(), signature)]).unwrap()
}

/// A delegation to [`delegate`] that covers the world's releases.
pub fn link(world: &World) -> LinkSpec {
    LinkSpec {
        not_before: NOW - 3600,
        expiry: NOW + 3600,
        key: delegate().public().clone(),
        environment: world.root.environment,
        lineage: world.root.lineage,
        products: vec![PRODUCT.parse().unwrap()],
        versions: (Version::new(1, 0, 0), Version::new(1, 99, 0)),
        epoch: 3,
        index: 5,
    }
}

/// A link, signed.
pub fn seal(link: &LinkSpec, key: &TestKey) -> Vec<u8> {
    link.seal(key.public(), &key.sign(&link.to_be_signed(key.public()).unwrap())).unwrap()
}

fn statement(manifest: Digest, lineage: [u8; 16], signer: KeyId) -> Statement {
    let digest = |text: &str| RustCrypto.digest(text.as_bytes());
    Statement {
        purpose: StatementPurpose::Approval,
        environment: Environment::Test,
        lineage,
        request: RequestId::from_uuid(uuid::Uuid::from_bytes(*b"a signing order!")),
        manifest,
        signers: vec![signer],
        previous: None,
        expiry: NOW + 86_400,
        header: digest("header"),
        difference: digest("difference"),
        policy: digest("policy"),
        requester: evidence::holder_id("dora", &RustCrypto),
    }
}

/// A signature under a Statement.
pub fn agree(statement: &Statement, key: &TestKey) -> Agreement {
    let signature = key.sign(&statement.to_be_signed(key.public()).unwrap());
    Agreement::Cose { key: key.public().clone(), signature }
}

/// Logs an Intent behind five others and before one more, and gathers
/// cosignatures.
fn prove(intent: &Intent, witnesses: &[(usize, u64)]) -> BirthProof {
    let mut leaves: Vec<Digest> = (0..7u8).map(|leaf| leaf_hash(&[leaf])).collect();
    leaves[5] = leaf_hash(&intent.encode());
    let checkpoint = cosigned(ORIGIN, leaves.len() as u64, root_hash(&leaves), &log_key(), witnesses);
    BirthProof { checkpoint, index: 5, path: path(&leaves, 5) }
}

/// Logs an Intent somewhere in a full tree of so many levels, of which only
/// the path is made: what its siblings stand for, nobody sees.
fn prove_deep(intent: &Intent, levels: u8, witnesses: &[(usize, u64)]) -> BirthProof {
    let size = 1u64 << levels;
    let index = size * 2 / 3;
    let siblings: Vec<Digest> = (0..levels).map(|level| leaf_hash(&[level])).collect();
    let mut node = leaf_hash(&intent.encode());
    for (level, sibling) in siblings.iter().enumerate() {
        let (left, right) = if index >> level & 1 == 1 { (sibling, &node) } else { (&node, sibling) };
        node = hash(&[&[1], left.as_bytes(), right.as_bytes()]);
    }
    let checkpoint = cosigned(ORIGIN, size, node, &log_key(), witnesses);
    BirthProof { checkpoint, index, path: siblings }
}

/// A checkpoint that the log signs and these witnesses cosign.
pub fn cosigned(
    origin: &str,
    size: u64,
    hash: Digest,
    key: &TestKey,
    witnesses: &[(usize, u64)],
) -> Checkpoint {
    let body = format!("{origin}\n{size}\n{}\n", base64(hash.as_bytes()));
    let cosignatures = witnesses
        .iter()
        .map(|(place, time)| {
            let witness = witness(*place);
            let message = format!("cosignature/v1\ntime {time}\n{body}");
            Cosignature { key: witness.public().id(), time: *time, signature: sign(&witness, &message) }
        })
        .collect();
    let signature = (key.public().id(), sign(key, &body));
    Checkpoint { origin: origin.to_owned(), size, hash, signature, cosignatures }
}

/// A freshness document: a checkpoint cosigned at these times, and the
/// newest revocation document.
pub fn freshness(revocation: u64, witnesses: &[(usize, u64)]) -> Vec<u8> {
    let checkpoint = cosigned(ORIGIN, 9, leaf_hash(b"later"), &log_key(), witnesses);
    let spec = FreshnessSpec { checkpoint, revocation };
    let key = log_key();
    let signature = key.sign(&spec.to_be_signed(key.public()).unwrap());
    spec.seal(key.public(), &signature).unwrap()
}

fn sign(key: &TestKey, message: &str) -> Vec<u8> {
    key.sign(&Tbs::Message(message.as_bytes().to_vec())).0
}

/// The hash of a leaf (RFC 9162 §2.1.1).
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    hash(&[&[0], leaf])
}

/// The hash of a tree by its definition.
pub fn root_hash(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => RustCrypto.digest(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(half(leaves.len()));
            hash(&[&[1], root_hash(left).as_bytes(), root_hash(right).as_bytes()])
        }
    }
}

/// The path to a leaf by its definition (RFC 9162 §2.1.3.1).
pub fn path(leaves: &[Digest], index: usize) -> Vec<Digest> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(half(leaves.len()));
    let (mut path, sibling) = match index < left.len() {
        true => (self::path(left, index), right),
        false => (self::path(right, index - left.len()), left),
    };
    path.push(root_hash(sibling));
    path
}

/// The largest power of two below a number of leaves.
fn half(leaves: usize) -> usize {
    leaves.next_power_of_two() / 2
}

fn hash(parts: &[&[u8]]) -> Digest {
    let mut hasher = RustCrypto.sha256();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finish()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

//! Root documents: which holders, with which keys, may do what.
//!
//! The role of TUF's root metadata (TUF 1.0.34 §4.3) in deterministic CBOR.
//! Version 1 is a device's trust anchor; it is signed by its own root role.
//! Roles that later versions of this code check have their place already,
//! so a document written today stays valid.

use crate::cbor::Reader;
use crate::cose::Context;
use crate::crypto::Crypto;
use crate::digest::Digest;
use crate::envelope::{Sign1, decode_signatures};
use crate::key::PublicKey;
use crate::limits::{HOLDERS_MAX, KEYS_MAX, Limit, PRODUCTS_MAX, ROLES_MAX, ROOT_MAX, SIGNATURES_MAX};
use crate::refusal::Refusal;

/// What a holder may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Role {
    /// Signs root documents.
    Root = 0,
    /// Signs releases.
    Release = 1,
    /// Approves releases.
    Approver = 2,
    /// Signs checkpoints of the log.
    Log = 3,
    /// Cosigns checkpoints.
    Witness = 4,
    /// Revokes keys and releases.
    Revocation = 5,
    /// Signs recovery envelopes.
    Recovery = 6,
}

impl Role {
    const fn from_label(label: u64) -> Option<Role> {
        match label {
            0 => Some(Role::Root),
            1 => Some(Role::Release),
            2 => Some(Role::Approver),
            3 => Some(Role::Log),
            4 => Some(Role::Witness),
            5 => Some(Role::Revocation),
            6 => Some(Role::Recovery),
            _ => None,
        }
    }
}

/// Test and production are different worlds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Environment {
    /// Keys and builds for development and tests.
    Test = 0,
    /// Keys and builds for devices in the field.
    Production = 1,
}

impl Environment {
    pub(crate) const fn from_label(label: u64) -> Option<Environment> {
        match label {
            0 => Some(Environment::Test),
            1 => Some(Environment::Production),
            _ => None,
        }
    }
}

/// What every release must carry besides signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demands {
    /// Witnesses that must have cosigned the birth proof; 0 asks for none.
    pub witnesses: u64,
    /// Approvers that must have signed a Statement; 0 asks for none.
    pub approvals: u64,
}

/// A root document whose form has been checked in whole.
#[derive(Clone, Debug)]
pub struct Root<'a> {
    body: &'a [u8],
    signatures: &'a [u8],
    signature_count: usize,
    version: u64,
    lineage: &'a [u8; 16],
    environment: Environment,
    roles: &'a [u8],
    role_count: usize,
    minimum_epoch: u64,
    demands: Demands,
}

/// One role of a root document: its holders and how many must agree.
#[derive(Clone, Debug)]
pub struct RoleEntry<'a> {
    role: Role,
    threshold: usize,
    holders: Reader<'a>,
    holder_count: usize,
    products: Option<(Reader<'a>, usize)>,
}

impl core::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Reader")
    }
}

impl<'a> Root<'a> {
    /// Reads a root document and checks its form: known roles, thresholds
    /// between one and the number of holders, no key twice. Whether it is
    /// *the* root is for its storage or its signatures to say.
    pub fn decode(bytes: &'a [u8]) -> Result<Root<'a>, Refusal> {
        if bytes.len() > ROOT_MAX {
            return Err(Refusal::Limit(Limit::RootMax));
        }
        let mut outer = Reader::new(bytes);
        outer.array_exact(2)?;
        let body = outer.bytes()?;
        let signature_count = outer.array(SIGNATURES_MAX, Limit::SignaturesMax)?;
        let signatures = outer.rest();
        for _ in 0..signature_count {
            Sign1::decode(outer.bytes()?)?;
        }
        outer.end()?;

        let mut reader = Reader::new(body);
        let mut keys = reader.map()?;
        let (mut format, mut version, mut lineage, mut environment) = (None, None, None, None);
        let (mut roles, mut minimum_epoch, mut demands) = (None, 0, None);
        while let Some(label) = keys.next_int(&mut reader)? {
            match label {
                1 => format = Some(reader.uint()?),
                2 => version = Some(reader.uint()?),
                3 => lineage = Some(reader.array_of::<16>()?),
                4 => environment = Environment::from_label(reader.uint()?),
                5 => {
                    let count = reader.array(ROLES_MAX, Limit::RolesMax)?;
                    roles = Some((reader.rest(), count));
                    for _ in 0..count {
                        RoleEntry::decode(&mut reader)?.check_names()?;
                    }
                }
                6 => minimum_epoch = reader.uint()?,
                7 => demands = Some(read_demands(&mut reader)?),
                _ => return Err(Refusal::Unsupported("a member of the root document")),
            }
        }
        reader.end()?;
        if format != Some(1) {
            return Err(Refusal::Unsupported("a root document of another format"));
        }
        let version = version.filter(|version| *version >= 1);
        let environment = environment.ok_or(Refusal::Malformed("no known environment"))?;
        let (roles, role_count) = roles.ok_or(Refusal::Malformed("no roles"))?;
        let demands = match (demands, environment) {
            (Some(demands), _) => demands,
            (None, Environment::Test) => Demands { witnesses: 0, approvals: 0 },
            // A production root demands both unless it says otherwise in
            // so many words: leaving the member out is not saying so.
            (None, Environment::Production) => Demands { witnesses: 1, approvals: 1 },
        };
        let root = Root {
            body,
            signatures,
            signature_count,
            version: version.ok_or(Refusal::Malformed("no version of 1 or more"))?,
            lineage: lineage.ok_or(Refusal::Malformed("no lineage"))?,
            environment,
            roles,
            role_count,
            minimum_epoch,
            demands,
        };
        root.check_roles()?;
        root.check_keys()?;
        Ok(root)
    }

    /// One entry governs a role for a product. Of two, one reader would
    /// take the first and another the last, with other holders and another
    /// threshold; and the root role governs the document, not products.
    fn check_roles(&self) -> Result<(), Refusal> {
        for (index, entry) in self.roles().enumerate() {
            if entry.role == Role::Root && entry.products.is_some() {
                return Err(Refusal::Malformed("a root role that is limited to products"));
            }
            if self.roles().take(index).any(|earlier| earlier.overlaps(&entry)) {
                return Err(Refusal::Malformed("two entries for one role and product"));
            }
        }
        Ok(())
    }

    /// One key, one role, one holder: a key that stood twice could count
    /// twice towards a threshold.
    fn check_keys(&self) -> Result<(), Refusal> {
        let all = || self.roles().flat_map(|role| role.keys());
        if all().count() > KEYS_MAX {
            return Err(Refusal::Limit(Limit::KeysMax));
        }
        for (_, key) in all() {
            // At most 64 x 64 comparisons of 64 bytes: cheap enough.
            if all().filter(|(_, other)| *other == key).count() > 1 {
                return Err(Refusal::KeyReused);
            }
        }
        Ok(())
    }

    /// Version, from 1.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The chain of root documents this one belongs to.
    pub fn lineage(&self) -> &'a [u8; 16] {
        self.lineage
    }

    /// Test or production.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// Lowest security epoch that may be installed.
    pub fn minimum_epoch(&self) -> u64 {
        self.minimum_epoch
    }

    /// What every release must carry.
    pub fn demands(&self) -> Demands {
        self.demands
    }

    /// All role entries, in order.
    pub fn roles(&self) -> impl Iterator<Item = RoleEntry<'a>> + use<'a> {
        let mut reader = Reader::new(self.roles);
        (0..self.role_count).map_while(move |_| RoleEntry::decode(&mut reader).ok())
    }

    /// The entry that governs a role for a product: the one that names the
    /// product, else the one that names none.
    pub fn role(&self, role: Role, product: &str) -> Result<RoleEntry<'a>, Refusal> {
        let mut general = None;
        // At most one of each kind: `check_roles` has seen to that.
        for entry in self.roles().filter(|entry| entry.role == role) {
            match entry.names(product) {
                Some(true) => return Ok(entry),
                Some(false) => {}
                None => general = Some(entry),
            }
        }
        general.ok_or(Refusal::RoleMissing)
    }

    /// SHA-256 of the body: what the root role signs.
    pub fn digest(&self, crypto: &impl Crypto) -> Digest {
        crypto.digest(self.body)
    }

    /// Checks the signatures against the document's own root role
    /// (TUF 1.0.34 §5.3.4: "signed by ... a threshold of keys specified in
    /// the new root metadata file").
    pub fn verify(&self, crypto: &impl Crypto) -> Result<(), Refusal> {
        let role = self.role(Role::Root, "")?;
        let signatures = decode_signatures(self.signatures, self.signature_count);
        role.check(signatures, Context::Root, &self.digest(crypto), crypto)
    }
}

fn read_demands(reader: &mut Reader<'_>) -> Result<Demands, Refusal> {
    let mut keys = reader.map()?;
    let (mut witnesses, mut approvals) = (None, None);
    while let Some(label) = keys.next_int(reader)? {
        match label {
            1 => witnesses = Some(reader.uint()?),
            2 => approvals = Some(reader.uint()?),
            _ => return Err(Refusal::Unsupported("a demand of the root document")),
        }
    }
    match (witnesses, approvals) {
        (Some(witnesses), Some(approvals)) => Ok(Demands { witnesses, approvals }),
        _ => Err(Refusal::Malformed("demands name witnesses and approvals")),
    }
}

impl<'a> RoleEntry<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<RoleEntry<'a>, Refusal> {
        let mut keys = reader.map()?;
        let (mut role, mut threshold, mut holders, mut products) = (None, 0, None, None);
        while let Some(label) = keys.next_int(reader)? {
            match label {
                1 => role = Role::from_label(reader.uint()?),
                2 => threshold = usize::try_from(reader.uint()?).unwrap_or(usize::MAX),
                3 => {
                    let count = reader.array(HOLDERS_MAX, Limit::HoldersMax)?;
                    holders = Some((reader.clone(), count));
                    for _ in 0..count {
                        read_holder(reader, |_| ())?;
                    }
                }
                4 => {
                    let count = reader.array(PRODUCTS_MAX, Limit::ProductsMax)?;
                    products = Some((reader.clone(), count));
                    for _ in 0..count {
                        reader.text()?;
                    }
                }
                _ => return Err(Refusal::Unsupported("a member of a role")),
            }
        }
        let role = role.ok_or(Refusal::Unsupported("a role"))?;
        let (holders, holder_count) = holders.ok_or(Refusal::Malformed("a role without holders"))?;
        if threshold == 0 || threshold > holder_count {
            return Err(Refusal::BadThreshold);
        }
        Ok(RoleEntry { role, threshold, holders, holder_count, products })
    }

    /// Thresholds count holders, so a name that stands twice would count
    /// twice.
    fn check_names(&self) -> Result<(), Refusal> {
        for (index, name) in self.holders().enumerate() {
            if self.holders().take(index).any(|earlier| earlier == name) {
                return Err(Refusal::Malformed("a holder twice in one role"));
            }
        }
        Ok(())
    }

    /// Whether both entries would govern one role for some product.
    fn overlaps(&self, other: &RoleEntry<'a>) -> bool {
        self.role == other.role
            && match (self.products(), other.products()) {
                (None, None) => true,
                (Some(mut own), Some(_)) => own.any(|product| other.names(product) == Some(true)),
                _ => false,
            }
    }

    /// The role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Distinct holders that must sign.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// The holders' names, in order.
    pub fn holders(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = self.holders.clone();
        (0..self.holder_count).map_while(move |_| read_holder(&mut reader, |_| ()).ok())
    }

    /// The products the entry is limited to; `None` where it is general.
    pub fn products(&self) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        let (mut reader, count) = self.products.clone()?;
        Some((0..count).map_while(move |_| reader.text().ok()))
    }

    fn names(&self, product: &str) -> Option<bool> {
        self.products().map(|mut names| names.any(|name| name == product))
    }

    /// Every key, with the index of its holder.
    pub fn keys(&self) -> impl Iterator<Item = (usize, PublicKey<'a>)> + use<'a> {
        let (mut reader, count) = (self.holders.clone(), self.holder_count);
        let (mut holder, mut left) = (0, 0);
        core::iter::from_fn(move || {
            while left == 0 {
                if holder == count {
                    return None;
                }
                reader.array_exact(2).ok()?;
                reader.text().ok()?;
                left = reader.array(KEYS_MAX, Limit::KeysMax).ok()?;
                holder += 1;
            }
            left -= 1;
            Some((holder - 1, read_key(&mut reader).ok()?))
        })
    }

    /// Counts distinct holders with a valid signature over `digest`.
    ///
    /// Every signature must earn its place: one that names a key of this
    /// role and fails refuses the whole, and so does one that names no key
    /// and fits none; one that names a key outside the role counts for
    /// nothing.
    pub(crate) fn check<'s>(
        &self,
        signatures: impl Iterator<Item = Sign1<'s>>,
        context: Context,
        digest: &Digest,
        crypto: &impl Crypto,
    ) -> Result<(), Refusal> {
        let (mut agreed, mut strangers, mut total, mut nameless) = (0u32, 0, 0, 0);
        for signature in signatures {
            total += 1;
            let holder = match signature.key_id() {
                Some(hint) => {
                    let named = self.keys().find(|(_, key)| key.id(crypto).0.as_bytes() == hint);
                    let Some((holder, key)) = named else {
                        strangers += 1;
                        continue;
                    };
                    if !signature.verifies(&key, context, digest, crypto) {
                        return Err(Refusal::BadSignature);
                    }
                    holder
                }
                // One that names nobody is tried under every key, so it must
                // be one of ours, and there are no more of them than are
                // needed: otherwise a carrier could make a device verify for
                // minutes.
                None if nameless == self.threshold => {
                    return Err(Refusal::Unsupported("more signatures without a key id than are needed"));
                }
                None => self
                    .keys()
                    .find(|(_, key)| signature.verifies(key, context, digest, crypto))
                    .map(|(holder, _)| holder)
                    .inspect(|_| nameless += 1)
                    .ok_or(Refusal::BadSignature)?,
            };
            agreed |= 1 << holder;
        }
        let have = agreed.count_ones();
        if have as usize >= self.threshold {
            return Ok(());
        }
        if have == 0 && total > 0 && strangers == total {
            return Err(Refusal::UnknownSigner);
        }
        Err(Refusal::ThresholdNotMet { have: have as u8, need: self.threshold as u8 })
    }
}

/// Reads one holder, `[name, [+ key]]`, and shows each key.
fn read_holder<'a>(reader: &mut Reader<'a>, mut show: impl FnMut(PublicKey<'a>)) -> Result<&'a str, Refusal> {
    reader.array_exact(2)?;
    let name = reader.text()?;
    let keys = reader.array(KEYS_MAX, Limit::KeysMax)?;
    if name.is_empty() || keys == 0 {
        return Err(Refusal::Malformed("a holder has a name and at least one key"));
    }
    for _ in 0..keys {
        show(read_key(reader)?);
    }
    Ok(name)
}

/// Reads a COSE_Key with exactly the members that its thumbprint covers.
fn read_key<'a>(reader: &mut Reader<'a>) -> Result<PublicKey<'a>, Refusal> {
    let mut keys = reader.map()?;
    let (mut kty, mut curve, mut x, mut y) = (0, 0, None, None);
    while let Some(label) = keys.next_int(reader)? {
        match label {
            1 => kty = reader.int()?,
            -1 => curve = reader.int()?,
            -2 => x = Some(reader.array_of::<32>()?),
            -3 => y = Some(reader.array_of::<32>()?),
            _ => return Err(Refusal::Unsupported("a member of a key")),
        }
    }
    match (kty, curve, x, y) {
        (1, 6, Some(x), None) => Ok(PublicKey::Ed25519(x)),
        (2, 1, Some(x), Some(y)) => Ok(PublicKey::P256 { x, y }),
        _ => Err(Refusal::Unsupported("a key type")),
    }
}

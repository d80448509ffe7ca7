//! Root documents: who is trusted, and what every release must carry.
//!
//! The role of TUF's root metadata (TUF 1.0.34 §4.3) in deterministic CBOR.
//! Version 1 is a device's trust anchor; it is signed by its own root role.
//! Every later one is signed by the root role of the one before it as well,
//! so whoever holds any of them can walk to the newest.

use crate::cbor::Reader;
use crate::cose::Context;
use crate::crypto::Crypto;
use crate::digest::Digest;
use crate::envelope::{Sign1, decode_signatures};
use crate::key::PublicKey;
use crate::limits::{CLOSED_LOGS_MAX, KEYS_MAX, Limit, PRODUCTS_MAX, ROLES_MAX, ROOT_MAX, SIGNATURES_MAX};
use crate::refusal::Refusal;
use crate::role::{Role, RoleEntry, read_key};

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

/// What every release of a product must carry besides signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demands {
    /// A birth proof: the intent in the log, under a witness quorum.
    pub proof: bool,
    /// Statements of the approver role.
    pub approvals: bool,
    /// A delegation: no key of the release role signs images itself.
    pub delegation: bool,
    /// A Statement under the owner's root.
    pub owner: bool,
}

impl Demands {
    /// What a root that is silent demands. A production root demands proof
    /// and approvals unless it says otherwise in so many words: leaving the
    /// member out is not saying so.
    const fn silent(environment: Environment) -> Demands {
        let production = matches!(environment, Environment::Production);
        Demands { proof: production, approvals: production, delegation: false, owner: false }
    }
}

/// A log that takes no more entries. What was born in it stays valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClosedLog<'a> {
    /// Its origin.
    pub origin: &'a str,
    /// The key that signed its checkpoints.
    pub key: PublicKey<'a>,
    /// How many entries it has.
    pub size: u64,
    /// The hash of its whole tree.
    pub hash: Digest,
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
    demands: List<'a>,
    closed: List<'a>,
    resets: List<'a>,
}

/// The items of an array whose form was checked when it was read.
#[derive(Clone, Debug)]
struct List<'a> {
    items: Reader<'a>,
    count: usize,
}

impl<'a> List<'a> {
    fn empty() -> List<'a> {
        List { items: Reader::new(&[]), count: 0 }
    }

    /// Reads an array and looks at each item once.
    fn read<T>(
        reader: &mut Reader<'a>,
        max: usize,
        limit: Limit,
        item: impl Fn(&mut Reader<'a>) -> Result<T, Refusal>,
    ) -> Result<List<'a>, Refusal> {
        let count = reader.array(max, limit)?;
        let items = reader.clone();
        for _ in 0..count {
            item(reader)?;
        }
        Ok(List { items, count })
    }

    fn iter<T, F>(&self, item: F) -> impl Iterator<Item = T> + use<'a, T, F>
    where
        F: Fn(&mut Reader<'a>) -> Result<T, Refusal>,
    {
        let mut reader = self.items.clone();
        (0..self.count).map_while(move |_| item(&mut reader).ok())
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
        let (mut roles, mut minimum_epoch) = (None, 0);
        let (mut demands, mut closed, mut resets) = (List::empty(), List::empty(), List::empty());
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
                7 => demands = List::read(&mut reader, ROLES_MAX, Limit::RolesMax, read_demands)?,
                8 => closed = List::read(&mut reader, CLOSED_LOGS_MAX, Limit::ClosedLogsMax, read_closed)?,
                9 => resets = List::read(&mut reader, PRODUCTS_MAX, Limit::ProductsMax, read_reset)?,
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
            closed,
            resets,
        };
        root.check_roles()?;
        root.check_demands()?;
        root.check_keys()?;
        Ok(root)
    }

    /// One entry governs a role for a product. Of two, one reader would
    /// take the first and another the last, with other holders and another
    /// threshold; and the root role governs the document, not products.
    fn check_roles(&self) -> Result<(), Refusal> {
        for (index, entry) in self.roles().enumerate() {
            if entry.role() == Role::Root && entry.products().is_some() {
                return Err(Refusal::Malformed("a root role that is limited to products"));
            }
            // It goes around the log, so no one holder may use it alone.
            if entry.role() == Role::Recovery && entry.threshold() < 2 {
                return Err(Refusal::BadThreshold);
            }
            if self.roles().take(index).any(|earlier| earlier.overlaps(&entry)) {
                return Err(Refusal::Malformed("two entries for one role and product"));
            }
        }
        Ok(())
    }

    /// One entry says what is demanded for a product, and one product is
    /// reset once: of two, two readers would take different ones.
    fn check_demands(&self) -> Result<(), Refusal> {
        const TWICE: Refusal = Refusal::Malformed("two demands or resets for one product");
        for (index, (_, own)) in self.demands.iter(read_demands).enumerate() {
            for (_, earlier) in self.demands.iter(read_demands).take(index) {
                let shared = match (&own, &earlier) {
                    (None, None) => true,
                    (Some(own), Some(earlier)) => {
                        own.iter(Reader::text).any(|product| earlier.iter(Reader::text).any(|e| e == product))
                    }
                    _ => false,
                };
                if shared {
                    return Err(TWICE);
                }
            }
        }
        for (index, (product, _)) in self.resets.iter(read_reset).enumerate() {
            if self.resets.iter(read_reset).take(index).any(|(earlier, _)| earlier == product) {
                return Err(TWICE);
            }
        }
        Ok(())
    }

    /// One key, one role, one holder: a key that stood twice could count
    /// twice towards a threshold.
    fn check_keys(&self) -> Result<(), Refusal> {
        // A closed log's key must not come back as anybody's, the log's own
        // included: its signatures count up to the final size only.
        let all = || {
            self.roles()
                .flat_map(|role| role.keys().map(|(_, key)| key))
                .chain(self.closed_logs().map(|log| log.key))
        };
        if all().count() > KEYS_MAX {
            return Err(Refusal::Limit(Limit::KeysMax));
        }
        for key in all() {
            // At most 64 x 64 comparisons of 64 bytes: cheap enough.
            if all().filter(|other| *other == key).count() > 1 {
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

    /// What every release of a product must carry: what the entry says that
    /// names it, else the one that names none.
    pub fn demands(&self, product: &str) -> Demands {
        let mut general = Demands::silent(self.environment);
        for (demands, products) in self.demands.iter(read_demands) {
            match products {
                Some(products) if products.iter(Reader::text).any(|name| name == product) => return demands,
                Some(_) => {}
                None => general = demands,
            }
        }
        general
    }

    /// What it says of demands, in order, each with the products it says it
    /// of; `None` for all the others.
    pub fn demand_entries(
        &self,
    ) -> impl Iterator<Item = (Demands, Option<impl Iterator<Item = &'a str> + use<'a>>)> {
        self.demands
            .iter(read_demands)
            .map(|(demands, products)| (demands, products.map(|products| products.iter(Reader::text))))
    }

    /// The logs that were closed.
    pub fn closed_logs(&self) -> impl Iterator<Item = ClosedLog<'a>> + use<'a> {
        self.closed.iter(read_closed)
    }

    /// The sequence number to which this document lowers a product's
    /// floors, once, when it is adopted: the way back after a thief has
    /// signed a release with the highest number there is (TUF 1.0.34
    /// §1.5.2, fast-forward).
    pub fn sequence_reset(&self, product: &str) -> Option<u64> {
        self.sequence_resets().find(|(own, _)| *own == product).map(|(_, sequence)| sequence)
    }

    /// Every product whose floors it lowers, in order.
    pub fn sequence_resets(&self) -> impl Iterator<Item = (&'a str, u64)> + use<'a> {
        self.resets.iter(read_reset)
    }

    /// All role entries, in order.
    pub fn roles(&self) -> impl Iterator<Item = RoleEntry<'a>> + use<'a> {
        let mut reader = Reader::new(self.roles);
        (0..self.role_count).map_while(move |_| RoleEntry::decode(&mut reader).ok())
    }

    /// The entry that governs a role for a product: the one that names the
    /// product, else the one that names none.
    pub fn role(&self, role: Role, product: &str) -> Result<RoleEntry<'a>, Refusal> {
        self.governing(role, product, None)
    }

    /// The approvers of a product's releases on a channel, as a device that
    /// takes this channel counts them: of the entries that govern the
    /// product, the one that names the channel, else the one that names
    /// none. `None` for a device that takes no channel in particular: a
    /// channel where less is asked is none of its own, so entries that name
    /// channels do not count there.
    ///
    /// What names the product comes before what names the channel: who
    /// writes an entry for a product means all of its channels.
    pub fn approvers(&self, product: &str, channel: Option<&str>) -> Result<RoleEntry<'a>, Refusal> {
        self.governing(Role::Approver, product, channel)
    }

    fn governing(&self, role: Role, product: &str, channel: Option<&str>) -> Result<RoleEntry<'a>, Refusal> {
        let mut best: Option<(u8, RoleEntry<'a>)> = None;
        // At most one of each rank: `check_roles` has seen to that.
        for entry in self.roles().filter(|entry| entry.role() == role) {
            let on = channel.map_or(entry.channels().is_none().then_some(0), |channel| {
                match entry.names_channel(channel) {
                    Some(named) => named.then_some(1),
                    None => Some(0),
                }
            });
            let of = match entry.names(product) {
                Some(named) => named.then_some(2),
                None => Some(0),
            };
            let (Some(on), Some(of)) = (on, of) else { continue };
            if best.as_ref().is_none_or(|(rank, _)| *rank < on + of) {
                best = Some((on + of, entry));
            }
        }
        best.map(|(_, entry)| entry).ok_or(Refusal::RoleMissing)
    }

    /// SHA-256 of the body: what the root role signs.
    pub fn digest(&self, crypto: &impl Crypto) -> Digest {
        crypto.digest(self.body)
    }

    /// Checks the signatures against the document's own root role
    /// (TUF 1.0.34 §5.3.4: "signed by ... a threshold of keys specified in
    /// the new root metadata file").
    pub fn verify(&self, crypto: &impl Crypto) -> Result<(), Refusal> {
        self.signed_by(&self.role(Role::Root, "")?, crypto)
    }

    /// Reads the document that follows this one (TUF 1.0.34 §5.3): of the
    /// same lineage and environment, numbered one higher, signed by a
    /// threshold of this document's root role and of its own.
    ///
    /// The next number exactly: a gap would skip a document that took a
    /// key away, and a repeat would leave two documents of one number.
    pub fn successor<'b>(&self, bytes: &'b [u8], crypto: &impl Crypto) -> Result<Root<'b>, Refusal> {
        let next = Root::decode(bytes)?;
        self.precedes(&next)?;
        next.signed_by(&self.role(Role::Root, "")?, crypto)?;
        next.verify(crypto)?;
        Ok(next)
    }

    /// Whether a document stands where this one's successor must, whoever
    /// signs it: what is asked before anybody does.
    pub fn precedes(&self, next: &Root<'_>) -> Result<(), Refusal> {
        if next.lineage != self.lineage {
            return Err(Refusal::WrongLineage);
        }
        if next.environment != self.environment {
            return Err(Refusal::WrongEnvironment);
        }
        if self.version.checked_add(1) != Some(next.version) {
            return Err(Refusal::RootVersion { offered: next.version, held: self.version });
        }
        Ok(())
    }

    fn signed_by(&self, role: &RoleEntry<'_>, crypto: &impl Crypto) -> Result<(), Refusal> {
        let signatures = decode_signatures(self.signatures, self.signature_count);
        let digest = self.digest(crypto);
        // Nothing revokes a key of the root role but the next root.
        role.check(|| role.keys(), |_| false, signatures, Context::Root, &digest, crypto).map(drop)
    }
}

/// Reads `{1 => proof, 2 => approvals, 3 => delegation, 4 => owner,
/// ? 5 => products}`.
fn read_demands<'a>(reader: &mut Reader<'a>) -> Result<(Demands, Option<List<'a>>), Refusal> {
    let mut keys = reader.map()?;
    let (mut said, mut products) = ([None; 4], None);
    while let Some(label) = keys.next_int(reader)? {
        match label {
            1..=4 => said[label as usize - 1] = Some(reader.bool()?),
            5 => products = Some(List::read(reader, PRODUCTS_MAX, Limit::ProductsMax, Reader::text)?),
            _ => return Err(Refusal::Unsupported("a demand of the root document")),
        }
    }
    let [Some(proof), Some(approvals), Some(delegation), Some(owner)] = said else {
        return Err(Refusal::Malformed("demands name proof, approvals, delegation and owner"));
    };
    Ok((Demands { proof, approvals, delegation, owner }, products))
}

/// Reads `[origin, key, size, hash]`.
fn read_closed<'a>(reader: &mut Reader<'a>) -> Result<ClosedLog<'a>, Refusal> {
    reader.array_exact(4)?;
    let (origin, key) = (reader.text()?, read_key(reader)?);
    let (size, hash) = (reader.uint()?, Digest(*reader.array_of()?));
    Ok(ClosedLog { origin, key, size, hash })
}

/// Reads `[product, sequence]`.
fn read_reset<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, u64), Refusal> {
    reader.array_exact(2)?;
    Ok((reader.text()?, reader.uint()?))
}

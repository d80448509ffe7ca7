//! Roles: which holders, with which keys, may do what, and how many of them
//! must agree.

use crate::cbor::Reader;
use crate::cose::Context;
use crate::crypto::Crypto;
use crate::digest::Digest;
use crate::envelope::Sign1;
use crate::key::{KeyId, PublicKey};
use crate::limits::{HOLDERS_MAX, KEYS_MAX, Limit, PRODUCTS_MAX, SIGNATURES_MAX};
use crate::lms;
use crate::mldsa::{self, Set};
use crate::refusal::Refusal;
use crate::rsa;

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

/// One role of a root document: its holders and how many must agree.
#[derive(Clone, Debug)]
pub struct RoleEntry<'a> {
    role: Role,
    threshold: usize,
    holders: Reader<'a>,
    holder_count: usize,
    products: Option<(Reader<'a>, usize)>,
    channels: Option<(Reader<'a>, usize)>,
    both: bool,
}

impl<'a> RoleEntry<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<RoleEntry<'a>, Refusal> {
        let mut keys = reader.map()?;
        let (mut role, mut threshold, mut holders, mut products) = (None, 0, None, None);
        let (mut both, mut channels) = (false, None);
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
                5 => {
                    both = reader.bool()?;
                    if !both {
                        return Err(Refusal::Malformed("a role that says that it demands nothing more"));
                    }
                }
                6 => {
                    let count = reader.array(PRODUCTS_MAX, Limit::ProductsMax)?;
                    channels = Some((reader.clone(), count));
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
        // What else is signed is not about one release, or must count
        // whatever channel the release says it is on.
        if channels.is_some() && role != Role::Approver {
            return Err(Refusal::Malformed("a role that cannot be limited to channels"));
        }
        let entry = RoleEntry { role, threshold, holders, holder_count, products, channels, both };
        if both {
            entry.check_kinds()?;
        }
        Ok(entry)
    }

    /// Where both kinds of keys are demanded, every holder has both: one
    /// that has not could never be counted, and the threshold would say more
    /// than can be.
    fn check_kinds(&self) -> Result<(), Refusal> {
        // Notes are signed with Ed25519 alone, and people with what they
        // have.
        if matches!(self.role, Role::Approver | Role::Log | Role::Witness) {
            return Err(Refusal::Malformed("a role that cannot demand both kinds of keys"));
        }
        let has = |holder: usize, kind: bool| {
            self.keys().any(|(own, key)| own == holder && key.is_post_quantum() == kind)
        };
        match (0..self.holder_count).all(|holder| has(holder, false) && has(holder, true)) {
            true => Ok(()),
            false => Err(Refusal::Malformed("a holder without keys of both kinds that are demanded")),
        }
    }

    /// Thresholds count holders, so a name that stands twice would count
    /// twice.
    pub(crate) fn check_names(&self) -> Result<(), Refusal> {
        for (index, name) in self.holders().enumerate() {
            if self.holders().take(index).any(|earlier| earlier == name) {
                return Err(Refusal::Malformed("a holder twice in one role"));
            }
        }
        Ok(())
    }

    /// Whether both entries would govern one role for some product and
    /// channel.
    pub(crate) fn overlaps(&self, other: &RoleEntry<'a>) -> bool {
        let products = match (self.products(), other.products()) {
            (None, None) => true,
            (Some(mut own), Some(_)) => own.any(|product| other.names(product) == Some(true)),
            _ => false,
        };
        let channels = match (self.channels(), other.channels()) {
            (None, None) => true,
            (Some(mut own), Some(_)) => own.any(|channel| other.names_channel(channel) == Some(true)),
            _ => false,
        };
        self.role == other.role && products && channels
    }

    /// The role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Distinct holders that must sign.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Whether a holder counts only who has signed with a classical key and
    /// with a post-quantum one.
    pub fn both(&self) -> bool {
        self.both
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

    /// The channels an entry of approvers is limited to; `None` where it
    /// counts on all that no other names.
    pub fn channels(&self) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        let (mut reader, count) = self.channels.clone()?;
        Some((0..count).map_while(move |_| reader.text().ok()))
    }

    pub(crate) fn names_channel(&self, channel: &str) -> Option<bool> {
        self.channels().map(|mut names| names.any(|name| name == channel))
    }

    pub(crate) fn names(&self, product: &str) -> Option<bool> {
        self.products().map(|mut names| names.any(|name| name == product))
    }

    /// The name of a holder.
    pub fn holder(&self, index: usize) -> Option<&'a str> {
        self.holders().nth(index)
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

    /// Distinct holders that would have agreed, as this role demands, if
    /// every key that `signs` names signed.
    pub fn agreeing(&self, signs: impl Fn(&KeyId) -> bool, crypto: &impl Crypto) -> usize {
        let mut tally = Tally::default();
        let keys = self.keys().filter(|(_, key)| signs(&key.id(crypto)));
        keys.for_each(|(holder, key)| tally.count_key(holder, &key));
        tally.holders_of(self)
    }

    /// Signatures that are needed.
    fn needed(&self) -> usize {
        self.threshold * (1 + usize::from(self.both))
    }

    /// Counts distinct holders with a valid signature over `digest`, each
    /// made with one of `keys`: the role's own, or those it delegated to.
    ///
    /// Every signature must earn its place: one that names a key of this
    /// role and fails refuses the whole, and so does one that names no key
    /// and fits none; one that names a key outside the role counts for
    /// nothing, and so does one of a key that was revoked.
    pub(crate) fn check<'s, 'k, K: Iterator<Item = (usize, PublicKey<'k>)>>(
        &self,
        keys: impl Fn() -> K,
        revoked: impl Fn(&KeyId) -> bool,
        signatures: impl Iterator<Item = Sign1<'s>>,
        context: Context,
        digest: &Digest,
        crypto: &impl Crypto,
    ) -> Result<SignedBy, Refusal> {
        let mut tally = Tally::default();
        let (mut strangers, mut total, mut nameless, mut taken_away) = (0, 0, 0, 0);
        for signature in signatures {
            total += 1;
            let key = match signature.key_id() {
                Some(hint) => {
                    let named = keys().find(|(_, key)| key.id(crypto).0.as_bytes() == hint);
                    let Some((_, key)) = named else {
                        strangers += 1;
                        continue;
                    };
                    if !signature.verifies(&key, context, digest, crypto) {
                        return Err(Refusal::BadSignature);
                    }
                    key
                }
                // One that names nobody is tried under every key, so it must
                // be one of ours, and there are no more of them than are
                // needed: otherwise a carrier could make a device verify for
                // minutes.
                None if nameless == self.needed() => {
                    return Err(Refusal::Unsupported("more signatures without a key id than are needed"));
                }
                None => {
                    nameless += 1;
                    let fits = |(_, key): &(usize, _)| signature.verifies(key, context, digest, crypto);
                    keys().find(fits).ok_or(Refusal::BadSignature)?.1
                }
            };
            let id = key.id(crypto);
            if revoked(&id) {
                taken_away += 1;
                continue;
            }
            // A key that several holders delegated to speaks for each.
            keys().filter(|(_, own)| *own == key).for_each(|(holder, _)| tally.count_key(holder, &key));
            tally.signed.add(id);
        }
        let have = tally.holders_of(self);
        if have >= self.threshold {
            return Ok(tally.signed);
        }
        if taken_away > 0 {
            return Err(Refusal::KeyRevoked);
        }
        if have == 0 && total > 0 && strangers == total {
            return Err(Refusal::UnknownSigner);
        }
        Err(Refusal::ThresholdNotMet { have: have as u8, need: self.threshold as u8 })
    }
}

/// The keys whose signatures counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedBy {
    ids: [KeyId; SIGNATURES_MAX],
    count: usize,
}

impl SignedBy {
    fn add(&mut self, id: KeyId) {
        // One key may sign twice; no more signatures than this are read.
        if !self.ids().contains(&id) && self.count < SIGNATURES_MAX {
            self.ids[self.count] = id;
            self.count += 1;
        }
    }

    pub(crate) fn ids(&self) -> &[KeyId] {
        &self.ids[..self.count]
    }
}

/// Holders that have agreed so far.
pub(crate) struct Tally {
    /// Holders that agreed with a classical key, and with a post-quantum
    /// one.
    agreed: [u32; 2],
    signed: SignedBy,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally { agreed: [0; 2], signed: SignedBy { ids: [KeyId(Digest([0; 32])); SIGNATURES_MAX], count: 0 } }
    }
}

impl Tally {
    /// Counts a holder; however often it agrees, it counts once.
    pub(crate) fn count(&mut self, holder: usize) {
        // At most HOLDERS_MAX, the bits of this integer.
        self.agreed[0] |= 1 << holder;
    }

    /// Counts a holder for the kind of key that it signed with.
    pub(crate) fn count_key(&mut self, holder: usize, key: &PublicKey<'_>) {
        self.agreed[usize::from(key.is_post_quantum())] |= 1 << holder;
    }

    pub(crate) fn holders(&self) -> usize {
        (self.agreed[0] | self.agreed[1]).count_ones() as usize
    }

    /// Holders that agreed as this role demands.
    pub(crate) fn holders_of(&self, role: &RoleEntry<'_>) -> usize {
        match role.both {
            true => (self.agreed[0] & self.agreed[1]).count_ones() as usize,
            false => self.holders(),
        }
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
#[inline(never)]
pub(crate) fn read_key<'a>(reader: &mut Reader<'a>) -> Result<PublicKey<'a>, Refusal> {
    let mut labels = reader.map()?;
    let mut kty = 0;
    let (mut algorithm, mut curve, mut encoded, mut x, mut y) = (None, None, None, None, None);
    let mut exponent = None;
    while let Some(label) = labels.next_int(reader)? {
        match (label, kty) {
            // Deterministic order brings it first, and what label -1 means
            // depends on it.
            (1, _) => kty = reader.int()?,
            (3, 7) => algorithm = Some(reader.int()?),
            (-1, 3 | 5 | 7) => encoded = Some(reader.bytes()?),
            (-1, _) => curve = Some(reader.int()?),
            (-2, 3) => exponent = Some(reader.bytes()?),
            (-2, _) => x = Some(reader.array_of::<32>()?),
            (-3, _) => y = Some(reader.array_of::<32>()?),
            _ => return Err(Refusal::Unsupported("a member of a key")),
        }
    }
    let key = match (kty, algorithm, curve, encoded, x, y) {
        (1, None, Some(6), None, Some(x), None) => Some(PublicKey::Ed25519(x)),
        (2, None, Some(1), None, Some(x), Some(y)) => Some(PublicKey::P256 { x, y }),
        (3, None, None, Some(modulus), None, None) => {
            exponent.and_then(|exponent| rsa::Key::decode(modulus, exponent)).map(PublicKey::Rsa)
        }
        (5, None, None, Some(encoded), None, None) => lms::Key::decode(encoded).map(PublicKey::Lms),
        (7, Some(algorithm), None, Some(encoded), None, None) => {
            let set = match algorithm {
                -48 => Some(Set::MlDsa44),
                -49 => Some(Set::MlDsa65),
                -50 => Some(Set::MlDsa87),
                _ => None,
            };
            set.and_then(|set| mldsa::Key::decode(set, encoded)).map(PublicKey::MlDsa)
        }
        _ => None,
    };
    key.ok_or(Refusal::Unsupported("a key type"))
}

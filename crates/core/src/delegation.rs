//! Delegation: a key of the release role certifies a short-lived one.
//!
//! The chain stands in the envelope's delegation member (draft-ietf-suit-
//! trust-domains), each link a CWT (RFC 8392) in a COSE_Sign1 whose `cnf`
//! holds the next key (RFC 8747). Our scope is one private claim. The first
//! link is signed by a holder of the role, so what the last key signs counts
//! as that holder's word, as far as every link allows.

use minicbor::data::Type;

use crate::cbor::Reader;
use crate::cose::Protected;
use crate::crypto::Crypto;
use crate::facts::Facts;
use crate::key::{KeyId, PublicKey};
use crate::limits::{CWT_MAX, DELEGATIONS_MAX, LINKS_MAX, Limit, PRODUCTS_MAX};
use crate::refusal::Refusal;
use crate::role::{RoleEntry, read_key};
use crate::root::{Environment, Root};
use crate::time::Moment;
use crate::version;

/// Our claim: private use of the CWT registry (RFC 8392 §9.1.1).
pub const SCOPE: i64 = -65537;

/// One link: who may sign what, until when.
#[derive(Clone, Debug)]
pub struct Link<'a> {
    /// Seconds since 1970 from which it holds.
    pub not_before: u64,
    /// Seconds since 1970 after which it does not.
    pub expiry: u64,
    /// The key that it certifies.
    pub key: PublicKey<'a>,
    /// Test or production.
    pub environment: Environment,
    /// The root lineage under which it was made.
    pub lineage: &'a [u8; 16],
    /// Lowest and highest version (semver 2.0.0), both included.
    pub versions: (&'a str, &'a str),
    /// Highest security epoch.
    pub epoch: u64,
    /// Rises with each delegation of a product; devices never go back.
    pub index: u64,
    products: (Reader<'a>, usize),
    protected: Protected<'a>,
    payload: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Link<'a> {
    /// Reads a CWT.
    pub fn decode(bytes: &'a [u8]) -> Result<Link<'a>, Refusal> {
        let mut reader = Reader::new(bytes);
        if reader.tag()? != 18 {
            return Err(Refusal::Unsupported("a delegation other than COSE_Sign1"));
        }
        reader.array_exact(4)?;
        let protected = Protected::decode(&mut reader)?;
        if reader.kind()? == Type::Null {
            return Err(Refusal::Malformed("a delegation without its claims"));
        }
        let payload = reader.bytes()?;
        if payload.len() > CWT_MAX {
            return Err(Refusal::Limit(Limit::CwtMax));
        }
        let signature = reader.bytes()?;
        reader.end()?;

        let mut reader = Reader::new(payload);
        let mut labels = reader.map()?;
        let (mut expiry, mut not_before, mut key, mut scope) = (None, None, None, None);
        while let Some(label) = labels.next_int(&mut reader)? {
            match label {
                4 => expiry = Some(reader.uint()?),
                5 => not_before = Some(reader.uint()?),
                8 => {
                    let mut members = reader.map()?;
                    while let Some(member) = members.next_int(&mut reader)? {
                        match member {
                            1 => key = Some(read_key(&mut reader)?),
                            _ => return Err(Refusal::Unsupported("a confirmation other than a key")),
                        }
                    }
                }
                SCOPE => scope = Some(Scope::decode(&mut reader)?),
                _ => return Err(Refusal::Unsupported("a claim of a delegation")),
            }
        }
        reader.end()?;
        const INCOMPLETE: Refusal = Refusal::Malformed("an incomplete delegation");
        let Scope { environment, lineage, products, versions, epoch, index } = scope.ok_or(INCOMPLETE)?;
        Ok(Link {
            not_before: not_before.ok_or(INCOMPLETE)?,
            expiry: expiry.ok_or(INCOMPLETE)?,
            key: key.ok_or(INCOMPLETE)?,
            environment,
            lineage,
            versions,
            epoch,
            index,
            products,
            protected,
            payload,
            signature,
        })
    }

    /// The products that it covers.
    pub fn products(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = self.products.0.clone();
        (0..self.products.1).map_while(move |_| reader.text().ok())
    }

    /// The id of the key that made it, as it claims.
    pub fn issuer(&self) -> Option<&'a [u8]> {
        self.protected.key_id
    }

    fn is_by(&self, key: &PublicKey<'_>, crypto: &impl Crypto) -> bool {
        self.protected.key_id.is_some_and(|hint| key.id(crypto).0.as_bytes() == hint)
    }

    fn verifies(&self, key: &PublicKey<'_>, crypto: &impl Crypto) -> bool {
        self.protected.verifies_attached(key, self.payload, self.signature, crypto)
    }

    /// Whether it covers a release.
    fn covers(&self, release: &Covered<'_>, root: &Root<'_>) -> Result<(), Refusal> {
        const fn outside(what: &'static str) -> Result<(), Refusal> {
            Err(Refusal::DelegationScope(what))
        }
        let (lowest, highest) = self.versions;
        if self.environment != root.environment() {
            return Err(Refusal::WrongEnvironment);
        }
        if self.lineage != root.lineage() {
            return Err(Refusal::WrongLineage);
        }
        if !self.products().any(|product| product == release.product) {
            return outside("the product");
        }
        match (version::compare(release.version, lowest), version::compare(release.version, highest)) {
            (Some(low), Some(high)) if low.is_ge() && high.is_le() => {}
            _ => return outside("the version"),
        }
        if release.epoch > self.epoch {
            return outside("the security epoch");
        }
        if release.index != self.index {
            return outside("the delegation index");
        }
        Ok(())
    }
}

/// What a delegation must cover of a release.
#[derive(Clone, Copy, Debug)]
pub struct Covered<'a> {
    /// Product name.
    pub product: &'a str,
    /// Version.
    pub version: &'a str,
    /// Security epoch.
    pub epoch: u64,
    /// Delegation index; 0 without delegation.
    pub index: u64,
}

impl<'a> From<&Facts<'a>> for Covered<'a> {
    fn from(facts: &Facts<'a>) -> Covered<'a> {
        let Facts { product, version, epoch, delegation, .. } = *facts;
        Covered { product, version, epoch, index: delegation }
    }
}

struct Scope<'a> {
    environment: Environment,
    lineage: &'a [u8; 16],
    products: (Reader<'a>, usize),
    versions: (&'a str, &'a str),
    epoch: u64,
    index: u64,
}

impl<'a> Scope<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Scope<'a>, Refusal> {
        let mut labels = reader.map()?;
        let (mut environment, mut lineage, mut products) = (None, None, None);
        let (mut versions, mut epoch, mut index) = (None, None, None);
        while let Some(label) = labels.next_int(reader)? {
            match label {
                1 => environment = Environment::from_label(reader.uint()?),
                2 => lineage = Some(reader.array_of()?),
                3 => {
                    let count = reader.array(PRODUCTS_MAX, Limit::ProductsMax)?;
                    products = Some((reader.clone(), count));
                    for _ in 0..count {
                        reader.text()?;
                    }
                }
                4 => {
                    reader.array_exact(2)?;
                    versions = Some((reader.text()?, reader.text()?));
                }
                5 => epoch = Some(reader.uint()?),
                6 => index = Some(reader.uint()?),
                _ => return Err(Refusal::Unsupported("a member of a delegation's scope")),
            }
        }
        const INCOMPLETE: Refusal = Refusal::Malformed("an incomplete scope of a delegation");
        Ok(Scope {
            environment: environment.ok_or(INCOMPLETE)?,
            lineage: lineage.ok_or(INCOMPLETE)?,
            products: products.ok_or(INCOMPLETE)?,
            versions: versions.ok_or(INCOMPLETE)?,
            epoch: epoch.ok_or(INCOMPLETE)?,
            // An index of 0 says that there is no delegation.
            index: index.filter(|index| *index > 0).ok_or(INCOMPLETE)?,
        })
    }
}

/// The chains of an envelope whose signatures were verified.
pub(crate) struct Chains<'a> {
    chains: [Option<Chain<'a>>; DELEGATIONS_MAX],
}

/// One chain: the holder that began it and its links.
#[derive(Clone)]
struct Chain<'a> {
    holder: usize,
    key: PublicKey<'a>,
    links: Reader<'a>,
    count: usize,
}

impl<'a> Chains<'a> {
    /// Verifies every chain of a delegation member, `[+ [+ link]]`, from a
    /// key of the role to its last key.
    // Apart: releases without it pay nothing for its stack.
    #[inline(never)]
    pub(crate) fn verify(
        member: Option<&'a [u8]>,
        role: &RoleEntry<'_>,
        root: &Root<'_>,
        revoked: impl Fn(&KeyId) -> bool,
        crypto: &impl Crypto,
    ) -> Result<Chains<'a>, Refusal> {
        let mut chains = [const { None }; DELEGATIONS_MAX];
        let Some(member) = member else { return Ok(Chains { chains }) };
        let mut reader = Reader::new(member);
        let count = reader.array(DELEGATIONS_MAX, Limit::DelegationsMax)?;
        if count == 0 {
            return Err(Refusal::Malformed("a delegation member without chains"));
        }
        for chain in chains.iter_mut().take(count) {
            *chain = Some(Chain::verify(&mut reader, role, root, &revoked, crypto)?);
        }
        reader.end()?;
        Ok(Chains { chains })
    }

    /// The keys that sign for holders of the role.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (usize, PublicKey<'a>)> {
        self.chains.iter().flatten().map(|chain| (chain.holder, chain.key))
    }

    /// Checks that every chain whose key has signed covers the release, at
    /// the moment it was signed.
    pub(crate) fn cover(
        &self,
        signed: &[KeyId],
        release: &Covered<'_>,
        root: &Root<'_>,
        moment: &Moment,
        crypto: &impl Crypto,
    ) -> Result<(), Refusal> {
        for chain in self.chains.iter().flatten().filter(|chain| signed.contains(&chain.key.id(crypto))) {
            let mut reader = chain.links.clone();
            for _ in 0..chain.count {
                let link = Link::decode(reader.bytes()?)?;
                link.covers(release, root)?;
                moment.within(link.not_before, link.expiry)?;
            }
        }
        Ok(())
    }
}

impl<'a> Chain<'a> {
    fn verify(
        reader: &mut Reader<'a>,
        role: &RoleEntry<'_>,
        root: &Root<'_>,
        revoked: impl Fn(&KeyId) -> bool,
        crypto: &impl Crypto,
    ) -> Result<Chain<'a>, Refusal> {
        let count = reader.array(LINKS_MAX, Limit::LinksMax)?;
        let links = reader.clone();
        let (mut holder, mut last) = (None, None);
        for place in 0..count {
            let link = Link::decode(reader.bytes()?)?;
            let issuer = match (place, last) {
                (0, _) => {
                    let named = role.keys().find(|(_, key)| link.is_by(key, crypto));
                    let (named, key) = named.ok_or(Refusal::UnknownSigner)?;
                    holder = Some(named);
                    key
                }
                (_, Some(key)) if link.is_by(&key, crypto) => key,
                _ => return Err(Refusal::Malformed("a delegation chain with a gap")),
            };
            if !link.verifies(&issuer, crypto) {
                return Err(Refusal::BadSignature);
            }
            if revoked(&issuer.id(crypto)) || revoked(&link.key.id(crypto)) {
                return Err(Refusal::KeyRevoked);
            }
            // A chain is as strong as its weakest link: one that a classical
            // key began must not count as post-quantum, nor the reverse.
            if role.both() && issuer.is_post_quantum() != link.key.is_post_quantum() {
                return Err(Refusal::DelegationScope("the kind of key"));
            }
            // One key, one role: a key of the root stays what it is there.
            if root.roles().any(|role| role.keys().any(|(_, key)| key == link.key)) {
                return Err(Refusal::KeyReused);
            }
            last = Some(link.key);
        }
        match (holder, last) {
            (Some(holder), Some(key)) => Ok(Chain { holder, key, links, count }),
            _ => Err(Refusal::Malformed("an empty delegation chain")),
        }
    }
}

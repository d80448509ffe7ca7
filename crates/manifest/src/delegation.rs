//! Delegation: a key certifies another, for a while and for little.

use firmseal_core::cose::{Algorithm, SigStructure};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::delegation::SCOPE;
use firmseal_core::{Digest, Environment};
use semver::Version;

use crate::cbor::Writer;
use crate::ids::ProductId;
use crate::key::{KeyError, PublicKey, Signature};
use crate::tbs::Tbs;

/// What a key may sign, and until when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkSpec {
    /// Seconds since 1970 from which it holds.
    pub not_before: u64,
    /// Seconds since 1970 after which it does not.
    pub expiry: u64,
    /// The key that is certified.
    pub key: PublicKey,
    /// Test or production.
    pub environment: Environment,
    /// The root lineage.
    pub lineage: [u8; 16],
    /// The products.
    pub products: Vec<ProductId>,
    /// Lowest and highest version, both included.
    pub versions: (Version, Version),
    /// Highest security epoch.
    pub epoch: u64,
    /// Rises with each delegation of a product; from 1.
    pub index: u64,
}

/// The delegation member of an envelope: chains of signed links.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Delegation {
    /// Each chain begins with a link by a key of the release role.
    pub chains: Vec<Vec<Vec<u8>>>,
}

impl LinkSpec {
    /// The CWT's claims (RFC 8392), deterministic.
    pub fn claims(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.map(4);
        out.uint(4).uint(self.expiry);
        out.uint(5).uint(self.not_before);
        out.uint(8).map(1).uint(1).raw(&self.key.cose_key());
        out.int(SCOPE).map(6);
        out.uint(1).uint(self.environment as u64);
        out.uint(2).bytes(&self.lineage);
        out.uint(3).array(self.products.len());
        for product in &self.products {
            out.text(product.as_str());
        }
        let (lowest, highest) = &self.versions;
        out.uint(4).array(2).text(&lowest.to_string()).text(&highest.to_string());
        out.uint(5).uint(self.epoch);
        out.uint(6).uint(self.index);
        out.finish()
    }

    /// SHA-256 of the claims: what an Intent names.
    pub fn digest(&self) -> Digest {
        RustCrypto.digest(&self.claims())
    }

    /// What the delegating key signs.
    pub fn to_be_signed(&self, key: &PublicKey) -> Result<Tbs, KeyError> {
        let protected = algorithm(key)?.protected();
        // Long claims are those of many products.
        let structure = SigStructure::claims(&protected, &self.claims()).ok_or(KeyError::Malformed)?;
        Ok(Tbs::Message(structure.as_bytes().to_vec()))
    }

    /// The signed link.
    pub fn seal(&self, key: &PublicKey, signature: &Signature) -> Result<Vec<u8>, KeyError> {
        let mut out = Writer::new();
        out.tag(18).array(4).bytes(&algorithm(key)?.protected());
        out.map(1).uint(4).bytes(key.id().0.as_bytes());
        out.bytes(&self.claims()).bytes(&signature.0);
        Ok(out.finish())
    }
}

impl Delegation {
    /// The member's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.array(self.chains.len());
        for chain in &self.chains {
            out.array(chain.len());
            chain.iter().for_each(|link| {
                out.bytes(link);
            });
        }
        out.finish()
    }

    /// SHA-256 of the content: what an Intent names.
    pub fn digest(&self) -> Digest {
        RustCrypto.digest(&self.encode())
    }
}

/// Whether `tbs` is what `key` signs over claims with this digest.
pub(crate) fn is_over(key: &PublicKey, claims: &Digest, tbs: &Tbs) -> bool {
    let (Ok(algorithm), Tbs::Message(message)) = (algorithm(key), tbs) else { return false };
    let protected = algorithm.protected();
    let Some(empty) = SigStructure::claims(&protected, b"") else { return false };
    // The structure ends with the claims; one to three bytes of head say
    // how long they are.
    let head = empty.as_bytes().len() - 1;
    (1..=3).filter_map(|length| message.get(head + length..)).any(|claimed| {
        RustCrypto.digest(claimed) == *claims
            && SigStructure::claims(&protected, claimed).is_some_and(|own| own.as_bytes() == message)
    })
}

fn algorithm(key: &PublicKey) -> Result<Algorithm, KeyError> {
    key.as_core()
        .map(|core| Algorithm::of(&core))
        .ok_or_else(|| KeyError::Unsupported(format!("{} for delegations", key.algorithm())))
}

//! Ceremonies: one document, signed by people with keys on machines that
//! never meet.
//!
//! A [`Request`] goes out, signatures come back in any order, and once every
//! threshold is met the document is put together and verified as devices do.
//! Pure: who carries what, and when, the caller knows.

mod request;
mod warn;
mod words;

use std::collections::BTreeSet;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{KeyId, Refusal};
use firmseal_manifest::{Digest, KeyError, PublicKey, Signature, Tbs};

pub use request::{Authority, Kind, Request};
pub use warn::warnings;
pub use words::{WORDS, WordCode};

use crate::root::RootError;

/// Why a ceremony cannot begin, go on or end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CeremonyError {
    /// Devices would refuse the document.
    #[error(transparent)]
    Root(#[from] RootError),
    /// What is to be signed reads as one thing and is written as another.
    #[error(
        "the document is not written as Firmseal writes it; begin the ceremony again from its specification"
    )]
    Spelling,
    /// The document carries signatures already.
    #[error("the document is signed already; a ceremony begins with one that nobody has signed")]
    Signed,
    /// A first root document has another number.
    #[error("a first root document is version 1, this one is version {0}")]
    NotFirst(u64),
    /// The kind says that a root document belongs to it, or that none does.
    #[error("{0}")]
    Under(&'static str),
    /// A title that would not stand on one line.
    #[error("a title is one line of 1 to 200 characters")]
    Title,
    /// The signature was made for another ceremony.
    #[error("the signature is for request {signed}, not for {asked}; it was made over other bytes")]
    OtherRequest {
        /// The digest of this request.
        asked: Digest,
        /// The digest that came with the signature.
        signed: Digest,
    },
    /// The key may not sign this document.
    #[error("key {0} is of no holder who may sign this document")]
    Stranger(KeyId),
    /// The holder's agreement counts already, wherever this key counts.
    #[error("{holder} has signed already; a holder counts once, with however many keys")]
    Repeated {
        /// The holder.
        holder: String,
    },
    /// The signature is not by this key over this document.
    #[error(
        "the signature of {holder} does not verify over this document; other bytes were signed, or it was changed on the way"
    )]
    OtherBytes {
        /// The holder of the key.
        holder: String,
    },
    /// Not enough holders have signed.
    #[error("not enough holders have signed: {0}")]
    Incomplete(String),
}

impl From<Refusal> for CeremonyError {
    fn from(refusal: Refusal) -> CeremonyError {
        CeremonyError::Root(refusal.into())
    }
}

impl From<KeyError> for CeremonyError {
    fn from(error: KeyError) -> CeremonyError {
        CeremonyError::Root(error.into())
    }
}

/// How far one authority is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// Which role, of which document.
    pub authority: String,
    /// Holders that have signed.
    pub have: Vec<String>,
    /// Holders that must.
    pub need: u64,
    /// Holders that have not signed.
    pub waiting: Vec<String>,
}

impl Missing {
    /// Whether enough have signed.
    pub fn is_met(&self) -> bool {
        self.have.len() as u64 >= self.need
    }
}

/// A request, and the signatures that have come back.
#[derive(Clone, Debug)]
pub struct Ceremony {
    request: Request,
    signatures: Vec<(PublicKey, Signature)>,
}

impl Ceremony {
    /// One that nobody has signed yet.
    pub fn new(request: Request) -> Ceremony {
        Ceremony { request, signatures: Vec::new() }
    }

    /// What is to be signed.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The keys that have signed.
    pub fn signers(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.signatures.iter().map(|(key, _)| key.id())
    }

    /// Takes a signature, whoever brings it, and says whose it is. `asked`
    /// is the digest of the request that it was made for.
    pub fn add(
        &mut self,
        key: &KeyId,
        asked: &Digest,
        signature: Signature,
    ) -> Result<String, CeremonyError> {
        if *asked != self.request.digest() {
            return Err(CeremonyError::OtherRequest { asked: self.request.digest(), signed: *asked });
        }
        let (holder, public) = self.request.signer(key).ok_or(CeremonyError::Stranger(*key))?;
        let counts = |authority: &Authority| match authority.holder_of(key) {
            Some(name) => !self.signed(authority).contains(name),
            None => false,
        };
        if !self.request.authorities().iter().any(counts) {
            return Err(CeremonyError::Repeated { holder });
        }
        if !verifies(&public, &self.request.to_be_signed(&public)?, &signature) {
            return Err(CeremonyError::OtherBytes { holder });
        }
        self.signatures.push((public, signature));
        Ok(holder)
    }

    /// How far every authority is, met or not.
    pub fn missing(&self) -> Vec<Missing> {
        let of = |authority: &Authority| {
            let signed = self.signed(authority);
            let names = authority.holders.iter().map(|holder| holder.name.clone());
            let (have, waiting) = names.partition(|name| signed.contains(name));
            Missing { authority: authority.name.clone(), have, need: authority.threshold, waiting }
        };
        self.request.authorities().iter().map(of).collect()
    }

    /// Whether every threshold is met.
    pub fn is_complete(&self) -> bool {
        self.missing().iter().all(Missing::is_met)
    }

    /// The signed document, verified as devices verify it.
    ///
    /// Signatures beyond the thresholds stay out: devices would have to
    /// check them, and no more than 16 fit.
    pub fn finish(&self) -> Result<Vec<u8>, CeremonyError> {
        let open: Vec<String> = self
            .missing()
            .iter()
            .filter(|missing| !missing.is_met())
            .map(|missing| {
                let (have, waiting) = (missing.have.len(), missing.waiting.join(", "));
                format!("{} has {have} of {}, waiting for {waiting}", missing.authority, missing.need)
            })
            .collect();
        if !open.is_empty() {
            return Err(CeremonyError::Incomplete(open.join("; ")));
        }
        let authorities = self.request.authorities();
        let mut counted: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); authorities.len()];
        let mut needed = Vec::new();
        for (key, signature) in &self.signatures {
            let mut useful = false;
            for (authority, counted) in authorities.iter().zip(&mut counted) {
                if (counted.len() as u64) < authority.threshold
                    && let Some(holder) = authority.holder_of(&key.id())
                {
                    useful |= counted.insert(holder);
                }
            }
            if useful {
                needed.push((key, signature.clone()));
            }
        }
        self.request.seal(&needed)
    }

    fn signed<'a>(&self, authority: &'a Authority) -> BTreeSet<&'a String> {
        self.signatures.iter().filter_map(|(key, _)| authority.holder_of(&key.id())).collect()
    }
}

/// Whether a signature is by this key, as devices see it.
fn verifies(key: &PublicKey, tbs: &Tbs, signature: &Signature) -> bool {
    match (key.as_core(), tbs) {
        (Some(key), Tbs::Message(message)) => RustCrypto.verify(&key, message, &signature.0).is_ok(),
        _ => false,
    }
}

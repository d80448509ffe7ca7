//! Ceremonies: one document, signed by people with keys on machines that
//! never meet.
//!
//! A [`Request`] goes out, signatures come back in any order, and once every
//! threshold is met the document is put together and verified as devices do.
//! Pure: who carries what, and when, the caller knows.

mod leaf;
mod release;
mod request;
mod warn;
mod words;

use std::collections::BTreeSet;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{KeyId, Refusal};
use firmseal_manifest::{AuthorError, Digest, KeyError, ProductId, PublicKey, ReadError, Signature, Tbs};

use request::Mark;
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
    /// Not a release that people sign at a ceremony.
    #[error("{0}")]
    Release(&'static str),
    /// The root document asks more of the product's releases than
    /// signatures.
    #[error("the root document demands {what} of product `{product}`, which only the pipeline brings")]
    Demanded {
        /// The product.
        product: ProductId,
        /// What is demanded.
        what: &'static str,
    },
    /// The release cannot be written down.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// The kind says that a root document belongs to it, or that none does.
    #[error("{0}")]
    Under(&'static str),
    /// A title that would not stand on one line.
    #[error("a title is one line of 1 to 200 characters")]
    Title,
    /// Signed as it must be it would be longer than devices read.
    #[error(
        "with the signatures that it needs the document takes {takes} bytes or more, and devices read {most}; \
         take keys with shorter signatures, or fewer of them"
    )]
    TooLong {
        /// What it takes at least.
        takes: usize,
        /// What devices read.
        most: usize,
    },
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
    #[error("{holder} has signed already; a holder counts once, with however many keys of one kind")]
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

impl From<ReadError> for CeremonyError {
    fn from(error: ReadError) -> CeremonyError {
        match error {
            ReadError::Refused(refusal) => refusal.into(),
            ReadError::Spelling => CeremonyError::Spelling,
        }
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
    /// Holders that have not signed as they must.
    pub waiting: Vec<String>,
    /// Those of them who have signed with one of two kinds of keys.
    pub half: Vec<String>,
}

impl Missing {
    /// Whether enough have signed.
    pub fn is_met(&self) -> bool {
        self.have.len() as u64 >= self.need
    }

    /// Who is waited for, in words.
    pub fn waiting(&self) -> Vec<String> {
        let of = |name: &String| match self.half.contains(name) {
            true => format!("{name} (with the other kind of key)"),
            false => name.clone(),
        };
        self.waiting.iter().map(of).collect()
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
        let counts = |authority: &Authority| {
            authority.mark(key).is_some_and(|mark| !self.marks(authority).contains(&mark))
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
            let marks = self.marks(authority);
            let names = authority.holders.iter().map(|holder| holder.name.clone());
            let (have, waiting): (Vec<_>, Vec<_>) = names.partition(|name| authority.counts(name, &marks));
            let begun = |name: &&String| marks.iter().any(|(holder, _)| holder == name);
            let half = waiting.iter().filter(begun).cloned().collect();
            Missing { authority: authority.name.clone(), have, need: authority.threshold, waiting, half }
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
                let (have, waiting) = (missing.have.len(), missing.waiting().join(", "));
                format!("{} has {have} of {}, waiting for {waiting}", missing.authority, missing.need)
            })
            .collect();
        if !open.is_empty() {
            return Err(CeremonyError::Incomplete(open.join("; ")));
        }
        let authorities = self.request.authorities();
        // The first holders who have signed as they must; of what they signed
        // with, the first of each kind.
        let mut wanted: Vec<BTreeSet<Mark<'_>>> =
            authorities.iter().map(|authority| self.first(authority)).collect();
        let mut needed = Vec::new();
        for (key, signature) in &self.signatures {
            let mut useful = false;
            for (authority, wanted) in authorities.iter().zip(&mut wanted) {
                useful |= authority.mark(&key.id()).is_some_and(|mark| wanted.remove(&mark));
            }
            if useful {
                needed.push((key, signature.clone()));
            }
        }
        self.request.seal(&needed)
    }

    /// The marks of as many holders as are needed, those first who were
    /// first complete.
    fn first<'a>(&self, authority: &'a Authority) -> BTreeSet<Mark<'a>> {
        let (mut marks, mut chosen) = (BTreeSet::new(), BTreeSet::new());
        for mark in self.signatures.iter().filter_map(|(key, _)| authority.mark(&key.id())) {
            marks.insert(mark);
            if (chosen.len() as u64) < authority.threshold && authority.counts(mark.0, &marks) {
                chosen.insert(mark.0);
            }
        }
        marks.retain(|(holder, _)| chosen.contains(holder));
        marks
    }

    fn marks<'a>(&self, authority: &'a Authority) -> BTreeSet<Mark<'a>> {
        self.signatures.iter().filter_map(|(key, _)| authority.mark(&key.id())).collect()
    }
}

/// Whether a signature is by this key, as devices see it.
fn verifies(key: &PublicKey, tbs: &Tbs, signature: &Signature) -> bool {
    match (key.as_core(), tbs) {
        (Some(key), Tbs::Message(message)) => RustCrypto.verify(&key, message, &signature.0).is_ok(),
        _ => false,
    }
}

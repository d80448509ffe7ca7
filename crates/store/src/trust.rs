//! Trust documents: root documents and revocations, by version.
//!
//! An engine keeps bytes and their order. Whether a document is one, and who
//! signed it, core says before it comes here.

use async_trait::async_trait;
use bytes::Bytes;
use firmseal_fleet::Time;

use crate::StoreError;

/// Longest trust document, in bytes: what devices read at most.
pub const DOCUMENT_MAX: usize = 32 * 1024;

/// Which of the two chains.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TrustKind {
    /// Root documents, numbered from 1 without a gap: a device walks them
    /// one by one.
    Root,
    /// Revocations. Each replaces those before it, so gaps hurt nobody.
    Revocation,
}

impl TrustKind {
    /// The kind in words.
    pub const fn name(self) -> &'static str {
        match self {
            TrustKind::Root => "root document",
            TrustKind::Revocation => "revocation",
        }
    }
}

/// A trust document as it was published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustDocument {
    /// Which chain.
    pub kind: TrustKind,
    /// Its number.
    pub version: u64,
    /// The document, signatures and all.
    pub bytes: Bytes,
    /// Who brought it here.
    pub published_by: String,
    /// When.
    pub published: Time,
}

/// The trust documents of a server.
///
/// What was published once may be on any device: a document is never
/// changed, replaced or deleted.
#[async_trait]
pub trait TrustDocuments: Send + Sync {
    /// Adds a document.
    ///
    /// The same bytes under the same number are `Ok` however often they come
    /// and whoever brings them; the first bringer stays on record. Other
    /// bytes under a number that is taken, a number that is not above every
    /// one of its kind, 0, a gap between root documents, and more than
    /// [`DOCUMENT_MAX`] bytes are conflicts. Of two documents of one number
    /// at once exactly one wins.
    async fn insert_trust_document(&self, document: TrustDocument) -> Result<(), StoreError>;

    /// A document by its number, or `None`.
    async fn trust_document(
        &self,
        kind: TrustKind,
        version: u64,
    ) -> Result<Option<TrustDocument>, StoreError>;

    /// The document with the highest number, or `None` where there is none.
    async fn newest_trust_document(&self, kind: TrustKind) -> Result<Option<TrustDocument>, StoreError>;

    /// All documents of a kind, the first one first. They are few: no pages.
    async fn trust_documents(&self, kind: TrustKind) -> Result<Vec<TrustDocument>, StoreError>;
}

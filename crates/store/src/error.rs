//! Why a store did not do what it was asked to.

use firmseal_manifest::Digest;

/// One enum for all engines. Engines translate their own errors into these
/// in one place, so that a handler can decide without knowing the engine.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such thing.
    #[error("there is no {what}")]
    NotFound {
        /// The thing, by name.
        what: String,
    },
    /// Something that exists stands in the way.
    #[error("{what}")]
    Conflict {
        /// What stands in the way, as a sentence.
        what: String,
    },
    /// The bytes are not those that were announced. They were discarded.
    #[error("the bytes have digest {actual}, not the announced {expected}; send them again")]
    DigestMismatch {
        /// The announced digest.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// There are more or fewer bytes than were announced.
    #[error("{actual} bytes came where {expected} were announced; send them again")]
    SizeMismatch {
        /// The announced size.
        expected: u64,
        /// How many came. Counting stops once there are too many.
        actual: u64,
    },
    /// An upload continues somewhere else.
    #[error("the upload continues at offset {have}")]
    OffsetMismatch {
        /// Bytes that are durable already.
        have: u64,
    },
    /// A range that does not lie inside the blob.
    #[error("the range {start}..{end} does not lie inside the blob of {size} bytes")]
    OutOfRange {
        /// First byte asked for.
        start: u64,
        /// Byte after the last.
        end: u64,
        /// Size of the blob.
        size: u64,
    },
    /// What was stored came back different. Nothing of it was handed out.
    #[error("{what} is damaged; restore it from a backup")]
    Corrupt {
        /// The thing, and where the damage is.
        what: String,
    },
    /// The disk is full.
    #[error("no space is left for {what}; free some and try again")]
    Full {
        /// What was being written.
        what: String,
    },
    /// Whoever asked has had as much as one may have in a day.
    #[error("{what} in a day; wait before there is more")]
    Quota {
        /// How much of what that is.
        what: String,
    },
    /// Somebody else is at it, or too many are waiting; try again soon.
    #[error("{what} is busy; try again")]
    Busy {
        /// What is busy.
        what: String,
    },
    /// Another process has the store.
    #[error("{path} is in use by {holder}; stop it first, or use another directory")]
    InUse {
        /// The store.
        path: String,
        /// The process, as far as it is known.
        holder: String,
    },
    /// The store was written by a newer version of this program.
    #[error(
        "the store has schema {found}, this program knows up to {known}; use the newer program, or restore the backup made before it"
    )]
    Newer {
        /// The store's schema.
        found: u32,
        /// The newest schema this program knows.
        known: u32,
    },
    /// The stream that a blob was read from broke off.
    #[error("the bytes stopped coming: {0}")]
    Source(String),
    /// Anything else between us and the engine: I/O, network, a lost
    /// database. Trying again later may help.
    #[error("cannot {doing}: {why}")]
    Unavailable {
        /// What was being done, to what.
        doing: String,
        /// What the engine said.
        why: String,
    },
}

impl StoreError {
    /// A [`StoreError::NotFound`].
    pub fn not_found(what: impl Into<String>) -> StoreError {
        StoreError::NotFound { what: what.into() }
    }

    /// A [`StoreError::Conflict`].
    pub fn conflict(what: impl Into<String>) -> StoreError {
        StoreError::Conflict { what: what.into() }
    }

    /// A [`StoreError::Corrupt`].
    pub fn corrupt(what: impl Into<String>) -> StoreError {
        StoreError::Corrupt { what: what.into() }
    }
}

//! Logged intents: the token that opens a key.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use firmseal_manifest::{Intent, KeyAlgorithm, KeyId, PublicKey};

/// Why something could not be logged. Nothing was done for it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log could not write.
    #[error("the log cannot be written: {0}")]
    Storage(String),
    /// Too few witnesses stand behind the log, or they know another one.
    /// The words name witnesses and nothing of this machine.
    #[error("the log is not witnessed: {0}")]
    Unwitnessed(String),
    /// The log gives this LMS key no leaf.
    #[error("nothing was signed: {0}")]
    Leaf(#[from] LeafError),
}

/// Why a log gives an LMS key no leaf. None was taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LeafError {
    /// The log counts no leaves at all.
    #[error("this log does not count the leaves of LMS keys")]
    NotCounted,
    /// The key was not made for this log.
    #[error(
        "LMS key {0} was not made for this log, which cannot know where it has signed before; use the log \
         that it was made for, with all its entries"
    )]
    Stranger(KeyId),
    /// All leaves are taken.
    #[error("LMS key {key} has signed all {leaves} times that it can; make a new key and rotate to it")]
    Exhausted {
        /// The key.
        key: KeyId,
        /// How many leaves it had.
        leaves: u32,
    },
    /// The key signs under witnesses only.
    #[error(
        "LMS key {0} signs only where more than half of the log's witnesses must have seen the entry: a log \
         alone cannot tell that it was restored from a backup"
    )]
    Unwatched(KeyId),
}

/// What a log reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// Where the leaf of the log stands.
    pub index: u64,
    /// The leaf of the key, which is nobody else's.
    pub leaf: u32,
    /// How many the key has.
    pub leaves: u32,
}

impl Reserved {
    /// How many leaves are left behind this one.
    pub fn left(&self) -> u32 {
        self.leaves.saturating_sub(self.leaf).saturating_sub(1)
    }

    /// Whether fewer than a tenth are left: time to make the next key.
    pub fn is_late(&self) -> bool {
        self.left() < self.leaves.div_ceil(10)
    }
}

/// An append-only log: of intents, and of what came of them.
///
/// Contract: when `append` returns an index, the leaf at that index is
/// durable: it survives a power cut one instruction later. If `append`
/// fails, the leaf may or may not be in the log; the caller uses no key
/// and may append again, which makes another entry.
///
/// A log that counts the leaves of LMS keys has a name, and its `reserve`
/// keeps a second promise: what it returned is durable too, and no later
/// call, in no later process, returns the same leaf of that key again. Where
/// it cannot know, it refuses. A failed call may have taken a leaf; leaves
/// are for wasting.
///
/// A log that can be read says how many entries it has, and gives them back
/// as they were appended: whoever lost sight of what it did looks there.
pub trait Log: Send + Sync {
    /// Appends one leaf and returns its index.
    fn append(&self, leaf: &[u8]) -> impl Future<Output = Result<u64, LogError>> + Send;

    /// The name of a log that counts the leaves of LMS keys: one that no
    /// other log has, and that outlives its processes.
    fn name(&self) -> Option<String> {
        None
    }

    /// Reserves a leaf of an LMS key and appends one to the log.
    fn reserve(&self, leaf: &[u8], key: KeyId) -> impl Future<Output = Result<Reserved, LogError>> + Send {
        let _ = (leaf, key);
        std::future::ready(Err(LeafError::NotCounted.into()))
    }

    /// How many entries are durable; 0 for a log that cannot be read. An
    /// entry that is appended after this was asked has no lower index.
    fn size(&self) -> u64 {
        0
    }

    /// Entries from an index on, at most `limit`; none where there are none.
    fn read(&self, from: u64, limit: usize) -> impl Future<Output = Result<Vec<Vec<u8>>, LogError>> + Send {
        let _ = (from, limit);
        std::future::ready(Ok(Vec::new()))
    }
}

/// An entry on its way, into a log behind a pointer.
pub type Appending<'a> = Pin<Box<dyn Future<Output = Result<u64, LogError>> + Send + 'a>>;

/// Entries on their way.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<Vec<Vec<u8>>, LogError>> + Send + 'a>>;

/// A reservation on its way.
pub type Reserving<'a> = Pin<Box<dyn Future<Output = Result<Reserved, LogError>> + Send + 'a>>;

/// [`Log`] as an object, for `Arc<dyn DynLog>`. Every log is one, and the
/// object is itself a [`Log`].
pub trait DynLog: Send + Sync {
    /// As [`Log::append`].
    fn dyn_append<'a>(&'a self, leaf: &'a [u8]) -> Appending<'a>;

    /// As [`Log::name`].
    fn dyn_name(&self) -> Option<String>;

    /// As [`Log::reserve`].
    fn dyn_reserve<'a>(&'a self, leaf: &'a [u8], key: KeyId) -> Reserving<'a>;

    /// As [`Log::size`].
    fn dyn_size(&self) -> u64;

    /// As [`Log::read`].
    fn dyn_read(&self, from: u64, limit: usize) -> Reading<'_>;
}

impl<L: Log> DynLog for L {
    fn dyn_append<'a>(&'a self, leaf: &'a [u8]) -> Appending<'a> {
        Box::pin(self.append(leaf))
    }

    fn dyn_name(&self) -> Option<String> {
        self.name()
    }

    fn dyn_reserve<'a>(&'a self, leaf: &'a [u8], key: KeyId) -> Reserving<'a> {
        Box::pin(self.reserve(leaf, key))
    }

    fn dyn_size(&self) -> u64 {
        self.size()
    }

    fn dyn_read(&self, from: u64, limit: usize) -> Reading<'_> {
        Box::pin(self.read(from, limit))
    }
}

impl Log for dyn DynLog + '_ {
    async fn append(&self, leaf: &[u8]) -> Result<u64, LogError> {
        self.dyn_append(leaf).await
    }

    fn name(&self) -> Option<String> {
        self.dyn_name()
    }

    async fn reserve(&self, leaf: &[u8], key: KeyId) -> Result<Reserved, LogError> {
        self.dyn_reserve(leaf, key).await
    }

    fn size(&self) -> u64 {
        self.dyn_size()
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, LogError> {
        self.dyn_read(from, limit).await
    }
}

impl<L: Log + ?Sized> Log for Arc<L> {
    async fn append(&self, leaf: &[u8]) -> Result<u64, LogError> {
        (**self).append(leaf).await
    }

    fn name(&self) -> Option<String> {
        (**self).name()
    }

    async fn reserve(&self, leaf: &[u8], key: KeyId) -> Result<Reserved, LogError> {
        (**self).reserve(leaf, key).await
    }

    fn size(&self) -> u64 {
        (**self).size()
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, LogError> {
        (**self).read(from, limit).await
    }
}

/// A leaf of an LMS key that a log reserved for one intent.
#[derive(PartialEq, Eq, Debug)]
pub struct LmsLeaf {
    key: KeyId,
    reserved: Reserved,
    log: String,
}

impl LmsLeaf {
    /// The leaf, if it is one of this key, reserved by the log that the key
    /// was made for.
    pub(crate) fn of(&self, key: &KeyId, log: &str) -> Option<u32> {
        (self.key == *key && self.log == log).then_some(self.reserved.leaf)
    }

    /// What the log reserved.
    pub fn reserved(&self) -> &Reserved {
        &self.reserved
    }
}

/// Proof that a value was durably logged before anything was done with it.
///
/// There are no other constructors than [`Logged::append`] and
/// [`Logged::append_for`], and no `Clone`: one entry opens a key once, and
/// one leaf of an LMS key signs once.
#[derive(Debug)]
pub struct Logged<T> {
    value: T,
    index: u64,
    leaf: Option<LmsLeaf>,
}

impl Logged<Intent> {
    /// Logs an intent that opens no LMS key.
    pub async fn append(log: &(impl Log + ?Sized), intent: Intent) -> Result<Logged<Intent>, LogError> {
        let index = log.append(&intent.encode()).await?;
        Ok(Logged { value: intent, index, leaf: None })
    }

    /// Logs an intent for the key that will sign under it; an LMS key gets
    /// its leaf by the same write.
    pub async fn append_for(
        log: &(impl Log + ?Sized),
        intent: Intent,
        key: &PublicKey,
    ) -> Result<Logged<Intent>, LogError> {
        let KeyAlgorithm::Lms(_) = key.algorithm() else { return Logged::append(log, intent).await };
        let name = log.name().ok_or(LeafError::NotCounted)?;
        let reserved = log.reserve(&intent.encode(), key.id()).await?;
        let leaf = LmsLeaf { key: key.id(), reserved, log: name };
        Ok(Logged { value: intent, index: reserved.index, leaf: Some(leaf) })
    }

    /// The leaf that was reserved with it, of an LMS key.
    pub fn leaf(&self) -> Option<&LmsLeaf> {
        self.leaf.as_ref()
    }
}

impl<T> Logged<T> {
    /// What was logged.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Where it stands in the log.
    pub fn index(&self) -> u64 {
        self.index
    }
}

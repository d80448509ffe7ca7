//! The store of one machine: SQLite, a content-addressed blob directory and
//! the intent log, in one directory.
//!
//! [`LocalStore`] keeps every contract of `firmseal-store`; [`IntentLog`]
//! keeps that of `firmseal_keys::Log`. Blocking work runs on threads of
//! their own, never on the executor, whichever that is.
//!
//! Opening is recovery: it does the same whether the last process ended
//! well, was killed or lost power.

mod audit;
mod blobs;
mod cache;
mod checkpoints;
mod column;
mod devices;
mod directory;
mod enrolment;
mod error;
mod events;
mod fleet;
mod frame;
mod habits;
mod highest;
mod incoming;
mod intent_log_key;
mod intent_log_tiles;
mod intents;
mod job_lists;
mod jobs;
mod key_uses;
mod ledger;
mod lms_leaves;
mod operators;
mod policies;
mod pool;
mod queue;
mod reader;
mod registry;
mod releases;
mod reports;
mod requests;
mod rollouts;
mod schema;
mod signing_requests;
mod successor;
mod sums;
mod tokens;
mod trust;
mod uploads;
mod writer;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use firmseal_fleet::{Artifact, Product};
use firmseal_manifest::{ArtifactId, Digest, KeyId, ProductId, UploadId};
use firmseal_store::StoreError;
use firmseal_tlog::VerifierKey;
use rusqlite::Connection;

use crate::cache::Cache;
use crate::checkpoints::Checkpoints;
use crate::column::{Hash, Text};
use crate::directory::Directory;
use crate::error::Failure;
use crate::pool::Pool;
use crate::reader::Reader;
use crate::sums::Sums;
use crate::writer::{Refuses, Writer};

pub use crate::intents::{IntentLog, Proven};
pub use crate::ledger::Entry;
pub use crate::lms_leaves::LmsLeaves;
pub use crate::successor::Successor;

/// Threads that read the database, and threads that work on files.
const READERS: usize = 2;
const FILERS: usize = 4;
/// Most bytes of sums that are kept in memory: those of 32 GiB of blobs.
const SUMS_MAX: usize = 16 * 1024 * 1024;
/// Most products, and most artifacts, that are.
const RECORDS_MAX: usize = 1024;

/// The store of one machine. Clones are the same store; it closes with the
/// last of them.
#[derive(Clone)]
pub struct LocalStore {
    inner: Arc<Inner>,
}

struct Inner {
    // Fields are dropped in this order: the threads end before the lock of
    // the directory goes, so the next process never meets them.
    // The writer knows how to ask for checkpoints: it goes first.
    writer: Writer,
    _checkpoints: Checkpoints,
    readers: Pool<Reader>,
    files: Pool<()>,
    intents: IntentLog,
    sums: Cache<Digest, Sums>,
    products: Cache<ProductId, Product>,
    artifacts: Cache<ArtifactId, Artifact>,
    uploading: Arc<Mutex<HashSet<UploadId>>>,
    directory: Arc<Directory>,
}

impl LocalStore {
    /// Opens a store, and creates it where there is none.
    ///
    /// Blocks while it recovers: work left unfinished is thrown away, the
    /// intent log is read and checked. Another process that has the store,
    /// a newer schema and damage are errors, and nothing is changed then.
    pub fn open(root: &Path) -> Result<LocalStore, StoreError> {
        let directory = Directory::open(root)?;
        let connection = schema::open_writer(&directory.database())?;
        requests::end_leases(&connection)?;
        jobs::end_leases(&connection)?;
        sweep(&directory, &connection)?;
        let intents = IntentLog::open(&directory.intents())?;
        check_log(&connection, &intents)?;
        let readers = (0..READERS)
            .map(|_| schema::open_reader(&directory.database()).map(Reader::new))
            .collect::<Result<Vec<_>, _>>()?;
        let checkpoints = Checkpoints::start(schema::connect(&directory.database())?)?;
        Ok(LocalStore {
            inner: Arc::new(Inner {
                writer: Writer::start(connection, checkpoints.written())?,
                _checkpoints: checkpoints,
                readers: Pool::start("store-reader", readers)?,
                files: Pool::start("store-files", vec![(); FILERS])?,
                intents,
                sums: Cache::new(SUMS_MAX),
                products: Cache::new(RECORDS_MAX),
                artifacts: Cache::new(RECORDS_MAX),
                uploading: Arc::default(),
                directory: Arc::new(directory),
            }),
        })
    }

    /// The keys of the log of the store at `root`, which may be open
    /// elsewhere, the Ed25519 key first; none where there is no log yet.
    pub fn log_keys(root: &Path) -> Result<Vec<VerifierKey>, StoreError> {
        IntentLog::keys_at(&root.join(directory::INTENTS))
    }

    /// Makes an ML-DSA-87 key for the log of the store at `root`, which must
    /// not be open. It signs checkpoints from the next opening on.
    pub fn add_ml_dsa_87(root: &Path) -> Result<VerifierKey, StoreError> {
        IntentLog::add_ml_dsa_87(&root.join(directory::INTENTS))
    }

    /// How an LMS key stands in the log of the store at `root`, which may be
    /// open elsewhere; `None` if the key was not made for it.
    pub fn leaves_at(root: &Path, key: &KeyId) -> Result<Option<LmsLeaves>, StoreError> {
        IntentLog::leaves_at(&root.join(directory::INTENTS), key)
    }

    /// The intent log of this store.
    pub fn intents(&self) -> &IntentLog {
        &self.inner.intents
    }

    async fn write<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        self.inner.writer.write(doing, Refuses::AtAnyTime, work).await
    }

    /// The same for work that says no before its first change, if at all.
    async fn write_whole<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        self.inner.writer.write(doing, Refuses::BeforeAnyChange, work).await
    }

    async fn query<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let readers = self.inner.readers.handle();
        readers.run(doing, move |reader| work(reader.connection()).map_err(|e| e.into_store(doing))).await
    }
}

/// Removes files that no record names: what a crash left between a file
/// and its commit, on either side of it.
fn sweep(directory: &Directory, connection: &Connection) -> Result<(), StoreError> {
    const DOING: &str = "look for files that were left unfinished";
    let known = |sql: &str, key: &dyn rusqlite::ToSql| {
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.exists([key]))
            .map_err(|error| error::sql(DOING, &error))
    };
    for (path, digest) in directory.blobs()? {
        let kept = match digest {
            Some(digest) => known("SELECT 1 FROM blobs WHERE digest = ?", &Hash(digest))?,
            None => false,
        };
        if !kept {
            directory::remove(&path)?;
        }
    }
    for path in directory::list(&directory.uploads())? {
        let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let kept = match id {
            Some(id) => known("SELECT 1 FROM uploads WHERE id = ?", &Text::<UploadId>(id))?,
            None => false,
        };
        if !kept {
            directory::remove(&path)?;
        }
    }
    Ok(())
}

/// Refuses a log that is shorter than the releases it stands for: somebody
/// restored half a backup, and the next intents would take indexes that
/// envelopes in the field already name.
fn check_log(connection: &Connection, intents: &IntentLog) -> Result<(), StoreError> {
    let highest: Option<i64> = connection
        .query_row("SELECT max(log_index) FROM releases", [], |row| row.get(0))
        .map_err(|error| error::sql("read the highest log index", &error))?;
    let needed = highest.and_then(|index| u64::try_from(index).ok()).map_or(0, |index| index + 1);
    if intents.len() < needed {
        return Err(StoreError::corrupt(format!(
            "the intent log has {} entries where releases name {needed}; it",
            intents.len()
        )));
    }
    Ok(())
}

/// Names a blob in errors.
fn no_blob(id: &Digest) -> StoreError {
    StoreError::not_found(format!("blob {id}"))
}

//! What SQLite and the file system said, in the words of the contract.
//!
//! The only place that knows their error codes.

use std::io;
use std::path::Path;

use firmseal_store::StoreError;
use rusqlite::ErrorCode;

/// What a piece of database work can fail with: `?` takes both.
#[derive(Debug)]
pub(crate) enum Failure {
    Store(StoreError),
    Sql(rusqlite::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sql(error)
    }
}

impl Failure {
    pub(crate) fn into_store(self, doing: &str) -> StoreError {
        match self {
            Failure::Store(error) => error,
            Failure::Sql(error) => sql(doing, &error),
        }
    }
}

/// Translates an error of SQLite.
pub(crate) fn sql(doing: &str, error: &rusqlite::Error) -> StoreError {
    if let rusqlite::Error::FromSqlConversionFailure(column, _, why) = error {
        return StoreError::corrupt(format!(
            "the database, column {column} while trying to {doing} ({why}),"
        ));
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { what: "the database".to_owned() },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::corrupt(format!("the database ({error})"))
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Busy { what: "the database".to_owned() }
        }
        _ => StoreError::Unavailable { doing: doing.to_owned(), why: error.to_string() },
    }
}

/// Translates an error of the file system.
pub(crate) fn file(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.display().to_string();
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::Full { what: path.clone() }
        }
        _ => StoreError::Unavailable { doing: format!("{doing} {path}"), why: error.to_string() },
    }
}

/// The store was closed while somebody still used it.
pub(crate) fn closed(doing: &str) -> StoreError {
    StoreError::Unavailable { doing: doing.to_owned(), why: "the store is closed".to_owned() }
}

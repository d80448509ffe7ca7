//! Columns: how the words of the fleet stand in the database.
//!
//! A value that does not parse back is damage, not data: the conversion
//! fails and surfaces as `Corrupt`, naming the column.

use std::fmt::Display;
use std::str::FromStr;

use firmseal_fleet::Time;
use firmseal_manifest::Digest;
use firmseal_store::StoreError;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};
use serde::{Serialize, de::DeserializeOwned};

fn bad(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FromSqlError {
    FromSqlError::Other(error.into())
}

/// Something with one spelling: ids, versions, UUIDs.
pub(crate) struct Text<T>(pub T);

impl<T: Display> ToSql for Text<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

impl<T: FromStr<Err: std::error::Error + Send + Sync + 'static>> FromSql for Text<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Text).map_err(bad)
    }
}

/// A list, map or free value, as JSON.
pub(crate) struct Json<T>(pub T);

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(&self.0)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(text.into())
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Json).map_err(bad)
    }
}

/// What [`Json`] writes, made by whoever does not want to keep the writing
/// thread with it.
pub(crate) fn text(doing: &str, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Unavailable { doing: doing.to_owned(), why: error.to_string() })
}

/// A choice, in the one word that it serializes to.
pub(crate) struct Word<T>(pub T);

impl<T: Serialize> ToSql for Word<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match serde_json::to_value(&self.0) {
            Ok(serde_json::Value::String(word)) => Ok(word.into()),
            Ok(_) => Err(rusqlite::Error::ToSqlConversionFailure("not one word".into())),
            Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
        }
    }
}

impl<T: DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = serde_json::Value::String(value.as_str()?.to_owned());
        serde_json::from_value(word).map(Word).map_err(bad)
    }
}

/// A digest, as 32 bytes.
pub(crate) struct Hash(pub Digest);

impl ToSql for Hash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.as_bytes())))
    }
}

impl FromSql for Hash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Digest::from_slice(value.as_blob()?).map(Hash).ok_or_else(|| bad("not 32 bytes"))
    }
}

/// A time, in milliseconds.
pub(crate) struct When(pub Time);

impl ToSql for When {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        // The last time that can be written has 48 bits.
        Ok(ToSqlOutput::Owned(Value::Integer(self.0.millis().cast_signed())))
    }
}

impl FromSql for When {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let millis = value.as_i64()?;
        u64::try_from(millis).map(|millis| When(Time::from_millis(millis))).map_err(bad)
    }
}

/// A count. SQLite has signed integers only.
pub(crate) struct Count(pub u64);

impl Count {
    /// A count that fits. One above 2^63 - 1 is refused rather than wrapped
    /// to a negative one, which would order first.
    pub(crate) fn new(what: &str, count: u64) -> Result<Count, StoreError> {
        if i64::try_from(count).is_err() {
            return Err(StoreError::conflict(format!(
                "the {what} {count} is above 2^63 - 1; use a lower one"
            )));
        }
        Ok(Count(count))
    }
}

impl ToSql for Count {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let count =
            i64::try_from(self.0).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(ToSqlOutput::Owned(Value::Integer(count)))
    }
}

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u64::try_from(value.as_i64()?).map(Count).map_err(bad)
    }
}

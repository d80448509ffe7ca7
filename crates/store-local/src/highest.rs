//! The highest version and security epoch of files that were signed by
//! themselves.
//!
//! A row for each channel, which rises with the signatures: who asks before a
//! signature reads it by its key, and most signatures change nothing of it.

use firmseal_fleet::Signature;
use firmseal_manifest::{ChannelName, ProductId};
use firmseal_store::{Highest, Mark, StoreError};
use rusqlite::{Connection, Row, params};

use crate::column::{Count, Text};
use crate::error::Failure;
use crate::registry::one;

/// Reads the columns of a row that may be missing.
fn mark(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Mark>> {
    let (version, epoch): (Option<Text<_>>, Option<Count>) = (row.get(at)?, row.get(at + 1)?);
    Ok(version.zip(epoch).map(|(Text(version), Count(epoch))| Mark { version, epoch }))
}

pub(crate) fn find(
    connection: &Connection,
    product: &ProductId,
    channel: &ChannelName,
) -> Result<Highest, Failure> {
    let found = one(
        connection,
        "SELECT (SELECT max(epoch) FROM highest_signed WHERE product = ?1), own.version, own.epoch
         FROM (SELECT 1) LEFT JOIN highest_signed AS own ON own.product = ?1 AND own.channel = ?2",
        [product.as_str(), channel.as_str()],
        |row| Ok((row.get::<_, Option<Count>>(0)?, mark(row, 1)?)),
    )?;
    let (epoch, on_channel) = found.unwrap_or_default();
    Ok(Highest { epoch: epoch.map_or(0, |Count(epoch)| epoch), on_channel })
}

/// What a signature raises its channel's row to; `None` if it raises nothing.
/// Changes nothing: what cannot be read back says no here.
pub(crate) fn risen(connection: &Connection, signature: &Signature) -> Result<Option<Mark>, Failure> {
    let Signature { request, product, channel, version, .. } = signature;
    // The epoch is not in the signature, but in what was asked. SQLite compares
    // no versions: `1.10.0` is below `1.9.0` as text.
    let found = one(
        connection,
        "SELECT jobs.asked ->> '$.epoch', own.version, own.epoch
         FROM jobs LEFT JOIN highest_signed AS own ON own.product = ?2 AND own.channel = ?3
         WHERE jobs.id = ?1",
        params![Text(*request), product.as_str(), channel.as_str()],
        |row| Ok((row.get(0)?, mark(row, 1)?)),
    )?;
    let (Count(epoch), before) =
        found.ok_or_else(|| StoreError::not_found(format!("signing request {request}")))?;
    let offered = Mark { version: version.clone(), epoch };
    Ok(match before {
        None => Some(offered),
        Some(before) if offered.version <= before.version && epoch <= before.epoch => None,
        Some(before) => {
            Some(Mark { version: offered.version.max(before.version), epoch: epoch.max(before.epoch) })
        }
    })
}

pub(crate) fn keep(
    connection: &Connection,
    signature: &Signature,
    risen: Option<Mark>,
) -> Result<(), Failure> {
    let Some(Mark { version, epoch }) = risen else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT INTO highest_signed (product, channel, version, epoch) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (product, channel) DO UPDATE SET version = ?3, epoch = ?4",
        )?
        .execute(params![
            signature.product.as_str(),
            signature.channel.as_str(),
            Text(version),
            Count::new("epoch", epoch)?
        ])?;
    Ok(())
}

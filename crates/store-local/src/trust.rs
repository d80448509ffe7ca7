//! Trust documents in the database.

use async_trait::async_trait;
use bytes::Bytes;
use firmseal_manifest::{Digest, Event};
use firmseal_store::trust::DOCUMENT_MAX;
use firmseal_store::{StoreError, TrustDocument, TrustDocuments, TrustKind};
use rusqlite::{Connection, Row, params};

use crate::LocalStore;
use crate::column::{Count, When};
use crate::error::Failure;
use crate::events::happened;
use crate::registry::{all, one};
use crate::sums;

const COLUMNS: &str = "kind, version, document, published_by, published";

/// The kind as it stands in the database.
const fn word(kind: TrustKind) -> &'static str {
    match kind {
        TrustKind::Root => "root",
        TrustKind::Revocation => "revocation",
    }
}

/// Reads a row of a kind: every question asks for one.
fn read(kind: TrustKind) -> impl Fn(&Row<'_>) -> rusqlite::Result<TrustDocument> {
    move |row| {
        let (Count(version), When(published)) = (row.get(1)?, row.get(4)?);
        let bytes = Bytes::from(row.get::<_, Vec<u8>>(2)?);
        Ok(TrustDocument { kind, version, bytes, published_by: row.get(3)?, published })
    }
}

fn find(connection: &Connection, kind: TrustKind, version: u64) -> Result<Option<TrustDocument>, Failure> {
    // A number that no row can have is that of no document.
    let Ok(version) = Count::new("version", version) else { return Ok(None) };
    let sql = format!("SELECT {COLUMNS} FROM trust_documents WHERE kind = ? AND version = ?");
    one(connection, &sql, params![word(kind), version], read(kind))
}

fn newest(connection: &Connection, kind: TrustKind) -> Result<Option<TrustDocument>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM trust_documents WHERE kind = ? ORDER BY version DESC LIMIT 1");
    one(connection, &sql, [word(kind)], read(kind))
}

/// Adds a document behind the newest. One writer runs this: nobody is
/// between the question and the insert.
fn insert(connection: &Connection, document: &TrustDocument) -> Result<(), Failure> {
    let TrustDocument { kind, version, bytes, .. } = document;
    let name = kind.name();
    let conflict = |what: String| Err(StoreError::conflict(what).into());
    if bytes.len() > DOCUMENT_MAX {
        return conflict(format!("{name} {version} is longer than {DOCUMENT_MAX} bytes"));
    }
    match find(connection, *kind, *version)? {
        Some(there) if there.bytes == *bytes => return Ok(()),
        Some(_) => {
            return conflict(format!(
                "another {name} {version} was published; what was published is never replaced"
            ));
        }
        None => {}
    }
    let last = newest(connection, *kind)?.map_or(0, |newest| newest.version);
    let follows = match kind {
        TrustKind::Root => last.checked_add(1) == Some(*version),
        TrustKind::Revocation => *version > last,
    };
    if !follows {
        return conflict(format!("{name} {version} does not follow {name} {last}, the newest here"));
    }
    connection
        .prepare_cached(&format!("INSERT INTO trust_documents ({COLUMNS}) VALUES (?, ?, ?, ?, ?)"))?
        .execute(params![
            word(*kind),
            Count::new("version", *version)?,
            bytes.as_ref(),
            document.published_by,
            When(document.published)
        ])?;
    let (version, document) = (*version, Digest(sums::sha256(bytes)));
    happened(
        connection,
        &match kind {
            TrustKind::Root => Event::Root { version, document },
            TrustKind::Revocation => Event::Revocation { version, document },
        },
    )
}

#[async_trait]
impl TrustDocuments for LocalStore {
    async fn insert_trust_document(&self, document: TrustDocument) -> Result<(), StoreError> {
        self.write("add a trust document", move |connection| insert(connection, &document)).await
    }

    async fn trust_document(
        &self,
        kind: TrustKind,
        version: u64,
    ) -> Result<Option<TrustDocument>, StoreError> {
        self.query("look a trust document up", move |connection| find(connection, kind, version)).await
    }

    async fn newest_trust_document(&self, kind: TrustKind) -> Result<Option<TrustDocument>, StoreError> {
        self.query("look the newest trust document up", move |connection| newest(connection, kind)).await
    }

    async fn trust_documents(&self, kind: TrustKind) -> Result<Vec<TrustDocument>, StoreError> {
        self.query("list trust documents", move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM trust_documents WHERE kind = ? ORDER BY version");
            all(connection, &sql, [word(kind)], read(kind))
        })
        .await
    }
}

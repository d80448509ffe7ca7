//! Operators' credentials in the database.

use async_trait::async_trait;
use firmseal_fleet::audit::Circumstances;
use firmseal_fleet::{Caller, Credential, CredentialId, CredentialKind, Role, Time};
use firmseal_manifest::{Digest, Event, holder_id};
use firmseal_store::{Operators, StoreError};
use rusqlite::{Connection, Row, params};

use crate::LocalStore;
use crate::column::{Hash, Json, Text, When, Word};
use crate::error::Failure;
use crate::events::note;
use crate::registry::{all, fresh, one};

const COLUMNS: &str = "id, operator, kind, digest, roles, team, scope, created, expires, revoked";

fn read(row: &Row<'_>) -> rusqlite::Result<Credential> {
    let (Text(id), Word(kind), Hash(digest), Json(roles)) =
        (row.get(0)?, row.get(2)?, row.get(3)?, row.get(4)?);
    let Json(scope) = row.get(6)?;
    let (When(created), expires, revoked): (_, Option<When>, Option<When>) =
        (row.get(7)?, row.get(8)?, row.get(9)?);
    Ok(Credential {
        id: CredentialId(id),
        operator: row.get(1)?,
        kind,
        digest,
        roles,
        team: row.get(5)?,
        scope,
        created,
        expires: expires.map(|When(time)| time),
        revoked: revoked.map(|When(time)| time),
    })
}

fn done(by: &Caller, time: Time) -> Circumstances {
    Circumstances { time, caller: Some(by.clone()), product: None, reasons: Vec::new() }
}

fn made(credential: &Credential, by: &Caller) -> Event {
    Event::Credential {
        credential: credential.id.0,
        holder: holder_id(&credential.operator),
        roles: Role::bits(&credential.roles),
        scope: credential.scope.id(),
        expires: credential.expires.map_or(0, |end| end.millis() / 1000),
        by: by.id(),
    }
}

pub(crate) fn find(connection: &Connection, id: CredentialId) -> Result<Option<Credential>, Failure> {
    one(connection, &format!("SELECT {COLUMNS} FROM credentials WHERE id = ?"), [Text(id)], read)
}

fn find_by_digest(
    connection: &Connection,
    kind: CredentialKind,
    digest: &Digest,
) -> Result<Option<Credential>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM credentials WHERE kind = ? AND digest = ?");
    one(connection, &sql, params![Word(kind), Hash(*digest)], read)
}

#[async_trait]
impl Operators for LocalStore {
    async fn insert_credential(&self, credential: Credential, by: &Caller) -> Result<(), StoreError> {
        let by = by.clone();
        self.write("add a credential", move |connection| {
            let there = match find(connection, credential.id)? {
                Some(there) => Some(there),
                None => find_by_digest(connection, credential.kind, &credential.digest)?,
            };
            let same = |there: &Credential| {
                Credential { revoked: credential.revoked, ..there.clone() } == credential
            };
            if !fresh(there, same, format!("credential {}", credential.id))? {
                return Ok(());
            }
            connection
                .prepare_cached(&format!(
                    "INSERT INTO credentials ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                ))?
                .execute(params![
                    Text(credential.id),
                    credential.operator,
                    Word(credential.kind),
                    Hash(credential.digest),
                    Json(&credential.roles),
                    credential.team,
                    Json(&credential.scope),
                    When(credential.created),
                    credential.expires.map(When),
                    credential.revoked.map(When)
                ])?;
            note(connection, &made(&credential, &by), Some(&done(&by, credential.created)))
        })
        .await
    }

    async fn credential(
        &self,
        kind: CredentialKind,
        digest: &Digest,
    ) -> Result<Option<Credential>, StoreError> {
        let digest = *digest;
        self.query("look a credential up", move |connection| find_by_digest(connection, kind, &digest)).await
    }

    async fn credential_of(&self, id: CredentialId) -> Result<Option<Credential>, StoreError> {
        self.query("look a credential up", move |connection| find(connection, id)).await
    }

    async fn credentials(&self) -> Result<Vec<Credential>, StoreError> {
        self.query("list credentials", |connection| {
            all(connection, &format!("SELECT {COLUMNS} FROM credentials ORDER BY n DESC"), [], read)
        })
        .await
    }

    async fn revoke_credential(&self, id: CredentialId, by: &Caller, now: Time) -> Result<(), StoreError> {
        let by = by.clone();
        self.write("revoke a credential", move |connection| {
            let known = find(connection, id)?;
            let known = known.ok_or_else(|| StoreError::not_found(format!("credential {id}")))?;
            if known.revoked.is_some() {
                return Ok(());
            }
            connection
                .prepare_cached("UPDATE credentials SET revoked = ? WHERE id = ?")?
                .execute(params![When(now), Text(id)])?;
            note(connection, &Event::Revoked { credential: id.0, by: by.id() }, Some(&done(&by, now)))
        })
        .await
    }
}

//! Signing requests in the database.

use async_trait::async_trait;
use firmseal_fleet::{Release, Time};
use firmseal_manifest::RequestId;
use firmseal_store::requests::RESULT_MAX;
use firmseal_store::{Begin, Claim, Finished, NewRequest, Requests, Reservation, StoreError};
use rusqlite::{Connection, params};

use crate::column::{Count, Hash, Text, When};
use crate::error::{Failure, sql};
use crate::registry::one;
use crate::{LocalStore, releases};

/// Ends every claim. Called with the store's lock held and nobody served
/// yet: whoever had a claim is gone.
///
/// On a full disk the claims stand until they run out, which costs a retry
/// some waiting. A store that could not be opened would cost everything
/// that can still be read.
pub(crate) fn end_leases(connection: &Connection) -> Result<(), StoreError> {
    let ended = connection
        .execute("UPDATE requests SET lease_until = NULL WHERE lease_until IS NOT NULL", [])
        .map_err(|error| sql("end the claims of the last process", &error));
    match ended {
        Ok(_) | Err(StoreError::Full { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}

#[async_trait]
impl Requests for LocalStore {
    async fn begin(&self, request: NewRequest) -> Result<Begin, StoreError> {
        self.write("begin a signing request", move |connection| begin(connection, &request)).await
    }

    async fn finish(
        &self,
        claim: &Claim,
        result: Vec<u8>,
        release: Option<Release>,
    ) -> Result<(), StoreError> {
        let claim = claim.clone();
        self.write("finish a signing request", move |connection| {
            finish(connection, &claim, &result, release.as_ref())
        })
        .await
    }

    async fn reserve(&self, claim: &Claim, reservation: Reservation, now: Time) -> Result<(), StoreError> {
        let claim = claim.clone();
        self.write("reserve a sequence number", move |connection| {
            reserve(connection, &claim, &reservation, now)
        })
        .await
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        let Claim { request, attempt } = claim.clone();
        self.write("give a signing request back", move |connection| {
            connection
                .prepare_cached(
                    "UPDATE requests SET lease_until = NULL, product = NULL, sequence = NULL
                     WHERE id = ? AND attempt = ?",
                )?
                .execute(params![Text(request), Count(attempt)])?;
            Ok(())
        })
        .await
    }

    async fn result(&self, request: RequestId) -> Result<Option<Finished>, StoreError> {
        self.query("look a signing request up", move |connection| {
            let result: Option<Option<Vec<u8>>> =
                one(connection, "SELECT result FROM requests WHERE id = ?", [Text(request)], |row| {
                    row.get(0)
                })?;
            match result {
                Some(result) => Ok(result.map(|result| Finished { request, result })),
                None => Err(unknown(request)),
            }
        })
        .await
    }
}

fn unknown(request: RequestId) -> Failure {
    StoreError::not_found(format!("signing request {request}")).into()
}

fn begin(connection: &Connection, request: &NewRequest) -> Result<Begin, Failure> {
    let until = request.now.plus(request.lease);
    let there = one(
        connection,
        "SELECT id, fingerprint, attempt, lease_until, result FROM requests WHERE key = ?",
        [&request.key],
        |row| {
            let (Text(id), Hash(fingerprint), Count(attempt)) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let lease: Option<When> = row.get(3)?;
            Ok((id, fingerprint, attempt, lease, row.get::<_, Option<Vec<u8>>>(4)?))
        },
    )?;
    let claim = match there {
        None => {
            connection
                .prepare_cached(
                    "INSERT INTO requests (id, key, fingerprint, requester, created, attempt, lease_until)
                     VALUES (?, ?, ?, ?, ?, 1, ?)",
                )?
                .execute(params![
                    Text(request.id),
                    request.key,
                    Hash(request.fingerprint),
                    request.requester,
                    When(request.now),
                    When(until)
                ])?;
            Claim { request: request.id, attempt: 1 }
        }
        Some((id, fingerprint, ..)) if fingerprint != request.fingerprint => {
            return Ok(Begin::Conflict { request: id });
        }
        Some((id, _, _, _, Some(result))) => return Ok(Begin::Stored(Finished { request: id, result })),
        Some((id, _, _, Some(When(until)), None))
            if until > request.now && !(request.alone && id == request.id) =>
        {
            return Ok(Begin::InFlight { request: id, until });
        }
        Some((id, _, attempt, _, None)) => {
            connection
                .prepare_cached(
                    "UPDATE requests SET attempt = ?, lease_until = ?, product = NULL, sequence = NULL
                     WHERE id = ?",
                )?
                .execute(params![Count(attempt + 1), When(until), Text(id)])?;
            Claim { request: id, attempt: attempt + 1 }
        }
    };
    Ok(Begin::Fresh(claim))
}

fn reserve(
    connection: &Connection,
    claim: &Claim,
    reservation: &Reservation,
    now: Time,
) -> Result<(), Failure> {
    let Claim { request, attempt } = claim;
    let Reservation { product, channel, version, sequence } = reservation;
    let held = one(
        connection,
        "SELECT attempt, lease_until IS NOT NULL FROM requests WHERE id = ?",
        [Text(*request)],
        |row| Ok((row.get::<_, Count>(0)?.0, row.get::<_, bool>(1)?)),
    )?
    .ok_or_else(|| unknown(*request))?;
    if held != (*attempt, true) {
        return Err(lost(*request));
    }
    let rival = one(
        connection,
        "SELECT sequence FROM requests WHERE product = ? AND id <> ? AND lease_until > ?",
        params![product.as_str(), Text(*request), When(now)],
        |row| row.get::<_, Count>(0),
    )?;
    if let Some(Count(other)) = rival {
        let what = format!("{product}, for which sequence {other} is being signed,");
        return Err(StoreError::Busy { what }.into());
    }
    releases::check_free(connection, product, channel, version, *sequence)?;
    // Whoever reserved it before and ran out of time can finish no more.
    connection
        .prepare_cached("UPDATE requests SET product = NULL, sequence = NULL WHERE product = ?")?
        .execute([product.as_str()])?;
    connection
        .prepare_cached("UPDATE requests SET product = ?, sequence = ? WHERE id = ?")?
        .execute(params![product.as_str(), Count::new("sequence", *sequence)?, Text(*request)])?;
    Ok(())
}

fn lost(request: RequestId) -> Failure {
    StoreError::conflict(format!("signing request {request} was taken over by another attempt")).into()
}

fn finish(
    connection: &Connection,
    claim: &Claim,
    result: &[u8],
    release: Option<&Release>,
) -> Result<(), Failure> {
    let request = claim.request;
    let conflict = |what: String| Err(StoreError::conflict(what).into());
    if result.len() > RESULT_MAX {
        return conflict(format!("a result of {} bytes is too long", result.len()));
    }
    let (Count(attempt), held, stored) = one(
        connection,
        "SELECT attempt, lease_until IS NOT NULL, result FROM requests WHERE id = ?",
        [Text(request)],
        |row| Ok((row.get(0)?, row.get::<_, bool>(1)?, row.get::<_, Option<Vec<u8>>>(2)?)),
    )?
    .ok_or_else(|| unknown(request))?;
    match stored {
        Some(stored) if stored == result => return Ok(()),
        Some(_) => return conflict(format!("signing request {request} has another result already")),
        None => {}
    }
    // A lease that merely ran out still counts: nobody else took it, and
    // the work is done.
    if attempt != claim.attempt || !held {
        return Err(lost(request));
    }
    if let Some(release) = release {
        if release.request != request {
            return conflict(format!("release {} belongs to another signing request", release.id));
        }
        let reserved = connection
            .prepare_cached("SELECT 1 FROM requests WHERE id = ? AND product = ? AND sequence = ?")?
            .exists(params![
                Text(request),
                release.product.as_str(),
                Count::new("sequence", release.sequence)?
            ])?;
        if !reserved {
            let what = format!("signing request {request} has not reserved sequence {}", release.sequence);
            return conflict(what);
        }
        releases::insert(connection, release)?;
    }
    connection
        .prepare_cached(
            "UPDATE requests SET result = ?, lease_until = NULL, product = NULL, sequence = NULL WHERE id = ?",
        )?
        .execute(params![result, Text(request)])?;
    Ok(())
}

//! Signing requests and approvals in the database.

use async_trait::async_trait;
use firmseal_fleet::{Approval, RequestState, SigningRequest};
use firmseal_manifest::{End, Event, KeyId, RequestId};
use firmseal_store::{Page, SigningRequests, StoreError};
use rusqlite::{Connection, Row, params};

use crate::LocalStore;
use crate::column::{Json, Text, Word};
use crate::error::Failure;
use crate::events::happened;
use crate::registry::{all, fresh, limit, one};

fn read(row: &Row<'_>) -> rusqlite::Result<SigningRequest> {
    let (Json(request), Word(state)): (Json<SigningRequest>, _) = (row.get(0)?, row.get(1)?);
    Ok(SigningRequest { state, ..request })
}

fn read_approval(row: &Row<'_>) -> rusqlite::Result<Approval> {
    row.get(0).map(|Json(approval)| approval)
}

fn find(connection: &Connection, id: RequestId) -> Result<Option<SigningRequest>, Failure> {
    one(connection, "SELECT request, state FROM signing_requests WHERE id = ?", [Text(id)], read)
}

/// The request, if it still waits.
fn waiting(connection: &Connection, id: RequestId) -> Result<SigningRequest, Failure> {
    match find(connection, id)? {
        None => Err(StoreError::not_found(format!("signing request {id}")).into()),
        Some(request) if request.state == RequestState::Waiting => Ok(request),
        Some(request) => {
            let what = format!("signing request {id} is {:?} and waits no more", request.state);
            Err(StoreError::conflict(what.to_lowercase()).into())
        }
    }
}

fn insert(connection: &Connection, request: &SigningRequest) -> Result<(), Failure> {
    let same = |there: &SigningRequest| SigningRequest { state: request.state, ..there.clone() } == *request;
    if !fresh(find(connection, request.id)?, same, format!("signing request {}", request.id))? {
        return Ok(());
    }
    connection
        .prepare_cached("INSERT INTO signing_requests (id, product, state, request) VALUES (?, ?, ?, ?)")?
        .execute(params![Text(request.id), request.product.as_str(), Word(request.state), Json(request)])?;
    let SigningRequest { id, manifest, requester_id: requester, .. } = *request;
    happened(connection, &Event::Requested { request: id, manifest, requester })
}

fn approve(connection: &Connection, id: RequestId, approval: &Approval) -> Result<(), Failure> {
    let manifest = waiting(connection, id)?.manifest;
    if approvals(connection, id)?.contains(approval) {
        return Ok(());
    }
    connection
        .prepare_cached("INSERT OR REPLACE INTO approvals (request, holder, approval) VALUES (?, ?, ?)")?
        .execute(params![Text(id), approval.holder, Json(approval)])?;
    happened(connection, &Event::Approved { request: id, manifest, key: KeyId(approval.key) })
}

fn approvals(connection: &Connection, id: RequestId) -> Result<Vec<Approval>, Failure> {
    let sql = "SELECT approval FROM approvals WHERE request = ? ORDER BY holder";
    all(connection, sql, [Text(id)], read_approval)
}

fn remove(connection: &Connection, id: RequestId, brought_by: &str) -> Result<usize, Failure> {
    waiting(connection, id)?;
    let mut removed = 0;
    for approval in approvals(connection, id)?.into_iter().filter(|own| own.brought_by == brought_by) {
        removed += connection
            .prepare_cached("DELETE FROM approvals WHERE request = ? AND holder = ?")?
            .execute(params![Text(id), approval.holder])?;
        happened(connection, &Event::Unapproved { request: id, key: KeyId(approval.key) })?;
    }
    Ok(removed)
}

fn close(connection: &Connection, id: RequestId, state: RequestState) -> Result<(), Failure> {
    if find(connection, id)?.is_some_and(|request| request.state == state) {
        return Ok(());
    }
    waiting(connection, id)?;
    connection
        .prepare_cached("UPDATE signing_requests SET state = ? WHERE id = ?")?
        .execute(params![Word(state), Text(id)])?;
    let end = match state {
        // It waits, as it did.
        RequestState::Waiting => return Ok(()),
        RequestState::Signed => End::Signed,
        RequestState::Cancelled => End::Cancelled,
        RequestState::Superseded => End::Superseded,
        RequestState::Expired => End::Expired,
    };
    happened(connection, &Event::Closed { request: id, end })
}

#[async_trait]
impl SigningRequests for LocalStore {
    async fn insert_signing_request(&self, request: SigningRequest) -> Result<(), StoreError> {
        self.write("add a signing request", move |connection| insert(connection, &request)).await
    }

    async fn signing_request(&self, id: RequestId) -> Result<Option<SigningRequest>, StoreError> {
        self.query("look a signing request up", move |connection| find(connection, id)).await
    }

    async fn signing_requests(
        &self,
        state: Option<RequestState>,
        page: Page<RequestId>,
    ) -> Result<Vec<SigningRequest>, StoreError> {
        self.query("list signing requests", move |connection| {
            let sql = "SELECT request, state FROM signing_requests
                       WHERE (?1 IS NULL OR state = ?1)
                         AND (?2 IS NULL OR n < (SELECT n FROM signing_requests WHERE id = ?2))
                       ORDER BY n DESC LIMIT ?3";
            all(connection, sql, params![state.map(Word), page.after.map(Text), limit(&page)], read)
        })
        .await
    }

    async fn insert_approval(&self, request: RequestId, approval: Approval) -> Result<(), StoreError> {
        self.write("add an approval", move |connection| approve(connection, request, &approval)).await
    }

    async fn approvals(&self, request: RequestId) -> Result<Vec<Approval>, StoreError> {
        self.query("list approvals", move |connection| approvals(connection, request)).await
    }

    async fn remove_approvals(&self, request: RequestId, brought_by: &str) -> Result<usize, StoreError> {
        let brought_by = brought_by.to_owned();
        self.write("take approvals back", move |connection| remove(connection, request, &brought_by)).await
    }

    async fn close_signing_request(&self, request: RequestId, state: RequestState) -> Result<(), StoreError> {
        self.write("close a signing request", move |connection| close(connection, request, state)).await
    }
}

//! Operators' credentials: hashes only, and revocation that stays.

use async_trait::async_trait;
use firmseal_fleet::{Caller, Credential, CredentialId, CredentialKind, Time};
use firmseal_manifest::Digest;

use crate::StoreError;

/// Credentials of people and pipelines.
#[async_trait]
pub trait Operators: Send + Sync {
    /// Adds a credential. The same one again is `Ok`; the same id or digest
    /// with anything else is a conflict. `by` is who makes it, for the record.
    async fn insert_credential(&self, credential: Credential, by: &Caller) -> Result<(), StoreError>;

    /// The credential with this digest, revoked and expired ones too;
    /// `None` if there is none. The kind is part of the question: a
    /// certificate never passes as a token.
    async fn credential(
        &self,
        kind: CredentialKind,
        digest: &Digest,
    ) -> Result<Option<Credential>, StoreError>;

    /// A credential by its id, revoked and expired ones too.
    async fn credential_of(&self, id: CredentialId) -> Result<Option<Credential>, StoreError>;

    /// All credentials, newest first. They are few: no pages.
    async fn credentials(&self) -> Result<Vec<Credential>, StoreError>;

    /// Revokes a credential, for good. The first time stays on record.
    async fn revoke_credential(&self, id: CredentialId, by: &Caller, now: Time) -> Result<(), StoreError>;
}

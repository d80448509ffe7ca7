//! Access: operators' tokens.

use std::time::Duration;

use firmseal_api::access::{CreateOperatorToken, NewOperatorToken, OperatorToken};
use firmseal_fleet::{Credential, CredentialId, CredentialKind, Role};
use uuid::Uuid;

use super::{App, fresh_secret};
use crate::error::ApiError;
use crate::tls::sha256;
use crate::wire;

/// How long a token works unless told, and at most.
const DEFAULT: u64 = 90 * 24 * 3600;
const LONGEST: u64 = 2 * 365 * 24 * 3600;

impl App {
    /// Makes an operator token. The secret is in the answer and nowhere
    /// else.
    pub(crate) async fn create_operator_token(
        &self,
        creator: &str,
        wish: CreateOperatorToken,
    ) -> Result<NewOperatorToken, ApiError> {
        let plain = wish.name.bytes().all(|b| b.is_ascii_graphic());
        if wish.name.is_empty() || wish.name.len() > 64 || !plain {
            return Err(ApiError::Malformed(
                "name: use 1 to 64 printable characters without spaces".to_owned(),
            ));
        }
        if wish.roles.is_empty() {
            return Err(ApiError::Malformed("roles: name at least one".to_owned()));
        }
        let valid = wish.valid_for.unwrap_or(DEFAULT);
        if valid == 0 || valid > LONGEST {
            return Err(ApiError::Malformed(format!("valid_for: 1 to {LONGEST} seconds")));
        }
        let now = self.clock.now();
        let secret = fresh_secret("fsop_")?;
        let credential = Credential {
            id: CredentialId(Uuid::now_v7()),
            operator: wish.name,
            kind: CredentialKind::Token,
            // 256 random bits need no slow hash: there is nothing to guess.
            digest: sha256(secret.as_bytes()),
            roles: wish.roles.into_iter().map(Role::from).collect::<std::collections::BTreeSet<_>>(),
            team: None,
            scope: Default::default(),
            created: now,
            expires: Some(now.plus(Duration::from_secs(valid))),
            revoked: None,
        };
        self.store.insert_credential(credential.clone()).await?;
        tracing::info!(token = %credential.id, holder = credential.operator, creator, "operator token made");
        Ok(NewOperatorToken { secret, token: wire::credential_out(credential) })
    }

    /// Every operator token, without secrets.
    pub(crate) async fn operator_tokens(&self) -> Result<Vec<OperatorToken>, ApiError> {
        let credentials = self.store.credentials().await?;
        Ok(credentials.into_iter().map(wire::credential_out).collect())
    }

    /// Revokes one, for good.
    pub(crate) async fn revoke_operator_token(
        &self,
        creator: &str,
        id: Uuid,
    ) -> Result<OperatorToken, ApiError> {
        self.store.revoke_credential(CredentialId(id), self.clock.now()).await?;
        tracing::info!(token = %id, creator, "operator token revoked");
        let found = self.store.credentials().await?.into_iter().find(|credential| credential.id.0 == id);
        found.map(wire::credential_out).ok_or_else(|| ApiError::NotFound(format!("operator token {id}")))
    }
}

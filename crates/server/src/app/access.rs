//! Access: operators' tokens.

use std::time::Duration;

use firmseal_api::access::{CreateOperatorToken, NewOperatorToken, OperatorToken};
use firmseal_fleet::{Caller, Credential, CredentialId, CredentialKind, Scope};
use uuid::Uuid;

use super::{App, fresh_secret, scope};
use crate::error::ApiError;
use crate::tls::sha256;
use crate::wire;

/// How long a token works unless told, and at most.
const DEFAULT: u64 = 90 * 24 * 3600;
const LONGEST: u64 = 2 * 365 * 24 * 3600;
/// Most products, channels or keys of a scope.
const SCOPE_MAX: usize = 100;

impl App {
    /// Makes an operator token. The secret is in the answer and nowhere
    /// else.
    pub(crate) async fn create_operator_token(
        &self,
        creator: &Caller,
        wish: CreateOperatorToken,
    ) -> Result<NewOperatorToken, ApiError> {
        let scope = Scope { products: wish.products, channels: wish.channels, keys: wish.keys };
        scope::within(creator, &scope)?;
        let too_many = [scope.products.len(), scope.channels.len(), scope.keys.len()];
        if too_many.into_iter().any(|count| count > SCOPE_MAX) {
            return Err(ApiError::Malformed(format!("a scope has at most {SCOPE_MAX} of each kind")));
        }
        let word = |text: &String| {
            !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !scope.keys.iter().chain(&wish.team).all(word) {
            return Err(ApiError::Malformed(
                "team and keys: use 1 to 64 printable characters without spaces".to_owned(),
            ));
        }
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
            roles: wish.roles,
            team: wish.team,
            scope,
            created: now,
            expires: Some(now.plus(Duration::from_secs(valid))),
            revoked: None,
        };
        self.store.insert_credential(credential.clone(), creator).await?;
        tracing::info!(token = %credential.id, holder = credential.operator, creator = creator.name, "operator token made");
        Ok(NewOperatorToken { secret, token: wire::credential_out(credential) })
    }

    /// Every operator token within the caller's scope, without secrets.
    pub(crate) async fn operator_tokens(&self, caller: &Caller) -> Result<Vec<OperatorToken>, ApiError> {
        let credentials = self.store.credentials().await?.into_iter();
        let ours = credentials.filter(|credential| caller.scope.covers(&credential.scope));
        Ok(ours.map(wire::credential_out).collect())
    }

    /// Revokes one, for good.
    pub(crate) async fn revoke_operator_token(
        &self,
        creator: &Caller,
        id: Uuid,
    ) -> Result<OperatorToken, ApiError> {
        let id = CredentialId(id);
        let known = self.store.credential_of(id).await?;
        scope::within(creator, &known.map(|known| known.scope).unwrap_or_default())?;
        self.store.revoke_credential(id, creator, self.clock.now()).await?;
        tracing::info!(token = %id, creator = creator.name, "operator token revoked");
        let found = self.store.credential_of(id).await?;
        found.map(wire::credential_out).ok_or_else(|| ApiError::NotFound(format!("operator token {id}")))
    }
}

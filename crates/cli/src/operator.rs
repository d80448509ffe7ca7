//! Operators of a place, made in its store: the first one, and one for
//! whoever has no token left that works.

use std::collections::BTreeSet;
use std::time::SystemTime;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::operator::{Credential, CredentialId, CredentialKind, Role};
use firmseal_fleet::{Caller, Scope, Time};
use firmseal_store::Operators;
use firmseal_store_local::LocalStore;
use uuid::Uuid;

use crate::error::Result;
use crate::random::random;
use crate::validity::Validity;

/// A credential that was just made.
pub struct Made {
    /// The token, which is kept nowhere.
    pub secret: String,
    /// What the store keeps.
    pub credential: Credential,
}

/// What a new credential allows.
pub struct Rights {
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// The team that answers for its holder.
    pub team: Option<String>,
    /// What it is confined to.
    pub scope: Scope,
}

/// Whoever sits at this machine: records have the account's name, the log its
/// digest.
pub fn local() -> Caller {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    Caller::local(name.unwrap_or_else(|_| "local".to_owned()))
}

/// Makes an operator with a token. The store keeps only its digest.
pub async fn create(store: &LocalStore, name: &str, rights: Rights, valid_for: Validity) -> Result<Made> {
    let secret = format!("fsop_{}", random()?);
    let now = Time::from(SystemTime::now());
    let credential = Credential {
        id: CredentialId(Uuid::now_v7()),
        operator: name.to_owned(),
        kind: CredentialKind::Token,
        digest: RustCrypto.digest(secret.as_bytes()),
        roles: rights.roles,
        team: rights.team,
        scope: rights.scope,
        created: now,
        expires: valid_for.0.map(|span| now.plus(span)),
        revoked: None,
    };
    // Whoever can write here needs no role for it.
    let maker = Caller { roles: BTreeSet::new(), ..local() };
    store.insert_credential(credential.clone(), &maker).await?;
    Ok(Made { secret, credential })
}

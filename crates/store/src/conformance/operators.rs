//! Credentials: found by what they are, revoked for good.

use firmseal_fleet::{Credential, CredentialId, CredentialKind};

use super::{Engine, conflict, not_found, samples};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let token = samples::credential(CredentialKind::Token);
    let certificate = Credential { expires: None, ..samples::credential(CredentialKind::Certificate) };
    for credential in [&token, &certificate, &token] {
        store.insert_credential(credential.clone()).await.unwrap();
    }
    conflict(store.insert_credential(Credential { roles: [].into(), ..token.clone() }).await);
    let stolen = Credential { digest: token.digest, ..samples::credential(CredentialKind::Token) };
    conflict(store.insert_credential(stolen).await);
    store = engine.reopen(store).await;
    let find = |kind, digest| {
        let store = store.clone();
        async move { store.credential(kind, &digest).await.unwrap() }
    };
    assert_eq!(find(CredentialKind::Token, token.digest).await, Some(token.clone()));
    assert_eq!(find(CredentialKind::Certificate, certificate.digest).await, Some(certificate.clone()));
    assert_eq!(find(CredentialKind::Token, certificate.digest).await, None, "public bytes are no token");
    assert_eq!(find(CredentialKind::Certificate, token.digest).await, None);
    assert_eq!(find(CredentialKind::Token, samples::digest()).await, None);

    store.revoke_credential(token.id, samples::later(1)).await.unwrap();
    store.revoke_credential(token.id, samples::later(2)).await.unwrap();
    store.insert_credential(token.clone()).await.unwrap();
    not_found(store.revoke_credential(CredentialId(uuid::Uuid::nil()), samples::NOW).await);
    let store = engine.reopen(store).await;
    let revoked = Credential { revoked: Some(samples::later(1)), ..token };
    assert!(!revoked.is_live(samples::NOW));
    assert_eq!(store.credentials().await.unwrap(), [certificate, revoked]);
}

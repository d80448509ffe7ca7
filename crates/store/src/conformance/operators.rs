//! Credentials: found by what they are, revoked for good.

use firmseal_fleet::{Caller, Credential, CredentialId, CredentialKind, Role};
use firmseal_manifest::{Event, holder_id};

use super::{Engine, conflict, not_found, samples};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let token = samples::credential(CredentialKind::Token);
    let certificate = Credential { expires: None, ..samples::credential(CredentialKind::Certificate) };
    for credential in [&token, &certificate, &token] {
        store.insert_credential(credential.clone(), &samples::admin()).await.unwrap();
    }
    conflict(
        store.insert_credential(Credential { roles: [].into(), ..token.clone() }, &samples::admin()).await,
    );
    let stolen = Credential { digest: token.digest, ..samples::credential(CredentialKind::Token) };
    conflict(store.insert_credential(stolen, &samples::admin()).await);
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

    let bob = Caller { name: "bob".to_owned(), ..samples::admin() };
    store.revoke_credential(token.id, &bob, samples::later(1)).await.unwrap();
    store.revoke_credential(token.id, &samples::admin(), samples::later(2)).await.unwrap();
    store.insert_credential(token.clone(), &bob).await.unwrap();
    let nobody = CredentialId(uuid::Uuid::nil());
    not_found(store.revoke_credential(nobody, &bob, samples::NOW).await);
    assert_eq!(store.credential_of(nobody).await.unwrap(), None);
    let store = engine.reopen(store).await;
    let revoked = Credential { revoked: Some(samples::later(1)), ..token };
    assert!(!revoked.is_live(samples::NOW));
    assert_eq!(store.credential_of(revoked.id).await.unwrap(), Some(revoked.clone()));
    // Each thing that happened, once, and who did it.
    let made = |credential: &Credential, expires| Event::Credential {
        credential: credential.id.0,
        holder: holder_id("alice"),
        roles: Role::bits(&[Role::Auditor, Role::Signer].into()),
        scope: credential.scope.id(),
        expires,
        by: holder_id("alice"),
    };
    let expected = [
        made(&revoked, samples::later(60).millis() / 1000),
        made(&certificate, 0),
        Event::Revoked { credential: revoked.id.0, by: holder_id("bob") },
    ];
    let waiting = store.waiting_events(9).await.unwrap();
    assert_eq!(waiting.into_iter().map(|waiting| waiting.event).collect::<Vec<_>>(), expected);
    assert_eq!(store.credentials().await.unwrap(), [certificate, revoked]);
}

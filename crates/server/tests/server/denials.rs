//! What operators are denied before anything else is on record of it: keys
//! that do not sign, the own request, approvals that do not count.

use std::time::Duration;

use firmseal_api::audit::{AuditOutcome, AuditQuery, AuditRecord};
use firmseal_api::client::Client;
use firmseal_api::keys::DisableKey;
use firmseal_api::requests::Ordered;
use firmseal_api::signatures::CreateSignature;
use firmseal_fleet::audit::AuditAction;
use firmseal_fleet::{Role, Scope};
use firmseal_manifest::RequestId;
use firmseal_server::Serves;
use firmseal_sign::review;
use firmseal_store::SigningRequests;
use http::StatusCode;

use crate::bench::{Bench, order, product};
use crate::chain::metrics;
use crate::records::{Approvers, decided_by_build, person, sign};
use crate::signatures::{WAIT, status, wish};

/// The one record of what a caller was denied for a reason.
async fn denied(admin: &Client, name: &str, why: &str) -> AuditRecord {
    let query = AuditQuery { action: Some(AuditAction::AccessDenied), ..AuditQuery::default() };
    let found = admin.operator().audit(&query).await.unwrap().items;
    let own = |record: &&AuditRecord| {
        record.by.as_deref() == Some(name) && record.reasons.first().is_some_and(|reason| reason.rule == why)
    };
    let own: Vec<_> = found.iter().filter(own).collect();
    let [record] = own.as_slice() else { panic!("{name} {why}: {found:#?}") };
    assert_eq!((record.outcome, record.log_index.is_some()), (AuditOutcome::Failure, true));
    (*record).clone()
}

async fn counted(admin: &Client, why: &str, count: u32) {
    let text = metrics(admin).await;
    assert!(text.contains(&format!("firmseal_denials_total{{reason=\"{why}\"}} {count}\n")), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_a_key_that_does_not_sign_is_on_record() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let file = bench.upload(&admin, b"some firmware").await;
    let keys = admin.operator().keys().await.unwrap().items;
    let own = keys.iter().find(|key| key.purpose == "artifact").unwrap().name.clone();
    let release = keys.iter().find(|key| key.purpose == "release").unwrap().name.to_string();
    let mut told = Vec::new();
    // Nobody's key, and one for something else.
    for (name, key) in [("tom", "nobodys".to_owned()), ("rita", release)] {
        let client = person(&bench, &admin, name, Role::Signer).await;
        let asked = CreateSignature { key: Some(key.clone()), ..wish(file) };
        let refused = client.operator().create_signature("k", &asked, WAIT).await;
        assert_eq!(status(refused), StatusCode::UNPROCESSABLE_ENTITY);
        told.push((name, "key", format!("`{key}`")));
    }
    // Outside of what the credential is for.
    let scope = Scope { keys: ["another".to_owned()].into(), ..Scope::default() };
    let (secret, _) = bench.scoped(&[Role::Signer], scope).await;
    let confined = bench.builder(Serves::Operator).token(&secret).build().unwrap();
    let refused = confined.operator().create_signature("k", &wish(file), WAIT).await;
    assert_eq!(status(refused), StatusCode::UNPROCESSABLE_ENTITY);
    told.push(("confined", "scope", format!("signing key `{own}`")));
    // Disabled, as a stolen one is; alone, and among others.
    let sam = person(&bench, &admin, "sam", Role::Signer).await;
    let stolen = DisableKey { why: "it was stolen".to_owned(), at: None };
    admin.operator().disable_key(&own, &stolen).await.unwrap();
    let refused = sam.operator().create_signature("k", &wish(file), WAIT).await;
    assert_eq!(status(refused), StatusCode::UNPROCESSABLE_ENTITY);
    let answers = sam.operator().create_signatures("b", vec![wish(file), wish(file)], WAIT).await.unwrap();
    assert_eq!(answers.len(), 2, "{answers:?}");
    told.push(("sam", "key", "it was stolen".to_owned()));

    for (name, why, what) in told {
        let record = denied(&admin, name, why).await;
        assert!(record.reasons[0].why.contains(&what), "{record:#?}");
        assert!(record.source.is_some(), "{record:#?}");
    }
    counted(&admin, "key", 5).await;
    counted(&admin, "scope", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_agrees_to_the_own_request_or_with_a_strangers_key_is_on_record() {
    let bench = decided_by_build().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let approvers = Approvers::appoint(&bench, &admin).await;
    let file = bench.upload(&admin, &[7; 5000]).await;
    let held = sign(&admin, file, "held").await;
    let refused = admin.operator().release_signature(held.id).await;
    assert_eq!(status(refused), StatusCode::UNPROCESSABLE_ENTITY);
    let record = denied(&admin, "tester", "own").await;
    assert!(record.reasons[0].why.contains(&held.id.to_string()), "{record:#?}");

    // Ann orders, and agrees herself; Zoe is no approver, and Ben signs for
    // another request.
    let ann = person(&bench, &admin, "ann", Role::Signer).await;
    let wish = firmseal_api::signing::CreateRelease {
        build: "agreed".to_owned(),
        ..order("gateway", "1.1.0", file)
    };
    let id: RequestId = match ann.operator().create_release("agreed", &wish).await.unwrap() {
        Ordered::Request(request) => request.id,
        other => panic!("it waits for people: {other:?}"),
    };
    let request = bench.store.signing_request(id).await.unwrap().unwrap();
    let mut another = request.clone();
    another.id = RequestId::new();
    for (bearer, holder, asked, why, words) in [
        ("bea", "ann", &request, "own", "ann asked for this release"),
        ("bert", "zoe", &request, "approval", "no approver of product `gateway`"),
        ("bob", "ben", &another, "approval", "does not verify"),
    ] {
        let client = person(&bench, &admin, bearer, Role::Approver).await;
        let word = approvers.word(holder, &|root| review::statement(asked, root));
        let refused = client.operator().approve(id, &word).await;
        assert_eq!(status(refused), StatusCode::UNPROCESSABLE_ENTITY, "{bearer}");
        let record = denied(&admin, bearer, why).await;
        assert!(record.reasons[0].why.contains(words), "{record:#?}");
    }
    counted(&admin, "own", 2).await;
    counted(&admin, "approval", 2).await;
    let told = bench.store.approvals(id).await.unwrap();
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(admin.operator().signature(held.id, Duration::ZERO).await.unwrap().signature, None);
}

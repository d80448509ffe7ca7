//! Signing keys over HTTP: how they stand, and what officers say of them.

use firmseal_api::keys::{ChangeKey, DestroyKey, DisableKey};
use firmseal_fleet::Role;
use firmseal_testkit::world::firmware;
use http::StatusCode;

use crate::bench::{Bench, order, product};

fn change(why: &str) -> ChangeKey {
    ChangeKey { why: why.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_key_signs_nothing_and_says_who_and_why() {
    let mut bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let artifact = bench.upload(&admin, &firmware(9_000, 1)).await;
    let sign = async |version: &str| {
        let order = order("gateway", version, artifact);
        admin.operator().create_release(&format!("key-{version}"), &order).await
    };
    sign("1.0.0").await.unwrap();
    let keys = admin.operator().keys().await.unwrap().items;
    let key = keys.iter().find(|key| key.purpose == "release").unwrap();
    assert_eq!((key.state.as_str(), key.held), ("enabled", true));
    assert!(key.public.starts_with("-----BEGIN PUBLIC KEY-----"));
    let name = key.name.clone();
    let usage = admin.operator().key(&name, None, None).await.unwrap();
    assert_eq!((usage.uses, usage.by_product[0].name.as_str(), usage.by_hour.len()), (1, "gateway", 1));
    assert_eq!(usage.by_caller.len(), 1);

    let leaked = DisableKey { why: "it leaked".to_owned(), at: None };
    let auditor = bench.operator(&[Role::Auditor, Role::Admin, Role::Signer]).await;
    let refused = auditor.operator().disable_key(&name, &leaked).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::FORBIDDEN));
    let wordless = DisableKey { why: " ".to_owned(), at: None };
    let refused = admin.operator().disable_key(&name, &wordless).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::BAD_REQUEST));
    let disabled = admin.operator().disable_key(&name, &leaked).await.unwrap();
    assert_eq!((disabled.state.as_str(), disabled.why.as_str()), ("disabled", "it leaked"));
    let refused = sign("1.0.1").await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
    let text = refused.to_string();
    assert!(text.contains(name.as_str()) && text.contains("it leaked"), "{text}");
    bench.restart().await;
    let admin = bench.everything().await;
    let kept = admin.operator().key(&name, None, None).await.unwrap().key;
    assert_eq!(kept.state, "disabled", "a restart brings nothing back");
    admin.operator().enable_key(&name, &change("it was another one")).await.unwrap();
    let artifact = bench.upload(&admin, &firmware(9_000, 1)).await;
    admin.operator().create_release("again", &order("gateway", "1.0.1", artifact)).await.unwrap();

    // A key that signs for products is not destroyed, whatever its state.
    let destroy = DestroyKey { why: "over".to_owned(), days: Some(1) };
    admin.operator().disable_key(&name, &leaked).await.unwrap();
    let refused = admin.operator().destroy_key(&name, &destroy).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::CONFLICT));
    let endless = DestroyKey { days: Some(400), ..destroy };
    assert_eq!(
        admin.operator().destroy_key(&name, &endless).await.unwrap_err().status(),
        Some(StatusCode::BAD_REQUEST)
    );
    let refused = admin.operator().keep_key(&name, &change("no")).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::CONFLICT));
    let nobodys = "nobodys".parse().unwrap();
    let refused = admin.operator().enable_key(&nobodys, &change("no")).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::NOT_FOUND));
}

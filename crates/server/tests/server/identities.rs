//! Tokens of identity providers, at a server that runs.

use firmseal_api::client::{Client, ClientError};
use firmseal_identity::IdentitySettings;
use firmseal_server::Serves;
use firmseal_testkit::identity::{Provider, Trick};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use crate::bench::{Bench, order, product};

pub(crate) fn settings(provider: &Provider, authority: &std::path::Path, more: Value) -> IdentitySettings {
    let mut settings = json!({
        "issuer": provider.url(),
        "kind": "workload",
        "audience": ["firmseal"],
        "authority": authority,
        "claims": { "repository": "repository" },
        "grant": [{
            "match": { "repository": "acme/gw", "ref": "refs/heads/main" },
            "name": "ci:{repository}:{ref}",
            "roles": ["signer"],
            "team": "gateways",
            "scope": { "products": ["gateway"], "channels": ["stable"] },
        }],
    });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    serde_json::from_value(settings).unwrap()
}

pub(crate) async fn bench(provider: &Provider, more: Value) -> Bench {
    Bench::with(|config| {
        let authority = config.device_ca.certificate.with_file_name("provider.pem");
        std::fs::write(&authority, provider.authority()).unwrap();
        config.identity = vec![settings(provider, &authority, more)];
    })
    .await
}

pub(crate) fn with(bench: &Bench, token: &str) -> Client {
    bench.builder(Serves::Operator).token(token).build().unwrap()
}

/// The last part of the problem's type.
pub(crate) fn problem<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> String {
    match answer.unwrap_err() {
        ClientError::Refused(problem) => problem.kind.rsplit(':').next().unwrap().to_owned(),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_signs_with_its_own_token_and_within_its_scope() {
    let provider = Provider::start().await;
    let bench = bench(&provider, json!({ "single_use": false })).await;
    let admin = bench.everything().await;
    for name in ["gateway", "meter"] {
        admin.operator().create_product(&product(name)).await.unwrap();
    }
    let job = with(&bench, &provider.token(&provider.job("1", "acme/gw", "refs/heads/main")));
    let release = bench.release(&job, "gateway", "1.0.0", &[7; 5000]).await;
    assert_eq!(release.requester, "ci:acme/gw:refs/heads/main");
    // Its role and its scope bound it, like everybody.
    let artifact = release.components[0].artifact;
    let wish = order("meter", "1.0.0", artifact);
    assert_eq!(problem(job.operator().create_release("k", &wish).await), "out-of-scope");
    let mut beta = order("gateway", "1.0.1", artifact);
    beta.channel = "beta".parse().unwrap();
    assert_eq!(problem(job.operator().create_release("k", &beta).await), "out-of-scope");
    assert_eq!(problem(job.operator().create_product(&product("mine")).await), "role-missing");
    assert_eq!(job.operator().products(&Default::default()).await.unwrap().items.len(), 1);
    // Another branch of the same repository is nobody here.
    let branch = with(&bench, &provider.token(&provider.job("2", "acme/gw", "refs/heads/evil")));
    assert_eq!(problem(branch.operator().products(&Default::default()).await), "no-grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn confused_tokens_open_nothing() {
    let provider = Provider::start().await;
    let bench = bench(&provider, json!({})).await;
    let claims = provider.job("1", "acme/gw", "refs/heads/main");
    let good = with(&bench, &provider.token(&claims));
    good.operator().products(&Default::default()).await.unwrap();
    for trick in Trick::ALL {
        let client = with(&bench, &provider.trick(&claims, trick));
        let answer = client.operator().products(&Default::default()).await;
        assert_eq!(problem(answer), "token-refused", "{trick:?}");
    }
    assert_eq!(provider.hits("/thief"), 0, "no token says where keys are");
    let fetched = provider.hits("/jwks");
    assert!(fetched <= 2, "strangers do not make us fetch: {fetched}");
    for text in ["a.b.c", "..", "e30.e30.e30", &format!("e30.{}.e30", "A".repeat(8000))] {
        assert_eq!(
            problem(with(&bench, text).operator().products(&Default::default()).await),
            "token-refused"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_can_be_read_in_two_ways_open_nothing() {
    let provider = Provider::start().await;
    let bench = bench(&provider, json!({})).await;
    let token = provider.token(&provider.job("1", "acme/gw", "refs/heads/main"));
    let (own, _) = bench.token(&[firmseal_fleet::Role::Auditor]).await;
    let nobody = bench.anybody(Serves::Operator);
    let status = async |values: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("authorization", HeaderValue::from_bytes(value).unwrap());
        }
        match nobody.send(Method::GET, "/v1/products", headers, bytes::Bytes::new()).await {
            Ok(answer) => answer.status().as_u16(),
            Err(err) => err.status().unwrap().as_u16(),
        }
    };
    let bearer = |token: &str| format!("Bearer {token}").into_bytes();
    assert_eq!(status(&[&bearer(&token)]).await, 200);
    assert_eq!(status(&[&format!("bearer {token}").into_bytes()]).await, 200, "a scheme has no case");
    assert_eq!(status(&[&bearer(&token), &bearer(&own)]).await, 401, "which one is meant?");
    assert_eq!(status(&[&bearer(&own), &bearer(&own)]).await, 401);
    for bad in [&b"Bearer \xff\xfe.a.b"[..], b"Bearer", b"Bearer ", b"Basic YTpi", b"Bearer a b", b""] {
        assert_eq!(status(&[bad]).await, 401, "{bad:?}");
    }
    assert_eq!(status(&[&bearer(&format!("{token}, {own}"))]).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_outages_pass() {
    let provider = Provider::start().await;
    let bench = bench(&provider, json!({})).await;
    let claims = provider.job("1", "acme/gw", "refs/heads/main");
    let look = async |token: &str| with(&bench, token).operator().products(&Default::default()).await;
    provider.down(true);
    let token = provider.token(&claims);
    assert_eq!(problem(look(&token).await), "busy", "nobody is let in unchecked, and the job may try again");
    provider.down(false);
    assert_eq!(problem(look(&token).await), "busy", "not asked again at once");
    // The clock moves by days; so do tokens.
    let later = |claims: &Value, days: u64| {
        let mut claims = claims.clone();
        for name in ["iat", "nbf", "exp"] {
            claims[name] = json!(claims[name].as_u64().unwrap() + days * 24 * 3600);
        }
        claims
    };
    bench.clock.forward(1);
    let claims = later(&claims, 1);
    look(&provider.token(&claims)).await.unwrap();
    let old = provider.token(&claims);
    provider.rotate("second", false);
    assert_eq!(problem(look(&provider.token(&claims)).await), "token-refused", "asked for keys a moment ago");
    look(&old).await.unwrap();
    bench.clock.forward(1);
    let claims = later(&claims, 1);
    look(&provider.token(&claims)).await.unwrap();
}

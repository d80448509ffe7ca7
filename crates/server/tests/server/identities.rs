//! Tokens of identity providers, at a server that runs.

use firmseal_api::client::{Client, ClientError};
use firmseal_identity::IdentitySettings;
use firmseal_server::Serves;
use firmseal_testkit::identity::{Provider, Trick};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use crate::bench::{Bench, order, product};
use crate::signatures::{WAIT, wish};

fn settings(provider: &Provider, authority: &std::path::Path, more: Value) -> IdentitySettings {
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

async fn bench(provider: &Provider, more: Value) -> Bench {
    Bench::with(|config| {
        let authority = config.device_ca.certificate.with_file_name("provider.pem");
        std::fs::write(&authority, provider.authority()).unwrap();
        config.identity = vec![settings(provider, &authority, more)];
    })
    .await
}

fn with(bench: &Bench, token: &str) -> Client {
    bench.builder(Serves::Operator).token(token).build().unwrap()
}

/// The last part of the problem's type.
fn problem<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> String {
    match answer.unwrap_err() {
        ClientError::Refused(problem) => problem.kind.rsplit(':').next().unwrap().to_owned(),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_signs_with_its_own_token_and_within_its_scope() {
    let provider = Provider::start().await;
    let bench = bench(&provider, json!({})).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_use_signs_once() {
    let provider = Provider::start().await;
    let bench = bench(&provider, json!({ "single_use": true })).await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    // Made before the server started, or in its first half minute: nobody
    // knows whether it was used.
    let early = provider.job("early", "acme/gw", "refs/heads/main");
    let artifact = bench.upload(&admin, &[1; 5000]).await;
    let early = with(&bench, &provider.token(&early));
    let wish = order("gateway", "1.0.0", artifact);
    assert_eq!(problem(early.operator().create_release("a", &wish).await), "token-used");
    bench.clock.forward(1);
    let mut claims = provider.job("one", "acme/gw", "refs/heads/main");
    for name in ["iat", "nbf", "exp"] {
        claims[name] = json!(claims[name].as_u64().unwrap() + 24 * 3600);
    }
    let job = with(&bench, &provider.token(&claims));
    let first = job.operator().create_release("a", &wish).await.unwrap().release().unwrap();
    let again = job.operator().create_release("a", &wish).await.unwrap().release().unwrap();
    assert_eq!(first.id, again.id, "the answer may have been lost");
    let other = order("gateway", "1.0.1", artifact);
    assert_eq!(problem(job.operator().create_release("b", &other).await), "token-used");
    job.operator().release(first.id).await.unwrap();
    let mut nameless = claims.clone();
    nameless.as_object_mut().unwrap().remove("jti");
    let nameless = with(&bench, &provider.token(&nameless));
    assert_eq!(problem(nameless.operator().products(&Default::default()).await), "token-refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_use_asks_for_one_batch() {
    let provider = Provider::start().await;
    let bench = bench(&provider, json!({ "single_use": true })).await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let (one, two) = (bench.upload(&admin, b"one").await, bench.upload(&admin, b"two").await);
    bench.clock.forward(1);
    let mut claims = provider.job("one", "acme/gw", "refs/heads/main");
    for name in ["iat", "nbf", "exp"] {
        claims[name] = json!(claims[name].as_u64().unwrap() + 24 * 3600);
    }
    let job = with(&bench, &provider.token(&claims));
    let job = job.operator();
    let first = job.create_signatures("a", vec![wish(one)], WAIT).await.unwrap();
    assert_eq!(job.create_signatures("a", vec![wish(one)], WAIT).await.unwrap(), first, "sent again");
    // Whoever finds the token gets nothing more with it: no longer batch under
    // the same key, no other one, and no request by itself.
    let longer = job.create_signatures("a", vec![wish(one), wish(two)], WAIT).await;
    assert_eq!(problem(longer), "token-used");
    assert_eq!(problem(job.create_signatures("b", vec![wish(two)], WAIT).await), "token-used");
    for key in ["a", "a/0", "a/1"] {
        assert_eq!(problem(job.create_signature(key, &wish(two), WAIT).await), "token-used", "{key}");
    }
}

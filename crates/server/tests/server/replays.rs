//! Tokens that somebody copied: what a second use of them is worth.

use bytes::Bytes;
use firmseal_api::client::Client;
use firmseal_api::signatures::{CreateSignature, CreateSignatures, PARTS_MAX};
use firmseal_server::openapi;
use firmseal_testkit::identity::Provider;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use crate::bench::{Bench, order, product, sha256};
use crate::identities::{bench, problem, with};
use crate::routes::place_of;
use crate::signatures::{WAIT, wish};

/// A day after the start, when it is certain that no token is from before.
fn later(mut claims: Value) -> Value {
    for name in ["iat", "nbf", "exp"] {
        claims[name] = json!(claims[name].as_u64().unwrap() + 24 * 3600);
    }
    claims
}

/// A server with a product, and the claims of a job that it knows.
async fn started(provider: &Provider, more: Value) -> (Bench, Value) {
    let bench = bench(provider, more).await;
    bench.everything().await.operator().create_product(&product("gateway")).await.unwrap();
    bench.clock.forward(1);
    (bench, later(provider.job("one", "acme/gw", "refs/heads/main")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_signs_once_with_its_token_unless_settings_say_otherwise() {
    let provider = Provider::start().await;
    let (bench, claims) = started(&provider, json!({})).await;
    let job = with(&bench, &provider.token(&claims));
    // In pieces, and again: a job carries in what it needs first.
    let (one, two) = (bench.upload(&job, &[1; 5000]).await, bench.upload(&job, &[2; 5000]).await);
    let first = order("gateway", "1.0.0", one);
    let made = job.operator().create_release("a", &first).await.unwrap().release().unwrap();
    let again = job.operator().create_release("a", &first).await.unwrap().release().unwrap();
    assert_eq!(made.id, again.id, "the answer may have been lost");
    // Whoever finds the token reads what its job may read, and that is all.
    let thief = with(&bench, &provider.token(&claims));
    thief.operator().release(made.id).await.unwrap();
    bench.upload(&thief, &[3; 5000]).await;
    let other = order("gateway", "1.0.1", two);
    assert_eq!(problem(thief.operator().create_release("b", &other).await), "token-used");
    let sent = thief.operator().create_signature("a", &wish(two), WAIT).await;
    assert_eq!(problem(sent), "token-used", "the same key on another route is another request");
    // Without an id of the provider's it is known by what was signed.
    let mut nameless = claims.clone();
    nameless.as_object_mut().unwrap().remove("jti");
    let nameless = with(&bench, &provider.token(&nameless));
    nameless.operator().create_release("b", &other).await.unwrap();
    let third = order("gateway", "1.0.2", two);
    assert_eq!(problem(nameless.operator().create_release("c", &third).await), "token-used");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_was_used_for_is_known_after_a_restart() {
    let provider = Provider::start().await;
    let (mut bench, claims) = started(&provider, json!({})).await;
    let other = provider.token(&later(provider.job("two", "acme/gw", "refs/heads/main")));
    let token = provider.token(&claims);
    let job = with(&bench, &token);
    let artifact = bench.upload(&job, &[1; 5000]).await;
    let first = order("gateway", "1.0.0", artifact);
    let made = job.operator().create_release("a", &first).await.unwrap().release().unwrap();
    for _ in 0..2 {
        bench.restart().await;
        let job = with(&bench, &token);
        let again = job.operator().create_release("a", &first).await.unwrap().release().unwrap();
        assert_eq!(again.id, made.id, "the answer may have been lost with the server");
        let replayed = job.operator().create_release("b", &order("gateway", "1.0.1", artifact)).await;
        assert_eq!(problem(replayed), "token-used");
        assert_eq!(problem(job.operator().create_signature("a", &wish(artifact), WAIT).await), "token-used");
    }
    // One that was made before the restart, and not used, is as good as ever.
    let unused = with(&bench, &other);
    unused.operator().create_release("b", &order("gateway", "1.0.1", artifact)).await.unwrap();
    // What has ended is refused for that, and need not be known any more.
    bench.clock.forward(1);
    assert_eq!(problem(with(&bench, &token).operator().create_release("c", &first).await), "token-refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_asks_for_one_batch() {
    let provider = Provider::start().await;
    let (bench, claims) = started(&provider, json!({})).await;
    let job = with(&bench, &provider.token(&claims));
    let (one, two) = (bench.upload(&job, b"one").await, bench.upload(&job, b"two").await);
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

/// The digest of a part, as whoever sends it makes it.
fn digest(requests: &[CreateSignature]) -> String {
    sha256(&serde_json::to_vec(requests).unwrap()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_asks_for_one_batch_in_parts_and_for_no_part_more() {
    let provider = Provider::start().await;
    let (mut bench, claims) = started(&provider, json!({})).await;
    let token = provider.token(&claims);
    let job = with(&bench, &token);
    let mut wishes = Vec::new();
    for number in 0..4u8 {
        wishes.push(wish(bench.upload(&job, &[number; 100]).await));
    }
    let (one, two, three) = (&wishes[..2], &wishes[2..3], &wishes[3..]);
    let named = vec![digest(one), digest(two)];
    let part = |requests: &[CreateSignature], parts: &[String]| CreateSignatures {
        requests: requests.to_vec(),
        parts: parts.to_vec(),
    };
    let ask = async |job: &Client, part: CreateSignatures| job.operator().create_part("a", part, WAIT).await;
    let first = ask(&job, part(one, &named)).await.unwrap();
    // The server goes down in between, and what is sent again is the same.
    bench.restart().await;
    let job = with(&bench, &token);
    assert_eq!(ask(&job, part(one, &named)).await.unwrap(), first);
    let second = ask(&job, part(two, &named)).await.unwrap();
    assert_eq!((first.len(), second.len()), (2, 1));
    assert_eq!(ask(&job, part(two, &named)).await.unwrap(), second);
    // What was not named is not asked for, however it is named now.
    assert_eq!(problem(ask(&job, part(three, &named)).await), "malformed");
    for parts in [vec![digest(three)], [&named[..], &[digest(three)]].concat(), Vec::new()] {
        assert_eq!(problem(ask(&job, part(three, &parts)).await), "token-used", "{parts:?}");
    }
    let turned: Vec<_> = named.iter().rev().cloned().collect();
    assert_eq!(problem(ask(&job, part(one, &turned)).await), "token-used");
    let many = vec![digest(three); PARTS_MAX + 1];
    assert_eq!(problem(ask(&job, part(three, &many)).await), "malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_changes_many_things_in_a_sitting_unless_settings_say_otherwise() {
    let provider = Provider::start().await;
    for (single_use, second) in [(Value::Null, true), (json!(true), false)] {
        let person = json!({ "kind": "person", "single_use": single_use });
        let (bench, claims) = started(&provider, person).await;
        let ann = with(&bench, &provider.token(&claims));
        let artifact = bench.upload(&ann, &[1; 5000]).await;
        let create = async |key: &str, version: &str| {
            ann.operator().create_release(key, &order("gateway", version, artifact)).await
        };
        create("a", "1.0.0").await.unwrap();
        assert_eq!(create("b", "1.0.1").await.is_ok(), second, "{single_use}");
    }
}

/// What may be asked for again, and is bound to what was asked for first.
const REPEATED: [&str; 5] = [
    "/v1/releases",
    "/v1/releases/import",
    "/v1/releases/{release}/rollback",
    "/v1/signatures",
    "/v1/signatures/batch",
];
/// What a job carries in before its one request.
const CARRIED: &str = "/v1/uploads";

#[tokio::test(flavor = "multi_thread")]
async fn every_other_change_uses_a_token_up() {
    let provider = Provider::start().await;
    let grant = json!([{
        "match": { "repository": "acme/gw" },
        "name": "ci:{repository}",
        "roles": ["signer", "approver", "operator", "officer", "admin", "auditor"],
    }]);
    let (bench, claims) = started(&provider, json!({ "grant": grant })).await;
    let mut seen = 0;
    for (index, route) in openapi::routes().into_iter().enumerate() {
        let (method, path) = (route.method.as_str(), route.path.as_str());
        if !route.access.starts_with("operator ") || REPEATED.contains(&path) || path.starts_with(CARRIED) {
            continue;
        }
        let mut own = claims.clone();
        own["jti"] = json!(format!("route-{index}"));
        let job = with(&bench, &provider.token(&own));
        let call = async || {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("application/json"));
            let body = if method == "GET" { Bytes::new() } else { Bytes::from_static(b"{}") };
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            job.send(method, &place_of(path), headers, body).await.map(drop)
        };
        let used = |answer: Result<(), _>| answer.is_err() && problem(answer) == "token-used";
        assert!(!used(call().await), "{method} {path}");
        assert_eq!(used(call().await), method != "GET", "{method} {path}, again");
        seen += usize::from(method != "GET");
    }
    assert!(seen > 20, "only {seen} routes change anything?");
}

//! What a credential is confined to, tried at every route of operators.

use bytes::Bytes;
use firmseal_api::access::CreateOperatorToken;
use firmseal_api::client::Client;
use firmseal_fleet::{Role, Scope};
use firmseal_manifest::ProductId;
use firmseal_server::{Serves, openapi};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::json;

use crate::bench::{Bench, order, product};

/// Routes at which no product plays a part: what they show belongs to all of
/// them, to none, or to whoever brought it.
const WITHOUT_PRODUCT: &[&str] = &[
    "GET /healthz",
    "GET /readyz",
    "GET /v1/artifacts/{artifact}",
    // Its record says which product it is about; there is none here.
    "GET /v1/audit/decisions/{decision}",
    "GET /v1/freshness",
    "GET /v1/revocation",
    "GET /v1/roots/{version}",
    "GET /v1/sign-in",
    "GET /v1/uploads/{upload}",
    "PATCH /v1/uploads/{upload}",
    "POST /v1/uploads",
    "POST /v1/uploads/{upload}/complete",
];

/// Lists, which leave out what lies outside.
const LISTS: &[&str] = &[
    "/v1/artifacts",
    "/v1/audit",
    "/v1/decisions",
    "/v1/devices",
    "/v1/enrolment-tokens",
    "/v1/keys",
    "/v1/operator-tokens",
    "/v1/products",
    "/v1/releases",
    "/v1/requests",
    "/v1/rollouts",
    "/v1/signatures",
];

async fn send(client: &Client, method: &str, path: &str, kind: &str, body: Bytes) -> (StatusCode, String) {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_str(kind).unwrap());
    headers.insert(HeaderName::from_static("idempotency-key"), HeaderValue::from_static("k"));
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    match client.send(method, path, headers, body).await {
        Ok(answer) => {
            let (status, body) = (answer.status(), http_body_util::BodyExt::collect(answer.into_body()));
            (status, String::from_utf8_lossy(&body.await.unwrap().to_bytes()).into_owned())
        }
        Err(err) => (err.status().unwrap(), format!("{err:?}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_another_teams_product() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    for name in ["gateway", "meter"] {
        admin.operator().create_product(&product(name)).await.unwrap();
    }
    let release = bench.release(&admin, "gateway", "1.0.0", &[7; 5000]).await;
    let rollout = bench.rollout(&admin, &release).await;
    let device = bench.device(&admin, "gateway").await;
    let tokens = admin.operator().enrolment_tokens(&Default::default()).await.unwrap();
    let (_, open) = bench.token(&[Role::Auditor]).await;
    let meter: ProductId = "meter".parse().unwrap();
    let scope = Scope { products: [meter.clone()].into(), ..Scope::default() };
    let (secret, _) = bench.scoped(&Role::ALL, scope.clone()).await;
    let confined = bench.builder(Serves::Operator).token(&secret).build().unwrap();

    let json = |value: serde_json::Value| Bytes::from(value.to_string());
    let all = json(json!({ "name": "x", "roles": ["admin"] }));
    let artifact = release.components[0].artifact;
    let bodies = [
        ("/v1/products", json(serde_json::to_value(product("gateway")).unwrap())),
        ("/v1/releases", json(serde_json::to_value(order("gateway", "2.0.0", artifact)).unwrap())),
        (
            "/v1/signatures",
            json(json!({
                "product": "gateway", "channel": "stable", "artifact": artifact,
                "version": "1.0.0", "epoch": 0, "build": "b", "commit": "c",
            })),
        ),
        (
            "/v1/signatures/batch",
            json(json!({ "requests": [{
                "product": "gateway", "channel": "stable", "artifact": artifact,
                "version": "1.0.0", "epoch": 0, "build": "b", "commit": "c",
            }] })),
        ),
        ("/v1/rollouts", json(json!({ "release": release.id, "cohort": "all" }))),
        ("/v1/enrolment-tokens", json(json!({ "product": "gateway" }))),
        ("/v1/operator-tokens", all),
        ("/v1/policies", json(json!({ "schema": 1, "files": [], "why": "x" }))),
        ("/v1/keys/{key}/enable", json(json!({ "why": "x" }))),
        ("/v1/keys/{key}/disable", json(json!({ "why": "x" }))),
        ("/v1/keys/{key}/destroy", json(json!({ "why": "x" }))),
        ("/v1/keys/{key}/keep", json(json!({ "why": "x" }))),
        ("/v1/releases/{release}/rollback", json(json!({}))),
        (
            "/v1/requests/{request}/approvals",
            json(json!({ "key": artifact, "signature": { "form": "cose", "signature": "AAAA" } })),
        ),
    ];
    for route in openapi::routes().into_iter().filter(|route| route.listener == "operator") {
        let (method, path) = (route.method.as_str(), route.path.as_str());
        let at = format!("{method} {path}");
        if WITHOUT_PRODUCT.contains(&at.as_str()) || (method == "GET" && LISTS.contains(&path)) {
            continue;
        }
        // Approvals look alike whatever they are about.
        let known_as = path.replace("/signatures/{request}", "/requests/{request}");
        let known_as = known_as.replace("/policies/{policy}", "/requests/{request}");
        let known_as = if path.ends_with("/approvals") { known_as.as_str() } else { path };
        let body = bodies.iter().find(|(known, _)| *known == known_as).map(|(_, body)| body.clone());
        let kind = match path {
            "/v1/roots" | "/v1/revocations" => "application/cbor",
            "/v1/releases/import" => "application/suit-envelope+cose",
            _ => "application/json",
        };
        let filled = path
            .replace("{release}", &release.id.to_string())
            .replace("{rollout}", &rollout.id.to_string())
            .replace("{device}", &device.id.to_string())
            .replace("{token}", &open.to_string())
            .replace("{hash}", &tokens.items[0].id.to_string())
            .replace("{key}", "release")
            .replace("{product}", "gateway")
            .replace("{payload}", &artifact.to_string())
            .replace("{policy}", &artifact.to_string())
            .replace("{tbs}", &artifact.to_string())
            .replace("{request}", &release.request.to_string())
            .replace("/import", "/import?product=gateway");
        let (status, said) = send(&confined, method, &filled, kind, body.unwrap_or_default()).await;
        // Of payloads, signatures and requests that are over, nobody outside
        // is told that they exist.
        let unseen = ["{payload}", "{request}", "{tbs}"].iter().any(|part| path.contains(part));
        let hidden = status == StatusCode::NOT_FOUND && unseen;
        let confines = status == StatusCode::FORBIDDEN && said.contains("out-of-scope");
        assert!(confines || hidden, "{at}: {status} {said}");
    }

    let mine = bench.release(&confined, "meter", "1.0.7", &[8; 5000]).await;
    for list in LISTS {
        let (status, said) = send(&confined, "GET", list, "application/json", Bytes::new()).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        assert!(!said.contains("gateway") && !said.contains(&artifact.to_string()), "{list}: {said}");
    }
    assert_eq!(confined.operator().releases(None, &Default::default()).await.unwrap().items, [mine]);

    // Nobody hands out more than they have.
    let wish = |products: &[&ProductId]| CreateOperatorToken {
        name: "ci".to_owned(),
        roles: [firmseal_api::access::Role::Signer].into(),
        team: Some("meters".to_owned()),
        products: products.iter().map(|product| (*product).clone()).collect(),
        channels: ["beta".parse().unwrap()].into(),
        keys: Default::default(),
        valid_for: None,
    };
    let gateway: ProductId = "gateway".parse().unwrap();
    for products in [&[][..], &[&gateway], &[&gateway, &meter]] {
        let refused = confined.operator().create_operator_token(&wish(products)).await.unwrap_err();
        assert_eq!(refused.status(), Some(StatusCode::FORBIDDEN), "{products:?}");
    }
    let made = confined.operator().create_operator_token(&wish(&[&meter])).await.unwrap();
    assert_eq!(made.token.team.as_deref(), Some("meters"));
    // The channel confines as well.
    let beta = bench.builder(Serves::Operator).token(&made.secret).build().unwrap();
    let stable = order("meter", "1.1.0", artifact);
    let refused = beta.operator().create_release("k", &stable).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::FORBIDDEN));
}

//! Every route, and everybody who must not get in.

use std::path::PathBuf;

use bytes::Bytes;
use firmseal_api::client::Client;
use firmseal_api::enrolment::{CreateToken, Enrol};
use firmseal_fleet::{Caller, Role};
use firmseal_server::{Serves, openapi};
use firmseal_store::Operators;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::bench::{Bench, csr, listener, product};

fn spec(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec").join(name)
}

/// Compares with a committed file; `UPDATE=1` writes it.
fn committed(name: &str, text: &str) {
    let path = spec(name);
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "spec/{name} is out of date; run the tests once with UPDATE=1 and commit it");
}

#[test]
fn the_document_allows_as_many_components_as_a_device_can_hold() {
    let product = &openapi::openapi()["components"]["schemas"]["Product"];
    let most = &product["properties"]["components"]["maxItems"];
    assert_eq!(*most, firmseal_fleet::product::COMPONENTS_MAX);
}

#[test]
fn the_committed_openapi_document_is_the_generated_one() {
    let mut text = serde_json::to_string_pretty(&openapi::openapi()).unwrap();
    text.push('\n');
    committed("openapi.json", &text);
}

#[test]
fn the_committed_list_of_routes_is_complete() {
    let mut text = String::new();
    for route in openapi::routes() {
        text.push_str(&format!("{} {} {}: {}\n", route.listener, route.method, route.path, route.access));
    }
    committed("routes.txt", &text);
}

/// A server whose operators' door was hung by mistake under the authority of
/// devices, besides the one that asks for no certificate; and that door.
async fn with_a_wrong_door() -> (Bench, std::net::SocketAddr) {
    let bench = Bench::with(|config| {
        let directory = config.device_ca.certificate.parent().unwrap().to_owned();
        let mut wrong = listener(&directory, Serves::Operator);
        wrong.validate_client_certificates = true;
        wrong.authority = Some(config.device_ca.certificate.clone());
        config.listener.push(wrong);
    })
    .await;
    let wrong = bench.running.as_ref().unwrap().addresses().last().unwrap().1;
    (bench, wrong)
}

/// A route's path with ids that parse, and nothing that exists.
pub(crate) fn place_of(path: &str) -> String {
    let uuid = "01900000-0000-7000-8000-000000000000";
    path.replace("{release}", &format!("rel-{uuid}"))
        .replace("{rollout}", &format!("rol-{uuid}"))
        .replace("{device}", &format!("dev-{uuid}"))
        .replace("{upload}", &format!("upl-{uuid}"))
        .replace("{token}", uuid)
        .replace("{key}", "nobodys")
        .replace("{hash}", &"0".repeat(64))
        .replace("{product}", "nothing")
        .replace("{version}", "1")
        .replace("{artifact}", &"ab".repeat(32))
        .replace("{decision}", &"ab".repeat(32))
        .replace("{*tile}", "0/000")
        .replace("{tbs}", &"ab".repeat(32))
        .replace("{payload}", &"ab".repeat(32))
}

/// Calls a route with ids that parse, and nothing that exists.
async fn call(client: &Client, method: &str, path: &str) -> Option<StatusCode> {
    let path = place_of(path);
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let body = if method == Method::GET { Bytes::new() } else { Bytes::from_static(b"{}") };
    match client.send(method, &path, headers, body).await {
        Ok(answer) => Some(answer.status()),
        Err(err) => err.status(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_who_must_not() {
    let (bench, wrong_door) = with_a_wrong_door().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let mut roles = Vec::new();
    for role in Role::ALL {
        let others: Vec<Role> = Role::ALL.into_iter().filter(|other| *other != role).collect();
        roles.push((role, bench.operator(&[role]).await, bench.operator(&others).await));
    }
    let (revoked, id) = bench.token(&Role::ALL).await;
    let now = firmseal_server::Clock::now(bench.clock.as_ref());
    bench.store.revoke_credential(id, &Caller::local("bench"), now).await.unwrap();
    let fine = bench.device(&admin, "gateway").await;
    let authority = std::fs::read(bench.file("server.pem")).unwrap();
    let at_wrong_door = || {
        let door = Client::builder(&format!("https://{wrong_door}")).authorities(&authority);
        door.identity(fine.chain.as_bytes(), fine.key.as_bytes())
    };
    let strangers = [
        bench.anybody(Serves::Operator),
        bench.builder(Serves::Operator).token("fsop_guess").build().unwrap(),
        bench.builder(Serves::Operator).token(&revoked).build().unwrap(),
        bench.builder(Serves::Operator).identity(fine.chain.as_bytes(), fine.key.as_bytes()).build().unwrap(),
        // Here the handshake takes a device's certificate, and it is worth
        // nothing; nor does it mend a token.
        at_wrong_door().build().unwrap(),
        at_wrong_door().token("fsop_guess").build().unwrap(),
    ];
    let gone = bench.device(&admin, "gateway").await;
    admin.operator().revoke_device(gone.id).await.unwrap();
    let stranger = bench.anybody(Serves::Device);
    let (secret, _) = bench.token(&Role::ALL).await;
    let operator = bench.builder(Serves::Device).token(&secret).build().unwrap();

    for route in openapi::routes() {
        let (method, path) = (route.method.as_str(), route.path.as_str());
        let at = format!("{} {method} {path}", route.listener);
        match route.access.split_once(' ').unwrap_or((&route.access, "")) {
            ("operator", needs) => {
                for client in &strangers {
                    assert_eq!(call(client, method, path).await, Some(StatusCode::UNAUTHORIZED), "{at}");
                }
                let needs: Vec<&str> = needs.split('|').collect();
                for (role, alone, others) in &roles {
                    let name = role.as_str();
                    let status = call(alone, method, path).await;
                    let refused = status == Some(StatusCode::FORBIDDEN);
                    assert_eq!(refused, !needs.contains(&name), "{at} as {name}: {status:?}");
                    assert_ne!(status, Some(StatusCode::UNAUTHORIZED), "{at} as {name}");
                    if needs == [name] {
                        let status = call(others, method, path).await;
                        assert_eq!(status, Some(StatusCode::FORBIDDEN), "{at} without {name}");
                    }
                }
            }
            ("device", _) => {
                for client in [&stranger, &gone.client, &operator] {
                    assert_eq!(call(client, method, path).await, Some(StatusCode::FORBIDDEN), "{at}");
                }
                assert_ne!(call(&fine.client, method, path).await, Some(StatusCode::FORBIDDEN), "{at}");
            }
            ("enrolment", _) => {
                for client in [&stranger, &gone.client, &operator, &fine.client] {
                    assert_eq!(call(client, method, path).await, Some(StatusCode::BAD_REQUEST), "{at}");
                }
                assert_eq!((method, path), ("POST", "/v1/enrol"), "nobody tests that {at} wants a token");
            }
            ("anybody", _) => {
                assert_eq!(method, "GET", "{at}: nobody writes without a name");
            }
            (other, _) => panic!("{at}: nobody tests access `{other}`"),
        }
    }

    bench.clock.forward(31);
    for route in openapi::routes().into_iter().filter(|route| route.listener == "device") {
        let status = call(&fine.client, &route.method, &route.path).await;
        let closed = status == Some(StatusCode::FORBIDDEN);
        assert_eq!(
            closed,
            route.access == "device",
            "expired at {} {}: {status:?}",
            route.method,
            route.path
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_enrols_without_a_token_for_it() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let device = bench.device(&admin, "gateway").await;
    let (operators, _) = bench.token(&Role::ALL).await;
    let wish = CreateToken {
        product: "gateway".parse().unwrap(),
        labels: Default::default(),
        uses: None,
        valid_for: None,
    };
    let revoked = admin.operator().create_enrolment_token(&wish).await.unwrap();
    let fresh = admin.operator().create_enrolment_token(&wish).await.unwrap();
    let known = admin.operator().enrolment_tokens(&Default::default()).await.unwrap().items;
    // Newest first: the one before the last was made for nobody.
    admin.operator().revoke_enrolment_token(known[1].id).await.unwrap();
    let callers = [
        bench.anybody(Serves::Device),
        bench.builder(Serves::Device).token(&operators).build().unwrap(),
        bench
            .builder(Serves::Device)
            .identity(device.chain.as_bytes(), device.key.as_bytes())
            .build()
            .unwrap(),
    ];
    let key = rcgen::KeyPair::generate().unwrap();
    for caller in &callers {
        let hash = known[1].id.to_string();
        for token in ["", "fset_guess", &operators, &revoked.token, &hash] {
            let enrol = Enrol { token: token.to_owned(), csr: csr(&key) };
            let refused = caller.device().enrol(&enrol).await.unwrap_err();
            assert_eq!(refused.status(), Some(StatusCode::FORBIDDEN), "{token}: {refused}");
        }
    }
    let devices = admin.operator().devices(None, &Default::default()).await.unwrap().items;
    assert_eq!(devices.len(), 1, "none of them is a device now");
    // The same request with a token that is good.
    let enrol = Enrol { token: fresh.token, csr: csr(&key) };
    callers[0].device().enrol(&enrol).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_listed_at_a_listener_is_not_there() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let device = bench.device(&admin, "gateway").await;
    let (secret, _) = bench.token(&Role::ALL).await;
    let routes = openapi::routes();
    for serves in [Serves::Operator, Serves::Device, Serves::Public] {
        // Whoever may do everything, as a device and as an operator.
        let identity = bench.builder(serves).identity(device.chain.as_bytes(), device.key.as_bytes());
        let caller = identity.token(&secret).build().unwrap();
        let here = |method: &str, path: &str| {
            let same = |route: &&openapi::Route| route.method == method && route.path == path;
            routes.iter().filter(same).any(|route| route.listener == serves.as_str())
        };
        let mut absent = 0;
        for route in routes.iter().filter(|route| !here(&route.method, &route.path)) {
            let status = call(&caller, &route.method, &route.path).await;
            let gone = matches!(status, Some(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED));
            assert!(gone, "{} {} at the {} listener: {status:?}", route.method, route.path, serves.as_str());
            absent += 1;
        }
        assert!(absent > 3, "{absent} routes are elsewhere");
    }
}

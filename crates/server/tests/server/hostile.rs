//! Callers that are slow, loud or wrong, and a machine that is not ready.

use std::sync::Arc;

use bytes::Bytes;
use firmseal_fleet::Role;
use firmseal_server::{Limits, Server, ServerError, Serves};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::bench::{Bench, poll_at, product};

async fn raw(bench: &Bench, serves: Serves) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(bench.file("server.pem")).unwrap();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(bench.address(serves)).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap()
}

/// Sends bytes and reads until the server closes.
async fn say(stream: &mut TlsStream<TcpStream>, text: &[u8]) -> String {
    // The server may close while we still send; what it said counts.
    let _ = stream.write_all(text).await;
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out).await;
    String::from_utf8_lossy(&out).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_callers_are_cut() {
    let limits = Limits { handshake_seconds: 1, header_seconds: 1, stall_seconds: 1, ..Limits::default() };
    let bench = Bench::with(|config| config.limits = limits).await;
    // Half a head, and silence.
    let mut stream = raw(&bench, Serves::Public).await;
    let said = say(&mut stream, b"GET /healthz HTTP/1.1\r\nhost: loc").await;
    assert!(!said.contains("200"), "{said}");
    // A head, and a body that never comes.
    let (token, _) = bench.token(&[Role::Admin]).await;
    let mut stream = raw(&bench, Serves::Operator).await;
    let head = format!(
        "POST /v1/products HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    let said = say(&mut stream, head.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    // No handshake at all.
    let mut tcp = TcpStream::connect(bench.address(Serves::Public)).await.unwrap();
    let mut out = Vec::new();
    tcp.read_to_end(&mut out).await.unwrap();
    assert!(out.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_have_an_end() {
    let bench = Bench::start().await;
    let mut stream = raw(&bench, Serves::Public).await;
    let long = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(200_000));
    let said = say(&mut stream, long.as_bytes()).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    let mut stream = raw(&bench, Serves::Public).await;
    let many = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(100));
    let said = say(&mut stream, many.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");

    let admin = bench.operator(&[Role::Admin, Role::Signer]).await;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let big = Bytes::from(vec![b' '; bench.config.limits.json_bytes + 1]);
    let refused = admin.send(Method::POST, "/v1/products", headers, big).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::PAYLOAD_TOO_LARGE), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_is_a_problem_with_a_request_id() {
    let bench = Bench::start().await;
    let admin = bench.operator(&[Role::Admin, Role::Auditor, Role::Signer]).await;
    let json =
        || HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let text =
        || HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
    for (method, path, headers, body, status, kind) in [
        (Method::POST, "/v1/products", text(), "{}", 415, "media-type"),
        (Method::POST, "/v1/products", HeaderMap::new(), "{}", 415, "media-type"),
        (Method::POST, "/v1/products", json(), "{", 400, "malformed"),
        (Method::POST, "/v1/products", json(), "\u{0}", 400, "malformed"),
        (Method::POST, "/v1/products", json(), "{\"surprise\":1}", 400, "malformed"),
        (Method::GET, "/v1/products/NOT%20A%20NAME", HeaderMap::new(), "", 400, "malformed"),
        (Method::GET, "/v1/products/%ff", HeaderMap::new(), "", 400, "malformed"),
        (Method::GET, "/v1/products/nothing", HeaderMap::new(), "", 404, "not-found"),
        (Method::GET, "/v1/products?limit=0", HeaderMap::new(), "", 400, "malformed"),
        (Method::GET, "/v1/products?limit=x", HeaderMap::new(), "", 400, "malformed"),
        (Method::GET, "/nowhere", HeaderMap::new(), "", 404, "not-found"),
        (Method::DELETE, "/v1/products", HeaderMap::new(), "", 405, "method"),
        (Method::POST, "/v1/releases", json(), "{}", 400, "malformed"),
        (Method::GET, "/payloads/..%2f..%2fetc%2fpasswd", HeaderMap::new(), "", 400, "malformed"),
    ] {
        let answer = admin.send(method.clone(), path, headers, Bytes::copy_from_slice(body.as_bytes())).await;
        let Err(firmseal_api::client::ClientError::Refused(problem)) = answer else {
            panic!("{method} {path}: {answer:?}");
        };
        assert_eq!(problem.status, status, "{method} {path}: {problem:?}");
        assert_eq!(problem.kind, format!("urn:firmseal:problem:{kind}"), "{method} {path}");
        assert!(!problem.request_id.is_empty());
    }
    let own = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-request-id"),
        HeaderValue::from_static("my-request-0001"),
    )]);
    let answer = admin.send(Method::GET, "/healthz", own, Bytes::new()).await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "my-request-0001");
    let odd = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-request-id"),
        HeaderValue::from_static("a b\"c{}"),
    )]);
    let answer = admin.send(Method::GET, "/healthz", odd, Bytes::new()).await.unwrap();
    assert_ne!(answer.headers()["x-request-id"], "a b\"c{}");
    let ready = admin.send(Method::GET, "/readyz", HeaderMap::new(), Bytes::new()).await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_bad_body_is_not_repeated() {
    let bench = Bench::start().await;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let body = Bytes::from_static(b"{\"token\":\"x\",\"csr\":{\"secret-in-the-wrong-place\":1}}");
    let refused = bench.anybody(Serves::Device).send(Method::POST, "/v1/enrol", headers.clone(), body).await;
    assert!(!refused.unwrap_err().to_string().contains("secret"));
    let body = Bytes::from_static(b"\"fsen_secret\"");
    let refused = bench.anybody(Serves::Device).send(Method::POST, "/v1/enrol", headers, body).await;
    let text = refused.unwrap_err().to_string();
    assert!(!text.contains("fsen_secret"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_the_request_in_flight_end() {
    let mut bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let device = bench.device(&admin, "gateway").await;
    device.client.device().poll(&poll_at(0)).await.unwrap();
    device.client.device().poll(&poll_at(0)).await.unwrap();
    let address = bench.address(Serves::Device);
    bench.running.take().unwrap().shutdown().await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    use firmseal_store::Fleet;
    assert!(bench.store.device(device.id).await.unwrap().last_seen.is_some(), "notes were written down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let bench = Bench::start().await;
    let mut config = bench.config.clone();
    config.listener.truncate(1);
    config.listener[0].port = bench.address(Serves::Public).port();
    let refused = Server::start(config.clone(), bench.deps()).await.err().unwrap();
    assert!(matches!(refused, ServerError::InUse(_)), "{refused}");
    let twin = config.listener[0].clone();
    config.listener.push(twin);
    config.listener[0].port += 1;
    config.listener[1].port += 1;
    let refused = Server::start(config, bench.deps()).await.err().unwrap();
    assert!(matches!(refused, ServerError::Twice(_) | ServerError::InUse(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_do_not_grow_old() {
    let limits = Limits { connection_age_seconds: 1, ..Limits::default() };
    let bench = Bench::with(|config| config.limits = limits).await;
    let mut stream = raw(&bench, Serves::Public).await;
    let said = say(&mut stream, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    // Kept alive by the answer, and closed by its age: reading ended.
    assert!(said.starts_with("HTTP/1.1 200") && !said.contains("connection: close"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_cap_connections_wait_and_are_not_lost() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let bench = Bench::with(|config| config.limits = limits).await;
    let first = raw(&bench, Serves::Public).await;
    let mut second = Box::pin(raw(&bench, Serves::Public));
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(200), &mut second).await;
    assert!(waiting.is_err(), "no handshake while the first connection is open");
    drop(first);
    second.await;
}

//! Callers that are slow, loud or wrong, and a machine that is not ready.

use std::sync::Arc;
use std::time::Duration;

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

/// Reads until the server says that there is no more: a connection that just
/// ends is an error.
async fn hear(stream: &mut TlsStream<TcpStream>) -> String {
    let mut out = Vec::new();
    stream.read_to_end(&mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

/// Sends one byte after the other until the server has answered or closed;
/// what it said.
async fn drip(stream: TlsStream<TcpStream>, start: &[u8]) -> String {
    let (mut from, mut to) = tokio::io::split(stream);
    to.write_all(start).await.unwrap();
    let dripping = async {
        while to.write_all(b"a").await.is_ok() && to.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut out = Vec::new();
    tokio::select! {
        heard = from.read_to_end(&mut out) => assert!(heard.is_ok(), "{heard:?}"),
        () = dripping => {}
    }
    String::from_utf8(out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_callers_are_cut() {
    let limits = Limits { handshake_seconds: 3, header_seconds: 3, stall_seconds: 3, ..Limits::default() };
    let bench = Bench::with(|config| config.limits = limits).await;
    // Half a head, and silence.
    let mut stream = raw(&bench, Serves::Public).await;
    let said = say(&mut stream, b"GET /healthz HTTP/1.1\r\nhost: loc").await;
    assert!(!said.contains("200"), "{said}");
    // A head, and a body that never comes.
    let (token, _) = bench.token(&[Role::Admin]).await;
    let mut stream = raw(&bench, Serves::Operator).await;
    let head = |token: &str, length: u32| {
        format!(
            "POST /v1/products HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{{"
        )
    };
    let said = say(&mut stream, head(&token, 100).as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    // The same, a byte at a time: what counts is the whole, not the next one.
    let limits = Limits { header_seconds: 3, request_seconds: 3, ..Limits::default() };
    let patient = Bench::with(|config| config.limits = limits).await;
    let stream = raw(&patient, Serves::Public).await;
    let said = drip(stream, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ").await;
    assert_eq!(said, "");
    let (token, _) = patient.token(&[Role::Admin]).await;
    let said = drip(raw(&patient, Serves::Operator).await, head(&token, 100_000).as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    // Nor is a connection kept for nothing.
    let mut stream = raw(&patient, Serves::Public).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(hear(&mut stream).await.starts_with("HTTP/1.1 200"));
    // No handshake at all.
    let mut tcp = TcpStream::connect(bench.address(Serves::Public)).await.unwrap();
    let mut out = Vec::new();
    tcp.read_to_end(&mut out).await.unwrap();
    assert!(out.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_still_sends_hears_why_not() {
    let bench = Bench::start().await;
    let (token, _) = bench.token(&Role::ALL).await;
    let (ours, json) = (token.as_str(), "application/json");
    let piece = vec![b' '; 64 * 1024];
    for (line, token, kind, pieces, status) in [
        ("POST /v1/products", "nobodys", json, 4, "401"),
        ("POST /v1/products", ours, "text/plain", 4, "415"),
        ("POST /v1/products", ours, json, 64, "413"),
        ("POST /v1/requests/nonsense/approvals", ours, json, 4, "400"),
        ("POST /nowhere", ours, json, 64, "404"),
        ("DELETE /v1/products", ours, json, 4, "405"),
        ("PO ST /v1/products", ours, json, 4, "400"),
    ] {
        let mut stream = raw(&bench, Serves::Operator).await;
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: {kind}\r\n\
             content-length: {}\r\n\r\n",
            pieces * piece.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The answer is there before the body is, and outlives it.
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(first, *format!("HTTP/1.1 {status}").as_bytes(), "{line}");
        for _ in 0..pieces {
            stream.write_all(&piece).await.unwrap();
        }
        hear(&mut stream).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_or_not_text_is_refused() {
    let bench = Bench::start().await;
    let (token, _) = bench.token(&Role::ALL).await;
    let post = |head: &str, body: &[u8]| {
        let head = format!(
            "POST /v1/products HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\n{head}\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    let get = |target: &[u8], head: &[u8]| {
        [b"GET ", target, b" HTTP/1.1\r\nhost: localhost\r\n", head, b"\r\n"].concat()
    };
    for (name, sent, want) in [
        ("a token that is no text", get(b"/v1/products", b"authorization: Bearer \xff\xfe\r\n"), "401"),
        (
            "two tokens",
            get(b"/v1/products", b"authorization: Bearer a\r\nauthorization: Bearer b\r\n"),
            "401",
        ),
        ("another scheme", get(b"/v1/products", b"authorization: Basic YTpi\r\n"), "401"),
        ("a name that is no text", get(b"/v1/products", b"\xffx: y\r\n"), "400"),
        ("a null in a header", get(b"/v1/products", b"x: a\0b\r\n"), "400"),
        ("a line that is continued", get(b"/v1/products", b"x: a\r\n b\r\n"), "400"),
        ("a path that is no text", get(b"/v1/products/\xff\xfe", b""), "400"),
        ("a query that is no text", get(b"/v1/products?limit=%ff", b""), "401"),
        ("two lengths", post("content-length: 2\r\ncontent-length: 3\r\n", b"{}"), "400"),
        ("a negative length", post("content-length: -1\r\n", b"{}"), "400"),
        ("a length with a sign", post("content-length: +2\r\n", b"{}"), "400"),
        ("an unknown coding", post("transfer-encoding: gzip\r\n", b"{}"), "400"),
        ("a piece without end", post("transfer-encoding: chunked\r\n", b"fffffffffffffffff\r\n{}"), "400"),
        ("a piece of nonsense", post("transfer-encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"), "400"),
        ("a body that is no text", post("content-length: 11\r\n", b"{\"id\":\"\xff\xfe\"}"), "400"),
        ("half a surrogate", post("content-length: 15\r\n", b"{\"id\":\"\\ud800\"}"), "400"),
        ("a body that nests", post("content-length: 200\r\n", &[b'['; 200]), "400"),
    ] {
        let mut stream = raw(&bench, Serves::Operator).await;
        stream.write_all(&sent).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&first), format!("HTTP/1.1 {want}"), "{name}");
    }
    // Another protocol gets no answer, and does no harm.
    let mut stream = raw(&bench, Serves::Operator).await;
    let said = say(&mut stream, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(!said.contains("200"), "{said}");
    assert!(bench.everything().await.operator().products(&Default::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_have_an_end() {
    let bench = Bench::start().await;
    let mut stream = raw(&bench, Serves::Public).await;
    let long = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(200_000));
    let said = say(&mut stream, long.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
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
    let limits = Limits { connection_age_seconds: 4, ..Limits::default() };
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
    let waiting = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
    assert!(waiting.is_err(), "no handshake while the first connection is open");
    drop(first);
    second.await;
}

//! Servers: nonsense over the wire is answered with a problem, and the next
//! request is served.

use firmseal_api::registry::CreateUpload;
use firmseal_e2e::files::nonsense;
use firmseal_e2e::firmware::OPENSBI;
use firmseal_e2e::{Device, Operator, Server, Shell, Wire};
use firmseal_manifest::{ArtifactId, Digest};

use crate::GATEWAY;

/// A server with a product.
fn server(t: &Shell) -> Server {
    let server = Server::new(t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    server
}

/// It is as well as before, and never panicked.
fn lives_on(t: &Shell, mut server: Server) {
    t.ok("firmseal product list").says("gateway");
    server.stop();
    let log = server.log().text();
    assert!(!log.contains("panicked at"), "{log}");
}

/// Bodies that are no good anywhere. What is larger than any limit of ours
/// is cut off while it is still being sent, and no answer can be told from
/// no answer then.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let wrong = b"{\"id\":5,\"release\":[],\"product\":{},\"size\":\"many\",\"sha256\":null,\
        \"reports\":7,\"state\":\"none\",\"token\":[],\"csr\":1}";
    let typed: [(&str, &[u8]); 4] = [
        ("wrong types", wrong),
        ("an array", b"[]"),
        ("a number", b"1e999999"),
        ("too large a number", b"{\"size\":18446744073709551616}"),
    ];
    let typed = typed.into_iter().map(|(about, body)| (about, body.to_vec()));
    typed.chain(nonsense()).filter(|(_, body)| body.len() < 260_000).collect()
}

#[test]
fn bodies_that_mean_nothing_are_answered_with_a_problem() {
    let t = Shell::new();
    let server = server(&t);
    let device = Device::enrol(&t, &server, "gateway-1", &GATEWAY);
    let token = String::from_utf8(t.read("place/operator.token")).unwrap();
    let token = format!("authorization: Bearer {}\r\nidempotency-key: nonsense\r\n", token.trim());
    let of_operator = (Wire::new(server.place()), server.operators(), token.as_str());
    let of_device = (Wire::of_device(server.place(), &device), server.devices(), "");
    let mut problems = Vec::new();
    for ((wire, url, headers), path) in [
        (&of_operator, "/v1/products"),
        (&of_operator, "/v1/uploads"),
        (&of_operator, "/v1/releases"),
        (&of_operator, "/v1/rollouts"),
        (&of_operator, "/v1/enrolment-tokens"),
        (&of_device, "/v1/enrol"),
        (&of_device, "/v1/poll"),
        (&of_device, "/v1/reports"),
    ] {
        for (about, body) in bodies() {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-type: application/json\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            let answer = wire.ask(url, &[head.as_bytes(), &body].concat());
            let refused = answer.starts_with("HTTP/1.1 4") && !answer.starts_with("HTTP/1.1 404");
            if !refused || !answer.contains("urn:firmseal:problem:") || !answer.contains("request_id") {
                problems.push(format!("{path}, {about}: {answer}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    device.ok("poll-once");
    lives_on(&t, server);
}

#[test]
fn requests_that_are_none_are_refused_or_cut_off() {
    let t = Shell::new();
    let server = server(&t);
    let device = Device::enrol(&t, &server, "gateway-1", &GATEWAY);
    let wire = Wire::of_device(server.place(), &device);
    let mut problems = Vec::new();
    let long = format!("GET /v1/{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(100_000));
    let headers =
        format!("GET /v1/products HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(20_000));
    let raw: [(&str, &[u8]); 9] = [
        ("a long path", long.as_bytes()),
        ("many headers", headers.as_bytes()),
        ("a path that is not UTF-8", b"GET /v1/products/%ff%fe HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (
            "a header that is not UTF-8",
            b"GET /v1/products HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer \xff\xfe\r\n\r\n",
        ),
        (
            "two lengths",
            b"POST /v1/products HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
        ),
        (
            "a length of 2^64",
            b"POST /v1/products HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551616\r\n\r\n{}",
        ),
        ("ten gigabytes", b"POST /v1/products HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000000\r\n\r\n{}"),
        ("no HTTP", b"\x00\x01\x02\x03\r\n\r\n"),
        ("names that leave", b"GET /payloads/../../../../etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    ];
    for url in [server.operators(), server.devices(), server.public()] {
        for (about, bytes) in raw {
            let answer = wire.ask(&url, bytes);
            if !answer.is_empty() && !answer.starts_with("HTTP/1.1 4") {
                problems.push(format!("{about}: {answer}"));
            }
        }
    }
    for (about, bytes) in nonsense() {
        for url in [server.operators(), server.devices(), server.public()] {
            let answer = wire.ask_plainly(&url, &bytes);
            if answer.contains("HTTP/1.1 2") {
                problems.push(format!("{about}, without TLS: {answer}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    lives_on(&t, server);
}

#[test]
fn pieces_of_an_upload_that_do_not_belong_there_are_refused() {
    let t = Shell::new();
    let server = server(&t);
    let operator = Operator::new(server.place(), &server.operators());
    let image = OPENSBI.bytes();
    let id = operator.upload(&image).unwrap();
    let again = operator.upload(&image).unwrap();
    assert_eq!(id, again);
    let digest = ArtifactId(Digest([9; 32]));
    let wish = CreateUpload { size: 3, sha256: digest };
    let refused = operator.wait(async {
        let operator = operator.client.operator();
        let upload = operator.create_upload(&wish).await.unwrap();
        let beyond = operator.append(upload.id, 2, bytes::Bytes::from_static(b"abc")).await;
        assert_eq!(beyond.unwrap_err().status().map(|status| status.as_u16()), Some(409));
        operator.append(upload.id, 0, bytes::Bytes::from_static(b"abc")).await.unwrap();
        operator.complete(upload.id).await.unwrap_err()
    });
    assert_eq!(refused.status().map(|status| status.as_u16()), Some(422), "{refused}");
    lives_on(&t, server);
}

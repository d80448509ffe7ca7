//! What arrives at receivers that are really there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use firmseal_fleet::audit::{AuditAction, AuditRecord, AuditSubject, Outcome};
use firmseal_fleet::{Caller, CallerKind, Reason, Role, Scope, Time};
use firmseal_notify::SinkSettings;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn record(number: u64) -> AuditRecord {
    AuditRecord {
        number,
        time: Time::from_millis(1_800_000_000_000),
        action: AuditAction::SigningDecided,
        outcome: Outcome::Failure,
        caller: Some(Caller {
            name: "github:acme/router:refs/heads/main".to_owned(),
            kind: CallerKind::Workload,
            team: Some("network".to_owned()),
            roles: [Role::Signer].into(),
            claims: [("repository".to_owned(), "acme/router".to_owned())].into(),
            scope: Scope::default(),
            source: Some([192, 0, 2, 7].into()),
        }),
        by: None,
        reasons: vec![Reason { rule: "no-debug-builds".to_owned(), why: "a debug build".to_owned() }],
        subject: AuditSubject {
            product: Some("router".parse().unwrap()),
            version: Some("4.2.0\r\nBcc: thief@example.com".to_owned()),
            log_index: Some(17),
            ..AuditSubject::default()
        },
    }
}

fn settings(text: &str) -> SinkSettings {
    toml::from_str(text).unwrap()
}

/// A certificate for 127.0.0.1 in `directory`, and what accepts under it.
fn tls(directory: &Path) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(directory.join("ca.pem"), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Reads one HTTP request and answers it; its head and body.
async fn http(stream: impl AsyncRead + AsyncWrite + Unpin, status: &str) -> (String, Vec<u8>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).await.unwrap(), 0);
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    (head, body)
}

#[tokio::test]
async fn a_webhook_gets_a_signed_request_and_its_refusal_is_heard() {
    let directory = tempfile::tempdir().unwrap();
    let acceptor = tls(directory.path());
    std::fs::write(directory.path().join("secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    restrict(&directory.path().join("secret"));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let sink = settings(&format!(
        "name = \"siem\"\nactions = [\"signing-decided\"]\n[to.webhook]\nurl = \"https://{address}/hooks/firmseal\"
         authority = \"ca.pem\"\nsecret = \"file:secret\""
    ));
    assert!(sink.wants(AuditAction::SigningDecided) && !sink.wants(AuditAction::Approved));
    let sink = sink.open(directory.path()).unwrap();
    let server = tokio::spawn(async move {
        let mut seen = Vec::new();
        for status in ["204 No Content", "503 Service Unavailable"] {
            let (stream, _) = socket.accept().await.unwrap();
            seen.push(http(acceptor.accept(stream).await.unwrap(), status).await);
        }
        seen
    });
    sink.deliver(&record(7)).await.unwrap();
    let refused = sink.deliver(&record(7)).await.unwrap_err().to_string();
    assert!(refused.contains("503"), "{refused}");
    let seen = server.await.unwrap();
    let (head, body) = &seen[0];
    assert!(head.starts_with("POST /hooks/firmseal HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("webhook-id: audit-7\r\n") && head.contains("webhook-signature: v1,"), "{head}");
    assert_eq!(*body, seen[1].1, "the same record is the same body");
    let json: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(json["event"]["action"], "signing-decided");
    assert_eq!(json["rule"]["name"][0], "no-debug-builds");
    assert_eq!(json["group"]["name"], "network");
    assert_eq!(json["source"]["ip"], "192.0.2.7");
    assert_eq!(json["firmseal"]["log_index"], 17);
}

#[tokio::test]
async fn syslog_gets_counted_frames_and_a_closed_connection_is_noticed() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let sink = settings(&format!(
        "name = \"siem\"\n[to.syslog]\nurl = \"tcp://{address}\"\norigin = \"signing.example\""
    ));
    let sink = sink.open(Path::new("/")).unwrap();
    let (closed, wait) = tokio::sync::oneshot::channel();
    let server = tokio::spawn(async move {
        let mut seen = Vec::new();
        let mut closed = Some(closed);
        for _ in 0..2 {
            let (mut stream, _) = socket.accept().await.unwrap();
            let mut count = Vec::new();
            loop {
                match stream.read_u8().await.unwrap() {
                    b' ' => break,
                    digit => count.push(digit),
                }
            }
            let mut message = vec![0; String::from_utf8(count).unwrap().parse().unwrap()];
            stream.read_exact(&mut message).await.unwrap();
            seen.push(String::from_utf8(message).unwrap());
            drop(stream);
            if let Some(closed) = closed.take() {
                closed.send(()).unwrap();
            }
        }
        seen
    });
    sink.deliver(&record(1)).await.unwrap();
    wait.await.unwrap();
    sink.deliver(&record(2)).await.unwrap();
    let seen = server.await.unwrap();
    assert!(seen[0].starts_with("<108>1 2027-"), "{}", seen[0]);
    assert!(seen[1].contains("\"sequence\":2"), "{}", seen[1]);
}

#[tokio::test]
async fn mail_goes_to_the_relay_and_a_version_writes_no_headers() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let sink = settings(&format!(
        "name = \"officers\"\n[to.mail]\nurl = \"smtp://{address}\"
         from = \"firmseal@example.com\"\nto = [\"officer@example.com\"]"
    ));
    let sink = sink.open(Path::new("/")).unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = socket.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 relay\r\n").await.unwrap();
        let (mut letter, mut in_data) = (String::new(), false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap() == 0 {
                return letter;
            }
            let answer = match line.trim_end() {
                "." if in_data => {
                    in_data = false;
                    "250 taken\r\n"
                }
                _ if in_data => {
                    letter.push_str(&line);
                    continue;
                }
                "DATA" => {
                    in_data = true;
                    "354 go on\r\n"
                }
                "QUIT" => return letter,
                _ => "250 fine\r\n",
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            if letter.ends_with('\n') && !in_data {
                return letter;
            }
        }
    });
    sink.deliver(&record(9)).await.unwrap();
    let letter = server.await.unwrap();
    let (head, body) = letter.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Message-ID: <audit-9@example.com>"), "{head}");
    assert!(head.contains("Subject: firmseal: signing-decided router 4.2.0"), "{head}");
    assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
    assert!(body.contains("event.outcome: failure"), "{body}");
    assert!(!body.lines().any(|line| line.starts_with("Bcc")), "{body}");
}

#[test]
fn settings_that_cannot_work_say_why() {
    for (text, why) in [
        ("[to.syslog]\nurl = \"tls://h:6514\"\norigin = \"a\"", "authority"),
        ("[to.syslog]\nurl = \"udp://h:514\"\norigin = \"a\"", "tls:// or tcp://"),
        ("[to.syslog]\nurl = \"tcp://h:601\"\norigin = \"a b\"", "host name"),
        ("[to.mail]\nurl = \"smtp://mail.example:587\"\nfrom = \"a@b\"\nto = [\"c@d\"]", "authority"),
        ("[to.mail]\nurl = \"smtp://localhost:25\"\nfrom = \"a@b\"\nto = []", "name somebody"),
        ("[to.mail]\nurl = \"smtp://localhost:25\"\nfrom = \"x\"\nto = [\"c@d\"]", "no mail address"),
    ] {
        let error =
            settings(&format!("name = \"s\"\n{text}")).open(Path::new("/")).err().unwrap().to_string();
        assert!(error.contains(why) && error.contains("`s`"), "{text}: {error}");
    }
}

fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

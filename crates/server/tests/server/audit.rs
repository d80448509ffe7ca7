//! The audit trail: told in order, to auditors alone, and to receivers.

use std::time::{Duration, Instant};

use firmseal_api::audit::{AuditOutcome, AuditQuery, AuditRecord};
use firmseal_fleet::Role;
use firmseal_fleet::audit::AuditAction;
use firmseal_manifest::{ArtifactId, Event, Leaf};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::bench::{Bench, product};

/// All records but those of the tokens that tests make, oldest first. What had
/// happened when they were asked for is among them: the newest is of this
/// action.
async fn records(bench: &Bench, last: AuditAction) -> Vec<AuditRecord> {
    let auditor = bench.operator(&[Role::Auditor]).await;
    let mut found = auditor.operator().audit(&AuditQuery::default()).await.unwrap().items;
    found.retain(|record| record.action != AuditAction::CredentialCreated);
    found.reverse();
    assert_eq!(found.last().map(|record| record.action), Some(last), "{found:#?}");
    found
}

/// One message with its length before it (RFC 6587 §3.4.1), as JSON.
async fn message(stream: &mut TcpStream) -> serde_json::Value {
    let mut length = 0;
    loop {
        match stream.read_u8().await.unwrap() {
            b' ' => break,
            digit => length = length * 10 + usize::from(digit - b'0'),
        }
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await.unwrap();
    let from = message.iter().position(|byte| *byte == b'{').unwrap();
    serde_json::from_slice(&message[from..]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_on_record_and_told_to_whoever_wants_to_know() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let settings = format!(
        "name = \"siem\"\nactions = [\"release-signed\", \"release-retired\"]
         [to.syslog]\nurl = \"tcp://{address}\"\norigin = \"signing.example\""
    );
    let settings: firmseal_notify::SinkSettings = toml::from_str(&settings).unwrap();
    let mut bench = Bench::with(|config| config.notify.push(settings)).await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let release = bench.release(&admin, "gateway", "1.0.0", &[7; 5000]).await;
    let found = records(&bench, AuditAction::ReleaseSigned).await;
    let signed = found.last().unwrap();
    assert_eq!((signed.release, signed.request), (Some(release.id), Some(release.request)));
    assert_eq!((signed.by.as_deref(), signed.outcome), (Some("tester"), AuditOutcome::Success));
    assert_eq!(signed.digest, Some(release.manifest));
    assert!(signed.log_index.is_some(), "the log says so too");

    let (mut stream, _) = socket.accept().await.unwrap();
    let told = message(&mut stream).await;
    assert_eq!(told["event"]["action"], "release-signed");
    assert_eq!(told["event"]["sequence"], signed.number);
    assert_eq!(told["firmseal"]["release"], release.id.to_string());

    // After a restart nothing is recorded or told again.
    drop(stream);
    bench.restart().await;
    let admin = bench.everything().await;
    admin.operator().withdraw_release(release.id).await.unwrap();
    let after = records(&bench, AuditAction::ReleaseRetired).await;
    assert_eq!(after[..found.len()], found[..]);
    let (mut stream, _) = socket.accept().await.unwrap();
    assert_eq!(message(&mut stream).await["event"]["action"], "release-retired");

    let auditor = bench.operator(&[Role::Auditor]).await;
    let query = AuditQuery { request: Some(release.request), ..AuditQuery::default() };
    let story = auditor.operator().audit(&query).await.unwrap().items;
    assert!(!story.is_empty() && story.iter().all(|record| record.request == Some(release.request)));
    let none = AuditQuery { by: Some("nobody".to_owned()), ..AuditQuery::default() };
    assert_eq!(auditor.operator().audit(&none).await.unwrap().items, []);
}

/// Those that tell of products.
async fn products(bench: &Bench) -> Vec<AuditRecord> {
    let mut found = records(bench, AuditAction::ProductCreated).await;
    found.retain(|record| record.action == AuditAction::ProductCreated);
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_go_when_their_days_are_over_and_no_earlier() {
    let mut bench = Bench::with(|config| config.limits.audit_days = 30).await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let before = products(&bench).await;
    bench.clock.forward(29);
    bench.restart().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("meter")).await.unwrap();
    // Longer than the server waits before it looks for the first time.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let both = products(&bench).await;
    assert_eq!((both.len(), &both[0]), (2, &before[0]), "29 days are not 30");

    bench.clock.forward(2);
    bench.restart().await;
    let deadline = Instant::now() + Duration::from_secs(120);
    let left = loop {
        let left = products(&bench).await;
        if left.len() < 2 {
            break left;
        }
        assert!(Instant::now() < deadline, "31 days, and the record is still there: {left:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(left, both[1..], "what is 2 days old stays, under its number");
    // The log keeps what it said.
    let entries = bench.store.intents().read(0, 100).await.unwrap();
    let products = entries.iter().filter_map(|entry| match Leaf::decode(&entry.leaf) {
        Some(Leaf::Event(Event::Product { product, .. })) => Some(ArtifactId(product)),
        _ => None,
    });
    assert_eq!(products.map(Some).collect::<Vec<_>>(), [before[0].digest, left[0].digest]);
}

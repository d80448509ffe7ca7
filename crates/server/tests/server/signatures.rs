//! Signatures of files, as a pipeline asks for them.

use std::time::Duration;

use bytes::Bytes;
use firmseal_api::client::ClientError;
use firmseal_api::registry::Product;
use firmseal_api::signatures::{CreateSignature, Priority, SignatureQuery, SignatureState};
use firmseal_fleet::Role;
use firmseal_keys::verify;
use firmseal_manifest::{ArtifactId, Intent, Leaf, RequestId, Signature, Tbs};
use firmseal_server::Serves;
use firmseal_tlog::{Checkpoint, Note, leaf_hash, verify_inclusion};
use http::{HeaderMap, Method, StatusCode};

use crate::bench::{Bench, files, product};
use crate::chain::metrics;
use crate::records::decided_by_build;

pub(crate) const WAIT: Duration = Duration::from_secs(20);

pub(crate) fn wish(artifact: ArtifactId) -> CreateSignature {
    CreateSignature {
        product: "gateway".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        artifact,
        key: None,
        version: "1.2.3".parse().unwrap(),
        epoch: 0,
        parameters: Default::default(),
        build: "build-17".to_owned(),
        commit: "abc123".to_owned(),
        evidence: vec![],
        priority: Priority::Release,
        deadline_seconds: None,
    }
}

pub(crate) fn status<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> StatusCode {
    outcome.unwrap_err().status().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_signed_once_with_a_proof_that_stands_by_itself() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let file = bench.upload(&admin, b"some firmware").await;
    let signer = bench.operator(&[Role::Signer]).await;
    let first = signer.operator().create_signature("k1", &wish(file), WAIT).await.unwrap();
    assert_eq!(first.state, SignatureState::Signed, "{first:?}");
    let signature = first.signature.clone().unwrap();
    assert_eq!((signature.request, signature.attempts), (first.id, 1));
    let tbs = Tbs::Message(file.0.as_bytes().to_vec());
    verify(files().public_key(), &tbs, &Signature(signature.value.0.clone())).unwrap();

    // The same request, and the same bytes under another key of a request.
    let again = signer.operator().create_signature("k1", &wish(file), Duration::ZERO).await.unwrap();
    assert_eq!(again, first);
    let twin = signer.operator().create_signature("k2", &wish(file), WAIT).await.unwrap();
    assert_ne!(twin.id, first.id);
    assert_eq!(twin.signature, first.signature);
    // By digest, as tools find it that know nothing else.
    let key = first.key.parse().unwrap();
    let found = signer.operator().signature_by(&key, signature.tbs).await.unwrap();
    assert_eq!(found, first);
    let nothing = signer.operator().signature_by(&key, signature.header).await;
    assert_eq!(status(nothing), StatusCode::NOT_FOUND);
    let nobodys = signer.operator().signature_by(&"nobody".parse().unwrap(), signature.tbs).await;
    assert_eq!(status(nobodys), StatusCode::NOT_FOUND);
    let other = CreateSignature { commit: "def456".to_owned(), ..wish(file) };
    let reused = signer.operator().create_signature("k1", &other, WAIT).await;
    assert_eq!(status(reused), StatusCode::CONFLICT);

    let auditor = bench.operator(&[Role::Auditor]).await;
    let auditor = auditor.operator();
    assert_eq!(auditor.signature(first.id, Duration::ZERO).await.unwrap(), first);
    let all = auditor.signatures(&SignatureQuery::default()).await.unwrap();
    assert_eq!(all.items.iter().map(|one| one.id).collect::<Vec<_>>(), [twin.id, first.id]);
    let held = SignatureQuery { state: Some(SignatureState::Held), ..SignatureQuery::default() };
    let held = auditor.signatures(&held).await.unwrap();
    assert_eq!(held.items, []);

    let proof = auditor.signature_proof(twin.id).await.unwrap();
    let note = Note::parse(proof.checkpoint.as_bytes()).unwrap();
    note.verify(std::slice::from_ref(bench.store.intents().verifier())).unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    let path: Vec<_> = proof.path.iter().map(|hash| hash.0).collect();
    let leaf = leaf_hash(&proof.leaf.0);
    verify_inclusion(&leaf, proof.log_index, proof.size, &path, &checkpoint.root).unwrap();
    let Some(Leaf::Intent(Intent { subject, .. })) = Leaf::decode(&proof.leaf.0) else { panic!() };
    assert_eq!((subject, proof.log_index), (signature.tbs.0, signature.log_index));
    // A raw file has no place for a signature.
    assert_eq!(
        status(auditor.signed_file(first.id, 0, None).await.map(|file| file.total())),
        StatusCode::NOT_FOUND
    );
    assert_eq!(status(signer.operator().cancel_signature(first.id).await), StatusCode::CONFLICT);

    // What was signed comes in pieces, from wherever a transfer broke off.
    let mut rest = auditor.file_to_sign(first.id, 5, None).await.unwrap();
    assert_eq!((rest.offset(), rest.total()), (5, 13));
    assert_eq!(rest.chunk().await.unwrap().unwrap(), &b"firmware"[..]);
    // Nobody takes back what was agreed to, once it is signed.
    let approver = bench.operator(&[Role::Approver]).await;
    let late = approver.operator().withdraw_signature_approvals(first.id).await;
    assert_eq!(status(late), StatusCode::CONFLICT);
    let nothing = approver.operator().withdraw_signature_approvals(RequestId::new()).await;
    assert_eq!(status(nothing), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_which_rule_and_what_is_wrong_is_refused_at_once() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let file = bench.upload(&admin, b"some firmware").await;
    let operator = admin.operator();
    let ahead = CreateSignature { epoch: 17, ..wish(file) };
    let refused = operator.create_signature("k1", &ahead, WAIT).await.unwrap();
    assert_eq!(
        (refused.state, refused.reasons[0].rule.as_str()),
        (SignatureState::Refused, "gate-epoch-ahead")
    );
    assert_eq!(operator.create_signature("k1", &ahead, Duration::ZERO).await.unwrap(), refused);
    let stranger = CreateSignature { key: Some("nobodys".to_owned()), ..wish(file) };
    let nothing = CreateSignature { artifact: ArtifactId(crate::bench::sha256(b"?")), ..wish(file) };
    let nowhere = CreateSignature { product: "camera".parse().unwrap(), ..wish(file) };
    let late = CreateSignature { deadline_seconds: Some(0), ..wish(file) };
    for (wish, expected) in [
        (stranger, StatusCode::UNPROCESSABLE_ENTITY),
        (nothing, StatusCode::NOT_FOUND),
        (nowhere, StatusCode::NOT_FOUND),
        (late, StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(status(operator.create_signature("k2", &wish, WAIT).await), expected, "{wish:?}");
    }
    // An image signed beside itself as if it were any file would boot.
    let image = include_bytes!("../../../formats/fixtures/mcuboot/p256.bin");
    let image = bench.upload(&admin, image).await;
    let refused = operator.create_signature("k3", &wish(image), WAIT).await.unwrap();
    assert_eq!((refused.state, refused.reasons[0].rule.as_str()), (SignatureState::Refused, "format"));
    // A digest by itself is for keys that are marked `blind`.
    let lab = Product { format: "digest".to_owned(), ..product("lab") };
    operator.create_product(&lab).await.unwrap();
    let digest = bench.upload(&admin, &[7; 32]).await;
    let blind = CreateSignature { product: lab.id, ..wish(digest) };
    let refused = operator.create_signature("k4", &blind, WAIT).await.unwrap();
    assert_eq!((refused.state, refused.reasons[0].rule.as_str()), (SignatureState::Refused, "key"));
    assert!(refused.reasons[0].why.contains("marked `blind`"), "{refused:?}");
    let none = RequestId::new();
    assert_eq!(status(operator.signature(none, WAIT).await), StatusCode::NOT_FOUND);
    assert_eq!(status(operator.signature_proof(none).await), StatusCode::NOT_FOUND);
    assert_eq!(status(operator.release_signature(none).await), StatusCode::NOT_FOUND);
    let metrics = bench.anybody(Serves::Public);
    let text = metrics.send(Method::GET, "/metrics", HeaderMap::new(), Bytes::new()).await;
    assert!(text.is_err(), "metrics are for operators");
}

/// Parameters hold certificates: lines of text, and not without end.
#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_lines_of_text_with_an_end() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let file = bench.upload(&admin, b"some firmware").await;
    let with = |all: &[(&str, String)]| CreateSignature {
        parameters: all.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        ..wish(file)
    };
    let many: Vec<_> = (0..33).map(|number| (format!("p{number}"), String::new())).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let bad = [
        ("many", with(&many)),
        ("long", with(&[("certificate", "A".repeat(16 * 1024 + 1))])),
        ("long together", with(&[("one", "A".repeat(9 * 1024)), ("two", "A".repeat(9 * 1024))])),
        ("a zero", with(&[("certificate", "A\0".to_owned())])),
        ("a name of two lines", with(&[("certi\nficate", "A".to_owned())])),
        ("no name", with(&[("", "A".to_owned())])),
    ];
    for (name, wish) in bad {
        let refused = admin.operator().create_signature(name, &wish, Duration::ZERO).await;
        assert_eq!(status(refused), StatusCode::BAD_REQUEST, "{name}");
    }
    // What is within bounds is for the format to look at.
    let lines = with(&[("certificate", "-----BEGIN\r\n".repeat(1000))]);
    let read = admin.operator().create_signature("lines", &lines, WAIT).await.unwrap();
    assert_eq!(read.state, SignatureState::Refused, "{read:?}");
    assert!(read.reasons[0].why.contains("parameter `certificate`: not known here"), "{read:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_and_what_people_let_lapse_is_counted_once() {
    let bench = decided_by_build().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let counted = |outcome: &str, count: u32| {
        format!("firmseal_signing_requests_total{{kind=\"artifact\",outcome=\"{outcome}\"}} {count}\n")
    };
    let text = metrics(&admin).await;
    for outcome in ["signed", "again", "expired", "lapsed", "cancelled"] {
        assert!(text.contains(&counted(outcome, 0)), "an alert needs something to rise from: {text}");
    }
    let file = bench.upload(&admin, b"some firmware").await;
    let held = async |key: &str| {
        let wish = CreateSignature { build: "held".to_owned(), ..wish(file) };
        let held = admin.operator().create_signature(key, &wish, WAIT).await.unwrap();
        assert_eq!(held.state, SignatureState::Held);
        held.id
    };
    let unwanted = held("k1").await;
    for _ in 0..2 {
        admin.operator().cancel_signature(unwanted).await.unwrap();
    }
    let forgotten = held("k2").await;
    bench.clock.forward(8);
    while admin.operator().signature(forgotten, Duration::ZERO).await.unwrap().state == SignatureState::Held {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let text = loop {
        let text = metrics(&admin).await;
        if !text.contains(&counted("lapsed", 0)) {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for (outcome, count) in [("held", 2), ("cancelled", 1), ("lapsed", 1), ("expired", 0), ("failed", 0)] {
        assert!(text.contains(&counted(outcome, count)), "{outcome}: {text}");
    }
}

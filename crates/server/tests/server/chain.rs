//! From an upload to a device's report, and what may be repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use firmseal_api::client::Client;
use firmseal_api::encoding::{PAGE_MAX, PageQuery};
use firmseal_api::fleet::{Cohort, CreateRollout};
use firmseal_api::registry::{CreateUpload, Environment, Product};
use firmseal_api::signing::ReleaseState;
use firmseal_api::updates::{Phase, Poll, Report, Reports};
use firmseal_keys::{Backend, Covered, FileKey, SignError};
use firmseal_manifest::{ArtifactId, PublicKey, Signature};
use firmseal_server::{Server, Serves};
use firmseal_sign::{Keys, Pipeline};
use firmseal_store::Uploads;
use firmseal_testkit::world::firmware;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use uuid::Uuid;

use crate::bench::{Bench, order, poll_at, product, releases, sha256};

async fn fetch(client: &Client, path: &str, from: u64, to: Option<u64>) -> Vec<u8> {
    let mut download = client.download(path, from, to, None).await.unwrap();
    assert_eq!(download.offset(), from);
    let mut out = Vec::new();
    while let Some(piece) = download.chunk().await.unwrap() {
        out.extend_from_slice(&piece);
    }
    out
}

/// What the server counted so far.
pub(crate) async fn metrics(client: &Client) -> String {
    let answer = client.send(http::Method::GET, "/metrics", Default::default(), Bytes::new()).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_reaches_a_device_and_its_report_comes_back() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let bytes = firmware(150_000, 1);
    let release = bench.release(&admin, "gateway", "1.0.0", &bytes).await;
    assert_eq!(release.state, ReleaseState::Verified);
    assert_eq!((release.build.as_str(), release.commit.as_str()), ("build-77", "c0ffee"));

    let device = bench.device(&admin, "gateway").await;
    let calls = device.client.device();
    assert_eq!(calls.poll(&poll_at(0)).await.unwrap().offer, None, "no rollout yet");
    let rollout = bench.rollout(&admin, &release).await;
    let offer = calls.poll(&poll_at(0)).await.unwrap().offer.unwrap();
    assert_eq!((offer.release, offer.rollout), (release.id, rollout.id));
    assert_eq!((offer.request, offer.build.as_str()), (release.request, "build-77"));

    let envelope = calls.envelope(offer.release).await.unwrap();
    assert_eq!(ArtifactId(sha256(&envelope)), offer.envelope_sha256);
    assert_eq!(envelope.len() as u64, offer.envelope_size);
    assert_eq!(calls.root(1).await.unwrap(), bench.root());
    let path = format!("/{}", release.components[0].uri);
    assert_eq!(fetch(&device.client, &path, 0, None).await, bytes);
    assert_eq!(fetch(&device.client, &path, 100_000, None).await, bytes[100_000..], "resumed");
    assert_eq!(fetch(&device.client, &path, 5, Some(9)).await, bytes[5..9]);
    let tree = fetch(&device.client, &format!("/{}", release.components[0].tree), 0, None).await;
    assert_eq!(tree.len(), 4096, "37 digests fit into one hash block");
    let beyond = device.client.download(&path, bytes.len() as u64, None, None).await;
    assert_eq!(beyond.err().and_then(|err| err.status()), Some(StatusCode::RANGE_NOT_SATISFIABLE));

    let report = |phase, code| Report {
        id: Uuid::new_v4(),
        release: Some(offer.release),
        rollout: Some(offer.rollout),
        phase,
        code,
        message: code.map(|_| "no".to_owned()),
        at: None,
        build: Some(offer.build.clone()),
        request: Some(offer.request),
        blocks_fetched: 37,
        blocks_resumed: 0,
    };
    let reports = Reports { reports: vec![report(Phase::Downloading, None), report(Phase::Installed, None)] };
    assert_eq!(calls.report(&reports).await.unwrap().stored, 2);
    assert_eq!(calls.report(&reports).await.unwrap().stored, 0, "a repeat is kept once");
    let done = Poll { reports: vec![report(Phase::Confirmed, None)], ..poll_at(release.sequence) };
    assert_eq!(calls.poll(&done).await.unwrap().offer, None, "it runs it now");

    let outcomes = admin.operator().outcomes(rollout.id, &Default::default()).await.unwrap();
    assert_eq!(outcomes.items.len(), 1);
    let outcome = &outcomes.items[0];
    assert_eq!((outcome.device, outcome.phase), (device.id, Phase::Confirmed));
    assert_eq!(outcome.report.build.as_deref(), Some("build-77"));
    let shown = admin.operator().device(device.id).await.unwrap();
    assert_eq!(shown.running.unwrap().sequence, release.sequence);
    assert!(metrics(&admin).await.contains(r#"phase="confirmed",code="0""#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_holds_the_release_back_from_that_device_only() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let release = bench.release(&admin, "gateway", "1.0.0", &firmware(5000, 2)).await;
    let rollout = bench.rollout(&admin, &release).await;
    let (one, two) = (bench.device(&admin, "gateway").await, bench.device(&admin, "gateway").await);
    assert!(one.client.device().poll(&poll_at(0)).await.unwrap().offer.is_some());
    let refused = Report {
        id: Uuid::new_v4(),
        release: Some(release.id),
        rollout: Some(rollout.id),
        phase: Phase::Refused,
        code: Some(31),
        message: Some("image does not match".to_owned()),
        at: None,
        build: None,
        request: None,
        blocks_fetched: 0,
        blocks_resumed: 0,
    };
    let poll = Poll { reports: vec![refused], ..poll_at(0) };
    assert_eq!(one.client.device().poll(&poll).await.unwrap().offer, None);
    assert_eq!(one.client.device().poll(&poll_at(0)).await.unwrap().offer, None);
    assert!(two.client.device().poll(&poll_at(0)).await.unwrap().offer.is_some());
    admin.operator().retry_release(one.id, release.id).await.unwrap();
    assert!(one.client.device().poll(&poll_at(0)).await.unwrap().offer.is_some());
    admin.operator().halt_rollout(rollout.id).await.unwrap();
    assert_eq!(two.client.device().poll(&poll_at(0)).await.unwrap().offer, None, "halted");
    admin.operator().resume_rollout(rollout.id).await.unwrap();
    assert!(two.client.device().poll(&poll_at(0)).await.unwrap().offer.is_some());
    admin.operator().withdraw_release(release.id).await.unwrap();
    assert_eq!(two.client.device().poll(&poll_at(0)).await.unwrap().offer, None, "withdrawn");
    assert!(two.client.device().envelope(release.id).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_told_apart_from_refusals_and_isolation() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let release = bench.release(&admin, "gateway", "1.0.0", &firmware(5000, 2)).await;
    let rollout = bench.rollout(&admin, &release).await;
    let device = bench.device(&admin, "gateway").await;
    let calls = device.client.device();
    let report = |phase, code: Option<u16>| Report {
        id: Uuid::new_v4(),
        release: Some(release.id),
        rollout: Some(rollout.id),
        phase,
        code,
        message: code.map(|code| format!("because of {code}")),
        at: None,
        build: None,
        request: None,
        blocks_fetched: 0,
        blocks_resumed: 0,
    };
    for phase in [Phase::Refused, Phase::Isolated, Phase::Failed] {
        let silent = calls.report(&Reports { reports: vec![report(phase, None)] }).await.unwrap_err();
        assert_eq!(silent.status(), Some(StatusCode::BAD_REQUEST), "{phase:?}: {silent}");
    }
    let cases = [
        (Phase::Failed, 903, "a full disk passes", true),
        (Phase::Isolated, 600, "a bad block does not", false),
    ];
    for (phase, code, why, offered) in cases {
        let poll = Poll { reports: vec![report(phase, Some(code))], ..poll_at(0) };
        assert_eq!(calls.poll(&poll).await.unwrap().offer.is_some(), offered, "{why}");
        let outcome =
            admin.operator().outcomes(rollout.id, &Default::default()).await.unwrap().items.remove(0);
        assert_eq!((outcome.phase, outcome.report.code), (phase, Some(code)));
        assert_eq!(outcome.report.message, Some(format!("because of {code}")));
    }
    assert!(admin.operator().device(device.id).await.unwrap().held.contains(&release.id));
    let text = metrics(&admin).await;
    for series in [r#"phase="failed",code="903""#, r#"phase="isolated",code="600""#] {
        assert!(text.contains(series), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_of_the_environment_of_the_root() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    let production = Product { environment: Environment::Production, ..product("gateway") };
    let refused = admin.operator().create_product(&production).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::UNPROCESSABLE_ENTITY), "{refused}");
    assert!(refused.to_string().contains("for production"), "{refused}");
    assert!(refused.hint().unwrap().contains("environment `test`"), "{refused:?}");
    let missing = admin.operator().product(&production.id).await.unwrap_err();
    assert_eq!(missing.status(), Some(StatusCode::NOT_FOUND));
    admin.operator().create_product(&product("gateway")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_signing_request_gets_the_same_release() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let artifact = bench.upload(&admin, &firmware(9000, 3)).await;
    let wish = order("gateway", "1.0.0", artifact);
    let first = admin.operator().create_release("one", &wish).await.unwrap().release().unwrap();
    assert_eq!(admin.operator().create_release("one", &wish).await.unwrap().release(), Some(first.clone()));
    let other = order("gateway", "2.0.0", artifact);
    let reused = admin.operator().create_release("one", &other).await.unwrap_err();
    assert_eq!(reused.status(), Some(StatusCode::CONFLICT), "{reused}");
    let back = firmseal_api::signing::CreateRelease { sequence: Some(first.sequence), ..other };
    let refused = admin.operator().create_release("two", &back).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::UNPROCESSABLE_ENTITY), "{refused}");
    assert!(refused.hint().is_some());

    // Made now, and made before.
    let next = Bytes::from(serde_json::to_vec(&order("gateway", "3.0.0", artifact)).unwrap());
    let headers = [("idempotency-key", "three"), ("content-type", "application/json"), ("prefer", "wait=20")];
    let headers: HeaderMap =
        headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into_iter().collect();
    for status in [StatusCode::CREATED, StatusCode::OK] {
        let answer = admin.send(Method::POST, "/v1/releases", headers.clone(), next.clone()).await.unwrap();
        assert_eq!(answer.status(), status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_signed_elsewhere_is_verified_before_it_is_kept() {
    let (home, bench) = (Bench::start().await, Bench::start().await);
    let (signer, admin) = (home.everything().await, bench.everything().await);
    for client in [&signer, &admin] {
        client.operator().create_product(&product("gateway")).await.unwrap();
    }
    let bytes = firmware(9000, 4);
    let foreign = home.release(&signer, "gateway", "1.0.0", &bytes).await;
    let envelope = signer.operator().envelope(foreign.id).await.unwrap();
    bench.upload(&admin, &bytes).await;
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static(firmseal_api::ENVELOPE_TYPE));
    let path = "/v1/releases/import?product=gateway&build=b&commit=c";
    let refused = admin.send(http::Method::POST, path, headers.clone(), envelope).await.unwrap_err();
    assert_eq!(
        refused.status(),
        Some(StatusCode::UNPROCESSABLE_ENTITY),
        "signed under another root: {refused}"
    );

    let own = bench.release(&admin, "gateway", "1.0.0", &bytes).await;
    let envelope = admin.operator().envelope(own.id).await.unwrap();
    let again = admin.send(http::Method::POST, path, headers.clone(), envelope.clone()).await.unwrap_err();
    assert_eq!(again.status(), Some(StatusCode::UNPROCESSABLE_ENTITY), "not above the latest: {again}");
    let mut broken = envelope.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let refused = admin.send(http::Method::POST, path, headers, broken.into()).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::UNPROCESSABLE_ENTITY), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_a_restart() {
    let mut bench = Bench::start().await;
    let (token, _) = bench.token(&[firmseal_fleet::Role::Signer]).await;
    let client = |bench: &Bench| bench.builder(Serves::Operator).token(&token).build().unwrap();
    let bytes = firmware(100_000, 5);
    let wish = CreateUpload { size: bytes.len() as u64, sha256: ArtifactId(sha256(&bytes)) };
    let before = client(&bench);
    let upload = before.operator().create_upload(&wish).await.unwrap();
    before.operator().append(upload.id, 0, Bytes::copy_from_slice(&bytes[..60_000])).await.unwrap();
    bench.restart().await;
    let after = client(&bench);
    assert_eq!(after.operator().upload(upload.id).await.unwrap().offset, 60_000);
    let wrong = after.operator().append(upload.id, 0, Bytes::copy_from_slice(&bytes[..10])).await;
    assert_eq!(wrong.unwrap_err().status(), Some(StatusCode::CONFLICT));
    after.operator().append(upload.id, 60_000, Bytes::copy_from_slice(&bytes[60_000..])).await.unwrap();
    let artifact = after.operator().complete(upload.id).await.unwrap();
    assert_eq!((artifact.id, artifact.size), (wish.sha256, wish.size));
    assert_eq!(artifact.format, "raw");

    let stranger = bench.operator(&[firmseal_fleet::Role::Signer]).await;
    let bad = CreateUpload { size: 3, sha256: wish.sha256 };
    let upload = stranger.operator().create_upload(&bad).await.unwrap();
    stranger.operator().append(upload.id, 0, Bytes::from_static(b"abc")).await.unwrap();
    let refused = stranger.operator().complete(upload.id).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::UNPROCESSABLE_ENTITY), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_signed_elsewhere_under_the_same_root_is_offered() {
    let home = Bench::start().await;
    let bench = home.twin().await;
    let (signer, admin) = (home.everything().await, bench.everything().await);
    for client in [&signer, &admin] {
        client.operator().create_product(&product("gateway")).await.unwrap();
    }
    let bytes = firmware(30_000, 6);
    let signed = home.release(&signer, "gateway", "1.0.0", &bytes).await;
    let envelope = signer.operator().envelope(signed.id).await.unwrap();
    let import = async |envelope: Bytes| {
        admin.operator().import_release(&signed.product, "build-77", "c0ffee", envelope).await
    };
    let missing = import(envelope.clone()).await.unwrap_err();
    assert_eq!(missing.status(), Some(StatusCode::NOT_FOUND), "its payload is not here yet: {missing}");
    bench.upload(&admin, &bytes).await;
    let release = import(envelope.clone()).await.unwrap();
    assert_eq!((release.manifest, release.sequence), (signed.manifest, signed.sequence));
    assert_eq!(release.state, ReleaseState::Verified);
    assert_eq!(import(envelope).await.unwrap(), release, "again is the same");

    bench.rollout(&admin, &release).await;
    let device = bench.device(&admin, "gateway").await;
    let offer = device.client.device().poll(&poll_at(0)).await.unwrap().offer.unwrap();
    assert_eq!((offer.release, offer.commit.as_str()), (release.id, "c0ffee"));
    let public = bench.anybody(Serves::Public);
    assert_eq!(fetch(&public, &format!("/{}", release.components[0].uri), 0, None).await, bytes);
    assert_eq!(public.public().release(release.id).await.unwrap().requester, "");
    assert_eq!(public.public().root(1).await.unwrap(), bench.root());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_blob_and_artifact_is_mended_by_sending_again() {
    let mut bench = Bench::start().await;
    let bytes = firmware(200_000, 3);
    let id = {
        let admin = bench.everything().await;
        let wish = CreateUpload { size: bytes.len() as u64, sha256: ArtifactId(sha256(&bytes)) };
        let upload = admin.operator().create_upload(&wish).await.unwrap();
        let mut offset = 0;
        for piece in bytes.chunks(bench.config.limits.piece_bytes) {
            let piece = Bytes::copy_from_slice(piece);
            offset = admin.operator().append(upload.id, offset, piece).await.unwrap().offset;
        }
        // The server gets as far as this and is gone.
        bench.store.complete(upload.id).await.unwrap();
        wish.sha256
    };
    bench.restart().await;
    let admin = bench.everything().await;
    let missing = admin.operator().artifact(id).await.unwrap_err();
    assert_eq!(missing.status(), Some(StatusCode::NOT_FOUND), "a blob, and no artifact");
    // Whoever sends it again, under whatever name, makes it whole.
    assert_eq!(bench.upload(&admin, &bytes).await, id);
    assert_eq!(admin.operator().artifact(id).await.unwrap().size, bytes.len() as u64);
    assert_eq!(bench.upload(&admin, &bytes).await, id);
    admin.operator().create_product(&product("gateway")).await.unwrap();
    admin.operator().create_release("key", &order("gateway", "1.0.0", id)).await.unwrap();
}

/// A key whose token may be unplugged.
struct Unplugged {
    key: Arc<FileKey>,
    out: AtomicBool,
}

impl Backend for Unplugged {
    fn public_half(&self) -> &PublicKey {
        self.key.public_half()
    }

    async fn sign_unverified(&self, covered: Covered) -> Result<Signature, SignError> {
        self.key.sign_unverified(covered).await
    }

    async fn probe(&self) -> Result<(), SignError> {
        if self.out.load(Ordering::Relaxed) {
            return Err(SignError::Unavailable("/usr/lib/hsm.so says no".to_owned()));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_token_is_gone_is_not_ready() {
    for out in [false, true] {
        let bench = Bench::start().await;
        let key = Arc::new(Unplugged { key: bench.release_key(), out: out.into() });
        let mut deps = bench.deps();
        let keys = Keys { release: vec![releases(key)], artifact: None, ..Keys::default() };
        let root = bench.root().to_vec();
        deps.pipeline = Arc::new(Pipeline::new(deps.store.clone(), deps.log.clone(), root, keys));
        let mut config = bench.config.clone();
        config.listener.truncate(1);
        let socket = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let running = Server::start_on(config, deps, vec![socket]).await.unwrap();
        let address = running.address(Serves::Operator).unwrap();
        let authority = std::fs::read(bench.file("server.pem")).unwrap();
        let client = Client::builder(&format!("https://{address}")).authorities(&authority).build().unwrap();
        let answer = client.send(Method::GET, "/readyz", HeaderMap::new(), Bytes::new()).await;
        match answer {
            Ok(_) => assert!(!out),
            Err(error) => {
                assert!(out && error.status() == Some(StatusCode::SERVICE_UNAVAILABLE), "{error}");
                assert!(!error.to_string().contains("/usr"), "{error}");
            }
        }
        running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_is_begun_again_is_the_same_one() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    let operator = admin.operator();
    operator.create_product(&product("gateway")).await.unwrap();
    let release = bench.release(&admin, "gateway", "1.0.0", &firmware(5000, 1)).await;
    let first = bench.rollout(&admin, &release).await;
    assert_eq!(bench.rollout(&admin, &release).await, first, "the first answer was lost");
    let device = bench.device(&admin, "gateway").await;
    let narrower =
        CreateRollout { release: release.id, cohort: Cohort::Devices([device.id].into()), starts: None };
    assert_ne!(operator.create_rollout(&narrower).await.unwrap().id, first.id, "another wish");
    operator.halt_rollout(first.id).await.unwrap();
    assert_ne!(bench.rollout(&admin, &release).await.id, first.id, "a halt holds");
    let page = |limit| PageQuery { after: None, limit: Some(limit) };
    assert_eq!(operator.rollouts(&page(PAGE_MAX)).await.unwrap().items.len(), 3);
    for limit in [0, PAGE_MAX + 1] {
        let refused = operator.rollouts(&page(limit)).await.unwrap_err();
        assert!(refused.to_string().contains("limit is 1 to 1000"), "{refused}");
    }
}

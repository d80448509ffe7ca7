//! Devices that are not what they should be.

use firmseal_api::encoding::PageQuery;
use firmseal_api::enrolment::{CreateToken, Enrol, Renew};
use firmseal_api::updates::{Bootloader, Phase, Report, Reports};
use firmseal_server::Serves;
use firmseal_testkit::world::firmware;
use http::StatusCode;

use crate::bench::{Bench, csr, poll_at, product};
use crate::chain::metrics;

fn status<T: std::fmt::Debug>(answer: Result<T, firmseal_api::client::ClientError>) -> Option<StatusCode> {
    answer.err().and_then(|err| err.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_opens_renewal_and_roots_only() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let release = bench.release(&admin, "gateway", "1.0.0", &firmware(5000, 1)).await;
    bench.rollout(&admin, &release).await;
    // Enrolled 40 days ago for 30 days, as the server sees it.
    bench.clock.forward(-40);
    let device = bench.device(&admin, "gateway").await;
    let calls = device.client.device();
    calls.poll(&poll_at(0)).await.unwrap();

    bench.clock.forward(40);
    assert_eq!(status(calls.poll(&poll_at(0)).await), Some(StatusCode::FORBIDDEN));
    assert_eq!(status(calls.envelope(release.id).await), Some(StatusCode::FORBIDDEN));
    let path = format!("/{}", release.components[0].uri);
    assert_eq!(
        device.client.download(&path, 0, None, None).await.err().and_then(|err| err.status()),
        Some(StatusCode::FORBIDDEN)
    );
    assert_eq!(calls.root(1).await.unwrap(), bench.root());
    let key = rcgen::KeyPair::generate().unwrap();
    let renewed = calls.renew(&Renew { csr: csr(&key) }).await.unwrap();
    let client = bench
        .builder(Serves::Device)
        .identity(renewed.certificate.as_bytes(), key.serialize_pem().as_bytes())
        .build()
        .unwrap();
    assert!(client.device().poll(&poll_at(0)).await.unwrap().offer.is_some(), "the new one opens all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expired_by_the_clock_of_tls_completes_the_handshake() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    // Issued by the real CA in the past, and recorded: the certificate of a
    // device that was off for a year.
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::Issuer::from_ca_cert_pem(
        &std::fs::read_to_string(bench.file("ca.pem")).unwrap(),
        rcgen::KeyPair::from_pem(&std::fs::read_to_string(bench.file("ca.key")).unwrap()).unwrap(),
    )
    .unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &ca).unwrap();
    let device = bench.device(&admin, "gateway").await;
    use firmseal_server::Clock;
    use firmseal_store::{Allowance, Fleet};
    let record = firmseal_fleet::Certificate {
        fingerprint: crate::bench::sha256(certificate.der()),
        spki: crate::bench::sha256(key.public_key_raw()),
        serial: "01".to_owned(),
        not_after: firmseal_fleet::Time::from_millis(1_609_459_200_000),
    };
    let allowance = Allowance { now: bench.clock.now(), most: 9 };
    bench.store.add_certificate(device.id, record, allowance).await.unwrap();
    let client = bench
        .builder(Serves::Device)
        .identity(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
        .build()
        .unwrap();
    assert_eq!(client.device().root(1).await.unwrap(), bench.root());
    assert_eq!(status(client.device().poll(&poll_at(0)).await), Some(StatusCode::FORBIDDEN));
    client.device().renew(&Renew { csr: csr(&key) }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_gets_nothing_even_on_an_open_connection() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let device = bench.device(&admin, "gateway").await;
    let calls = device.client.device();
    calls.poll(&poll_at(0)).await.unwrap();
    admin.operator().revoke_device(device.id).await.unwrap();
    assert_eq!(status(calls.poll(&poll_at(0)).await), Some(StatusCode::FORBIDDEN));
    assert_eq!(status(calls.root(1).await), Some(StatusCode::FORBIDDEN));
    let key = rcgen::KeyPair::generate().unwrap();
    assert_eq!(status(calls.renew(&Renew { csr: csr(&key) }).await), Some(StatusCode::FORBIDDEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_has_is_kept_and_only_a_change_is_news() {
    let mut bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let id = {
        let device = bench.device(&admin, "gateway").await;
        assert_eq!(admin.operator().device(device.id).await.unwrap().equipment, None);
        let mut poll = poll_at(1);
        poll.state.hardware = Some("A2".to_owned());
        poll.state.bootloader = Bootloader {
            name: "U-Boot 2026.01".to_owned(),
            verifies: true,
            trial: true,
            epoch_counter: false,
        };
        let calls = device.client.device();
        for _ in 0..3 {
            calls.poll(&poll).await.unwrap();
        }
        assert_eq!(news(&admin).await, (1, 2));
        let shown = admin.operator().device(device.id).await.unwrap().equipment.unwrap();
        assert_eq!((shown.agent.as_str(), shown.root_version), ("test 1", 1));
        assert_eq!(
            (shown.hardware, shown.bootloader),
            (poll.state.hardware.clone(), poll.state.bootloader.clone())
        );
        // Nothing else changed: the new root document alone is news.
        poll.state.root_version = 2;
        calls.poll(&poll).await.unwrap();
        calls.poll(&poll).await.unwrap();
        assert_eq!(news(&admin).await, (2, 3));
        poll.state.bootloader.name = "x".repeat(257);
        assert_eq!(status(calls.poll(&poll).await), Some(StatusCode::BAD_REQUEST));
        device.id
    };
    drop(admin);
    bench.restart().await;
    let admin = bench.everything().await;
    let shown = admin.operator().device(id).await.unwrap().equipment.unwrap();
    assert_eq!((shown.root_version, shown.bootloader.name.as_str()), (2, "U-Boot 2026.01"));
}

/// Polls that brought something new, and those that did not.
async fn news(admin: &firmseal_api::client::Client) -> (u64, u64) {
    let text = metrics(admin).await;
    let count = |outcome: &str| {
        let series = format!("firmseal_polls_total{{outcome=\"{outcome}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |count| count.parse().unwrap())
    };
    (count("news"), count("nothing_new"))
}

#[tokio::test(flavor = "multi_thread")]
async fn another_products_device_finds_nothing() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    for name in ["gateway", "camera"] {
        admin.operator().create_product(&product(name)).await.unwrap();
    }
    let release = bench.release(&admin, "gateway", "1.0.0", &firmware(5000, 1)).await;
    bench.rollout(&admin, &release).await;
    let camera = bench.device(&admin, "camera").await;
    let calls = camera.client.device();
    assert_eq!(calls.poll(&poll_at(0)).await.unwrap().offer, None);
    assert_eq!(status(calls.envelope(release.id).await), Some(StatusCode::NOT_FOUND));
    for path in [&release.components[0].uri, &release.components[0].tree] {
        let answer = camera.client.download(&format!("/{path}"), 0, None, None).await;
        assert_eq!(answer.err().and_then(|err| err.status()), Some(StatusCode::NOT_FOUND));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_ca_does_not_get_through_the_handshake() {
    let (bench, other) = (Bench::start().await, Bench::start().await);
    let admin = other.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let foreign = other.device(&admin, "gateway").await;
    let client = bench
        .builder(Serves::Device)
        .identity(foreign.chain.as_bytes(), foreign.key.as_bytes())
        .build()
        .unwrap();
    let refused = client.device().poll(&poll_at(0)).await.unwrap_err();
    assert_eq!(refused.status(), None, "no HTTP at all: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_token_works_once_and_in_time() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let wish = CreateToken {
        product: "gateway".parse().unwrap(),
        labels: Default::default(),
        uses: None,
        valid_for: Some(60),
    };
    let token = admin.operator().create_enrolment_token(&wish).await.unwrap();
    let anybody = bench.anybody(Serves::Device);
    let (one, two) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let ask = |token: &str, csr: String| Enrol { token: token.to_owned(), csr };
    let first = anybody.device().enrol(&ask(&token.token, csr(&one))).await.unwrap();
    let again = anybody.device().enrol(&ask(&token.token, csr(&one))).await.unwrap();
    assert_eq!(first.device, again.device, "the first answer was lost: same device");
    assert_eq!(
        status(anybody.device().enrol(&ask(&token.token, csr(&two))).await),
        Some(StatusCode::CONFLICT)
    );
    assert_eq!(status(anybody.device().enrol(&ask("fsen_x", csr(&two))).await), Some(StatusCode::FORBIDDEN));
    let late = admin.operator().create_enrolment_token(&wish).await.unwrap();
    bench.clock.forward(1);
    assert_eq!(
        status(anybody.device().enrol(&ask(&late.token, csr(&two))).await),
        Some(StatusCode::FORBIDDEN)
    );

    // A request whose signature is of another key proves nothing.
    let fresh = admin.operator().create_enrolment_token(&wish).await.unwrap();
    let forged = forge(&csr(&two));
    assert_eq!(
        status(anybody.device().enrol(&ask(&fresh.token, forged)).await),
        Some(StatusCode::BAD_REQUEST)
    );
    anybody.device().enrol(&ask(&fresh.token, csr(&two))).await.expect("the forgery did not use the token");
}

/// The same request with one bit of its signature flipped.
fn forge(pem: &str) -> String {
    use base64ct::{Base64, Encoding};
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).map(str::trim).collect();
    let mut der = Base64::decode_vec(&body).unwrap();
    *der.last_mut().unwrap() ^= 1;
    let text = Base64::encode_string(&der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", lines.join("\n"))
}

fn report(phase: Phase) -> Report {
    Report {
        id: uuid::Uuid::now_v7(),
        release: None,
        rollout: None,
        phase,
        code: None,
        message: None,
        at: None,
        build: None,
        request: None,
        blocks_fetched: 0,
        blocks_resumed: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_reports_and_renews_so_often_a_day_and_no_more() {
    let bench = Bench::with(|config| {
        config.limits.reports_per_day = 5;
        config.limits.certificates_per_day = 3;
    })
    .await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let device = bench.device(&admin, "gateway").await;
    let other = bench.device(&admin, "gateway").await;
    let calls = device.client.device();
    // However little of a message a phase keeps, it is bounded.
    for phase in [Phase::Trial, Phase::Recovered] {
        let long = Report { message: Some("0".repeat(513)), ..report(phase) };
        assert_eq!(
            status(calls.report(&Reports { reports: vec![long] }).await),
            Some(StatusCode::BAD_REQUEST)
        );
    }
    let first = vec![report(Phase::Downloading); 1];
    let batch: Vec<Report> = (0..4).map(|_| report(Phase::Trial)).collect();
    calls.report(&Reports { reports: first.clone() }).await.unwrap();
    calls.report(&Reports { reports: batch }).await.unwrap();
    let more = Reports { reports: vec![report(Phase::Confirmed)] };
    let refused = calls.report(&more).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::TOO_MANY_REQUESTS));
    assert!(refused.is_transient(), "the agent keeps it and comes again");
    // It still polls, and what was sent before is answered.
    calls.poll(&poll_at(1)).await.unwrap();
    assert_eq!(calls.report(&Reports { reports: first }).await.unwrap().stored, 0);
    other.client.device().report(&more).await.unwrap();

    let renew = async || {
        let key = rcgen::KeyPair::generate().unwrap();
        calls.renew(&Renew { csr: csr(&key) }).await
    };
    renew().await.unwrap();
    renew().await.unwrap();
    assert_eq!(status(renew().await), Some(StatusCode::TOO_MANY_REQUESTS));
    bench.clock.forward(1);
    renew().await.unwrap();
    calls.report(&more).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_no_word_in_another_products_rollout() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    for name in ["gateway", "camera"] {
        admin.operator().create_product(&product(name)).await.unwrap();
    }
    let release = bench.release(&admin, "gateway", "1.0.0", &firmware(5000, 1)).await;
    let rollout = bench.rollout(&admin, &release).await;
    let gateway = bench.device(&admin, "gateway").await;
    let camera = bench.device(&admin, "camera").await;
    let reverted = Report {
        rollout: Some(rollout.id),
        code: Some(600),
        message: Some("the health command failed".to_owned()),
        ..report(Phase::Reverted)
    };
    let lie = Report { rollout: Some(rollout.id), ..report(Phase::Confirmed) };
    gateway.client.device().report(&Reports { reports: vec![reverted.clone()] }).await.unwrap();
    camera.client.device().report(&Reports { reports: vec![lie] }).await.unwrap();
    let outcomes = admin.operator().outcomes(rollout.id, &PageQuery::default()).await.unwrap().items;
    assert_eq!(outcomes.len(), 1);
    assert_eq!((outcomes[0].device, outcomes[0].phase), (gateway.id, Phase::Reverted));
    let (code, message) = (outcomes[0].report.code, outcomes[0].report.message.clone());
    assert_eq!((code, message), (reverted.code, reverted.message), "why it reverted is kept");
    let kept = admin.operator().device_reports(camera.id, &PageQuery::default()).await.unwrap().items;
    assert_eq!((kept.len(), kept[0].report.rollout), (1, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_token_is_listed_and_revoked() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let wish = CreateToken {
        product: "gateway".parse().unwrap(),
        labels: Default::default(),
        uses: Some(2),
        valid_for: None,
    };
    let token = admin.operator().create_enrolment_token(&wish).await.unwrap();
    let listed = admin.operator().enrolment_tokens(&PageQuery::default()).await.unwrap().items;
    assert_eq!((listed.len(), listed[0].uses, listed[0].expires), (1, 2, token.expires));
    assert!(!serde_json::to_string(&listed).unwrap().contains(&token.token), "no secrets");
    let ended = admin.operator().revoke_enrolment_token(listed[0].id).await.unwrap();
    assert!(ended.expires < token.expires);
    let key = rcgen::KeyPair::generate().unwrap();
    let enrol = Enrol { token: token.token, csr: csr(&key) };
    let refused = bench.anybody(Serves::Device).device().enrol(&enrol).await;
    assert_eq!(status(refused), Some(StatusCode::FORBIDDEN));
}

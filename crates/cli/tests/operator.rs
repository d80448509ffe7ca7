//! An operator's session: the program itself against a server of its own,
//! over TLS, with devices that report.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod place;
mod proxy;

use firmseal_api::client::Client;
use firmseal_api::enrolment::Enrol;
use firmseal_api::updates::{Bootloader, DeviceState, Offer, Phase, Poll, Report, Running};
use place::{Place, bytes};
use proxy::{Cut, Proxy};
use serde_json::Value;
use uuid::Uuid;

/// A device that says whatever a test wants.
struct Device {
    id: String,
    client: Client,
}

impl Device {
    async fn enrol(place: &Place, token: &str) -> Device {
        let authority = place.read("place/tls/server.pem");
        let anonymous = Client::builder(&place.device_url()).authorities(&authority).build().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let enrolled = anonymous.device().enrol(&Enrol { token: token.to_owned(), csr }).await.unwrap();
        let client = Client::builder(&place.device_url())
            .authorities(&authority)
            .identity(enrolled.certificate.as_bytes(), key.serialize_pem().as_bytes())
            .build()
            .unwrap();
        Device { id: enrolled.device.to_string(), client }
    }

    /// Asks for an offer, and says that it runs `sequence`.
    async fn poll(&self, sequence: u64, reports: Vec<Report>) -> Option<Offer> {
        let state = DeviceState {
            agent: "test".to_owned(),
            root_version: 1,
            running: Some(Running {
                version: semver::Version::new(1, 0, sequence),
                sequence,
                manifest: None,
                epoch: 0,
                slot: "a".to_owned(),
                confirmed: true,
            }),
            hardware: Some("A2".to_owned()),
            bootloader: Bootloader {
                name: "U-Boot 2026.01".to_owned(),
                trial: true,
                ..Bootloader::default()
            },
        };
        self.client.device().poll(&Poll { state, reports }).await.unwrap().offer
    }

    fn report(&self, offer: &Offer, phase: Phase, code: Option<u16>) -> Report {
        Report {
            id: Uuid::now_v7(),
            release: Some(offer.release),
            rollout: Some(offer.rollout),
            phase,
            code,
            message: code.map(|_| "the payload's block 7 is not the signed one".to_owned()),
            at: Some(1_700_000_000_000),
            build: Some(offer.build.clone()),
            request: Some(offer.request),
            blocks_fetched: 3,
            blocks_resumed: 0,
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn from_product_to_outcome() {
    let place = Place::start();
    place.write("firmware.bin", &bytes(300_000, 1));

    // A product, once; the same again changes nothing.
    let create = "product create gw --vendor example.com --class gw-1 --component main=1MiB --hardware A2";
    let product = place.json(create);
    assert_eq!(place.json(create), product);
    assert_eq!(place.json("product show gw"), product);
    assert_eq!(place.json("product list"), serde_json::json!([product]));
    let text_page = place.stdout("product show gw");
    assert!(text_page.contains("main, 1 MiB, blocks of 4096"), "{text_page}");

    // An artifact, then a release of it, then the same release again.
    let artifact = place.json("artifact upload firmware.bin");
    let id = text(&artifact, "id").to_owned();
    assert_eq!(place.json("artifact upload firmware.bin"), artifact);
    assert_eq!(place.json(&format!("artifact show {id}")), artifact);
    assert_eq!(place.json("artifact list"), serde_json::json!([artifact]));
    let create = "release create --product gw --version 1.0.1 --epoch 0 --component main=firmware.bin \
                  --build job-7 --commit c0ffee";
    let release = place.json(create);
    let release_id = text(&release, "id").to_owned();
    assert_eq!(text(&release, "state"), "verified");
    assert_eq!(release["components"][0]["artifact"], Value::from(id.clone()));
    assert_eq!(place.json(create), release, "the same wish, the same release");
    let by_digest = create.replace("main=firmware.bin", &format!("main={id}"));
    assert_eq!(place.json(&by_digest), release, "a file and its digest are the same wish");
    let listed = place.json("release list --product gw");
    assert_eq!(listed.as_array().unwrap().len(), 1);

    // Two devices, a token for both; its secret is all there is on stdout.
    let token = place.stdout("device token create --product gw --uses 2 --valid-for 5m --label site=lab");
    assert!(token.trim().starts_with("fsen_") && token.lines().count() == 1, "{token}");
    let good = Device::enrol(&place, token.trim()).await;
    let bad = Device::enrol(&place, token.trim()).await;
    let devices = place.json("device list --product gw");
    assert_eq!(devices.as_array().unwrap().len(), 2);
    assert_eq!(devices[0]["labels"], serde_json::json!({ "site": "lab" }));
    assert_eq!(place.json("device list --product gw --limit 1").as_array().unwrap().len(), 1);

    // A rollout. Halted, it offers nothing; resumed, it does.
    let rollout = place.json(&format!("rollout create {release_id} --label site=lab"));
    let rollout_id = text(&rollout, "id").to_owned();
    assert_eq!(text(&place.json(&format!("rollout halt {rollout_id}")), "state"), "halted");
    assert!(good.poll(0, Vec::new()).await.is_none());
    assert_eq!(text(&place.json(&format!("rollout resume {rollout_id}")), "state"), "active");
    assert_eq!(place.json("rollout list").as_array().unwrap().len(), 1);
    let offer = good.poll(0, Vec::new()).await.expect("an offer");
    let watch = format!("rollout watch {rollout_id} --every 1s");
    place.fails(&format!("{watch} --timeout 1s"), 7);

    // One device confirms, one refuses; both are known by phase and number.
    let confirmed = good.report(&offer, Phase::Confirmed, None);
    good.poll(1, vec![good.report(&offer, Phase::Downloading, None), confirmed]).await;
    let watching = place.spawn(&watch);
    bad.poll(0, vec![bad.report(&offer, Phase::Failed, Some(900))]).await;
    let shown = place.json(&format!("rollout show {rollout_id}"));
    assert_eq!(shown["outcomes"]["phases"], serde_json::json!({ "confirmed": 1, "failed": 1 }));
    assert_eq!(shown["outcomes"]["troubles"][0]["code"], 900);
    bad.poll(0, vec![bad.report(&offer, Phase::Refused, Some(31))]).await;
    let watched = watching.wait_with_output().unwrap();
    assert_eq!(watched.status.code(), Some(3), "{watched:?}");
    let shown = place.json(&format!("rollout show {rollout_id} --devices"));
    assert_eq!(shown["outcomes"]["phases"], serde_json::json!({ "confirmed": 1, "refused": 1 }));
    assert_eq!(shown["outcomes"]["refusals"][0]["code"], 31);
    assert_eq!(shown["devices"].as_array().unwrap().len(), 2);
    let printed = place.stdout(&format!("rollout show {rollout_id}"));
    assert!(printed.contains("refusal 31") && printed.contains("block 7"), "{printed}");

    // The one record: build, requester, log index, signature, outcomes.
    let record = place.json(&format!("release show {release_id}"));
    assert_eq!((text(&record, "build"), text(&record, "commit")), ("job-7", "c0ffee"));
    assert_eq!(text(&record, "requester"), "admin");
    assert!(record["log_index"].is_u64());
    assert_eq!(record["signatures"][0]["algorithm"], "Ed25519");
    assert_eq!(record["rollouts"][0]["outcomes"]["devices"], 2);
    let printed = place.stdout(&format!("release show {release_id}"));
    assert!(printed.contains("1 confirmed, 1 refused"), "{printed}");

    // What devices have, as they said.
    let equipment = &place.json("device list --product gw")[0]["equipment"];
    assert_eq!((&equipment["hardware"], &equipment["root_version"]), (&"A2".into(), &1.into()));
    let listed = place.stdout("device list --product gw");
    assert!(listed.contains("BOOTLOADER") && listed.contains("U-Boot 2026.01"), "{listed}");
    let printed = place.stdout(&format!("device show {}", bad.id));
    assert!(printed.contains("U-Boot 2026.01") && printed.contains("boots on trial"), "{printed}");
    assert!(printed.contains("(refusal 31)"), "{printed}");

    // A device's history, its revocation, and a second chance for it.
    let shown = place.json(&format!("device show {}", bad.id));
    let codes: Vec<_> = shown["reports"].as_array().unwrap().iter().map(|report| &report["code"]).collect();
    assert_eq!(codes, [31, 900]);
    assert_eq!(shown["held"], serde_json::json!([release_id]));
    let retried = place.json(&format!("device retry {} {release_id}", bad.id));
    assert_eq!(retried["held"], serde_json::json!([]));
    assert_eq!(text(&place.json(&format!("device revoke {}", bad.id)), "state"), "revoked");

    // Every device that is left confirmed.
    let only = place.json(&format!("rollout create {release_id} --device {}", good.id));
    place.stdout(&format!("rollout watch {} --timeout 1m", text(&only, "id")));

    assert_eq!(text(&place.json(&format!("release withdraw {release_id}")), "state"), "withdrawn");
    place.fails(&format!("rollout create {release_id}"), 6);
    place.fails(&format!("release export {release_id} -o withdrawn.bundle"), 4);
    assert!(!place.path("withdrawn.bundle").exists());
}

#[test]
fn tokens_do_what_their_roles_say() {
    let place = Place::start();
    let secret = place.stdout("token create ci --role signer --role auditor --valid-for 30d");
    assert!(secret.trim().starts_with("fsop_") && secret.lines().count() == 1, "{secret}");
    let listed = place.json("token list");
    let token = listed.as_array().unwrap().iter().find(|token| token["name"] == "ci").expect("it is listed");
    assert_eq!(token["roles"], serde_json::json!(["auditor", "signer"]));
    assert!(!listed.to_string().contains(secret.trim()), "no secret is listed");

    place.write_private("ci.token", secret.as_bytes());
    let profile = place.profile_with(&[("token", "ci.token")]);
    place.stdout(&format!("--profile {profile} product list"));
    let refused = place.fails(&format!("--profile {profile} token list"), 5);
    assert!(refused.contains("role `admin`"), "{refused}");
    let revoked = place.json(&format!("token revoke {}", text(token, "id")));
    assert!(revoked["revoked"].is_string());
    place.fails(&format!("--profile {profile} product list"), 5);
}

#[test]
fn errors_have_their_own_exit_codes() {
    let mut place = Place::start();
    place.write("firmware.bin", &bytes(10_000, 1));
    place.json("product create gw --vendor example.com --class gw-1 --component main=1MiB");
    let create = "release create --product gw --version 1.0.0 --epoch 1 --component main=firmware.bin";
    place.json(&format!("{create} --sequence 5"));

    // 3: a rule says no.
    place.write("large.bin", &bytes(2 << 20, 2));
    let older =
        "release create --product gw --version 1.0.1 --epoch 1 --component main=firmware.bin --sequence 4";
    let text = place.fails(older, 3);
    assert!(text.contains("hint: "), "{text}");
    place.fails("release create --product gw --version 1.0.1 --epoch 1 --component main=large.bin", 3);
    place.fails("release create --product gw --version 1.0.1 --epoch 0 --component main=firmware.bin", 3);
    place.write("empty.bin", b"");
    place.fails("artifact upload empty.bin", 3);
    place.fails("release import --product gw firmware.bin", 3);
    // 4: there is no such thing.
    place.fails("product show nothing", 4);
    place
        .fails("release create --product nothing --version 1.0.0 --epoch 1 --component main=firmware.bin", 4);
    place.fails("release show rel-0197c0de-0000-7000-8000-000000000001", 4);
    place.fails("device revoke dev-0197c0de-0000-7000-8000-000000000001", 4);
    place.fails("rollout watch rol-0197c0de-0000-7000-8000-000000000001", 4);
    place.fails("device token create --product nothing", 4);
    // 5: not allowed, or not the server that was meant.
    place.write_private("bad.token", b"fsop_nonsense\n");
    let profile = place.profile_with(&[("token", "bad.token")]);
    let text = place.fails(&format!("--profile {profile} product list"), 5);
    assert!(text.contains("request: ") && !text.contains("fsop_"), "{text}");
    place.stdout("tls self-signed --name 127.0.0.1 -o other");
    let profile = place.profile_with(&[("authority", "other/server.pem")]);
    place.fails(&format!("--profile {profile} product list"), 5);
    // 6: something stands in the way.
    place.fails("product create gw --vendor example.com --class gw-2 --component main=1MiB", 6);
    let text = place.fails(&format!("{create} --sequence 6"), 6);
    assert!(text.contains("version 1.0.0"), "{text}");
    let next = create.replace("1.0.0", "1.0.1");
    place.json(&format!("{next} --sequence 6 --idempotency-key one"));
    place.fails(&format!("{next} --sequence 7 --idempotency-key one"), 6);
    place.write("gw.suit", b"something");
    let release = place.json("release list");
    let id = release[0]["id"].as_str().unwrap().to_owned();
    place.fails(&format!("release envelope {id} -o gw.suit"), 6);
    assert_eq!(place.read("gw.suit"), b"something");
    // 8: this machine.
    place.fails("artifact upload missing.bin", 8);
    place.fails("artifact upload .", 8);
    place.fails("release create --product gw --version 1.0.1 --epoch 1 --component main=missing.bin", 8);
    place.fails("product create --from missing.toml", 8);
    place.fails("--profile missing.toml product list", 8);
    place.fails(&format!("release envelope {id} -o missing/gw.suit"), 8);
    // 7: out of reach.
    place.stop();
    let text = place.fails("product list", 7);
    assert!(text.contains("hint: "), "{text}");
    place.fails("artifact upload firmware.bin", 7);
}

#[test]
fn every_list_and_show_prints_json() {
    let place = Place::start();
    place.write("firmware.bin", &bytes(10_000, 1));
    place.json("product create gw --vendor example.com --class gw-1 --component main=1MiB");
    let release =
        place.json("release create --product gw --version 1.0.0 --epoch 1 --component main=firmware.bin");
    let (release, artifact) = (text(&release, "id"), text(&release["components"][0], "artifact"));
    let rollout = place.json(&format!("rollout create {release}"));
    let rollout = text(&rollout, "id");
    let mut covered = Vec::new();
    for line in [
        "product list".to_owned(),
        "product show gw".to_owned(),
        "artifact list".to_owned(),
        format!("artifact show {artifact}"),
        "release list".to_owned(),
        format!("release show {release}"),
        "device list".to_owned(),
        "rollout list".to_owned(),
        format!("rollout show {rollout}"),
        "token list".to_owned(),
        "tls show place/tls/server.pem".to_owned(),
        "keys show file:place/keys/release.pem --secret file:place/keys/passphrase".to_owned(),
        "inspect firmware.bin".to_owned(),
    ] {
        let value = place.json(&line);
        assert_eq!(value.is_array(), line.contains(" list") || line.starts_with("tls"), "{line}");
        covered.push(line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    }
    // Those that need a device or a token in hardware have their own tests.
    covered.extend(["device show".to_owned(), "keys list".to_owned()]);
    // Nobody adds a list or show that is not in here.
    for group in ["product", "artifact", "release", "device", "rollout", "token", "tls", "keys"] {
        let help = place.stdout(&format!("{group} --help"));
        for name in ["list", "show"] {
            if help.lines().any(|line| line.trim_start().starts_with(&format!("{name} "))) {
                assert!(covered.contains(&format!("{group} {name}")), "{group} {name} is not covered");
            }
        }
    }
}

#[test]
fn an_upload_survives_connections_that_break() {
    let place = Place::start();
    let content = bytes(20 << 20, 3);
    place.write("firmware.bin", &content);
    let proxy = Proxy::start(place.operator_port(), Cut { upstream: 5 << 20, connections: 3 });
    let profile = place.profile_with(&[("server", &proxy.url())]);
    let artifact = place.json(&format!("--profile {profile} artifact upload firmware.bin"));
    assert_eq!(artifact["size"], content.len());
    assert!(proxy.cuts() >= 2, "{} connections were cut", proxy.cuts());
    assert_eq!(place.json("artifact list").as_array().unwrap().len(), 1);
}

#[test]
fn an_upload_goes_on_in_another_process() {
    let place = Place::start();
    place.write("firmware.bin", &bytes(20 << 20, 4));
    let proxy = Proxy::start(place.operator_port(), Cut { upstream: 6 << 20, connections: u32::MAX });
    let profile = place.profile_with(&[("server", &proxy.url())]);
    let mut first = place.spawn(&format!("--profile {profile} artifact upload firmware.bin"));
    proxy.wait_for_cut();
    first.kill().unwrap();
    first.wait().unwrap();
    let second = place.run("artifact upload firmware.bin");
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(second.status.success() && text.contains("goes on at"), "{text}");
    let offset: u64 = text.split("goes on at ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((4 << 20..20 << 20).contains(&offset), "{offset}");
}

#[test]
fn a_release_travels_in_one_file() {
    let place = Place::start();
    let content = bytes(20 << 20, 5);
    place.write("firmware.bin", &content);
    place.json("product create gw --vendor example.com --class gw-1 --component main=32MiB");
    let create = "release create --product gw --version 1.0.0 --epoch 1 --component main=firmware.bin";
    let release = place.json(create);
    let id = text(&release, "id");

    // Out, through connections that break in the middle of the payload.
    let proxy = Proxy::downstream(place.operator_port(), Cut { upstream: 7 << 20, connections: 2 });
    let profile = place.profile_with(&[("server", &proxy.url())]);
    let exported = place.json(&format!("--profile {profile} release export {id} -o gw.bundle"));
    assert_eq!((proxy.cuts(), &exported["root_documents"]), (2, &Value::from(1)));
    let verified = place.json("verify --root place/trust/root.cbor gw.bundle");
    assert_eq!((&verified["valid"], &verified["payloads_checked"]), (&true.into(), &true.into()));
    let bundle = place.read("gw.bundle");
    assert!(bundle.ends_with(&content), "the payload is the last blob");
    place.stdout(&format!("release envelope {id} -o gw.suit"));
    place.stdout("verify --root place/trust/root.cbor gw.suit --payload firmware.bin");
    place.fails(&format!("release export {id} -o gw.bundle"), 6);
    place.stdout(&format!("release export {id} -o same.bundle --root place/trust/root.cbor"));
    assert_eq!(place.read("same.bundle"), bundle);

    // In, at a server that has the same root and knows nothing of it yet.
    let twin = place.twin();
    twin.json("product create gw --vendor example.com --class gw-1 --component main=32MiB");
    twin.write("gw.bundle", &bundle);
    twin.write("cut.bundle", &bundle[..bundle.len() - 1]);
    twin.fails("release import --product gw cut.bundle", 3);
    let imported = twin.json("release import --product gw gw.bundle --build job-9");
    assert_eq!(imported["manifest"], release["manifest"]);
    assert_eq!((text(&imported, "state"), text(&imported, "build")), ("verified", "job-9"));
    assert_eq!(twin.json("release import --product gw gw.bundle --build job-9"), imported);
    twin.stdout(&format!("release export {} -o again.bundle", text(&imported, "id")));
    assert_eq!(twin.read("again.bundle"), bundle, "what came in goes out");
    let mut flipped = bundle.clone();
    *flipped.last_mut().unwrap() ^= 1;
    twin.write("flipped.bundle", &flipped);
    twin.stdout("product list");
    twin.fails("verify --root place/trust/root.cbor flipped.bundle", 3);
}

#[test]
fn a_log_gets_no_progress_bar() {
    let place = Place::start();
    place.write("firmware.bin", &bytes(6 << 20, 6));
    let output = place.run("artifact upload firmware.bin");
    assert!(output.status.success());
    assert!(!output.stderr.contains(&0x1b) && !output.stderr.contains(&b'\r'), "{output:?}");
    let output = place.run("--json artifact upload firmware.bin");
    assert!(output.stderr.is_empty(), "programs get data alone: {output:?}");
}

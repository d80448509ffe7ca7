//! A key is stolen: an operator's session from the alarm to the new root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod place;

use firmseal_api::client::Client;
use firmseal_api::enrolment::Enrol;
use firmseal_api::updates::{Bootloader, DeviceState, Poll, Running};
use firmseal_core::Root;
use firmseal_keys::{FileKey, Signer};
use firmseal_manifest::KeyAlgorithm;
use firmseal_trust::{Holder, RootSpec};
use place::people::{secret, text, write_root};
use place::{Place, bytes};
use serde_json::Value;

const KEYS: &str = "--key file:place/keys/revocation.pem --secret file:place/keys/passphrase \
                    --anchor place/trust/root.cbor --log log";

/// The key id of the first holder of a role.
fn key_of(place: &Place, role: &str) -> String {
    let root = place.json("root show");
    let roles = root["roles"].as_array().unwrap();
    let role = roles.iter().find(|entry| entry["role"] == role).unwrap();
    role["holders"][0]["keys"][0].as_str().unwrap().to_owned()
}

fn release(place: &Place, version: &str) -> String {
    place.write(version, &bytes(9000, version.len() as u64 + version.as_bytes()[2] as u64));
    let line =
        format!("release create --product gateway --version {version} --epoch 1 --component main={version}");
    text(&place.json(&line), "id").to_owned()
}

/// A device that says which root document it holds and what it runs.
async fn device(place: &Place, root_version: u64, sequence: u64) -> String {
    let token = place.stdout("device token create --product gateway");
    let authority = place.read("place/tls/server.pem");
    let anonymous = Client::builder(&place.device_url()).authorities(&authority).build().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let enrol = Enrol { token: token.trim().to_owned(), csr };
    let enrolled = anonymous.device().enrol(&enrol).await.unwrap();
    let client = Client::builder(&place.device_url())
        .authorities(&authority)
        .identity(enrolled.certificate.as_bytes(), key.serialize_pem().as_bytes())
        .build()
        .unwrap();
    let state = DeviceState {
        agent: "test".to_owned(),
        root_version,
        running: Some(Running {
            version: semver::Version::new(1, 0, 0),
            sequence,
            manifest: None,
            epoch: 1,
            slot: "a".to_owned(),
            confirmed: true,
        }),
        hardware: None,
        bootloader: Bootloader::default(),
    };
    client.device().poll(&Poll { state, reports: Vec::new() }).await.unwrap();
    enrolled.device.to_string()
}

/// Root document 2: a second release key beside the first.
async fn rotate(place: &Place) {
    let document = place.read("place/trust/root.cbor");
    let root = Root::decode(&document).unwrap();
    let next = FileKey::generate(&place.path("next.pem"), KeyAlgorithm::Ed25519, &secret(place)).unwrap();
    let mut spec = RootSpec { version: 2, ..RootSpec::of(&root).unwrap() };
    spec.roles[1].holders.push(Holder { name: "next".into(), keys: vec![next.public_key().clone()] });
    write_root(place, &document, &spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_is_taken_away_and_nobody_is_left_behind_unseen() {
    let place = Place::start();
    place.fails("revoke show", 4);
    place.stdout("product create gateway --vendor example.com --class one --component main=1MiB");
    let (good, thiefs) = (release(&place, "1.0.0"), release(&place, "1.1.0"));
    let rollout = place.json(&format!("rollout create {thiefs}"));
    let stolen = key_of(&place, "release");
    let old = device(&place, 1, 1).await;

    // Under the only root there is, nobody else could sign for the device.
    let told = place.fails(&format!("revoke key {stolen} --allow {good} {KEYS} -o rev.cbor"), 3);
    assert!(told.contains(&format!("{old}: it holds root document 1")), "{told}");
    assert!(told.contains("--strand 1"), "{told}");
    assert!(!place.path("rev.cbor").exists() && !place.path("log").exists(), "no key was used");

    rotate(&place).await;
    let shown = place.stdout("root show root-2.cbor --against place/trust/root.cbor");
    assert!(shown.contains("+ release: holder next"), "{shown}");
    assert_eq!(place.json("root publish root-2.cbor")["version"], 2);
    place.stdout("root publish root-2.cbor");
    place.fails("root publish place/trust/root.cbor --profile none.toml", 8);
    assert!(place.stdout("root show").contains("by its own root role and that of version 1"));

    // A server whose chain begins elsewhere may be the thief's.
    let elsewhere = KEYS.replace("place/trust/root.cbor", "root-2.cbor");
    let told = place.fails(&format!("revoke key {stolen} {elsewhere} -o rev.cbor"), 3);
    assert!(told.contains("is not where the server's root documents begin"), "{told}");
    place.fails(&format!("revoke key {stolen} --key file:x --log log -o rev.cbor"), 2);

    // One that has the new root and runs what is kept is fine; one that runs
    // the thief's release, and the one that was not heard of since, are not.
    device(&place, 2, 1).await;
    let lost = device(&place, 2, 2).await;
    let line = format!("revoke key {stolen} --allow {good} {KEYS} -o rev.cbor");
    let told = place.fails(&line, 3);
    assert!(told.contains(&format!("{lost}: what it runs was signed by nobody else")), "{told}");
    assert!(told.contains(&old) && told.contains("--strand 2"), "{told}");
    place.fails(&format!("{line} --strand 1"), 3);
    let written = place.json(&format!("{line} --strand 2"));
    assert_eq!((&written["version"], &written["signed"]), (&Value::from(1), &Value::from(true)));
    assert_eq!(written["left_behind"].as_array().unwrap().len(), 2);
    place.fails(&format!("{line} --strand 2"), 6);

    let published = place.json("revoke publish rev.cbor");
    assert_eq!(published["releases"], serde_json::json!([thiefs]));
    assert_eq!(published["rollouts"], serde_json::json!([rollout["id"]]));
    assert_eq!(place.json(&format!("release show {good}"))["state"], "verified");
    assert_eq!(place.json(&format!("release show {thiefs}"))["state"], "revoked");
    place.fails(&format!("rollout create {thiefs}"), 3);
    let shown = place.stdout("revoke show");
    assert!(shown.contains(&format!("{stolen} (release)")), "{shown}");
    let refused =
        place.fails("release create --product gateway --version 2.0.0 --epoch 1 --component main=1.0.0", 3);
    assert!(refused.contains("was revoked by revocation 1"), "{refused}");

    // The next one carries the entry on, and never gives anything back.
    place.fails(&format!("revoke key {stolen} --allow {thiefs} -o wider.cbor"), 6);
    let next = place.json(&format!("revoke release {good} {KEYS} -o rev2.cbor"));
    assert_eq!((&next["version"], next["keys"].as_array().unwrap().len()), (&Value::from(2), 1));
    place.stdout("revoke publish rev2.cbor");
    place.stdout("revoke publish rev.cbor");
    assert_eq!(place.json("revoke show")["version"], 2);
}

#[test]
fn keys_that_must_not_be_revoked_are_refused_before_one_is_used() {
    let place = Place::start();
    for role in ["root", "revocation"] {
        let key = key_of(&place, role);
        let told = place.fails(&format!("revoke key {key} -o rev.cbor"), 3);
        assert!(told.contains("only a new root document"), "{told}");
    }
    let (stolen, thief) = (key_of(&place, "release"), KEYS.replace("revocation.pem", "release.pem"));
    let told = place.fails(&format!("revoke key {stolen} {thief} -o rev.cbor"), 3);
    assert!(told.contains("would revoke itself"), "{told}");
    let told = place.fails(&format!("revoke key {} {thief} -o rev.cbor", "ab".repeat(32)), 3);
    assert!(told.contains("none of the revocation role's"), "{told}");
    assert!(!place.path("rev.cbor").exists() && !place.path("log").exists(), "no key was used");
    // A request for others to sign needs no key, and is no document yet.
    place.stdout(&format!("revoke key {stolen} -o request.cbor"));
    place.fails("revoke publish request.cbor", 3);
    for line in ["revoke show request.cbor", "revoke show request.cbor --root place/trust/root.cbor"] {
        let shown = place.stdout(line);
        assert!(
            shown.contains("not signed yet") && shown.contains(&format!("{stolen} (release)")),
            "{shown}"
        );
    }
    let written = place.stdout(&format!("revoke key {stolen} {KEYS} -o rev.cbor"));
    assert!(written.contains("signed"), "{written}");
    let shown = place.stdout("revoke show rev.cbor --root place/trust/root.cbor --profile none.toml");
    assert!(shown.contains("under root document 1"), "{shown}");
    let mut damaged = place.read("rev.cbor");
    *damaged.last_mut().unwrap() ^= 1;
    place.write("damaged.cbor", &damaged);
    place.fails("revoke show damaged.cbor", 3);
    place.fails("revoke show damaged.cbor --root place/trust/root.cbor", 3);
    place.fails("revoke show place/trust/root.cbor", 3);
}

//! What is urgent goes first: an emergency that is asked for last is signed
//! before the nightly builds that wait for the key already.

#![allow(clippy::unwrap_used)]

use firmseal_e2e::{Server, Shell, until};
use firmseal_testkit::ports;
use firmseal_testkit::vault::{Flags, Mode, Vault};
use serde_json::Value;

#[test]
fn an_emergency_overtakes_the_nightlies_that_wait() {
    let t = Shell::new();
    let vault = Vault::start();
    vault.make("image", "ecdsa-p256", Flags::default());
    let (ports, key) = (ports::free(), vault.uri(&t.path(""), "image", 1));
    t.ok(&format!("firmseal init place --port {ports} --artifact-key '{key}'"));
    let mut server = Server::in_place(&t, "place", ports);
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    let ask = |version: u32, priority: &str| {
        let file = format!("{version}.bin");
        t.write(&file, vec![version as u8; 5000]);
        let asked = t.json(&format!(
            "firmseal sign {file} --product gateway --version {version}.0.0 --epoch 0 --priority {priority} --no-wait"
        ));
        assert_eq!(asked["priority"], priority);
        asked["id"].as_str().unwrap().to_owned()
    };
    vault.set(Mode::Sealed);
    let mut waiting = vec![ask(1, "nightly")];
    // From the first failure on the key is not asked, until it answers again.
    until("the key to be found out of reach", || {
        let tried = t.json("firmseal audit --action signing-attempted");
        (!tried.as_array().unwrap().is_empty()).then_some(())
    });
    waiting.extend([2, 3].map(|version| ask(version, "nightly")));
    waiting.push(ask(4, "release"));
    let urgent = ask(5, "emergency");
    vault.set(Mode::Well);
    let signed = until("all of them to be signed", || {
        let signed = t.json("firmseal audit --action artifact-signed").as_array().unwrap().clone();
        (signed.len() == 5).then_some(signed)
    });
    // Newest first. A key that has just come back is tried with one request,
    // the most urgent; once it has signed, the others are carried out together.
    let first = &signed.last().unwrap()["request"];
    assert_eq!(first, &Value::from(urgent), "asked for after {waiting:?}");
}

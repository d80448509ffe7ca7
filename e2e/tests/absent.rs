//! A server that begins while its keys are away: it takes what comes, says
//! what is missing, and signs when it is there.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::thread;
use std::time::Duration;

use firmseal_e2e::custody::in_custody;
use firmseal_e2e::{Server, Shell, until};
use serde_json::Value;

const KEYS: [&str; 2] = ["release", "artifact"];
const MISSED: &str = "a key is not there yet; its requests wait";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// Waits until a scraper reads this of a key.
fn stands(server: &Server, key: &str, state: &str) {
    let line = format!("firmseal_key_breaker{{key=\"{key}\",state=\"{state}\"}} 1\n");
    until(&format!("the breaker of {key} to be {state}"), || server.metrics().contains(&line).then_some(()));
}

#[test]
fn a_server_begins_while_its_hsm_is_away_and_signs_when_it_is_back() {
    let t = Shell::new();
    let (mut hsm, mut server) = in_custody(&t);
    // Keys that nobody has seen yet have to be there.
    t.run("firmseal serve place").exits(7).says("key `release`");
    assert!(!t.path("place/keys-seen.toml").exists());
    hsm.start();
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.write("firmware.bin", vec![7; 70_000]);
    let order =
        "firmseal release create --product gateway --version 1.0.0 --epoch 1 --component main=firmware.bin";
    server.stop();
    hsm.dies();

    server.start();
    let missed = server.logged("a key is not there yet; its requests wait");
    let missed: Vec<_> = missed.iter().map(|line| text(line, "key")).collect();
    assert_eq!(missed, ["keyhost:room/release", "keyhost:room/artifact"]);
    // It is told of before anybody waits for it.
    for key in KEYS {
        stands(&server, key, "open");
    }
    let open = t.json(&format!("{order} --no-wait"));
    assert_eq!(text(&open, "state"), "queued");
    let id = text(&open, "id").to_owned();
    t.ok(&format!("firmseal request show {id}")).says("queued");
    t.run("firmseal sign firmware.bin --product gateway --version 1.0.0 --epoch 1 --signature own.sig --wait=1s")
        .exits(9)
        .hints();

    hsm.start();
    let made = t.json(&format!("{order} --wait=2m"));
    assert_eq!((text(&made, "request"), made["sequence"].as_u64()), (id.as_str(), Some(1)));
    t.ok("firmseal sign firmware.bin --product gateway --version 1.0.0 --epoch 1 --signature own.sig --wait=2m");
    let back: Vec<_> = server.logged("a key is there").iter().map(|line| line["key"].clone()).collect();
    assert_eq!(back.len(), 2, "each is opened once: {back:?}");
    assert_eq!(t.json("firmseal release list").as_array().unwrap().len(), 1);
    server.stop();

    // One that hangs holds up nobody.
    hsm.hangs();
    server.start();
    assert_eq!(server.logged(MISSED).len(), 4, "both, once more");
    hsm.goes_on();
    t.write("next.bin", vec![8; 70_000]);
    t.ok("firmseal sign next.bin --product gateway --version 1.1.0 --epoch 1 --signature next.sig --wait=2m");
    server.stop();
    hsm.dies();
    assert_eq!(t.json("firmseal keyhost show host")["used"], 3, "each signed once, and none for nothing");
}

#[test]
fn a_pin_that_is_refused_at_a_start_costs_one_try_and_no_server() {
    let t = Shell::new();
    let (hsm, server) = in_custody(&t);
    let mut signing = String::from_utf8(t.read("place/signing.toml")).unwrap();
    for key in KEYS {
        signing = signing.replace(&format!("keyhost:room/{key}"), &hsm.uri(key));
    }
    t.write("place/signing.toml", signing);
    let settings = String::from_utf8(t.read("place/server.toml")).unwrap();
    t.write("place/server.toml", settings.replace("writable = []", "writable = [\"../tokens\"]"));
    let shell = || Shell::at(&t.path("")).with("SOFTHSM2_CONF", t.path("softhsm2.conf"));
    let right = t.read("pin");

    // Nobody has seen the keys yet: the server ends, and its unit leaves it so.
    t.write("pin", "999999\n");
    shell().run("firmseal serve place").exits(5).says("the token refused the PIN");
    t.write("pin", &right);
    let mut server = Server::standby_in_place(shell(), "place", server.port());
    server.start();
    server.stop();
    assert!(server.logged(MISSED).is_empty());

    t.write("pin", "999999\n");
    server.start();
    let missed = server.logged(MISSED);
    assert_eq!(missed.len(), 2, "{missed:?}");
    assert!(
        missed.iter().all(|line| text(line, "error").contains("the token refused the PIN")),
        "{missed:?}"
    );
    for key in KEYS {
        stands(&server, key, "out");
    }
    // Its requests are taken, and nobody asks the token for them.
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.write("firmware.bin", vec![7; 70_000]);
    let order =
        "firmseal release create --product gateway --version 1.0.0 --epoch 1 --component main=firmware.bin";
    assert_eq!(text(&t.json(&format!("{order} --no-wait")), "state"), "queued");
    thread::sleep(Duration::from_millis(600));
    assert!(server.logged("a key is still not there").is_empty(), "{}", server.log().text());
    server.stop();

    t.write("pin", right);
    server.start();
    assert_eq!(t.json(&format!("{order} --wait=1m"))["sequence"], 1);
    server.stop();
}

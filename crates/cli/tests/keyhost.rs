//! A key host and a server without keys, as two processes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod place;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use firmseal_keys::Log;
use firmseal_keys::pool::wait;
use firmseal_manifest::{Digest, Intent, Purpose};
use firmseal_store_local::IntentLog;
use firmseal_testkit::ports;
use place::{Place, bytes};

/// Starts the host in `host` and waits until it listens.
fn serve(place: &Place) -> Child {
    serve_in(place, "host")
}

fn serve_in(place: &Place, directory: &str) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_firmseal"))
        .args(["serve", directory, "--serve", "signing", "--filter", "error"])
        .current_dir(place.path(""))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = lines.next().unwrap().unwrap();
    assert!(said.contains("https://127.0.0.1:"), "{said}");
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    child
}

fn stop(mut host: Child) {
    host.kill().unwrap();
    host.wait().unwrap();
}

/// Moves the keys of a place to a host, so that the place has none.
fn move_keys(place: &Place) {
    for name in ["release.pem", "artifact.pem", "passphrase"] {
        std::fs::rename(place.path(&format!("place/keys/{name}")), place.path(&format!("host/{name}")))
            .unwrap();
    }
    std::fs::remove_dir_all(place.path("place/keys")).unwrap();
    std::fs::rename(place.path("host/client"), place.path("place/keyhost")).unwrap();
    let settings = String::from_utf8(place.read("host/keyhost.toml")).unwrap();
    let settings = settings.replace("\"prompt\"", "\"file:passphrase\"");
    let row = |name: &str| {
        format!("\n[[key]]\nname = \"{name}\"\nuri = \"file:{name}.pem\"\nuses = [\"{name}\"]\n")
    };
    place.write("host/keyhost.toml", format!("{settings}{}{}", row("release"), row("artifact")).as_bytes());
    let url = settings.lines().find_map(|line| line.strip_prefix("port = ")).unwrap();
    let signing = String::from_utf8(place.read("place/signing.toml")).unwrap();
    let signing = signing.replace("file:keys/release.pem", "keyhost:room/release");
    let signing = signing.replace("file:keys/artifact.pem", "keyhost:room/artifact");
    assert!(!signing.contains("file:keys/release"), "{signing}");
    let host = format!(
        "\n[[keyhost]]\nname = \"room\"\nurl = \"https://localhost:{url}\"\nauthority = \"keyhost/server.pem\"\n\
         certificate = \"keyhost/client.pem\"\nkey = \"keyhost/client.key\"\n"
    );
    place.write("place/signing.toml", format!("{signing}{host}").as_bytes());
}

/// Makes a second host with the keys of the first, as the how-to says.
fn make_pair(place: &Place, log: &str, first: u16, second: u16) {
    place.json(&format!("keyhost init second --name keys.example/2 --log {log} --port {second}"));
    let server = |path: &str| String::from_utf8(place.read(path)).unwrap();
    let both = server("place/keyhost/server.pem") + &server("second/client/server.pem");
    place.write("place/keyhost/server.pem", both.as_bytes());
    std::fs::copy(place.path("host/tls/clients.pem"), place.path("second/tls/clients.pem")).unwrap();
    for name in ["release.pem", "artifact.pem", "passphrase"] {
        std::fs::copy(place.path(&format!("host/{name}")), place.path(&format!("second/{name}"))).unwrap();
    }
    let keys = server("host/keyhost.toml").replace(&format!("port = {first}"), &format!("port = {second}"));
    place.write("second/keyhost.toml", keys.as_bytes());
    let signing = server("place/signing.toml");
    let one = format!("url = \"https://localhost:{first}\"");
    assert!(signing.contains(&one), "{signing}");
    let pair = format!("url = [\"https://localhost:{first}\", \"https://localhost:{second}\"]");
    place.write("place/signing.toml", signing.replace(&one, &pair).as_bytes());
}

/// The monitor, with what the host wrote down.
const MONITOR: &str = "monitor --log LOG/log --authority place/tls/server.pem --state state --uses uses.toml";

fn monitor(place: &Place) -> String {
    let log = place.json("log show place");
    format!(
        "{} --vkey {} --grace 1s",
        MONITOR.replace("LOG", &place.public_url()),
        log["key"].as_str().unwrap()
    )
}

/// The monitor compares the log with the record of a host that is running,
/// and misses what is not there any more.
fn watch_uses(place: &Place, record: &[serde_json::Value]) {
    let public = place.json("keys show file:host/release.pem --secret file:host/passphrase");
    place.write("release.pub", public["public"].as_str().unwrap().as_bytes());
    let vkeys: Vec<_> = record.iter().map(ToString::to_string).collect();
    let settings = |record: &str, first: u64| {
        format!(
            "[[keyhost]]\nname = \"room\"\nrecord = \"{record}\"\nvkeys = [{}]\nkeys = [\"release.pub\"]\n\
             first = {first}\n",
            vkeys.join(", ")
        )
    };
    place.write("uses.toml", settings("host/uses/log.tiles", 0).as_bytes());
    // The record is published within a second of the use.
    let line = monitor(place);
    let started = Instant::now();
    let seen = || String::from_utf8(place.run(&line).stdout).unwrap();
    while !seen().contains("2 uses of keys") {
        assert!(started.elapsed() < Duration::from_secs(120), "{}", seen());
    }
    let seen = place.stdout(&line);
    assert!(seen.contains("2 uses of keys: nothing wrong"), "{seen}");
    // Somebody takes the record away; what was seen of it is known.
    std::fs::create_dir(place.path("emptied")).unwrap();
    place.write("elsewhere.toml", settings("emptied", 0).as_bytes());
    let elsewhere = monitor(place).replace("uses.toml", "elsewhere.toml");
    place.fails(&elsewhere, 7);
    place.write("elsewhere.toml", b"[[keyhost]]\nname = \"room\"\n");
    place.fails(&elsewhere, 2);
    place.write("elsewhere.toml", b"");
    let why = place.fails(&elsewhere, 2);
    assert!(why.contains("it names no record"), "{why}");
    std::fs::create_dir(place.path("trail")).unwrap();
    place.write("trail/a.json", b"{}");
    let trail = |arn: &str| {
        format!("[[cloudtrail]]\ndirectory = \"trail\"\narn = \"{arn}\"\nkey = \"release.pub\"\n")
    };
    place.write("elsewhere.toml", trail("alias/release").as_bytes());
    let why = place.fails(&elsewhere, 2);
    assert!(why.contains("never by an alias"), "{why}");
    place.write("elsewhere.toml", trail("arn:aws:kms:eu-central-1:111122223333:key/1").as_bytes());
    let why = place.fails(&elsewhere, 3);
    assert!(why.contains("not what CloudTrail delivers"), "{why}");
    place.write("trail/a.json", b"{\"Records\": []}");
    let seen = place.stdout(&elsewhere);
    assert!(seen.contains("0 uses of keys: nothing wrong"), "{seen}");
    // So is what an HSM and an audit device of Vault wrote down. The log
    // announced two uses.
    let used = |event: u8| {
        format!(
            "{{\"time\": \"2026-01-01T00:00:00Z\", \"key\": \"release\", \"event\": \"{event}\", \"by\": \"partition 1\"}}\n"
        )
    };
    place.write("trail/a.json", [used(1), used(2), used(3)].concat().as_bytes());
    place.write(
        "elsewhere.toml",
        b"[[hsm]]\ndirectory = \"trail\"\nname = \"release\"\nkey = \"release.pub\"\n",
    );
    let seen = place.run(&elsewhere);
    assert_eq!(seen.status.code(), Some(3));
    let seen = String::from_utf8(seen.stdout).unwrap();
    assert!(seen.contains("release was used at 2026-01-01T00:00:00Z for partition 1: no intent"), "{seen}");
    let vault =
        |uri: &str| format!("[[vault]]\ndirectory = \"trail\"\nuri = \"{uri}\"\nkey = \"release.pub\"\n");
    place.write("elsewhere.toml", vault("vault:https://vault.example/transit/keys/release").as_bytes());
    let why = place.fails(&elsewhere, 2);
    assert!(why.contains("`version=`"), "{why}");
    let uri =
        "vault:https://vault.example/transit/keys/release?version=1&ca-file=/ca.pem&token-source=file:/token";
    place.write("elsewhere.toml", vault(uri).as_bytes());
    let why = place.fails(&elsewhere, 3);
    assert!(
        why.contains("not what an audit device of Vault delivers: line 1: missing field `type`"),
        "{why}"
    );
}

/// Somebody who has the host uses a key of his own accord.
fn used_behind_the_log(place: &Place) {
    let record = IntentLog::open(&place.path("host/uses/log")).unwrap();
    let intent = Intent {
        purpose: Purpose::Release,
        subject: Digest([7; 32]),
        keys: Vec::new(),
        delegation: None,
        statements: Vec::new(),
        requester: Digest([1; 32]),
        policy: Digest([2; 32]),
        context: Vec::new(),
    };
    wait(record.append(&intent.encode())).unwrap();
    // Publishes it.
    drop(record);
    let found = place.run(&monitor(place));
    assert_eq!(found.status.code(), Some(3));
    let why = String::from_utf8(found.stdout).unwrap();
    assert!(why.contains("unannounced  room: use 2: a key was used, and no entry of the log"), "{why}");
}

#[test]
fn a_key_host_signs_for_a_server_that_has_no_key() {
    let mut place = Place::start();
    place.stop();
    let log = place.json("log show place")["key"].as_str().unwrap().to_owned();
    let port = ports::free();
    let init = format!("keyhost init host --name keys.example/1 --log {log} --port {port}");
    let made = place.json(&init);
    assert_eq!(made["url"], format!("https://localhost:{port}"));
    place.fails(&init, 6);
    move_keys(&place);
    let host = serve(&place);
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.id())).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");

    let mut place = place.again();
    place.json("product create gw --vendor example.com --class gw-1 --component main=1MiB");
    place.write("firmware.bin", &bytes(20_000, 7));
    let create = |version: &str| {
        format!("release create --product gw --version {version} --epoch 1 --component main=firmware.bin")
    };
    let release = place.json(&create("1.0.0"));
    assert_eq!(release["state"], "verified");
    place.stdout(&format!("release envelope {} -o release.suit", release["id"].as_str().unwrap()));
    let verified = place.stdout("verify --root place/trust/root.cbor release.suit");
    assert!(verified.contains("1.0.0"), "{verified}");

    // The host may come and go.
    stop(host);
    let host = serve(&place);
    assert_eq!(place.json(&create("1.0.1"))["state"], "verified");
    let seen = place.fails("keyhost show host", 6);
    assert!(seen.contains("in use") || seen.contains("another process"), "{seen}");
    watch_uses(&place, made["record"].as_array().unwrap());
    stop(host);
    let seen = place.json("keyhost show host");
    assert!(seen["logs"][0]["size"].as_u64().unwrap() >= 3, "{seen}");
    assert_eq!(seen["used"], 2, "{seen}");
    assert_eq!(seen["record"], made["record"]);
    used_behind_the_log(&place);
    place.stop();

    // In production no key lies in a file.
    let settings = String::from_utf8(place.read("host/keyhost.toml")).unwrap();
    let production = settings.replace("environment = \"test\"", "environment = \"production\"");
    place.write("host/keyhost.toml", production.as_bytes());
    let why = place.fails("serve host --serve signing", 3);
    assert!(why.contains("lies in a file"), "{why}");
    place.fails("serve place --serve signing", 4);
}

#[test]
fn a_server_signs_while_one_of_two_key_hosts_is_there() {
    let mut place = Place::start();
    place.stop();
    let log = place.json("log show place")["key"].as_str().unwrap().to_owned();
    let (first, second) = (ports::free(), ports::free());
    place.json(&format!("keyhost init host --name keys.example/1 --log {log} --port {first}"));
    move_keys(&place);
    make_pair(&place, &log, first, second);
    let [one, other] = [serve_in(&place, "host"), serve_in(&place, "second")];
    let mut place = place.again();
    place.json("product create gw --vendor example.com --class gw-1 --component main=1MiB");
    place.write("firmware.bin", &bytes(20_000, 7));
    let create = |version: &str| {
        format!("release create --product gw --version {version} --epoch 1 --component main=firmware.bin")
    };
    assert_eq!(place.json(&create("1.0.0"))["state"], "verified");
    // Killed, and nobody waits for it.
    stop(one);
    assert_eq!(place.json(&create("1.0.1"))["state"], "verified");
    let warned = place.json("keys list");
    let warning = format!("https://localhost:{first}, one of its 2 key hosts, is away");
    assert!(warned.to_string().contains(&warning), "{warned}");
    // Both are away: the order is kept.
    stop(other);
    let open = place.json(&format!("{} --no-wait", create("1.0.2")));
    assert_eq!(open["state"], "queued", "{open}");
    let one = serve_in(&place, "host");
    let made = place.json(&format!("{} --wait=1m", create("1.0.2")));
    assert_eq!(made["request"], open["id"], "{made}");
    // What each wrote down is what was announced, and no more.
    let used = |directory: &str| place.json(&format!("keyhost show {directory}"))["used"].as_u64().unwrap();
    stop(one);
    assert_eq!((used("host"), used("second")), (2, 1));
    place.stop();

    // Two keys under one name are not a pair.
    let sealed = |name: &str| place.path(&format!("second/{name}.pem"));
    std::fs::copy(sealed("artifact"), sealed("release")).unwrap();
    let [one, other] = [serve_in(&place, "host"), serve_in(&place, "second")];
    let why = place.fails("serve place", 3);
    for host in [first, second] {
        assert!(why.contains(&host.to_string()) && why.contains("different keys"), "{why}");
    }
    stop(one);
    stop(other);
}

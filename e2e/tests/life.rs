//! A full life: a root by three custodians, a delegated build key, releases
//! by two people's word under a log with witnesses, devices that demand all
//! of it; then the build key is stolen, revoked, and every role gets new
//! keys; a bad release is rolled back, and a device on which nothing boots
//! is recovered. Every step is a command that a person types.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_e2e::device::Model;
use firmseal_e2e::{Child, Device, Server, Shell, until};
use firmseal_testkit::ports;
use serde_json::Value;

const GATEWAY: Model<'_> = Model { product: "gateway", components: &[("main", 1 << 20)], settings: "" };
const SECRET: &str = "--secret file:pw";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// Makes keys in files, with their public halves beside them.
fn keys(t: &Shell, names: &[&str]) {
    for name in names {
        t.ok(&format!("firmseal keys generate file:{name}.pem {SECRET} --public {name}.pub"));
    }
}

/// A role as a root document's text has it.
fn role(name: &str, threshold: usize, holders: &[(&str, &str)]) -> String {
    let holders: Vec<String> = holders
        .iter()
        .map(|(name, key)| format!("{{ name = \"{name}\", keys = [\"{key}.pub\"] }}"))
        .collect();
    let holders = holders.join(", ");
    format!("[[role]]\nrole = \"{name}\"\nthreshold = {threshold}\nholder = [{holders}]\n")
}

/// Custodians sign, each with a log of their own, after the words were read
/// to them; the clerk gathers and finishes.
fn ceremony(t: &Shell, name: &str, start: &str, custodians: &[&str]) {
    t.ok(&format!("firmseal ceremony start {name} {start}"));
    let status = t.json(&format!("firmseal ceremony status {name}"));
    let words = text(&status, "words");
    for custodian in custodians {
        t.ok(&format!(
            "firmseal ceremony sign {name}/request.toml --key file:{custodian}.pem {SECRET} \
             --log log-{custodian} --yes-words '{words}' -o {custodian}-{name}.toml"
        ));
        t.ok(&format!("firmseal ceremony add {name} {custodian}-{name}.toml"));
    }
    t.ok(&format!("firmseal ceremony finish {name} -o {name}.cbor"));
}

/// An SSH key, and its public half as PEM (RFC 8410).
fn ssh_key(t: &Shell, name: &str) {
    t.ok(&format!("ssh-keygen -q -t ed25519 -N '' -f {name}"));
}

/// Three witnesses of the place's log, of whom two must cosign; they run
/// until they are dropped.
fn witnesses(t: &Shell) -> Vec<Child> {
    let log = t.json("firmseal log show place");
    t.write("log.pub", text(&log, "pem"));
    let first = ports::free();
    let mut settings = String::from_utf8(t.read("place/signing.toml")).unwrap() + "\n[log]\nquorum = 2\n";
    let mut running = Vec::new();
    for (index, port) in (1..=3).zip(first..) {
        let name = format!("w{index}");
        t.ok(&format!("firmseal witness init {name} --name {name}.example"));
        t.write(&format!("{name}/witness.toml"), format!("[[log]]\nkey = \"{}\"\n", text(&log, "key")));
        let shown = t.json(&format!("firmseal witness show {name}"));
        t.write(&format!("{name}.pub"), text(&shown, "pem"));
        settings += &format!(
            "[[log.witness]]\nkey = \"{}\"\nurl = \"http://127.0.0.1:{port}\"\n",
            text(&shown, "key")
        );
        let line = format!("firmseal witness serve {name} --listen 127.0.0.1:{port}");
        running.push(Child::start(&mut t.command(&line)));
        until("a witness to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    }
    t.write("place/signing.toml", settings);
    running
}

/// The server signs with a build's key from now on.
fn sign_with(t: &Shell, server: &mut Server, key: &str) {
    server.stop();
    let settings = String::from_utf8(t.read("place/signing.toml")).unwrap();
    let lines = settings.lines().filter(|line| !line.starts_with("delegation"));
    let here = t.path("");
    let here = here.display();
    let lines: Vec<String> = lines
        .map(|line| match line.starts_with("release") {
            true => {
                format!("release = [\"file:{here}/{key}.pem\"]\ndelegation = [\"{here}/{key}.delegation\"]")
            }
            false => line.to_owned(),
        })
        .collect();
    t.write("place/signing.toml", lines.join("\n"));
    server.start();
}

fn delegate(t: &Shell, from: &str, to: &str, index: u64) {
    t.ok(&format!(
        "firmseal delegate --log duty-{from} --anchor one.cbor --key file:{from}.pem {SECRET} --to {to}.pub \
         --product gateway --versions 1.0.0..1.99.0 --epoch-max 3 --index {index} --for 1h -o {to}.delegation"
    ));
}

fn order(version: &str, file: &str) -> String {
    format!("firmseal release create --product gateway --version {version} --epoch 1 --component main={file}")
}

/// The device takes what is offered, and proves itself.
fn update(device: &Device, version: &str) {
    device.ok("poll-once").says(&format!("installed {version}"));
    device.ok("boot").says(&format!("{version} runs, on trial"));
    device.ok("poll-once").says("confirmed");
}

#[test]
fn a_full_life() {
    let t = Shell::new();
    t.write("pw", "a passphrase\n");
    t.ok("chmod 600 pw");
    let custodians = ["alice", "bob", "carol"];
    keys(&t, &custodians);
    keys(&t, &["builder", "duty", "ben", "cleo", "r1", "r2", "ci"]);
    ssh_key(&t, "ann");

    // Two of three custodians make the root; a place begins with it.
    let roots = custodians.map(|name| (name, name));
    let first = role("root", 2, &roots)
        + &role("release", 1, &[("builder", "builder")])
        + &role("revocation", 1, &[("duty", "duty")]);
    t.write("root.toml", format!("environment = \"test\"\n{first}"));
    ceremony(&t, "one", "--root root.toml", &["carol", "alice"]);
    let port = ports::free();
    t.ok(&format!(
        "firmseal init place --root one.cbor --release-key file:builder.pem {SECRET} --port {port}"
    ));
    let settings = String::from_utf8(t.read("place/server.toml")).unwrap();
    t.write("place/server.toml", format!("{settings}\n[limits]\npoll_seconds = 1\n"));
    let _witnesses = witnesses(&t);
    let mut server = Server::in_place(&t, "place", port);
    server.start();

    // The next root demands everything: proof, two people, a delegation.
    let log = t.json("firmseal log show place");
    let change = role("log", 1, &[(text(&log, "origin"), "log")])
        + &role("witness", 2, &[("w1.example", "w1"), ("w2.example", "w2"), ("w3.example", "w3")])
        + &role("approver", 2, &[("ann", "ann"), ("ben", "ben"), ("cleo", "cleo")])
        + &role("recovery", 2, &[("r1", "r1"), ("r2", "r2")])
        + "[[demands]]\nproof = true\napprovals = true\ndelegation = true\nowner = false\n";
    t.write("change.toml", change);
    ceremony(&t, "two", "--rotate one.cbor --change change.toml", &["bob", "carol"]);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.ok("firmseal root publish two.cbor");
    t.write("first", vec![1; 200_000]);
    t.write("second", vec![2; 200_000]);
    // The safe's key signs no release any more.
    t.run(&order("1.0.0", "first")).fails(3, "702");
    delegate(&t, "builder", "ci", 1);
    sign_with(&t, &mut server, "ci");

    let device = Device::enrol(&t, &server, "gateway-1", &GATEWAY);
    let request = t.json(&order("1.0.0", "first"));
    let request = text(&request, "id");
    t.ok(&format!("firmseal approve {request} --ssh ann --yes --anchor one.cbor")).says("missing    1");
    t.ok(&format!("firmseal approve {request} --key file:ben.pem {SECRET} --log log-ben --yes"))
        .says("signed");
    let release = t.json(&order("1.0.0", "first"));
    let release = text(&release, "id");
    t.ok(&format!("firmseal rollout create {release}"));
    update(&device, "1.0.0");
    assert_eq!(device.status()["root_version"], 2, "it walked there from the anchor");

    // Whoever trusts nobody: the envelope alone, and the log.
    t.ok(&format!("firmseal release export {release} -o one.bundle"));
    t.ok("firmseal verify --root two.cbor one.bundle").says("valid");
    let vkey = text(&log, "key").to_owned();
    let monitor = format!(
        "firmseal monitor --log {}/log --authority place/tls/server.pem --vkey {vkey} --state monitor \
         --registry --root one.cbor",
        server.public()
    );
    t.ok(&monitor).says("nothing wrong");

    // The build's key is stolen. What it signed up to here stays.
    let stolen = t.json(&format!("firmseal keys show file:ci.pem {SECRET}"));
    let (stolen, origin) = (text(&stolen, "id"), text(&log, "origin"));
    let duty = |key: &str| format!("--key file:{key}.pem {SECRET} --anchor one.cbor --log log-duty");
    let last = release_index(&t, release);
    t.ok(&format!(
        "firmseal revoke key {stolen} --last-good {last}@{origin} {} -o revocation-1.cbor",
        duty("duty")
    ));
    t.ok("firmseal revoke publish revocation-1.cbor");
    t.run(&order("1.1.0", "second")).fails(3, "was revoked by revocation 1");
    device.ok("poll-once");
    assert_eq!(device.status()["revocation_version"], 1);
    device.ok("boot").says("1.0.0 runs");

    // New keys for every role that people hold.
    let next =
        ["alice2", "bob2", "carol2", "builder2", "duty2", "ann2", "ben2", "cleo2", "r12", "r22", "ci2"];
    keys(&t, &next);
    let change = role("root", 2, &[("alice", "alice2"), ("bob", "bob2"), ("carol", "carol2")])
        + &role("release", 1, &[("builder", "builder2")])
        + &role("revocation", 1, &[("duty", "duty2")])
        + &role("approver", 2, &[("ann", "ann2"), ("ben", "ben2"), ("cleo", "cleo2")])
        + &role("recovery", 2, &[("r1", "r12"), ("r2", "r22")]);
    t.write("change-3.toml", change);
    let all = ["alice", "bob", "alice2", "bob2"];
    ceremony(&t, "three", "--rotate two.cbor --change change-3.toml", &all);
    t.ok("firmseal root publish three.cbor").says("revoke renew");
    t.ok(&format!("firmseal revoke renew {} -o revocation-2.cbor", duty("duty2")));
    t.ok("firmseal revoke publish revocation-2.cbor");
    delegate(&t, "builder2", "ci2", 2);
    sign_with(&t, &mut server, "ci2");

    let request = t.json(&order("1.1.0", "second"));
    let request = text(&request, "id");
    let agree = |name: &str| {
        t.run(&format!("firmseal approve {request} --key file:{name}.pem {SECRET} --log log-{name} --yes"))
    };
    agree("ben").fails(5, "no approver's");
    agree("ann2").exits(0);
    agree("cleo2").exits(0).says("signed");
    let second = t.json(&order("1.1.0", "second"));
    let second = text(&second, "id");
    t.ok(&format!("firmseal rollout create {second}"));
    update(&device, "1.1.0");
    let status = device.status();
    assert_eq!((&status["root_version"], &status["revocation_version"]), (&3.into(), &2.into()));
    assert_eq!(device.slot("main", &device.active())[..200_000], [2; 200_000]);
    t.ok(&monitor).says("nothing wrong");

    // It turns out bad. The way back was signed ahead, by two people's word
    // as well, and goes out once the release is revoked.
    let ahead = format!("firmseal release prepare-rollback {second} --to {release}");
    let request = t.json(&ahead);
    let request = text(&request, "id");
    let agree = |name: &str| {
        t.ok(&format!("firmseal approve {request} --key file:{name}.pem {SECRET} --log log-{name} --yes"))
    };
    agree("ben2").says("rolls back");
    agree("ann2").says("signed");
    let back = t.json(&ahead);
    let back = text(&back, "id");
    t.run(&format!("firmseal rollout create {back}")).fails(3, "is not revoked");
    t.ok(&format!("firmseal revoke release {second} {} -o revocation-3.cbor", duty("duty2")));
    t.ok("firmseal revoke publish revocation-3.cbor");
    t.ok(&format!("firmseal rollout create {back}"));
    update(&device, "1.0.0+rollback.2");
    assert_eq!(device.status()["floors"]["sequence"]["main"], 3);

    // And then nothing boots: the recovery role's new holders bring it back,
    // without the server, and the server hears of it.
    t.ok(&format!("firmseal release export {release} -o good.bundle"));
    recovery(&t, "rescue", "good.bundle", &["r22", "r12"]);
    spoil(&device);
    device.run("boot").exits(12);
    device.run("install ../../good.bundle").fails(8, "refused");
    device.ok("install ../../rescue.bundle").says("RECOVERY");
    device.ok("boot").says("1.0.0 runs, on trial");
    device.ok("poll-once").says("confirmed");
    device.run("poll-once");
    assert_eq!(server.logged("a device took a recovery image").len(), 1);
    assert_eq!(device.status()["floors"]["sequence"]["main"], 3, "recovery moves no floor");
    t.ok(&monitor).says("nothing wrong");
    server.stop();
}

/// An image that holders of the recovery role sign, each with a log of their
/// own, after they have looked at its payloads.
fn recovery(t: &Shell, name: &str, bundle: &str, holders: &[&str]) {
    t.ok(&format!("firmseal ceremony start {name} --recovery {bundle} --under three.cbor")).says("RECOVERY");
    let status = t.json(&format!("firmseal ceremony status {name}"));
    let words = text(&status, "words");
    for holder in holders {
        t.ok(&format!(
            "firmseal ceremony sign {name}/request.toml --payloads {bundle} --key file:{holder}.pem {SECRET} \
             --log log-{holder} --yes-words '{words}' -o {holder}-{name}.toml"
        ));
        t.ok(&format!("firmseal ceremony add {name} {holder}-{name}.toml"));
    }
    t.ok(&format!("firmseal ceremony finish {name} --payloads {bundle} -o {name}.bundle"));
}

/// The running slot rots.
fn spoil(device: &Device) {
    let slot = device.home().join(format!("main.{}", device.active()));
    let mut bytes = std::fs::read(&slot).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(slot, bytes).unwrap();
}

/// Where the release's intent stands in the log.
fn release_index(t: &Shell, release: &str) -> u64 {
    t.json(&format!("firmseal release show {release}"))["log_index"].as_u64().unwrap()
}

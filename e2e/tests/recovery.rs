//! Recovery from the command line: an image that two holders sign, each on a
//! machine of their own, brings a device back on which nothing boots; and it
//! is no back door.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_core::Envelope;
use firmseal_e2e::device::Model;
use firmseal_e2e::{Device, Server, Shell};
use firmseal_manifest::bundle::read_head;
use firmseal_testkit::ports;
use serde_json::Value;

const GATEWAY: Model<'_> =
    Model { product: "gateway", components: &[("main", 1 << 20)], settings: "presence = \"presence\"" };
const SECRET: &str = "--secret file:pw";
/// What the product is, for machines without a registry.
const PRODUCT: &str = "id = \"gateway\"\nenvironment = \"test\"\nvendor = \"example.com\"\nclass = \"gateway\"\n\
                       format = \"raw\"\ncomponents = [{ name = \"main\", capacity = \"1MiB\" }]\n";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn role(name: &str, threshold: usize, keys: &[&str]) -> String {
    let holders: Vec<String> =
        keys.iter().map(|key| format!("{{ name = \"{key}\", keys = [\"{key}.pub\"] }}")).collect();
    format!("[[role]]\nrole = \"{name}\"\nthreshold = {threshold}\nholder = [{}]\n", holders.join(", "))
}

/// A place whose root has a recovery role of two holders out of three, a
/// device that runs 2.0.0 at epoch 2, and the release before that.
fn scene(t: &Shell) -> (Server, Device, String) {
    t.write("pw", "a passphrase\n");
    t.ok("chmod 600 pw");
    for name in ["root", "builder", "duty", "rita", "rolf", "ruth"] {
        t.ok(&format!("firmseal keys generate file:{name}.pem {SECRET} --public {name}.pub"));
    }
    let spec = role("root", 1, &["root"])
        + &role("release", 1, &["builder"])
        + &role("revocation", 1, &["duty"])
        + &role("recovery", 2, &["rita", "rolf", "ruth"]);
    t.write("root.toml", format!("environment = \"test\"\n{spec}"));
    t.ok("firmseal ceremony start one --root root.toml");
    sign(t, "one", "root", "").exits(0);
    t.ok("firmseal ceremony add one one-root.toml");
    t.ok("firmseal ceremony finish one -o root.cbor");
    let port = ports::free();
    t.ok(&format!(
        "firmseal init place --root root.cbor --release-key file:builder.pem {SECRET} --port {port}"
    ));
    let settings = String::from_utf8(t.read("place/server.toml")).unwrap();
    t.write("place/server.toml", format!("{settings}\n[limits]\npoll_seconds = 1\n"));
    let mut server = Server::in_place(t, "place", port);
    server.start();
    t.write("gateway.toml", PRODUCT);
    t.ok("firmseal product create --from gateway.toml");
    for (name, byte) in [("good", 1), ("bad", 2), ("next", 3), ("old", 4)] {
        t.write(name, vec![byte; 200_000]);
    }
    let device = Device::enrol(t, &server, "gateway-1", &GATEWAY);
    let good = release(t, "1.0.0", "good", 2);
    release(t, "2.0.0", "bad", 2);
    update(&device, "2.0.0");
    (server, device, good)
}

fn release(t: &Shell, version: &str, file: &str, epoch: u64) -> String {
    let made = t.json(&format!(
        "firmseal release create --product gateway --version {version} --epoch {epoch} --component main={file}"
    ));
    t.ok(&format!("firmseal rollout create {}", text(&made, "id")));
    text(&made, "id").to_owned()
}

fn update(device: &Device, version: &str) {
    device.ok("poll-once").says(&format!("installed {version}"));
    device.ok("boot").says(&format!("{version} runs, on trial"));
    device.ok("poll-once").says("confirmed");
}

/// One holder signs, on the own machine, after the words were read.
fn sign(t: &Shell, ceremony: &str, who: &str, more: &str) -> firmseal_e2e::shell::Ran {
    let status = t.json(&format!("firmseal ceremony status {ceremony}"));
    let words = text(&status, "words");
    t.run(&format!(
        "firmseal ceremony sign {ceremony}/request.toml --key file:{who}.pem {SECRET} --log log-{who} \
         --yes-words '{words}' {more} -o {ceremony}-{who}.toml"
    ))
}

/// A recovery image of a bundle, by these holders.
fn recovery(t: &Shell, name: &str, bundle: &str, holders: &[&str]) {
    t.ok(&format!("firmseal ceremony start {name} --recovery {bundle} --under root.cbor"))
        .says("WARNING")
        .says("without log, approvals and sequence number");
    for holder in holders {
        sign(t, name, holder, &format!("--payloads {bundle}")).exits(0).says("raw, 200000 bytes");
        t.ok(&format!("firmseal ceremony add {name} {name}-{holder}.toml"));
    }
    t.ok(&format!("firmseal ceremony finish {name} --payloads {bundle} -o {name}.bundle"));
}

/// Changes a bit of the second holder's signature: what stands right before
/// the manifest.
fn spoil_last_signature(bundle: &mut [u8]) {
    let envelope = read_head(&mut &*bundle).unwrap().envelope;
    let manifest = Envelope::decode(&envelope).unwrap().manifest().wrapped[..100].to_vec();
    let at = bundle.windows(100).position(|bytes| bytes == manifest).unwrap();
    bundle[at - 20] ^= 1;
}

/// Nothing boots any more.
fn strand(device: &Device) {
    let slot = device.home().join(format!("main.{}", device.active()));
    let mut bytes = std::fs::read(&slot).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(slot, bytes).unwrap();
    device.run("boot").exits(12);
}

#[test]
fn two_holders_bring_a_stranded_device_back_and_everybody_hears_of_it() {
    let t = Shell::new();
    let (mut server, device, good) = scene(&t);
    t.ok(&format!("firmseal release export {good} -o good.bundle"));
    // In another order than they stand in the root; a third is not needed.
    recovery(&t, "rescue", "good.bundle", &["ruth", "rita"]);
    // The same again is the same.
    t.ok("firmseal ceremony finish rescue --payloads good.bundle -o rescue.bundle");

    strand(&device);
    assert_eq!(device.status()["stranded"], true);
    let floors = device.status()["floors"].clone();
    device.ok("install ../../rescue.bundle").says("installed 1.0.0").says("RECOVERY");
    device.ok("boot").says("1.0.0 runs, on trial");
    device.ok("poll-once").says("confirmed");
    assert_eq!(device.status()["floors"], floors, "it moves no floor");
    assert_eq!(device.status()["stranded"], Value::Null, "it boots again");
    device.ok("boot").says("1.0.0 runs");

    // It is loud: on the device, in the server's log, its metrics, and for
    // whoever looks at the device.
    device.run("poll-once");
    assert_eq!(server.logged("a device took a recovery image").len(), 1);
    let devices = t.json("firmseal device list");
    let id = text(&devices[0], "id").to_owned();
    t.ok(&format!("firmseal device show {id}")).says("recovered: recovery image 1.0.0 (");

    // From there on everything is as ever.
    device.run("install ../../rescue.bundle").fails(8, "202");
    release(&t, "2.1.0", "next", 2);
    update(&device, "2.1.0");
    server.stop();
}

#[test]
fn recovery_is_no_back_door() {
    let t = Shell::new();
    let (mut server, device, _) = scene(&t);
    let assemble = |name: &str, file: &str, epoch: u64| {
        t.ok(&format!(
            "firmseal assemble --product-file gateway.toml --version 1.5.0 --epoch {epoch} --sequence 1 \
             --component main={file} --trust root.cbor -o {name}"
        ))
    };
    assemble("plain.bundle", "good", 2).says("nobody yet");
    assemble("old.bundle", "old", 1);
    device.run("install ../../plain.bundle").fails(8, "refused");
    recovery(&t, "rescue", "plain.bundle", &["rolf", "rita"]);
    recovery(&t, "low", "old.bundle", &["ruth", "rita"]);

    // While the device boots, whoever has the recovery keys is nobody: on
    // it, and at the server.
    let before = device.untouchable(&device.active());
    device.run("install ../../rescue.bundle").fails(8, "202");
    t.run("firmseal release import --product gateway rescue.bundle").fails(3, "202");
    assert_eq!(device.untouchable(&device.active()), before);

    // One holder alone gets no file, however often it signs; nor does a
    // stranger, nor whoever signs releases.
    t.ok("firmseal ceremony start alone --recovery plain.bundle --under root.cbor");
    sign(&t, "alone", "ruth", "--payloads plain.bundle").exits(0);
    t.ok("firmseal ceremony add alone alone-ruth.toml").says("waiting for                     rita, rolf");
    t.run("firmseal ceremony finish alone --payloads plain.bundle -o alone.bundle").fails(3, "1 of 2");
    sign(&t, "alone", "builder", "--payloads plain.bundle").fails(3, "no holder");
    // Nobody signs what nobody can look at, nor what lies beside it.
    sign(&t, "alone", "rolf", "").fails(2, "payloads").hints();
    sign(&t, "alone", "rolf", "--payloads old.bundle").fails(3, "another release");
    let mut torn = t.read("plain.bundle");
    let end = torn.len() - 100;
    torn[end] ^= 1;
    t.write("torn.bundle", torn);
    sign(&t, "alone", "rolf", "--payloads torn.bundle").fails(3, "main");
    // With somebody in front of it, it takes none below its epoch, and none
    // that only one of them has signed; what is signed by two, it does.
    std::fs::write(device.home().join("presence"), "1\n").unwrap();
    device.run("install ../../low.bundle").fails(8, "401");
    let mut half = t.read("rescue.bundle");
    spoil_last_signature(&mut half);
    t.write("half.bundle", half);
    device.run("install ../../half.bundle").fails(8, "refused");
    device.ok("install ../../rescue.bundle").says("installed 1.5.0");
    std::fs::write(device.home().join("presence"), "0\n").unwrap();
    device.ok("boot").says("1.5.0 runs, on trial");
    device.ok("poll-once").says("confirmed");
    server.stop();
}

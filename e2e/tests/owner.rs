//! Devices with an owner: what the vendor signs installs once two of the
//! owner's people have looked at it and agreed, and not before.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_e2e::device::Model;
use firmseal_e2e::{Device, Ran, Server, Shell};
use firmseal_testkit::ports;
use serde_json::Value;

const GATEWAY: Model<'_> = Model { product: "gateway", components: &[("main", 1 << 20)], settings: "" };
const SECRET: &str = "--secret file:pw";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn role(name: &str, threshold: usize, keys: &[&str]) -> String {
    let holders: Vec<String> =
        keys.iter().map(|key| format!("{{ name = \"{key}\", keys = [\"{key}.pub\"] }}")).collect();
    format!("[[role]]\nrole = \"{name}\"\nthreshold = {threshold}\nholder = [{}]\n", holders.join(", "))
}

/// A root that one custodian makes.
fn root(t: &Shell, name: &str, custodian: &str, spec: &str) {
    t.write(&format!("{name}.toml"), format!("environment = \"test\"\n{spec}"));
    t.ok(&format!("firmseal ceremony start {name} --root {name}.toml"));
    let status = t.json(&format!("firmseal ceremony status {name}"));
    let words = text(&status, "words");
    t.ok(&format!(
        "firmseal ceremony sign {name}/request.toml --key file:{custodian}.pem {SECRET} --log log-{custodian} \
         --yes-words '{words}' -o {name}-signed.toml"
    ));
    t.ok(&format!("firmseal ceremony add {name} {name}-signed.toml"));
    t.ok(&format!("firmseal ceremony finish {name} -o {name}.cbor"));
}

fn countersign(t: &Shell, from: &str, who: &str, to: &str) -> Ran {
    t.run(&format!(
        "firmseal countersign {from} --root vendor.cbor --owner owner.cbor --key file:{who}.pem {SECRET} \
         --log log-{who} --yes -o {to}"
    ))
}

#[test]
fn what_the_vendor_signs_waits_for_the_owner() {
    let t = Shell::new();
    t.write("pw", "a passphrase\n");
    t.ok("chmod 600 pw");
    for name in ["root", "builder", "opal", "olga", "otto", "thief"] {
        t.ok(&format!("firmseal keys generate file:{name}.pem {SECRET} --public {name}.pub"));
    }
    let demands = "[[demands]]\nproof = false\napprovals = false\ndelegation = false\nowner = true\n";
    let vendor = role("root", 1, &["root"]) + &role("release", 1, &["builder"]) + demands;
    root(&t, "vendor", "root", &vendor);
    // The owner's people make theirs by the same commands, elsewhere.
    root(&t, "owner", "opal", &(role("root", 1, &["opal"]) + &role("approver", 2, &["olga", "otto"])));

    let port = ports::free();
    t.ok(&format!(
        "firmseal init place --root vendor.cbor --release-key file:builder.pem {SECRET} --port {port}"
    ));
    let mut server = Server::in_place(&t, "place", port);
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.write("first", vec![1; 200_000]);
    t.write("second", vec![2; 200_000]);
    let device = Device::enrol(&t, &server, "owned", &GATEWAY);
    device.ok("owner adopt ../../owner.cbor").says("1 is in force");
    // One that nobody has come to own yet.
    let stock = Device::enrol(&t, &server, "stock", &GATEWAY);

    let order = "firmseal release create --product gateway --version 1.0.0 --epoch 1 --component main=first";
    t.ok(order).says("countersigned");
    let release = t.json(order);
    assert_eq!(release["state"], "signed");
    let release = text(&release, "id");
    t.run(&format!("firmseal rollout create {release}")).fails(3, "consent").hints();
    t.ok(&format!("firmseal release export {release} -o vendor.bundle"));
    for device in [&device, &stock] {
        device.run("install ../../vendor.bundle").fails(8, "703");
    }

    // Who is not the owner's has no say, the vendor's own key as little.
    countersign(&t, "vendor.bundle", "builder", "no.bundle").fails(5, "no approver's");
    countersign(&t, "vendor.bundle", "thief", "no.bundle").fails(5, "no approver's");
    // What was changed on the way is not even shown.
    let mut torn = t.read("vendor.bundle");
    let end = torn.len() - 100;
    torn[end] ^= 1;
    t.write("torn.bundle", torn);
    countersign(&t, "torn.bundle", "olga", "no.bundle").fails(3, "main");
    // What the vendor has not signed is not the owner's to agree to.
    t.write(
        "gateway.toml",
        "id = \"gateway\"\nenvironment = \"test\"\nvendor = \"example.com\"\nclass = \"gateway\"\n\
         format = \"raw\"\ncomponents = [{ name = \"main\", capacity = \"1MiB\" }]\n",
    );
    t.ok("firmseal assemble --product-file gateway.toml --version 6.6.6 --epoch 1 --sequence 9 \
         --component main=second -o nobody.bundle");
    countersign(&t, "nobody.bundle", "olga", "no.bundle").fails(3, "203");

    // One of two is not enough, and the same one twice is one.
    countersign(&t, "vendor.bundle", "olga", "one.bundle").exits(0).says("more of the owner's people");
    countersign(&t, "one.bundle", "olga", "twice.bundle").exits(0).says("more of the owner's people");
    device.run("install ../../twice.bundle").fails(8, "703");
    countersign(&t, "one.bundle", "otto", "ours.bundle").exits(0).says("install it");
    countersign(&t, "ours.bundle", "olga", "no.bundle").fails(6, "enough");
    t.ok("firmseal verify --root vendor.cbor --owner owner.cbor ours.bundle").says("valid");

    device.ok("install ../../ours.bundle").says("installed 1.0.0");
    device.ok("boot").says("1.0.0 runs, on trial");
    device.ok("poll-once").says("confirmed");
    device.ok("boot").says("1.0.0 runs");
    stock.run("install ../../ours.bundle").fails(8, "703");

    // The next one shows what changes, against the one that runs.
    let next =
        t.json("firmseal release create --product gateway --version 1.1.0 --epoch 1 --component main=second");
    t.ok(&format!("firmseal release export {} -o next.bundle", text(&next, "id")));
    t.ok(&format!(
        "firmseal countersign next.bundle --root vendor.cbor --owner owner.cbor --before ours.bundle \
         --key file:otto.pem {SECRET} --log log-otto --yes -o half.bundle"
    ))
    .says("version 1.0.0 -> 1.1.0");
    countersign(&t, "half.bundle", "olga", "next-ours.bundle").exits(0);
    device.ok("install ../../next-ours.bundle").says("installed 1.1.0");
    server.stop();
}

//! A roll-back that is signed ahead: it lies ready, installs for nobody, and
//! once the bad release is revoked it brings the version back while the
//! sequence goes on.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_e2e::device::Model;
use firmseal_e2e::{Device, Server, Shell};
use serde_json::Value;

const GATEWAY: Model<'_> = Model { product: "gateway", components: &[("main", 1 << 20)], settings: "" };
const DUTY: &str = "--key file:place/keys/revocation.pem --secret file:place/keys/passphrase --log duty --anchor place/trust/root.cbor";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn create(t: &Shell, version: &str, file: &str) -> Value {
    t.json(&format!(
        "firmseal release create --product gateway --version {version} --epoch 1 --component main={file}"
    ))
}

fn update(device: &Device, version: &str) {
    device.ok("poll-once").says(&format!("installed {version}"));
    device.ok("boot").says(&format!("{version} runs, on trial"));
    device.ok("poll-once").says("confirmed");
}

#[test]
fn a_roll_back_lies_ready_and_installs_beside_the_revocation_alone() {
    let t = Shell::new();
    let mut server = Server::new(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    for (name, byte) in [("good", 1), ("bad", 2), ("next", 3)] {
        t.write(name, vec![byte; 200_000]);
    }
    let online = Device::enrol(&t, &server, "online", &GATEWAY);
    let offline = Device::enrol(&t, &server, "offline", &GATEWAY);
    let good = create(&t, "1.0.0", "good");
    t.run(&format!("firmseal release prepare-rollback {}", text(&good, "id"))).fails(3, "before 1.0.0");
    let bad = create(&t, "1.1.0", "bad");
    let (good, bad) = (text(&good, "id").to_owned(), text(&bad, "id").to_owned());

    // Signed ahead, right behind the release that it would undo.
    let back = t.json(&format!("firmseal release prepare-rollback {bad}"));
    assert_eq!((text(&back, "version"), &back["sequence"]), ("1.0.0+rollback.2", &3.into()));
    let again = t.json(&format!("firmseal release prepare-rollback {bad}"));
    let back = text(&back, "id").to_owned();
    assert_eq!(text(&again, "id"), back, "once, however often it is asked for");
    t.ok(&format!("firmseal release show {back}")).says("rolls back");
    t.ok(&format!("firmseal release export {back} -o early.bundle"));

    t.ok(&format!("firmseal rollout create {bad}"));
    for device in [&online, &offline] {
        update(device, "1.1.0");
    }
    // Nobody gets it yet: no rollout offers it, and no stick brings it.
    t.run(&format!("firmseal rollout create {back}")).fails(3, "is not revoked").hints();
    let before = offline.untouchable(&offline.active());
    offline.run("install ../../early.bundle").fails(8, "refused");
    assert_eq!(offline.untouchable(&offline.active()), before);
    // Nor is there a way back from what is not the newest, or forward.
    t.run(&format!("firmseal release prepare-rollback {good} --to {bad}")).fails(3, "came after 1.0.0");

    // The bad release is revoked, and the way back is open.
    t.ok(&format!("firmseal revoke release {bad} {DUTY} -o revocation-1.cbor"));
    t.ok("firmseal revoke publish revocation-1.cbor").says("halted");
    t.ok(&format!("firmseal rollout create {back}"));
    update(&online, "1.0.0+rollback.2");
    assert_eq!(online.status()["floors"]["sequence"]["main"], 3, "the version goes back, the sequence on");
    assert_eq!(online.slot("main", &online.active())[..200_000], [1; 200_000]);
    // The same from a stick, which brings the revocation along.
    t.ok(&format!("firmseal release export {back} -o late.bundle"));
    offline.run("install ../../early.bundle").fails(8, "refused");
    offline.ok("install ../../late.bundle").says("installed 1.0.0+rollback.2");
    offline.ok("boot").says("on trial");
    offline.ok("confirm").says("confirmed");

    // What comes next stands above it, and there is no second way back.
    let next = create(&t, "1.2.0", "next");
    assert_eq!(next["sequence"], 4);
    t.run(&format!("firmseal release prepare-rollback {bad} --idempotency-key second")).fails(6, "exists");
    t.ok(&format!("firmseal rollout create {}", text(&next, "id")));
    update(&online, "1.2.0");
    server.stop();
}

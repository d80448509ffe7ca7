//! Peers: what reached a slot, judged by the tools that others use.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_core::{BlockSize, Digest};
use firmseal_e2e::anatomy::Bundle;
use firmseal_e2e::device::Model;
use firmseal_e2e::firmware::{OPENSBI, U_BOOT};
use firmseal_e2e::{Device, Server, Shell};
use serde_json::Value;

/// Releases, offers and installs; returns the release.
fn install(t: &Shell, device: &Device, order: &str) -> Value {
    let release = t.json(&format!("firmseal release create {order}"));
    let id = release["id"].as_str().unwrap();
    t.ok(&format!("firmseal rollout create {id}"));
    device.ok("poll-once").says("installed");
    device.ok("boot").says("on trial");
    device.ok("poll-once").says("confirmed");
    release
}

#[test]
fn imgtool_accepts_the_image_in_the_slot() {
    let t = Shell::new();
    let _server = Server::new(&t);
    t.ok("firmseal product create sensor --vendor example.com --class sensor --format mcuboot \
          --component app=256KiB,block=1024");
    let sensor = Model { product: "sensor", components: &[("app", 256 << 10)], settings: "" };
    let device = Device::enrol(&t, &_server, "sensor-1", &sensor);

    // The build wraps the firmware and does not sign it: no key is there.
    let firmware = OPENSBI.path();
    t.ok(&format!(
        "imgtool sign --header-size 512 --pad-header --slot-size 0x40000 --align 8 --version 1.2.3 \
         --security-counter 4 {} build.bin",
        firmware.display()
    ));
    let order = "--product sensor --epoch 4 --component app=build.bin --version 1.2.3";
    let release = install(&t, &device, order);
    let image = device.slot("app", &device.active());
    let size = release["components"][0]["size"].as_u64().unwrap() as usize;
    t.write("slot.bin", &image[..size]);
    assert_ne!(t.read("build.bin"), image[..size], "the server signed it");

    t.ok("firmseal keys show file:place/keys/artifact.pem --secret file:place/keys/passphrase");
    t.ok("openssl pkey -in place/keys/artifact.pem -passin file:place/keys/passphrase -pubout -out artifact.pub");
    t.ok("imgtool verify -k artifact.pub slot.bin").says("Image version: 1.2.3");
    t.ok("firmseal inspect slot.bin").says("1.2.3");
    // imgtool has not just nodded: another key, and one byte.
    t.ok("imgtool keygen -k other.pem -t ecdsa-p256");
    assert_ne!(t.run("imgtool verify -k other.pem slot.bin").code, Some(0));
    let mut bad = image[..size].to_vec();
    bad[size / 2] ^= 1;
    t.write("bad.bin", bad);
    assert_ne!(t.run("imgtool verify -k artifact.pub bad.bin").code, Some(0));
    // An image that carries another version or counter is never signed.
    t.run("firmseal release create --product sensor --channel beta --epoch 5 --component app=build.bin --version 1.2.3")
        .fails(3, "epoch");
    t.run("firmseal release create --product sensor --epoch 4 --component app=build.bin --version 1.2.4")
        .fails(3, "1.2.3");
}

#[test]
fn veritysetup_accepts_the_slot_with_the_root_of_the_facts() {
    let t = Shell::new();
    let server = Server::new(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    let gateway = Model { product: "gateway", components: &[("main", 1 << 20)], settings: "" };
    let device = Device::enrol(&t, &server, "gateway-1", &gateway);
    let order =
        format!("--product gateway --epoch 1 --version 1.0.0 --component main={}", U_BOOT.path().display());
    let release = install(&t, &device, &order);

    // The root is read from the manifest that the device holds to, not from
    // what the server says about it.
    t.ok(&format!("firmseal release export {} -o gateway.bundle", release["id"].as_str().unwrap()));
    let bundle = Bundle::of(t.read("gateway.bundle"));
    let envelope = bundle.part(&bundle.envelope);
    let root = root_of(&envelope, U_BOOT.bytes().len() as u64);
    assert_eq!(release["components"][0]["tree_root"], root.to_string());

    let mut slot = device.slot("main", &device.active());
    // The kernel reads whole blocks; what lies behind an image counts as
    // zeros.
    slot.truncate(U_BOOT.bytes().len());
    slot.resize(slot.len().next_multiple_of(4096), 0);
    t.write("data", &slot);
    t.write("hashes", bundle.part(&bundle.tree));
    let blocks = slot.len() / 4096;
    let verify = format!(
        "veritysetup verify --no-superblock --format=1 --hash=sha256 --salt=- --data-block-size=4096 \
         --hash-block-size=4096 --data-blocks={blocks} data hashes {root}"
    );
    t.ok(&verify);
    for at in [0, slot.len() / 2, U_BOOT.bytes().len() - 1] {
        let mut bad = slot.clone();
        bad[at] ^= 1;
        t.write("data", bad);
        assert_ne!(t.run(&verify).code, Some(0), "byte {at}");
    }
}

/// The tree's root in the facts of an envelope's first component.
fn root_of(envelope: &[u8], size: u64) -> Digest {
    let parts = firmseal_e2e::anatomy::Envelope::of(envelope);
    let facts = &envelope[parts.facts];
    // Of all digests in the facts only one is the root of a tree.
    let candidates = facts.windows(34).filter(|window| window[..2] == [0x58, 32]);
    let mut roots = candidates.filter_map(|window| {
        let root = Digest::from_slice(&window[2..])?;
        firmseal_core::Tree::new(size, BlockSize::B4096, root).ok().map(|_| root)
    });
    let root = roots.next().unwrap();
    assert!(roots.next().is_none(), "the facts hold one digest");
    root
}

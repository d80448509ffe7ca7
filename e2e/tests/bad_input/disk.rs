//! Disks: one that is full is said to be, and what was promised stays.

use firmseal_e2e::firmware::{OPENSBI, OVMF};
use firmseal_e2e::{Device, Server, Shell};
use firmseal_testkit::small_disk;

use crate::{GATEWAY, Verdicts};

#[test]
fn a_full_disk_is_said_so_and_nothing_is_lost() {
    let Some(disk) = small_disk::own() else {
        let directory = tempfile::tempdir().unwrap();
        // Built by now, and cargo has no business in there.
        let binaries = firmseal_e2e::binaries::firmseal().parent().unwrap().as_os_str();
        let test = "disk::a_full_disk_is_said_so_and_nothing_is_lost";
        small_disk::again(directory.path(), 9, test, &[("FIRMSEAL_BINARIES", binaries)]);
        return;
    };
    let t = Shell::at(&disk);
    let mut server = Server::new(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    let device = Device::enrol(&t, &server, "gateway-1", &GATEWAY);
    let order = "firmseal release create --product gateway --version 1.0.0 --epoch 1";
    let firmware = OPENSBI.path();
    let release = t.json(&format!("{order} --component main={}", firmware.display()));
    let id = release["id"].as_str().unwrap();
    t.ok(&format!("firmseal rollout create {id}"));
    t.ok(&format!("firmseal release export {id} -o carried.bundle"));

    // Ballast until nothing is left.
    let mut size = 8 << 20;
    let mut ballast = Vec::new();
    while size >= 512 {
        let path = t.path(format!("ballast-{}", ballast.len()));
        if std::fs::write(&path, vec![1; size]).is_err() {
            let _ = std::fs::remove_file(&path);
            size /= 2;
        } else {
            ballast.push(path);
        }
    }
    let mut verdicts = Verdicts::default();
    let big = OVMF.path();
    verdicts.check(&t.run(&format!("firmseal artifact upload {}", big.display())), &[7], "space");
    verdicts.check(&t.run(&format!("firmseal release export {id} -o x.bundle")), &[8], "x.bundle");
    verdicts.check(&t.run("firmseal init other"), &[8], "other");
    assert!(!t.path("other").exists() && !t.path("x.bundle").exists(), "half of something is there");
    // The server has none for a device's word that it is there; the device
    // has none for what comes by another carrier.
    verdicts.check(&device.run("poll-once"), &[6], "the server has no space left");
    verdicts.check(&device.run("install ../../carried.bundle"), &[9], "no space left");
    // Reading goes on.
    t.ok("firmseal release list").says("1.0.0");
    for path in ballast {
        std::fs::remove_file(path).unwrap();
    }
    // With room again, all of them go on where they were.
    device.ok("poll-once").says("installed");
    device.ok("boot").says("on trial");
    device.ok("poll-once").says("confirmed");
    assert_eq!(t.json(&format!("{order} --component main={}", firmware.display()))["id"], release["id"]);
    server.kill();
    server.start();
    t.ok("firmseal release list").says("1.0.0");
    assert!(!server.log().text().contains("panicked at"));
    verdicts.end();
}

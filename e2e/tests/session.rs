//! The session: real firmware, from the build to ten devices that run it and
//! know why, all of it typed at a terminal.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use firmseal_e2e::device::Model;
use firmseal_e2e::firmware::{OPENSBI, OVMF, U_BOOT, rebuilt};
use firmseal_e2e::{Device, Powered, Server, Shell, until};
use serde_json::Value;

const DEVICES: usize = 10;

/// A board with three firmwares.
const BOARD: Model<'_> = Model {
    product: "board",
    components: &[("boot", 1 << 20), ("monitor", 256 << 10), ("uefi", 4 << 20)],
    settings: "",
};

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// What names a release from the commit to each device (R33).
struct Ids {
    build: String,
    commit: String,
    request: String,
    release: String,
    rollout: String,
}

impl Ids {
    /// Whether a line of the server's log, flat, or of the agent's, in its
    /// span, carries them.
    fn in_line(&self, line: &Value) -> bool {
        let spans = line["spans"].as_array().into_iter().flatten();
        let of = |name: &str| {
            let from = [line, &line["fields"]].into_iter().chain(spans.clone());
            from.into_iter().find_map(|from| from[name].as_str())
        };
        of("build") == Some(&self.build)
            && of("request") == Some(&self.request)
            && of("release") == Some(&self.release)
            && of("rollout").is_none_or(|rollout| rollout == self.rollout)
            && of("commit").is_none_or(|commit| commit == self.commit)
    }
}

/// Releases a set of images and waits until every device has confirmed it.
fn ship(t: &Shell, version: &str, images: [&str; 3], commit: &str) -> Ids {
    let build = format!("ci-{version}");
    let [boot, monitor, uefi] = images;
    let release = t.json(&format!(
        "firmseal release create --product board --version {version} --epoch 1 --build {build} --commit {commit} \
         --component boot={boot} --component monitor={monitor} --component uefi={uefi}"
    ));
    assert_eq!(text(&release, "state"), "verified");
    let id = text(&release, "id");
    let rollout = t.json(&format!("firmseal rollout create {id}"));
    let rollout = text(&rollout, "id").to_owned();
    t.ok(&format!("firmseal rollout watch {rollout} --timeout 2m --every 1s"));
    Ids {
        build,
        commit: commit.to_owned(),
        request: text(&release, "request").to_owned(),
        release: id.to_owned(),
        rollout,
    }
}

fn check_record(t: &Shell, ids: &Ids) {
    let rollout = t.json(&format!("firmseal rollout show {} --devices", ids.rollout));
    assert_eq!(rollout["outcomes"]["phases"], serde_json::json!({ "confirmed": DEVICES }));
    let devices = rollout["devices"].as_array().unwrap();
    assert_eq!(devices.len(), DEVICES);
    for outcome in devices {
        let report = &outcome["report"];
        assert_eq!(text(report, "phase"), "confirmed");
        assert!(ids.in_line(report), "{report}");
        let device = t.json(&format!("firmseal device show {}", text(outcome, "device")));
        let phases: BTreeSet<&str> = device["reports"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|report| ids.in_line(report))
            .map(|report| text(report, "phase"))
            .collect();
        assert_eq!(phases, ["confirmed", "downloading", "installed", "trial"].into());
    }
    let release = t.json(&format!("firmseal release show {}", ids.release));
    assert_eq!(text(&release, "build"), ids.build);
    assert_eq!(text(&release, "commit"), ids.commit);
    assert_eq!(text(&release, "request"), ids.request);
    assert_eq!(text(&release["rollouts"][0], "id"), ids.rollout);
}

fn check_logs(server: &Server, devices: &[(Device, Powered)], ids: &Ids) {
    let lines = |message: &str| -> Vec<Value> {
        server.logged(message).into_iter().filter(|line| ids.in_line(line)).collect()
    };
    assert_eq!(lines("release signed").len(), 1);
    assert_eq!(lines("rollout begun").len(), 1);
    let by_device = |message: &str, phase: Option<&str>| -> BTreeSet<String> {
        lines(message)
            .iter()
            .filter(|line| phase.is_none_or(|phase| line["phase"] == phase))
            .map(|line| text(line, "device").to_owned())
            .collect()
    };
    assert_eq!(by_device("release offered", None).len(), DEVICES);
    for phase in ["downloading", "installed", "trial", "confirmed"] {
        assert_eq!(by_device("device report", Some(phase)).len(), DEVICES, "{phase}");
    }
    for (device, powered) in devices {
        let log = powered.log().json();
        for message in ["admitted", "installed", "confirmed"] {
            let named = |line: &&Value| line["fields"]["message"] == message && ids.in_line(line);
            assert!(
                log.iter().any(|line| named(&line)),
                "{}: no line `{message}` with the ids of {}:\n{}",
                device.home().display(),
                ids.build,
                powered.log().text()
            );
        }
    }
}

#[test]
fn real_firmware_reaches_ten_devices_and_every_id_comes_back() {
    let t = Shell::new();
    let server = Server::new(&t);
    t.ok("firmseal product create board --vendor example.com --class board --hardware rev1 \
          --component boot=1MiB --component monitor=256KiB,block=1024 --component uefi=4MiB");
    let devices: Vec<(Device, Powered)> = (1..=DEVICES)
        .map(|number| {
            let device = Device::enrol(&t, &server, &format!("board-{number}"), &BOARD);
            let powered = device.power_on();
            (device, powered)
        })
        .collect();

    let images = [U_BOOT, OPENSBI, OVMF].map(|image| image.path().display().to_string());
    let [boot, monitor, uefi] = &images;
    let first = ship(&t, "1.0.0", [boot, monitor, uefi], "0123456789abcdef0123456789abcdef01234567");
    check_record(&t, &first);
    check_logs(&server, &devices, &first);

    // One of the three is built anew: the others are on the devices already.
    let next = t.write("build/u-boot.bin", rebuilt(&U_BOOT.bytes()));
    let next = next.display().to_string();
    let second = ship(&t, "1.1.0", [&next, monitor, uefi], "89abcdef0123456789abcdef0123456789abcdef");
    check_record(&t, &second);
    check_logs(&server, &devices, &second);

    let expected = BTreeMap::from([
        ("boot", rebuilt(&U_BOOT.bytes())),
        ("monitor", OPENSBI.bytes()),
        ("uefi", OVMF.bytes()),
    ]);
    let total = (expected.values().map(|image| image.len().div_ceil(1024)).sum::<usize>()) as u64;
    for (device, powered) in devices {
        let status = until("the reports to be delivered", || {
            Some(device.status()).filter(|status| status["reports"] == 0)
        });
        assert_eq!(status["boot"]["confirmed"], status["boot"]["active"]);
        assert_eq!(status["install"], Value::Null);
        assert_eq!(status["floors"]["sequence"], serde_json::json!({ "boot": 2, "monitor": 2, "uefi": 2 }));
        assert_eq!(status["floors"]["epoch"], 1);
        for (component, image) in &expected {
            let slot = device.slot(component, text(&status["boot"], "active"));
            assert!(slot[..image.len()] == image[..], "{component} of {}", device.home().display());
        }
        let fetched = |build: &str| -> u64 {
            let log = powered.log().json();
            let line = log
                .iter()
                .find(|line| line["fields"]["message"] == "installed" && line["spans"][0]["build"] == build);
            line.unwrap()["fields"]["fetched"].as_u64().unwrap()
        };
        assert!(fetched("ci-1.0.0") > total / 4);
        // At most two spans hold the changed bytes.
        assert!(fetched("ci-1.1.0") <= 256, "{} blocks fetched", fetched("ci-1.1.0"));
        drop(powered);
    }

    let mut server = server;
    server.stop();
    let log = server.log().text();
    assert!(!log.contains("panicked at"), "{log}");
    // What was shipped can be checked by anybody, offline and from a file.
    server.start();
    t.ok(&format!("firmseal release export {} -o board.bundle", second.release));
    t.ok("firmseal verify --root place/trust/root.cbor board.bundle").says("every block checked");
}

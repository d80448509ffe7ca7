//! Agents: nonsense in their arguments and in their state.

use firmseal_e2e::files::nonsense;
use firmseal_e2e::firmware::OPENSBI;
use firmseal_e2e::{Device, Server, Shell};

use crate::{GATEWAY, Verdicts};

#[test]
fn an_agent_refuses_nonsense_and_keeps_running_what_it_has() {
    let t = Shell::new();
    let server = Server::new(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    let device = Device::enrol(&t, &server, "gateway-1", &GATEWAY);
    t.write("firmware.bin", OPENSBI.bytes());
    let order =
        "firmseal release create --product gateway --version 1.0.0 --epoch 1 --component main=firmware.bin";
    let release = t.json(order);
    t.ok(&format!("firmseal rollout create {}", release["id"].as_str().unwrap()));
    device.ok("poll-once").says("installed");
    device.ok("boot");
    device.ok("poll-once").says("confirmed");

    let mut verdicts = Verdicts::default();
    let before = device.untouchable("b");
    for (name, bytes) in nonsense() {
        let path = t.write(name, &bytes).display().to_string();
        verdicts.check(&device.run(&format!("install {path}")), &[6], name);
        verdicts.check(&device.run(&format!("enrol --anchor {path}")), &[3, 5], "");
        verdicts.check(&t.run(&format!("firmseal-agent --config {path} status")), &[3], name);
    }
    assert!(device.untouchable("b") == before);
    verdicts.check(&t.run("firmseal-agent --config missing.toml status"), &[3], "missing.toml");
    verdicts.check(&t.run("firmseal-agent frobnicate"), &[2], "frobnicate");
    verdicts.check(&device.run("install missing.bundle"), &[6], "missing.bundle");

    // Whatever one file of its state becomes: an error with a documented
    // code, or work that goes on; the image in the slot still runs.
    let state = device.home().join("state");
    let files: Vec<_> = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).collect();
    for path in files.iter().filter(|path| path.is_file()) {
        let good = std::fs::read(path).unwrap();
        for (name, bytes) in nonsense().into_iter().filter(|(_, bytes)| bytes.len() < 100_000) {
            std::fs::write(path, bytes).unwrap();
            for command in ["status", "boot", "poll-once"] {
                let ran = device.run(command);
                let documented = matches!(ran.code, Some(0 | 3..=12));
                if !documented || (ran.code != Some(0) && !ran.stderr.contains("error: ")) {
                    verdicts.0.push(format!(
                        "{} is {name}: {command}: {:?} {}",
                        path.display(),
                        ran.code,
                        ran.stderr
                    ));
                }
            }
            std::fs::write(path, &good).unwrap();
        }
    }
    device.ok("boot").says("1.0.0 runs");
    let image = OPENSBI.bytes();
    assert!(device.slot("main", &device.active())[..image.len()] == image[..]);
    verdicts.end();
}

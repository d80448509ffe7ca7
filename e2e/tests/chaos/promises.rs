//! Promises: everything that a server said was done.

use firmseal_e2e::firmware::{U_BOOT, U_BOOT_RISCV};
use firmseal_e2e::{Device, Ran, Shell, until};
use serde_json::Value;

use crate::{GATEWAY, text};

/// Everything that a server said was done.
#[derive(Default)]
pub(crate) struct Promises {
    pub(crate) releases: Vec<Value>,
    rollouts: Vec<String>,
    /// Devices that were enrolled in the middle of it.
    pub(crate) enrolled: Vec<(String, Device)>,
}

impl Promises {
    /// Publishes the next release and rolls it out.
    pub(crate) fn publish(&mut self, t: &Shell) -> String {
        let number = self.releases.len() + 1;
        t.write(&format!("{number}.bin"), firmware(number));
        let release = insist_json(
            t,
            &format!(
                "firmseal release create --product gateway --version 1.{number}.0 --epoch {} \
                 --component main={number}.bin --build ci-{number}",
                1 + number / 3
            ),
        );
        let id = text(&release, "id").to_owned();
        self.releases.push(release);
        let rollout = insist_json(t, &format!("firmseal rollout create {id}"));
        self.rollouts.push(text(&rollout, "id").to_owned());
        id
    }

    /// Enrols one more device, which stays off until the end.
    pub(crate) fn enrol(&mut self, t: &Shell, devices: &str) {
        let name = format!("late-{}", self.enrolled.len() + 1);
        let device = Device::build(t, &name, &GATEWAY);
        // 7: a token is spent before the answer with the certificate is on
        // its way; where it is lost, it takes another.
        let enrol = || device.enrol_with(t, &t.path("place"), devices, "gateway");
        let id = insist(&name, enrol, &[6, 7]).trim().to_owned();
        self.enrolled.push((id, device));
    }

    /// Every release, artifact, rollout and enrolment is there, and no release
    /// was made twice.
    pub(crate) fn check(&self, t: &Shell) {
        let sequences: Vec<u64> =
            self.releases.iter().map(|release| release["sequence"].as_u64().unwrap()).collect();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
        for release in &self.releases {
            let id = text(release, "id");
            let found = t.json(&format!("firmseal release show {id}"));
            for name in
                ["id", "version", "sequence", "epoch", "manifest", "envelope", "log_index", "components"]
            {
                assert_eq!(found[name], release[name], "{name} of {id}");
            }
            let artifact = text(&release["components"][0], "artifact");
            assert_eq!(text(&t.json(&format!("firmseal artifact show {artifact}")), "id"), artifact);
            // Signature, payload and tree are all still there and whole.
            t.ok(&format!("firmseal release export {id} -o {id}.bundle"));
            t.ok(&format!("firmseal verify --root place/trust/root.cbor {id}.bundle"));
        }
        for rollout in &self.rollouts {
            assert_eq!(text(&t.json(&format!("firmseal rollout show {rollout}")), "id"), rollout);
        }
        for (id, _) in &self.enrolled {
            assert_eq!(text(&t.json(&format!("firmseal device show {id}")), "id"), id);
        }
    }
}

/// A firmware that has next to nothing in common with the one before, so
/// that all of it has to be fetched.
///
/// Long enough to be cut in the middle: copies of the bootloader, each with
/// a number, so that no block is in the slot already.
pub(crate) fn firmware(number: usize) -> Vec<u8> {
    let one = if number.is_multiple_of(2) { U_BOOT_RISCV.bytes() } else { U_BOOT.bytes() };
    let mut image: Vec<u8> = one.iter().copied().cycle().take(24 << 20).collect();
    for (index, block) in image.chunks_mut(4096).enumerate() {
        block[..8].copy_from_slice(&((number << 32) + index).to_le_bytes());
    }
    image
}

/// Types a command again while the server is away.
fn insist(what: &str, mut command: impl FnMut() -> Ran, away: &[i32]) -> String {
    until(what, || {
        let ran = command();
        if ran.code == Some(0) {
            return Some(ran.stdout);
        }
        assert!(ran.code.is_some_and(|code| away.contains(&code)), "{what}: {:?}: {}", ran.code, ran.stderr);
        None
    })
}

fn insist_json(t: &Shell, line: &str) -> Value {
    serde_json::from_str(&insist(line, || t.run(&format!("{line} --json")), &[7])).unwrap()
}

//! Configuration: one TOML file, checked in whole before anything starts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use firmseal_core::limits::{COMPONENTS_MAX, TEXT_MAX};
use firmseal_manifest::{ChannelName, ProductId};
use serde::Deserialize;
use uuid::Uuid;

use crate::boot_control::Slot;
use crate::error::Error;

/// Longest configuration file, in bytes.
const CONFIG_MAX: u64 = 256 * 1024;

/// The configuration of a device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `https://host:port`; absent for a device that installs bundles only
    /// and keeps no reports.
    pub server: Option<String>,
    /// Where the agent keeps its key, certificate, journal and records.
    pub state: PathBuf,
    /// The product.
    pub product: ProductId,
    /// SUIT vendor id.
    pub vendor: Uuid,
    /// SUIT class id.
    pub class: Uuid,
    /// Hardware revision, for the inventory.
    pub hardware: Option<String>,
    /// What the boot chain can do, for the inventory.
    #[serde(default)]
    pub bootloader: Bootloader,
    /// The components, at least one.
    pub components: Vec<Component>,
    /// Decides whether an image on trial is confirmed.
    pub health: Option<Health>,
    /// Command that reboots the device after an install; without it
    /// somebody else does.
    pub reboot: Option<Vec<String>>,
    /// How often an image may try to boot before it is given up.
    #[serde(default = "default_tries")]
    pub tries: u8,
    /// What happens to an image that fails verification.
    #[serde(default)]
    pub on_refusal: OnRefusal,
    /// Bounds of the quarantine.
    #[serde(default)]
    pub quarantine: Quarantine,
    /// Polling.
    #[serde(default)]
    pub poll: Poll,
    /// Reports that are kept while the server is out of reach; outcomes are
    /// never dropped.
    #[serde(default = "default_reports")]
    pub reports_max: usize,
    /// Bytes that one poll may download; without it, no bound.
    pub data_budget: Option<u64>,
    /// Bytes a carrier must deliver per second, on average over a minute:
    /// slower ones are left, so that none can hold an update back for ever.
    #[serde(default = "default_rate")]
    pub minimum_rate: u64,
    /// Bytes that are written between two syncs, and so about what a power
    /// cut can cost.
    #[serde(default = "default_sync")]
    pub sync_bytes: u64,
    /// A file that says `1` while somebody stands in front of the device and
    /// asks for recovery: a GPIO line's value, or what the bootloader makes.
    pub presence: Option<PathBuf>,
    /// The device has no clock: dates of the server's certificate are not
    /// looked at.
    #[serde(default)]
    pub no_clock: bool,
    /// How old news of the log may be when something is installed, in
    /// seconds; without it none is asked for.
    pub max_age: Option<u64>,
    /// The channel whose releases it takes, approved as the root document asks
    /// on it. Without it releases of every channel are taken, approved as
    /// the root document asks where it names no channel.
    pub channel: Option<ChannelName>,
    /// How far this device's clock may be off, in seconds.
    #[serde(default = "default_leeway")]
    pub leeway: u64,
}

/// A component with its two slots.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its name: the SUIT component identifier of one byte string.
    pub name: String,
    /// Slot a and slot b: files or block devices.
    pub slots: [PathBuf; 2],
    /// Bytes that a slot holds.
    pub capacity: u64,
}

impl Component {
    /// The path of a slot.
    pub fn slot(&self, slot: Slot) -> &Path {
        &self.slots[slot.index()]
    }
}

/// What the boot chain can do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bootloader {
    /// Its name and version.
    pub name: String,
    /// It verifies the image at every boot.
    pub verifies: bool,
    /// It counts tries by itself.
    pub trial: bool,
    /// The security epoch is in a hardware counter.
    pub epoch_counter: bool,
}

impl Default for Bootloader {
    fn default() -> Bootloader {
        Bootloader {
            name: concat!("firmseal-agent boot ", env!("CARGO_PKG_VERSION")).to_owned(),
            verifies: true,
            trial: true,
            epoch_counter: false,
        }
    }
}

/// The health command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Program and arguments; no shell is involved.
    pub command: Vec<String>,
    /// Seconds it may take.
    #[serde(default = "default_health_timeout")]
    pub timeout: u64,
}

/// What happens to an image that fails verification. There is no third
/// choice in this program.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRefusal {
    /// It is dropped.
    #[default]
    Reject,
    /// Envelope and first bad block are kept for analysis, never in a slot.
    Isolate,
}

/// Bounds of the quarantine.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quarantine {
    /// Cases that are kept; a new one replaces the oldest.
    pub cases: u8,
}

impl Default for Quarantine {
    fn default() -> Quarantine {
        Quarantine { cases: 4 }
    }
}

/// When to poll, in seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Poll {
    /// Shortest time between two polls; the server may ask for more.
    pub interval: u64,
    /// Share of a pause that is left to chance, in percent.
    pub jitter: u8,
    /// First pause after a failure; it doubles with each further one.
    pub back_off: u64,
    /// Longest pause, whatever the server asks for.
    pub max: u64,
}

impl Default for Poll {
    fn default() -> Poll {
        Poll { interval: 300, jitter: 20, back_off: 15, max: 6 * 3600 }
    }
}

fn default_tries() -> u8 {
    3
}

fn default_reports() -> usize {
    256
}

fn default_rate() -> u64 {
    256
}

fn default_leeway() -> u64 {
    300
}

fn default_sync() -> u64 {
    32 << 20
}

fn default_health_timeout() -> u64 {
    60
}

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to it.
    pub fn load(path: &Path) -> Result<Config, Error> {
        let fail = |why: String| Error::Config { path: path.to_owned(), why };
        let size = std::fs::metadata(path).map_err(|err| fail(err.to_string()))?.len();
        if size > CONFIG_MAX {
            return Err(fail(format!("{size} bytes are more than a configuration has")));
        }
        let text = std::fs::read_to_string(path).map_err(|err| match err.kind() {
            std::io::ErrorKind::InvalidData => fail("this is not UTF-8 text".to_owned()),
            _ => fail(err.to_string()),
        })?;
        let mut config: Config = toml::from_str(&text).map_err(|err| fail(err.to_string()))?;
        let base = path.parent().unwrap_or(Path::new(""));
        config.state = base.join(&config.state);
        config.presence = config.presence.map(|path| base.join(path));
        for slot in config.components.iter_mut().flat_map(|component| &mut component.slots) {
            *slot = base.join(&slot);
        }
        config.check().map_err(fail)?;
        Ok(config)
    }

    /// Checks every rule that holds for a configuration by itself.
    pub fn check(&self) -> Result<(), String> {
        let rules: [(bool, &str); 12] = [
            (
                !self.vendor.is_nil() && !self.class.is_nil(),
                "vendor and class: the nil UUID identifies nothing",
            ),
            ((1..=COMPONENTS_MAX).contains(&self.components.len()), "components: 1 to 8 of them"),
            ((1..=20).contains(&self.tries), "tries: 1 to 20"),
            (self.poll.interval >= 1 && self.poll.back_off >= 1, "poll: interval and back_off of 1 or more"),
            (self.poll.max >= self.poll.interval, "poll: max is not below interval"),
            (self.poll.jitter <= 50, "poll: jitter of 0 to 50 percent"),
            ((8..=512).contains(&self.reports_max), "reports_max: 8 to 512"),
            (self.sync_bytes >= 1 << 20, "sync_bytes: 1 MiB or more"),
            // Below that, hash blocks could eat what a poll may load.
            (self.data_budget.is_none_or(|bytes| bytes >= 4 << 20), "data_budget: 4 MiB or more"),
            // Shorter than witnesses cosign, and nothing would ever install.
            (self.max_age.is_none_or(|age| age >= 3600), "max_age: 3600 seconds or more"),
            ((1..=64).contains(&self.quarantine.cases), "quarantine: 1 to 64 cases"),
            (
                self.health.as_ref().is_none_or(|h| !h.command.is_empty() && h.timeout >= 1)
                    && self.reboot.as_ref().is_none_or(|command| !command.is_empty()),
                "health and reboot: a command names a program, and has a second or more",
            ),
        ];
        if let Some((_, rule)) = rules.iter().find(|(holds, _)| !holds) {
            return Err((*rule).to_owned());
        }
        let (mut names, mut slots) = (BTreeSet::new(), BTreeSet::new());
        for Component { name, slots: own, capacity } in &self.components {
            if name.is_empty() || name.len() > TEXT_MAX || !names.insert(name) {
                return Err(format!("component {name:?}: a name of its own, of 1 to {TEXT_MAX} bytes"));
            }
            if *capacity == 0 {
                return Err(format!("component {name:?}: give its capacity in bytes"));
            }
            if !own.iter().all(|slot| slots.insert(slot)) {
                return Err(format!("component {name:?}: each slot is a place of its own"));
            }
        }
        Ok(())
    }

    /// How long the health command may take.
    pub(crate) fn health_timeout(&self) -> Duration {
        Duration::from_secs(self.health.as_ref().map_or(default_health_timeout(), |health| health.timeout))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn example() -> toml::Table {
        include_str!("../agent.example.toml").parse().unwrap()
    }

    fn read(table: toml::Table) -> Result<Config, String> {
        let config: Config = table.try_into().map_err(|err: toml::de::Error| err.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn the_example_is_valid_and_its_defaults_are_the_defaults() {
        let full = read(example()).unwrap();
        let mut short = example();
        let kept = ["state", "product", "vendor", "class", "components", "health"];
        short.retain(|key, _| kept.contains(&key));
        let mut short = read(short).unwrap();
        short.bootloader.name = full.bootloader.name.clone();
        assert_eq!(format!("{full:?}"), format!("{short:?}"));
    }

    #[test]
    fn each_rule_is_checked() {
        let set = |key: &str, value: toml::Value| {
            let mut table = example();
            table.insert(key.to_owned(), value);
            read(table)
        };
        let slots = |slots: [&str; 2]| -> toml::Value {
            let text = format!("[[c]]\nname = \"a\"\nslots = {slots:?}\ncapacity = 1\n");
            text.parse::<toml::Table>().unwrap().remove("c").unwrap()
        };
        set("components", slots(["a", "b"])).unwrap();
        for (key, value) in [
            ("components", slots(["a", "a"])),
            ("components", toml::Value::Array(vec![])),
            ("vendor", toml::Value::from(Uuid::nil().to_string())),
            ("tries", 0.into()),
            ("reports_max", 7.into()),
            ("data_budget", 1.into()),
            ("sync_bytes", 0.into()),
            ("max_age", 59.into()),
            ("on_refusal", "allow".into()),
            ("product", "../x".into()),
            ("unknown", 1.into()),
        ] {
            assert!(set(key, value.clone()).is_err(), "{key} = {value}");
        }
    }
}

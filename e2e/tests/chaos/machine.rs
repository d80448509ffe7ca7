//! Machines: devices with their power on, whose floors are watched.

use std::collections::BTreeSet;
use std::sync::Mutex;

use firmseal_e2e::{Device, Powered, Server, Shell};
use serde_json::Value;

use crate::GATEWAY;

/// A device with its power on, and the highest floors seen on it.
pub(crate) struct Machine {
    pub(crate) device: Device,
    pub(crate) id: String,
    pub(crate) powered: Powered,
    floors: Mutex<(u64, u64)>,
}

impl Machine {
    pub(crate) fn new(t: &Shell, server: &Server, name: &str) -> Machine {
        let device = Device::build(t, name, &GATEWAY);
        let enrolled = device.enrol_with(t, server.place(), &server.devices(), "gateway").exits(0);
        let powered = device.power_on();
        Machine { device, id: enrolled.stdout.trim().to_owned(), powered, floors: Mutex::default() }
    }

    /// How it stands; its floors are where they were, or higher.
    pub(crate) fn status(&self) -> Value {
        let status = self.device.status();
        let floors = &status["floors"];
        let sequence = floors["sequence"]["main"].as_u64().unwrap_or(0);
        let now = (sequence, floors["epoch"].as_u64().unwrap_or(0));
        let mut before = self.floors.lock().unwrap();
        assert!(now.0 >= before.0 && now.1 >= before.1, "the floors went back from {before:?} to {now:?}");
        *before = now;
        status
    }

    /// Ids of the releases about which its agent logged this.
    pub(crate) fn logged(&self, message: &str) -> BTreeSet<String> {
        let of = |line: &Value| Some(line["spans"][0]["release"].as_str()?.to_owned());
        let lines = self.powered.log().json();
        lines.iter().filter(|line| line["fields"]["message"] == message).filter_map(of).collect()
    }

    /// Installs that an earlier run of its agent had begun.
    pub(crate) fn resumed(&self) -> usize {
        let lines = self.powered.log().json();
        lines
            .iter()
            .filter(|line| line["fields"]["resumed"].as_u64().is_some_and(|blocks| blocks > 0))
            .count()
    }
}

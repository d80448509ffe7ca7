//! The demo's devices: true agents with files for slots.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmseal_agent::{Agent, Config, Deps, Enrolment, Event, ServerEnrolment, enrol};
use firmseal_api::enrolment::CreateToken;
use firmseal_api::registry::Product;
use tokio::task::JoinSet;

use super::{COMPONENT, Session, unexpected};
use crate::error::{CliError, Kind, Result, file};
use crate::place::Place;

/// The settings of a device, as its manufacturer would write them.
fn agent_toml(home: &Path, server: &str, product: &Product, size: usize) -> String {
    let (home, capacity) = (home.display(), size as u64 + (1 << 20));
    let Product { id, vendor, class, .. } = product;
    format!(
        "server = \"{server}\"\n\
         state = \"{home}/state\"\n\
         product = \"{id}\"\n\
         vendor = \"{vendor}\"\n\
         class = \"{class}\"\n\
         hardware = \"rev1\"\n\
         on_refusal = \"isolate\"\n\n\
         [[components]]\n\
         name = \"{COMPONENT}\"\n\
         slots = [\"{home}/slot-a\", \"{home}/slot-b\"]\n\
         capacity = {capacity}\n"
    )
}

/// Devices, each with an agent.
pub(in crate::commands) struct Fleet {
    pub(in crate::commands) devices: Vec<Arc<Device>>,
}

/// One device.
pub(in crate::commands) struct Device {
    pub(in crate::commands) name: String,
    pub(in crate::commands) agent: Agent,
    slots: [PathBuf; 2],
}

impl Fleet {
    /// Makes devices and enrols them: the trust anchor comes from the
    /// factory, never from the server.
    pub(in crate::commands) async fn enrol(
        session: &Session,
        directory: &Path,
        server: &str,
        place: &Place,
        root: &[u8],
        count: u16,
        size: usize,
    ) -> Result<Fleet> {
        let product = session.client.operator().product(&session.product).await?;
        let authority_path = place.path("tls/server.pem");
        let authority = std::fs::read(&authority_path).map_err(file(&authority_path))?;
        let mut devices = Vec::new();
        for number in 1..=count {
            let token = CreateToken {
                product: session.product.clone(),
                labels: Default::default(),
                uses: None,
                valid_for: Some(600),
            };
            let token = session.client.operator().create_enrolment_token(&token).await?;
            let name = format!("device-{number:02}");
            let home = directory.join("devices").join(&name);
            std::fs::create_dir_all(&home).map_err(file(&home))?;
            let slots = [home.join("slot-a"), home.join("slot-b")];
            for slot in &slots {
                std::fs::File::create(slot).map_err(file(slot))?;
            }
            let settings = home.join("agent.toml");
            std::fs::write(&settings, agent_toml(&home, server, &product, size)).map_err(file(&settings))?;
            let config = Config::load(&settings).map_err(unexpected)?;
            let deps = Deps::new(&config);
            let server = Some(ServerEnrolment { url: server, token: &token.token, authority: &authority });
            enrol(&config, &deps, &Enrolment { anchor: root, server }).await.map_err(unexpected)?;
            let agent = Agent::new(config, deps).map_err(unexpected)?;
            devices.push(Arc::new(Device { name, agent, slots }));
        }
        Ok(Fleet { devices })
    }

    /// Lets every device poll, install, reboot and confirm.
    pub(in crate::commands) async fn update(&self, version: &str) -> Result<Vec<String>> {
        let mut tasks = JoinSet::new();
        for (index, device) in self.devices.iter().cloned().enumerate() {
            tasks.spawn(async move { (index, device.update().await) });
        }
        let mut lines = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let (index, line) = done.map_err(unexpected)?;
            let line = line?;
            if !line.contains(version) {
                return Err(CliError::new(
                    Kind::Unexpected,
                    format_args!("{version} did not arrive: {line}"),
                ));
            }
            lines.push((index, line));
        }
        lines.sort();
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }
}

impl Device {
    /// Polls, installs, reboots and settles; says how that went.
    pub(in crate::commands) async fn update(&self) -> Result<String> {
        let installed = match self.agent.poll_once().await.map_err(unexpected)? {
            Event::Installed(installed) => installed,
            other => return Ok(format!("{}: {other:?}", self.name)),
        };
        // A reboot: the boot stage decides what runs, and counts the try.
        let boot = self.agent.boot_stage().map_err(unexpected)?;
        let settled = match self.agent.poll_once().await.map_err(unexpected)? {
            Event::Confirmed => "confirmed".to_owned(),
            other => format!("{other:?}"),
        };
        let counts = installed.counts;
        Ok(format!(
            "{}: {} into slot {} ({} blocks fetched, {} already there), {} boot of {}, {settled}",
            self.name,
            installed.version,
            installed.slot,
            counts.fetched,
            counts.copied,
            if boot.trial { "trial" } else { "plain" },
            boot.version,
        ))
    }

    /// The content of the active slot and what stands in the boot record.
    pub(in crate::commands) fn active(&self) -> Result<(Vec<u8>, String)> {
        let state = self.agent.boot_state().map_err(unexpected)?;
        let slot = state.active.index();
        let bytes = std::fs::read(&self.slots[slot]).map_err(file(&self.slots[slot]))?;
        Ok((bytes, format!("{state:?}")))
    }
}

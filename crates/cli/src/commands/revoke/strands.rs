//! Which devices a revocation leaves behind, from what the server knows of
//! the fleet.

use std::collections::HashMap;

use bytes::Bytes;
use firmseal_api::client::Client;
use firmseal_api::fleet::{Device, DeviceStatus};
use firmseal_api::signing::Release;
use firmseal_core::Root;
use firmseal_manifest::{DeviceId, KeyId, ProductId, ReleaseId};
use firmseal_trust::RootSpec;
use firmseal_trust::change::roles_of;
use firmseal_trust::retire::{Need, Running, Standing, needs};
use serde_json::{Value, json};

use super::author::Draft;
use crate::commands::listing::all;
use crate::error::Result;
use crate::output::Output;

/// Devices that are named one by one; the others are counted.
const NAMED: usize = 20;

/// Devices that still need what is taken away.
pub struct Left(Vec<(DeviceId, Need)>);

/// Looks at every device that is still one of ours.
pub async fn find(client: &Client, draft: &Draft) -> Result<Left> {
    let operator = client.operator();
    let devices = all(async |page| operator.devices(None, &page).await).await?;
    let releases = all(async |page| operator.releases(None, &page).await).await?;
    let running: HashMap<(&ProductId, u64), &Release> =
        releases.iter().map(|release| ((&release.product, release.sequence), release)).collect();
    let mut envelopes: HashMap<ReleaseId, Bytes> = HashMap::new();
    let mut left = Vec::new();
    for device in devices.iter().filter(|device| device.state == DeviceStatus::Active) {
        let release = device.running.as_ref().and_then(|own| running.get(&(&device.product, own.sequence)));
        if let Some(release) = release
            && !envelopes.contains_key(&release.id)
        {
            envelopes.insert(release.id, operator.envelope(release.id).await?);
        }
        let runs = release.and_then(|release| {
            let envelope = envelopes.get(&release.id)?;
            Some(Running { envelope, manifest: release.manifest.0, log_index: release.log_index })
        });
        let standing =
            Standing { product: device.product.as_str(), root: held(draft, device), running: runs };
        if let Some(need) = needs(&standing, &draft.spec.keys)? {
            left.push((device.id, need));
        }
    }
    Ok(Left(left))
}

/// The root document that a device holds: the first one while it has not
/// said, since that is what devices leave the factory with.
fn held<'a>(draft: &'a Draft, device: &Device) -> &'a [u8] {
    let said = device.equipment.as_ref().map_or(1, |equipment| equipment.root_version);
    draft.chain.version(said).unwrap_or_else(|| draft.chain.root())
}

/// Whether any root document has a key: a delegated one stands in none, and
/// neither does one that was mistyped.
pub fn known(draft: &Draft, key: &KeyId) -> Result<bool> {
    for root in draft.chain.roots() {
        if !roles_of(&RootSpec::of(&Root::decode(root)?)?, key).is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Left {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Names them for people.
    pub fn name(&self, output: &Output) {
        for (device, need) in self.0.iter().take(NAMED) {
            output.note(format_args!("{device}: {need}"));
        }
        if self.0.len() > NAMED {
            output.note(format_args!("and {} more", self.0.len() - NAMED));
        }
    }

    /// All of them for programs.
    pub fn json(&self) -> Value {
        let one = |(device, need): &(DeviceId, Need)| json!({ "device": device.to_string(), "need": need.to_string() });
        self.0.iter().map(one).collect()
    }
}

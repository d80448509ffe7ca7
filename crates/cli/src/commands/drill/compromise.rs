//! `firmseal drill compromise`: a release key is stolen.
//!
//! Everything is real but the thief: a server with its store, agents over
//! mutual TLS with files for slots, the documents that custodians would sign,
//! and each device asked itself whether it still takes the thief's release.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use firmseal_agent::Error;
use firmseal_api::fleet::{Cohort, CreateRollout};
use firmseal_api::signing::{Release, ReleaseState};
use firmseal_core::{Refusal, Root};
use firmseal_keys::{DynSigner, Signer};
use firmseal_manifest::PublicKey;
use firmseal_server::{Running, Serves};
use firmseal_store_local::IntentLog;
use firmseal_trust::{RevocationSpec, RevokedKey};
use serde_json::{Value, json};

use super::roots::Custodian;
use super::timeline::Timeline;
use crate::commands::demo::fleet::{Device, Fleet};
use crate::commands::demo::{self, Session, unexpected};
use crate::commands::revoke::author::{self, Draft};
use crate::commands::revoke::strands;
use crate::commands::serve;
use crate::error::{CliError, Kind, Result, file};
use crate::output::Output;
use crate::place::{Place, layout};
use crate::trust;

/// A release key is stolen: from the alarm to the last device protected
///
/// A server and devices run on this machine. The thief's release reaches some
/// of the devices; then the alarm: a revocation is signed and published, a
/// root document brings the next release key, a new release brings every
/// device back, and a last root document drops the stolen key. Each device is
/// offered the thief's next release by hand, and has to refuse it.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal drill compromise
  firmseal drill compromise --devices 20 --json > drill.json")]
pub struct Compromise {
    /// How many devices
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    devices: u16,
    /// Where everything is kept; a temporary directory that is removed at
    /// the end if left out
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Which log lines of server and agents are shown
    #[arg(long, env = "RUST_LOG", default_value = "off", value_name = "FILTER")]
    log: String,
}

/// The firmware is not what is rehearsed.
const FIRMWARE: usize = 64 * 1024;

impl Compromise {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        firmseal_server::logging::start(firmseal_server::logging::LogFormat::Text, &self.log);
        let temporary;
        let directory = match &self.directory {
            Some(directory) => {
                std::fs::create_dir(directory).map_err(|error| {
                    file(directory)(error).hint("name a directory that does not exist yet")
                })?;
                std::fs::canonicalize(directory).map_err(file(directory))?
            }
            None => {
                temporary = tempfile::Builder::new().prefix("firmseal-drill-").tempdir()?;
                temporary.path().to_owned()
            }
        };
        let mut scene = Scene::set(&directory, self.devices, output).await?;
        let outcome = scene.play(output).await;
        scene.stop().await;
        let told = outcome?;
        output.value(&told, || summary(&told))
    }
}

/// What the drill plays with.
struct Scene {
    place: Place,
    /// `None` between a stop and the next start.
    running: Option<Running>,
    addresses: Vec<SocketAddr>,
    session: Session,
    fleet: Fleet,
    log: IntentLog,
    /// What every device runs, rightly.
    good: Release,
    /// What the thief got onto some of them.
    infecting: Release,
    infected: usize,
    /// What the thief has signed besides, as it would come on a stick.
    waiting: PathBuf,
}

impl Scene {
    /// A fleet at work, and a thief who was there already.
    async fn set(directory: &Path, devices: u16, output: &Output) -> Result<Scene> {
        output.note(format_args!("a server and {devices} devices in {}", directory.display()));
        let place = demo::place(directory).await?;
        let running = serve::start_on_free_ports(&place).await?;
        let addresses = running.addresses().iter().map(|(_, address)| *address).collect();
        let at =
            |serves| running.address(serves).map(|address| format!("https://localhost:{}", address.port()));
        let (Some(operators), Some(served)) = (at(Serves::Operator), at(Serves::Device)) else {
            return Err(unexpected("the server has no listener for operators and devices"));
        };
        let session = Session::open(&place, operators)?;
        session.create_product(FIRMWARE as u64).await?;
        let root = place.root()?;
        let fleet = Fleet::enrol(&session, directory, &served, &place, &root, devices, FIRMWARE).await?;
        let good = session.release("1.0.0", session.upload(&image(1)).await?, 1).await?;
        session.roll_out(&good).await?;
        fleet.update("1.0.0").await?;

        let infecting = session.release("6.6.6", session.upload(&image(2)).await?, 1).await?;
        let next = session.release("6.6.7", session.upload(&image(3)).await?, 1).await?;
        let waiting = directory.join("thief.bundle");
        std::fs::write(&waiting, session.bundle(&next, &root).await?).map_err(file(&waiting))?;
        let victims = &fleet.devices[..fleet.devices.len().div_ceil(2)];
        let cohort = Cohort::Devices(session.devices(victims.len()).await?);
        let rollout = CreateRollout { release: infecting.id, cohort, starts: None };
        session.client.operator().create_rollout(&rollout).await?;
        let mut infected = 0;
        for device in &fleet.devices {
            infected += usize::from(device.update().await?.contains("6.6.6"));
        }
        let log = IntentLog::open(&directory.join("custodians.log"))?;
        output.note(format_args!("the thief's release 6.6.6 is on {infected} of {devices} devices"));
        let running = Some(running);
        Ok(Scene { place, running, addresses, session, fleet, log, good, infecting, infected, waiting })
    }

    async fn play(&mut self, output: &Output) -> Result<Value> {
        let mut time = Timeline::alarm(output, "the release key signs what nobody ordered");
        let (custodian, client) =
            (Custodian { place: &self.place, log: &self.log }, self.session.client.clone());
        let operator = client.operator();
        let stolen = custodian.key("release")?.public_key().clone();

        // The key goes, what it signed in good order stays.
        let mut draft = Draft::after(trust::served(&client).await?)?;
        let allowed = vec![self.good.manifest.0];
        draft.spec.take_key(RevokedKey { key: stolen.id(), last_good: Vec::new(), allowed })?;
        let behind = strands::find(&client, &draft).await?.len();
        time.note("behind", format_args!("{behind} devices know of no other key yet, and are told soon"));
        let revocation = self.sign(&draft.spec, draft.chain.root()).await?;
        time.note("issued", format_args!("revocation {} of key {}", draft.spec.version, stolen.id()));
        let published = operator.publish_revocation(revocation.into()).await?;
        let halted = published.rollouts.len();
        time.note(
            "published",
            format_args!("{} releases revoked, {halted} rollouts halted", published.releases.len()),
        );

        // Each device comes by, and is then asked itself.
        let mut refused = Vec::new();
        for device in &self.fleet.devices {
            device.agent.poll_once().await.map_err(unexpected)?;
            let (code, why) = self.tempt(device).await?;
            time.device("protected", &device.name, format_args!("refuses the thief's next release ({code})"));
            refused.push(json!({ "device": device.name, "code": code, "why": why }));
        }

        // A successor first, so that nobody is left without a key.
        let next = custodian.generate("release-2")?.public_key().clone();
        let root = custodian.add(draft.chain.root(), "next release signer", &next).await?;
        let version = operator.publish_root(root.clone().into()).await?.version;
        time.note("root", format_args!("root document {version} with release key {}", next.id()));
        self.restart_with("keys/release-2.pem").await?;
        time.note("restarted", "the server signs with the next key");
        let cure = self.session.release("1.1.0", self.session.upload(&image(4)).await?, 1).await?;
        self.session.roll_out(&cure).await?;
        time.note("released", format_args!("{} signed by the next key and rolled out", cure.version));
        for device in &self.fleet.devices {
            let line = device.update().await?;
            if !line.contains("1.1.0") || !line.ends_with("confirmed") {
                return Err(unexpected(line));
            }
            time.device("back", &device.name, "runs 1.1.0, confirmed");
        }

        // Once every device says so, the stolen key can go for good.
        for device in &self.fleet.devices {
            device.agent.poll_once().await.map_err(unexpected)?;
        }
        let chain = trust::served(&client).await?;
        let left = strands::find(&client, &Draft { spec: draft.spec.clone(), chain }).await?.len();
        if left != 0 {
            return Err(unexpected(format_args!("{left} devices still need the stolen key")));
        }
        let custodian = Custodian { place: &self.place, log: &self.log };
        let last = custodian.remove(&root, &stolen).await?;
        let version = operator.publish_root(last.into()).await?.version;
        time.note("dropped", format_args!("root document {version} knows the stolen key no more"));
        for device in &self.fleet.devices {
            device.agent.poll_once().await.map_err(unexpected)?;
            let boot = device.agent.boot_stage().map_err(unexpected)?;
            if boot.version != "1.1.0" {
                return Err(unexpected(format_args!("{} boots {}", device.name, boot.version)));
            }
        }
        let state = operator.release(self.infecting.id).await?.state;
        if state != ReleaseState::Revoked {
            return Err(unexpected("the thief's release is not marked as revoked"));
        }
        self.told(&time, &stolen, behind, refused)
    }

    /// Signs a revocation as the duty officer would.
    async fn sign(&self, spec: &RevocationSpec, root: &[u8]) -> Result<Vec<u8>> {
        let key = Custodian { place: &self.place, log: &self.log }.key("revocation")?;
        let signer: Arc<dyn DynSigner> = Arc::new(key);
        let root = Root::decode(root)?;
        spec.check_signers(&root, &[signer.dyn_public_key().id()])?;
        author::sign(spec, &root, &[signer], &self.log).await
    }

    /// Hands a device the thief's next release, as if on a stick. It must
    /// refuse it for the key.
    async fn tempt(&self, device: &Device) -> Result<(u16, String)> {
        match device.agent.install_bundle(&self.waiting).await {
            Err(Error::Refused(refused)) if refused.reason.code() == Refusal::KeyRevoked.code() => {
                Ok((refused.reason.code(), refused.reason.to_string()))
            }
            Err(error) => Err(CliError::new(Kind::Unexpected, error).about(&device.name)),
            Ok(_) => Err(CliError::new(
                Kind::Refused,
                format_args!("{} installed what the stolen key had signed", device.name),
            )
            .hint("does its agent follow revocations?")),
        }
    }

    async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown().await;
        }
    }

    /// Stops the server, names another release key, starts it on the same
    /// ports.
    async fn restart_with(&mut self, key: &str) -> Result {
        let path = self.place.path(layout::SIGNING);
        let text = std::fs::read_to_string(&path).map_err(file(&path))?;
        let changed = text.replace("file:keys/release.pem", &format!("file:{key}"));
        if changed == text {
            return Err(unexpected("signing.toml names another release key"));
        }
        std::fs::write(&path, changed).map_err(file(&path))?;
        self.stop().await;
        self.running = Some(serve::start_on(&self.place, &self.addresses).await?);
        Ok(())
    }

    fn told(
        &self,
        time: &Timeline<'_>,
        stolen: &PublicKey,
        behind: usize,
        refused: Vec<Value>,
    ) -> Result<Value> {
        let span = |event| time.span(event).unwrap_or_default();
        Ok(json!({
            "devices": self.fleet.devices.len(),
            "infected": self.infected,
            "stolen_key": stolen.id().to_string(),
            "left_behind_at_alarm": behind,
            "revocation_issued_ms": span("issued").0,
            "revocation_published_ms": span("published").0,
            "first_device_protected_ms": span("protected").0,
            "last_device_protected_ms": span("protected").1,
            "last_device_back_ms": span("back").1,
            "refused": refused,
            "timeline": time.entries(),
        }))
    }
}

/// Bytes that stand for a build.
fn image(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(FIRMWARE);
    while out.len() < FIRMWARE {
        // xorshift64: enough to tell builds apart.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out
}

fn summary(told: &Value) -> String {
    let seconds = |name: &str| format!("{:.3} s", told[name].as_u64().unwrap_or_default() as f64 / 1000.0);
    crate::record::Record::new()
        .row(
            "devices",
            format_args!("{}, {} of them with the thief's release", told["devices"], told["infected"]),
        )
        .row("revocation issued", seconds("revocation_issued_ms"))
        .row("and published", seconds("revocation_published_ms"))
        .row("first protected", seconds("first_device_protected_ms"))
        .row("last protected", seconds("last_device_protected_ms"))
        .row("last one back", seconds("last_device_back_ms"))
        .row("note", "here devices poll at once; in the field the wait for a poll comes on top")
        .print()
}

//! `firmseal demo`: the whole chain on one machine, each link as itself.
//!
//! A real server on loopback with embedded storage, real agents over mutual
//! TLS, real files as slots. Then attacks, and what becomes of them.

mod attacks;
pub(super) mod fleet;
mod stage;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use firmseal_api::encoding::{PAGE_MAX, PageQuery};
use firmseal_api::fleet::{Cohort, CreateRollout};
use firmseal_api::registry::{Component, CreateUpload, Environment, Product};
use firmseal_api::requests::Ordered;
use firmseal_api::signing::{CreateRelease, Release, ReleaseComponent};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::{ArtifactId, DeviceId, ProductId, RolloutId};
use firmseal_server::Serves;
use uuid::Uuid;

use self::fleet::Fleet;
use self::stage::Stage;
use super::init::Init;
use super::serve::start_on_free_ports;
use crate::error::{CliError, Kind, Result, file};
use crate::place::Place;
use crate::profile::Profile;

/// Watch the whole chain on this machine
///
/// Makes keys and trust, starts a server on loopback, signs firmware,
/// rolls it out to devices over mutual TLS, and then tries to get bad
/// images past them. Without a firmware file, this program's own
/// executable is the firmware.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal demo
  firmseal demo u-boot.bin --devices 10
  firmseal demo --directory kept     everything stays there afterwards")]
pub struct Demo {
    /// The firmware
    firmware: Option<PathBuf>,
    /// How many devices
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    devices: u16,
    /// Where everything is kept; a temporary directory that is removed at
    /// the end if left out
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Which log lines of server and agents are shown
    #[arg(long, env = "RUST_LOG", default_value = "off", value_name = "FILTER")]
    log: String,
}

/// Largest firmware of the demo, in bytes.
const FIRMWARE_MAX: u64 = 256 << 20;
const COMPONENT: &str = "main";

impl Demo {
    /// Runs the command.
    pub async fn run(self) -> Result {
        let begun = Instant::now();
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
                temporary = tempfile::Builder::new().prefix("firmseal-demo-").tempdir()?;
                temporary.path().to_owned()
            }
        };
        let mut stage = Stage::new();
        let firmware = self.firmware()?;

        stage.act("trust", "a root document names who may sign; devices will hold it");
        let place = place(&directory).await?;
        stage.done(format_args!("keys, root document version 1 and settings in {}", directory.display()));

        stage.act("server", "signing, registry and updates on loopback, TLS 1.3");
        let running = start_on_free_ports(&place).await?;
        let at =
            |serves| running.address(serves).map(|address| format!("https://localhost:{}", address.port()));
        let (Some(operators), Some(devices)) = (at(Serves::Operator), at(Serves::Device)) else {
            return Err(CliError::new(
                Kind::Unexpected,
                "the server has no listener for operators and devices",
            ));
        };
        stage.done(format_args!("operators {operators}, devices {devices}"));
        let session = Session::open(&place, operators)?;

        stage.act("build", "an artifact enters, read by our own parsers, immutable from here on");
        session.create_product(firmware.len() as u64).await?;
        let first = session.upload(&firmware).await?;
        stage.done(format_args!("{} bytes, sha-256 {first}", firmware.len()));

        stage.act("sign", "gate, intent in the log, then the key: in this order and no other");
        let release = session.release("1.0.0", first, 1).await?;
        stage.done(format_args!(
            "release {}: sequence {}, epoch {}, log index {}",
            release.version, release.sequence, release.epoch, release.log_index
        ));

        stage.act("enrol", "each device makes its own key and gets a certificate for a one-time token");
        let root = place.root()?;
        let fleet =
            Fleet::enrol(&session, &directory, &devices, &place, &root, self.devices, firmware.len()).await?;
        stage.done(format_args!("{} devices, mutual TLS from here on", self.devices));

        stage.act(
            "roll out",
            "verify offline, stream block by block into the inactive slot, boot on trial, confirm",
        );
        session.roll_out(&release).await?;
        for line in fleet.update("1.0.0").await? {
            stage.line(line);
        }

        stage.act("update", "the next version: blocks that a device has are not fetched again");
        let second = session.upload(&changed(&firmware)).await?;
        let release = session.release("1.1.0", second, 1).await?;
        let rollout = session.roll_out(&release).await?;
        for line in fleet.update("1.1.0").await? {
            stage.line(line);
        }
        stage.line(session.outcomes(rollout).await?);

        stage.act("attack", "the same device, and images that must not get in");
        let bundles = session.attacks(&directory, &root, &firmware).await?;
        for line in attacks::run(&fleet, bundles).await? {
            stage.line(line);
        }
        running.shutdown().await;

        stage.end(begun.elapsed());
        match &self.directory {
            Some(directory) => stage.next(&[
                format!(
                    "firmseal serve {}/place      starts this server again, on its own ports",
                    directory.display()
                ),
                format!(
                    "firmseal verify --root {0}/place/trust/root.cbor {0}/attack/good.bundle",
                    directory.display()
                ),
                format!("firmseal inspect {}/attack/good.bundle", directory.display()),
            ]),
            None => stage.next(&[
                "firmseal demo --directory DIR     keeps everything for a closer look".to_owned(),
                "firmseal init                     makes a place of your own; `firmseal serve` starts it"
                    .to_owned(),
                "firmseal help                     lists every command".to_owned(),
            ]),
        }
        Ok(())
    }

    fn firmware(&self) -> Result<Vec<u8>> {
        let path = match &self.firmware {
            Some(path) => path.clone(),
            None => std::env::current_exe()?,
        };
        let size = std::fs::metadata(&path).map_err(file(&path))?.len();
        if size == 0 || size > FIRMWARE_MAX {
            return Err(CliError::new(
                Kind::Refused,
                format_args!("has {size} bytes; the demo takes 1 to {FIRMWARE_MAX}"),
            )
            .about(path.display()));
        }
        std::fs::read(&path).map_err(file(&path))
    }
}

pub(super) async fn place(directory: &std::path::Path) -> Result<Place> {
    let target = directory.join("place");
    Init::for_demo(target.clone()).make().await?;
    Place::open(&target)
}

/// The next build: a few bytes are different.
fn changed(firmware: &[u8]) -> Vec<u8> {
    let mut next = firmware.to_vec();
    for position in [next.len() / 3, next.len() / 2] {
        next[position] ^= 0xff;
    }
    next
}

pub(super) fn unexpected(error: impl std::fmt::Display) -> CliError {
    CliError::new(Kind::Unexpected, error)
}

/// An operator at work.
pub(super) struct Session {
    pub(super) client: firmseal_api::client::Client,
    product: ProductId,
}

impl Session {
    /// The first operator of a place.
    pub(super) fn open(place: &Place, server: String) -> Result<Session> {
        let profile = Profile {
            server,
            authority: place.path("tls/server.pem"),
            token: Some(place.path("operator.token")),
            workload: None,
            certificate: None,
            key: None,
        };
        Ok(Session { client: profile.client()?, product: "gateway".parse().map_err(unexpected)? })
    }

    /// The ids of some devices, the first ones enrolled first.
    pub(super) async fn devices(&self, count: usize) -> Result<BTreeSet<DeviceId>> {
        let page = PageQuery { after: None, limit: Some(PAGE_MAX) };
        let found = self.client.operator().devices(Some(&self.product), &page).await?.items;
        Ok(found.iter().rev().take(count).map(|device| device.id).collect())
    }

    pub(super) async fn create_product(&self, size: u64) -> Result {
        let vendor = Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"example.com");
        let product = Product {
            id: self.product.clone(),
            environment: Environment::Test,
            vendor,
            class: Uuid::new_v5(&vendor, b"gateway rev 1"),
            hardware: vec!["rev1".to_owned()],
            format: "raw".to_owned(),
            components: vec![Component {
                name: COMPONENT.to_owned(),
                capacity: size + (1 << 20),
                block_size: 4096,
                addresses: None,
            }],
            created: None,
        };
        self.client.operator().create_product(&product).await?;
        Ok(())
    }

    pub(super) async fn upload(&self, bytes: &[u8]) -> Result<ArtifactId> {
        let operator = self.client.operator();
        let sha256 = ArtifactId(RustCrypto.digest(bytes));
        let upload = operator.create_upload(&CreateUpload { size: bytes.len() as u64, sha256 }).await?;
        let mut offset = upload.offset;
        while offset < bytes.len() as u64 {
            let piece = &bytes[offset as usize..][..(4 << 20).min(bytes.len() - offset as usize)];
            offset = operator.append(upload.id, offset, piece.to_vec().into()).await?.offset;
        }
        Ok(operator.complete(upload.id).await?.id)
    }

    pub(super) async fn release(&self, version: &str, artifact: ArtifactId, epoch: u64) -> Result<Release> {
        let order = CreateRelease {
            sbom: None,
            evidence: Vec::new(),
            product: self.product.clone(),
            channel: "stable".parse().map_err(unexpected)?,
            version: version.parse().map_err(unexpected)?,
            sequence: None,
            epoch,
            components: vec![ReleaseComponent { component: COMPONENT.to_owned(), artifact }],
            build: format!("demo-{version}"),
            commit: "0123456789abcdef".to_owned(),
            parameters: Default::default(),
            priority: Default::default(),
            deadline_seconds: None,
        };
        match self.client.operator().create_release(&format!("demo-{version}"), &order).await? {
            Ordered::Release(release) => Ok(*release),
            Ordered::Request(request) => {
                Err(CliError::new(Kind::Unexpected, format_args!("signing request {} waits", request.id)))
            }
            Ordered::Open(open) => {
                Err(CliError::new(Kind::Unexpected, format_args!("the order {} is not signed yet", open.id)))
            }
        }
    }

    pub(super) async fn roll_out(&self, release: &Release) -> Result<RolloutId> {
        let rollout = CreateRollout { release: release.id, cohort: Cohort::All, starts: None };
        Ok(self.client.operator().create_rollout(&rollout).await?.id)
    }

    /// Where the devices of a rollout stand, as the server knows it.
    async fn outcomes(&self, rollout: RolloutId) -> Result<String> {
        let page = self.client.operator().outcomes(rollout, &Default::default()).await?;
        let mut counts = std::collections::BTreeMap::new();
        for outcome in &page.items {
            *counts.entry(outcome.phase.as_str()).or_insert(0) += 1;
        }
        let counts: Vec<String> = counts.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
        Ok(format!("the server's record of rollout {rollout}: {}", counts.join(", ")))
    }
}

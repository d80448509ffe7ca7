//! Attacks: bundles that must not get in, and what a device says to them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use firmseal_agent::Error;
use firmseal_api::registry::Product;
use firmseal_api::signing::Release;
use firmseal_keys::SecretSource;
use firmseal_manifest::bundle::BundleWriter;

use super::super::assignment::Assignment;
use super::super::sign_offline::SignOffline;
use super::fleet::Fleet;
use super::{COMPONENT, Session, changed, unexpected};
use crate::error::{CliError, Kind, Result, file};

/// A bundle and what is wrong with it.
pub(super) struct Attack {
    about: &'static str,
    path: PathBuf,
    good: bool,
}

impl Session {
    /// Makes a good bundle of a new release, and bad ones from it.
    pub(super) async fn attacks(
        &self,
        directory: &Path,
        root: &[u8],
        firmware: &[u8],
    ) -> Result<Vec<Attack>> {
        let directory = directory.join("attack");
        std::fs::create_dir(&directory).map_err(file(&directory))?;
        // As if built by somebody else: same product, other keys.
        let foreign = self.foreign(&directory, firmware).await?;
        let old = self.find("1.0.0").await?;
        let next = self.upload(&changed(&changed(firmware))[1..]).await?;
        let good = self.release("1.2.0", next, 1).await?;
        let good = self.bundle(&good, root).await?;
        let old = self.bundle(&old, root).await?;

        // The payload is the last thing in a bundle. In the envelope, the
        // product's name stands in the signed facts, and `58 40` is the head
        // of a signature's 64 bytes.
        let head = firmseal_manifest::bundle::read_head(&mut &good[..])?;
        let begin = head.offset as usize - head.envelope.len();
        let find = |what: &[u8]| {
            let found = head.envelope.windows(what.len()).position(|window| window == what);
            found.map(|found| begin + found).ok_or_else(|| unexpected("the envelope has another shape"))
        };
        let flip = |position: usize| {
            let mut bad = good.clone();
            bad[position] ^= 1;
            bad
        };
        let (facts, signature) = (find(b"gateway\x06")?, find(&[0xf6, 0x58, 0x40])?);
        let cases = [
            ("one bit of the payload flipped", flip(good.len() - good.len() / 4), false),
            ("one bit of the manifest flipped", flip(facts), false),
            ("one bit of the signature flipped", flip(signature + 20), false),
            ("an older release, properly signed", old, false),
            ("signed by somebody else", foreign, false),
            ("cut off in the middle", good[..good.len() / 2].to_vec(), false),
            ("and the untouched bundle", good, true),
        ];
        let mut attacks = Vec::new();
        for (about, bytes, good) in cases {
            let name = if good { "good".to_owned() } else { about.replace(' ', "-").replace(',', "") };
            let path = directory.join(format!("{name}.bundle"));
            File::create(&path).and_then(|mut out| out.write_all(&bytes)).map_err(file(&path))?;
            attacks.push(Attack { about, path, good });
        }
        Ok(attacks)
    }

    async fn find(&self, version: &str) -> Result<Release> {
        let page = self.client.operator().releases(Some(&self.product), &Default::default()).await?;
        page.items
            .into_iter()
            .find(|release| release.version.to_string() == version)
            .ok_or_else(|| CliError::new(Kind::Unexpected, format_args!("release {version} is gone")))
    }

    /// A release as a bundle, from what the server serves.
    pub(in crate::commands) async fn bundle(&self, release: &Release, root: &[u8]) -> Result<Vec<u8>> {
        let operator = self.client.operator();
        let envelope = operator.envelope(release.id).await?;
        let mut writer = BundleWriter::new(Vec::new(), &[root.to_vec()], &envelope)?;
        for component in &release.components {
            for path in [&component.tree, &component.uri] {
                let mut download = self.client.download(&format!("/{path}"), 0, None, None).await?;
                writer.blob_head(download.total())?;
                while let Some(piece) = download.chunk().await? {
                    writer.blob_piece(&piece)?;
                }
            }
        }
        Ok(writer.finish()?)
    }

    /// A release of the same product, version and all, by other keys.
    async fn foreign(&self, directory: &Path, firmware: &[u8]) -> Result<Vec<u8>> {
        super::place(directory).await?;
        let product = self.client.operator().product(&self.product).await?;
        let [product_file, image, bundle] =
            ["product.toml", "image", "foreign.bundle"].map(|name| directory.join(name));
        let product = toml::to_string(&Product { created: None, ..product }).map_err(unexpected)?;
        std::fs::write(&product_file, product).map_err(file(&product_file))?;
        std::fs::write(&image, firmware).map_err(file(&image))?;
        let order = SignOffline {
            sbom: None,
            evidence: Vec::new(),
            place: directory.join("place"),
            product: None,
            product_file: Some(product_file),
            channel: "stable".parse().map_err(unexpected)?,
            version: "1.3.0".parse().map_err(unexpected)?,
            epoch: 1,
            sequence: Some(99),
            components: vec![Assignment { name: COMPONENT.to_owned(), value: image.display().to_string() }],
            parameters: Vec::new(),
            build: String::new(),
            commit: String::new(),
            keys: Vec::new(),
            secret: SecretSource::Prompt,
            delegations: Vec::new(),
            output: bundle.clone(),
        };
        order.make().await?;
        std::fs::read(&bundle).map_err(file(&bundle))
    }
}

/// Gives every bundle to the first device.
pub(super) async fn run(fleet: &Fleet, attacks: Vec<Attack>) -> Result<Vec<String>> {
    let Some(device) = fleet.devices.first() else { return Ok(Vec::new()) };
    let before = device.active()?;
    let mut lines = Vec::new();
    for Attack { about, path, good } in attacks {
        match device.agent.install_bundle(&path).await {
            Ok(installed) if good => {
                lines.push(format!("{about}: installed {} into slot {}", installed.version, installed.slot));
            }
            Ok(_) => return Err(CliError::new(Kind::Unexpected, format_args!("{about}: it got in"))),
            Err(Error::Refused(refused)) if !good => {
                lines.push(format!("{about}: refused {}, {}", refused.reason.code(), refused.reason));
            }
            Err(error) if !good => lines.push(format!("{about}: refused, {error}")),
            Err(error) => return Err(unexpected(error)),
        }
        if !good && device.active()? != before {
            return Err(CliError::new(Kind::Unexpected, format_args!("{about}: the active slot changed")));
        }
    }
    lines.push(format!("{}: active slot and boot record untouched by all of them", device.name));
    Ok(lines)
}

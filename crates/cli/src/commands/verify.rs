//! `firmseal verify`: a release against a trust anchor, or a firmware file
//! against a key, offline.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::limits::{COMPONENTS_MAX, ENVELOPE_MAX, FRESHNESS_MAX, REVOCATION_MAX, ROOT_MAX};
use firmseal_core::{
    Action, Admitted, Component, Device, Envelope, Facts, Measured, Measurement, Outcome, Refusal, Root,
    Takes, Time, Tree, Trust, Verifier, admit, authenticate,
};
use firmseal_manifest::{TreeBuilder, bundle};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::verify_file::FileCheck;
use crate::error::{CliError, Kind, Result, file};
use crate::output::Output;

/// Check a release offline, as a device would; or a signed file, against a key
///
/// The root document is the trust anchor: take it from where you trust it,
/// not from the release. A bundle is checked with its payloads, block by
/// block; an envelope alone without them unless they are given. With --public
/// the file is one in a firmware format, and that key has to have signed it.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal verify --root root.cbor release.bundle
  firmseal verify --root root.cbor release.suit --payload firmware.bin
  firmseal verify --root root.cbor release.suit --sequence 41 --epoch 3   as a device that runs 41
  firmseal verify --root root.cbor release.suit --device device.toml      as exactly this device
  firmseal verify --public key.pem app.signed.bin
  firmseal verify --public key.pem app.encrypted.bin --decrypt-key device.key
  firmseal verify --public key.pem firmware.bin --format cms --signature firmware.p7s

A device file:
  product = \"gateway\"
  vendor = \"11111111-2222-5333-8444-555555555555\"
  class = \"11111111-2222-5333-8444-666666666666\"
  epoch = 3
  delegation = 0
  component = [{ name = \"main\", slot = 1, capacity = 1048576, sequence = 41 }]")]
pub struct Verify {
    /// The bundle, envelope or file
    file: PathBuf,
    /// The root document that devices trust
    #[arg(long, value_name = "FILE", required_unless_present = "public")]
    root: Option<PathBuf>,
    #[command(flatten)]
    check: FileCheck,
    /// The product of the device; needed where the root limits its release
    /// role to products
    #[arg(long, value_name = "NAME")]
    product: Option<String>,
    /// Sequence number of what the device runs
    #[arg(long, value_name = "N", default_value_t = 0)]
    sequence: u64,
    /// Security epoch counter of the device
    #[arg(long, value_name = "N", default_value_t = 0)]
    epoch: u64,
    /// The device to answer for, in TOML; without it, one that the release
    /// is made for
    #[arg(long, value_name = "FILE", conflicts_with_all = ["product", "sequence", "epoch"])]
    device: Option<PathBuf>,
    /// The owner's root document, for devices that have an owner
    #[arg(long, value_name = "FILE")]
    owner: Option<PathBuf>,
    /// The newest revocation document that the device knows
    #[arg(long, value_name = "FILE")]
    revocation: Option<PathBuf>,
    /// The newest freshness document that the device knows
    #[arg(long, value_name = "FILE")]
    freshness: Option<PathBuf>,
    /// Payloads of an envelope, in the order of its components
    #[arg(long, value_name = "FILE")]
    payload: Vec<PathBuf>,
}

/// What a device knows of itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    product: String,
    vendor: Uuid,
    class: Uuid,
    epoch: u64,
    #[serde(default)]
    delegation: u64,
    /// How old a freshness document may be, in seconds.
    max_age: Option<u64>,
    /// Its clock, in seconds since 1970.
    clock: Option<u64>,
    /// Its time floor.
    #[serde(default)]
    time_floor: u64,
    /// How far clocks may disagree, in seconds.
    #[serde(default)]
    leeway: u64,
    /// Nothing can boot, or somebody is there and asks for recovery.
    #[serde(default)]
    stranded: bool,
    /// The channel that it takes, or `*` for each as that asks; without it,
    /// every channel, approved as the root document asks where it names none.
    channel: Option<String>,
    component: Vec<DescribedComponent>,
}

/// A component of a device.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribedComponent {
    name: String,
    #[serde(default)]
    slot: u64,
    capacity: u64,
    #[serde(default)]
    sequence: u64,
}

/// Where payloads come from.
enum Payloads {
    Bundle { file: BufReader<File> },
    Files(Vec<PathBuf>),
}

impl Verify {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        let Some(anchor) = &self.root else { return self.check.run(&self.file, output) };
        let document = read_bounded(anchor, ROOT_MAX)?;
        let root = Root::decode(&document).and_then(|root| root.verify(&RustCrypto).map(|()| root));
        let root = root.map_err(|refusal| CliError::from(refusal).about(anchor.display()))?;
        let (envelope, mut payloads) = self.open()?;
        let about = |refusal: Refusal| CliError::from(refusal).about(self.file.display());

        let described = match &self.device {
            Some(path) => read_device(path)?,
            None => self.suited(&root, &envelope).map_err(|error| error.about(self.file.display()))?,
        };
        let ids: Vec<[&[u8]; 1]> =
            described.component.iter().map(|component| [component.name.as_bytes()]).collect();
        let components: Vec<Component<'_>> = described
            .component
            .iter()
            .zip(&ids)
            .map(|(component, id)| Component {
                id,
                slot: component.slot,
                capacity: component.capacity,
                sequence: component.sequence,
            })
            .collect();
        let owner = self.owner.as_deref().map(|path| read_bounded(path, ROOT_MAX)).transpose()?;
        let owner = match (&owner, &self.owner) {
            (Some(document), Some(path)) => {
                let root = Root::decode(document).and_then(|root| root.verify(&RustCrypto).map(|()| root));
                Some(root.map_err(|refusal| CliError::from(refusal).about(path.display()))?)
            }
            _ => None,
        };
        let revocation =
            self.revocation.as_deref().map(|path| read_bounded(path, REVOCATION_MAX)).transpose()?;
        let revocation = revocation.as_ref().map(|bytes| root.revocation(bytes, &RustCrypto)).transpose()?;
        let freshness =
            self.freshness.as_deref().map(|path| read_bounded(path, FRESHNESS_MAX)).transpose()?;
        let fresh = |bytes| root.freshness(bytes, &described.product, |_| false, &RustCrypto);
        let freshness = freshness.as_deref().map(fresh).transpose()?;
        let device = Device {
            trust: Trust {
                root: &root,
                owner: owner.as_ref(),
                revocation: revocation.as_ref(),
                freshness: freshness.as_ref(),
                max_age: described.max_age,
                time: Time { clock: described.clock, floor: described.time_floor, leeway: described.leeway },
            },
            stranded: described.stranded,
            takes: match described.channel.as_deref() {
                None => Takes::General,
                Some("*") => Takes::Any,
                Some(channel) => Takes::Channel(channel),
            },
            product: &described.product,
            vendor: described.vendor.as_bytes(),
            class: described.class.as_bytes(),
            id: None,
            epoch: described.epoch,
            delegation: described.delegation,
            components: &components,
        };
        let admitted = admit(&envelope, &device, &RustCrypto).map_err(about)?;
        let checked = payloads.check(&admitted, &device).map_err(|error| error.about(self.file.display()))?;
        self.print(&root, &admitted, admitted.facts(), checked, output)
    }

    /// A device that the release is made for, with the floors that were
    /// given. Who signed comes first: only what a trusted key has signed is
    /// asked which device it means.
    fn suited(&self, root: &Root<'_>, envelope: &[u8]) -> Result<Described> {
        let product = self.product.as_deref().unwrap_or_default();
        let authenticated = match authenticate(Envelope::decode(envelope)?, root, product, &RustCrypto) {
            Err(refusal @ Refusal::RoleMissing) => {
                return Err(CliError::from(refusal).hint("name the device's product with --product"));
            }
            other => other?,
        };
        let manifest = authenticated.manifest();
        let facts = manifest.facts().ok_or(Refusal::FactsMissing)?;
        let component = manifest.components().zip(facts.components()).map(|(id, facts)| {
            let name = id.parts().first().and_then(|part| std::str::from_utf8(part).ok());
            Ok(DescribedComponent {
                name: name.ok_or(Refusal::UnknownComponent(0))?.to_owned(),
                slot: facts.slot.unwrap_or_default(),
                capacity: facts.tree.size(),
                sequence: self.sequence,
            })
        });
        Ok(Described {
            product: self.product.clone().unwrap_or_else(|| facts.product.to_owned()),
            vendor: Uuid::from_bytes(*facts.vendor),
            class: Uuid::from_bytes(*facts.class),
            epoch: self.epoch,
            delegation: 0,
            max_age: None,
            clock: Some(now()),
            time_floor: 0,
            leeway: 0,
            stranded: false,
            channel: Some("*".to_owned()),
            component: component.collect::<Result<_>>()?,
        })
    }

    fn open(&self) -> Result<(Vec<u8>, Payloads)> {
        let mut input = BufReader::new(File::open(&self.file).map_err(file(&self.file))?);
        let mut magic = [0; 1 + bundle::MAGIC.len()];
        let is_bundle = input.read_exact(&mut magic).is_ok() && bundle::is_bundle(&magic);
        input.rewind().map_err(file(&self.file))?;
        if !is_bundle && !magic.starts_with(&[0xd8, 0x6b]) {
            return Err(CliError::new(Kind::Refused, "neither an envelope nor a bundle")
                .about(self.file.display())
                .hint("`firmseal inspect` tells what a file is"));
        }
        if !is_bundle {
            return Ok((read_bounded(&self.file, ENVELOPE_MAX)?, Payloads::Files(self.payload.clone())));
        }
        if !self.payload.is_empty() {
            return Err(CliError::new(Kind::Usage, "a bundle holds its payloads; leave --payload out"));
        }
        let head = bundle::read_head(&mut input)
            .map_err(|error| CliError::new(Kind::Refused, error).about(self.file.display()))?;
        input.seek(SeekFrom::Start(head.offset)).map_err(file(&self.file))?;
        Ok((head.envelope, Payloads::Bundle { file: input }))
    }

    fn print(
        &self,
        root: &Root<'_>,
        admitted: &Admitted<'_>,
        facts: &Facts<'_>,
        payloads: bool,
        output: &Output,
    ) -> Result {
        let release = admitted.manifest_digest().to_string();
        let names: Vec<String> = admitted
            .components()
            .map(|(id, component, _)| {
                let name = id.parts().first().map(|part| String::from_utf8_lossy(part).into_owned());
                format!("{} ({} bytes)", name.unwrap_or_default(), component.tree.size())
            })
            .collect();
        let value = json!({
            "valid": true,
            "release": release,
            "product": facts.product,
            "channel": facts.channel,
            "version": facts.version,
            "sequence": admitted.sequence(),
            "epoch": facts.epoch,
            "environment": format!("{:?}", facts.environment).to_lowercase(),
            "vendor": Uuid::from_bytes(*facts.vendor),
            "class": Uuid::from_bytes(*facts.class),
            "components": names,
            "root_version": root.version(),
            "payloads_checked": payloads,
        });
        output.value(&value, || {
            format!(
                "valid: {} {} ({})\n\
                 release      {release}\n\
                 environment  {:?}\n\
                 sequence     {}\n\
                 epoch        {}\n\
                 components   {}\n\
                 payloads     {}\n\
                 trust        root version {}\n",
                facts.product,
                facts.version,
                facts.channel,
                facts.environment,
                admitted.sequence(),
                facts.epoch,
                names.join(", "),
                if payloads { "every block checked" } else { "not given, not checked" },
                root.version(),
            )
        })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn read_device(path: &Path) -> Result<Described> {
    let text = std::fs::read_to_string(path).map_err(file(path))?;
    toml::from_str(&text).map_err(|error| CliError::new(Kind::Usage, error.message()).about(path.display()))
}

/// Reads a document that may be `max` bytes long; one byte more is enough
/// for core to refuse it.
fn read_bounded(path: &Path, max: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|input| input.take(max as u64 + 1).read_to_end(&mut bytes))
        .map_err(file(path))?;
    Ok(bytes)
}

impl Payloads {
    /// Checks the payloads and runs the update procedure with what they
    /// measure to. Returns whether there were any.
    fn check(&mut self, admitted: &Admitted<'_>, device: &Device<'_>) -> Result<bool> {
        if matches!(self, Payloads::Files(files) if files.is_empty()) {
            return Ok(false);
        }
        let mut measured = [None; COMPONENTS_MAX];
        for (index, (_, facts, _)) in admitted.components().enumerate() {
            let measured = &mut measured[index];
            *measured = Some(match self {
                Payloads::Bundle { file } => from_bundle(file, &facts.tree)?,
                Payloads::Files(files) => {
                    let path = files.get(index).ok_or_else(|| {
                        CliError::new(Kind::Usage, format_args!("component {index} has no --payload"))
                    })?;
                    from_file(path, &facts.tree)?
                }
            });
        }
        let mut machine = admitted.update(device);
        loop {
            match machine.next()? {
                Action::Finished => break,
                Action::Measure { component, .. } => {
                    machine.done(measured[component].map_or(Outcome::Failed, Outcome::Measured));
                }
                Action::Fetch { .. } => machine.done(Outcome::Done),
                // What these leave behind depends on what a device holds.
                _ => {
                    return Err(
                        Refusal::Unsupported("a release that does not fetch its payloads whole").into()
                    );
                }
            }
        }
        if machine.all_matched() { Ok(true) } else { Err(Refusal::ImageMismatch.into()) }
    }
}

/// A payload beside its envelope: its tree is built anew.
fn from_file(path: &Path, tree: &Tree) -> Result<Measured> {
    let mut input = File::open(path).map_err(file(path))?;
    let mut builder = TreeBuilder::new(tree.block());
    let mut measurement = Measurement::start(&RustCrypto);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = input.read(&mut buffer).map_err(file(path))?;
        if count == 0 {
            break;
        }
        builder.update(&buffer[..count]);
        measurement.update(&buffer[..count]);
    }
    let built = builder.finish().map_err(|refusal| CliError::from(refusal).about(path.display()))?;
    if built.tree != *tree {
        return Err(CliError::from(Refusal::ImageMismatch).about(path.display()));
    }
    Ok(measurement.finish())
}

/// A payload in a bundle: its blocks are checked as they come.
fn from_bundle(input: &mut impl Read, tree: &Tree) -> Result<Measured> {
    let refused = |error: std::io::Error| CliError::new(Kind::Refused, error);
    bundle::read_blob_head(input, tree.hash_bytes()).map_err(refused)?;
    let mut hash_blocks = vec![0; tree.hash_bytes() as usize];
    input.read_exact(&mut hash_blocks).map_err(refused)?;
    bundle::read_blob_head(input, tree.size()).map_err(refused)?;
    let mut memory = vec![0; tree.memory()];
    let mut verifier = Verifier::new(*tree, RustCrypto, &mut memory)?;
    let mut measurement = Measurement::start(&RustCrypto);
    let mut block = vec![0; tree.block().bytes()];
    for index in 0..tree.blocks() {
        while let Some(want) = verifier.wants(index) {
            verifier.supply(want, &hash_blocks[want.offset as usize..][..tree.block().bytes()])?;
        }
        let bytes = &mut block[..tree.block_len(index).unwrap_or_default()];
        input.read_exact(bytes).map_err(refused)?;
        measurement.update(verifier.check(index, bytes)?.bytes());
    }
    Ok(measurement.finish())
}

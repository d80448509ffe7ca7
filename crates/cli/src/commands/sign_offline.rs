//! `firmseal sign-offline`: the pipeline on this machine, without a server.

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::limits::ENVELOPE_MAX;
use firmseal_core::{Environment, Hasher, Root};
use firmseal_fleet::{self as fleet, Artifact, Product, Release, RequestState, Time};
use firmseal_formats::Parameters;
use firmseal_keys::SecretSource;
use firmseal_manifest::bundle::{self, BundleWriter};
use firmseal_manifest::{ArtifactId, ChannelName, Digest, ProductId};
use firmseal_sign::{
    Chain, KeyPurpose, Keyring, Keys, Order, Ordered, OrderedComponent, Requester, Signed, SigningKey,
};
use firmseal_store::{BlobStream, Blobs, Registry, StoreError};
use firmseal_store_local::LocalStore;
use futures_util::StreamExt;
use semver::Version;
use serde_json::json;
use tokio::io::AsyncReadExt;

use super::assignment::{Assignment, Given};
use crate::error::{CliError, Kind, Result, file};
use crate::key_opening::Absent;
use crate::keys::KeyUri;
use crate::newfile::{self, NewFile};
use crate::operator;
use crate::output::Output;
use crate::place::{Place, delegation, in_files};
use crate::unechoed::unechoed;

/// Sign firmware into a release, offline, without a server
///
/// Uses the keys, log and registry of a place that `firmseal init` made;
/// the server must not be running there. The result is a bundle: carry it
/// to devices, or import it into a server elsewhere.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal sign-offline --product gateway --version 1.2.0 --epoch 1 --component main=firmware.bin -o gw.bundle
  firmseal sign-offline --product-file gateway.toml --version 1.2.0 --epoch 1 \\
      --component main=app.bin --param header-size=512 --param slot-size=0x60000 -o gw.bundle
  firmseal sign-offline --product gateway --version 1.2.1 --epoch 1 --component main=firmware.bin \\
      --key file:ci.key --delegation ci.delegation -o gw.bundle")]
pub struct SignOffline {
    /// The place that `firmseal init` made
    #[arg(long, value_name = "DIR", default_value = "firmseal")]
    pub place: PathBuf,
    /// The product, as it is in the registry
    #[arg(long, value_name = "NAME", required_unless_present = "product_file")]
    pub product: Option<ProductId>,
    /// A product to add to the registry first: a file as `product create
    /// --from` takes it
    #[arg(long, value_name = "FILE")]
    pub product_file: Option<PathBuf>,
    /// The channel
    #[arg(long, default_value = "stable")]
    pub channel: ChannelName,
    /// The version, for people (semver)
    #[arg(long, value_name = "VERSION")]
    pub version: Version,
    /// The security epoch
    #[arg(long, value_name = "N")]
    pub epoch: u64,
    /// The sequence number; the next free one if left out
    #[arg(long, value_name = "N")]
    pub sequence: Option<u64>,
    /// A component and its file
    #[arg(long = "component", value_name = "NAME=FILE", required = true)]
    pub components: Vec<Assignment>,
    /// A parameter of the firmware format
    #[arg(long = "param", value_name = "NAME=VALUE|NAME=@FILE")]
    pub parameters: Vec<Given>,
    /// The CI's id of the build
    #[arg(long, default_value = "")]
    pub build: String,
    /// The commit it was built from
    #[arg(long, default_value = "")]
    pub commit: String,
    /// Sign with this key instead of the place's: `file:PATH` or
    /// `pkcs11:...`; give it again where several must sign
    #[arg(long = "key", value_name = "URI", value_parser = unechoed::<KeyUri>())]
    pub keys: Vec<KeyUri>,
    /// Where passphrases and PINs of those keys come from: `file:PATH`,
    /// `env:NAME` or `prompt`
    #[arg(long, value_name = "SOURCE", default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    pub secret: SecretSource,
    /// The delegation of a key that is not the role's own: a file that
    /// `firmseal delegate` wrote; one for each such key
    #[arg(long = "delegation", value_name = "FILE", requires = "keys")]
    pub delegations: Vec<PathBuf>,
    /// Its software bill of materials, CycloneDX or SPDX as JSON
    #[arg(long, value_name = "FILE")]
    pub sbom: Option<PathBuf>,
    /// A document about the build: provenance or test results in DSSE, JUnit
    /// XML, a reproduction
    #[arg(long, value_name = "FILE")]
    pub evidence: Vec<PathBuf>,
    /// The bundle to write
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

impl SignOffline {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        let Signed { release, stored } = self.make().await?;
        if stored {
            output.note("the same order was signed before; this is its release");
        }
        let value = json!({ "release": release, "bundle": self.output });
        output.value(&value, || {
            format!(
                "signed {} {} as {}\nsequence   {}\nmanifest   {}\nlog index  {}\nbundle     {}\n",
                release.product,
                release.version,
                release.id,
                release.sequence,
                release.manifest,
                release.log_index,
                self.output.display()
            )
        })
    }

    /// Signs, and writes the bundle.
    pub async fn make(&self) -> Result<Signed> {
        let new = NewFile::create(&self.output, newfile::PUBLIC)?;
        let place = Place::open(&self.place)?;
        let store = place.store()?;
        let log = place.log(&store)?;
        let product = self.product(&store).await?;
        let mut pipeline = place.pipeline(&store, &log, Absent::Refused).await?;
        if !self.keys.is_empty() {
            let keys = self.own_keys(&place, pipeline.keyring(), &product)?;
            pipeline = pipeline.with_keys(product.clone(), keys);
        }
        let now = Time::from(SystemTime::now());
        pipeline.load_trust(now).await?;

        let mut components = Vec::new();
        for component in &self.components {
            let path = Path::new(&component.value);
            let id = store_artifact(&store, path, now).await?;
            components.push(OrderedComponent { name: component.name.clone(), artifact: id });
        }
        let sbom = match &self.sbom {
            Some(path) => Some(store_artifact(&store, path, now).await?),
            None => None,
        };
        let mut evidence = Vec::new();
        for path in &self.evidence {
            evidence.push(store_artifact(&store, path, now).await?);
        }
        let order = Order {
            key: None,
            requester: Requester(operator::local()),
            product,
            channel: self.channel.clone(),
            version: self.version.clone(),
            sequence: self.sequence,
            epoch: self.epoch,
            components,
            sbom,
            evidence,
            parameters: self
                .parameters
                .iter()
                .map(|given| (given.name.clone(), given.value.clone()))
                .collect::<Parameters>(),
            build: self.build.clone(),
            commit: self.commit.clone(),
            rollback: None,
        };
        let ordered = pipeline.release(&order, now).await;
        // Uses that were granted and not made go back; what fails here is wasted
        // and nothing else.
        let _ = pipeline.settle_keys(now).await;
        let signed = match ordered? {
            Ordered::Signed(signed) => *signed,
            Ordered::Waiting(request) => {
                let state = format!("{:?}", request.state).to_lowercase();
                let what = format!(
                    "the root document demands approvals, and signing request {} is {state}",
                    request.id
                );
                if request.state != RequestState::Waiting {
                    return Err(CliError::new(Kind::Conflict, what).hint("sign it as another version"));
                }
                return Err(CliError::new(Kind::Refused, what)
                    .hint("start the server of this place, have it approved with `firmseal approve`, and run this again"));
            }
        };
        // What is not entered now waits in the store for the next run.
        let _ = pipeline.enter_events().await;
        let written = write_bundle(&store, &pipeline.trust(), &signed.release, new).await;
        written.map_err(|error| error.about(self.output.display()))?;
        Ok(signed)
    }

    /// The keys of the command line; images are still signed by the place's.
    fn own_keys(&self, place: &Place, ring: &Keyring, product: &ProductId) -> Result<Keys> {
        let production = Root::decode(&place.root()?)?.environment() == Environment::Production;
        if production && self.keys.iter().any(KeyUri::is_development_only) {
            return Err(in_files());
        }
        let environment = if production { fleet::Environment::Production } else { fleet::Environment::Test };
        let open = |uri: &KeyUri| {
            let signer = crate::keys::open(uri, &self.secret)?;
            // A key with rules signs by them, wherever it is named.
            let named = ring.all().find(|key| key.id() == signer.dyn_public_key().id());
            let implicit = || SigningKey::implicit(KeyPurpose::Release, environment, signer.clone());
            Ok(named.cloned().unwrap_or_else(implicit))
        };
        let kept = ring.keys(product);
        Ok(Keys {
            release: self.keys.iter().map(open).collect::<Result<_>>()?,
            artifact: kept.artifact.clone(),
            delegations: self.delegations.iter().map(|path| delegation(path)).collect::<Result<_>>()?,
        })
    }

    async fn product(&self, store: &LocalStore) -> Result<ProductId> {
        let Some(path) = &self.product_file else {
            // One of the two is there: clap has seen to it.
            let id = self.product.clone();
            return id.ok_or_else(|| CliError::new(Kind::Usage, "name the product with --product"));
        };
        let product =
            to_fleet(crate::product_file::read(path)?).map_err(|error| error.about(path.display()))?;
        let id = product.id.clone();
        match store.product(&id).await {
            Ok(known) => {
                if product.to_store(Some(known.clone())) != known {
                    let what = format!("product `{id}` is in the registry with other properties");
                    return Err(CliError::new(Kind::Conflict, what));
                }
            }
            Err(StoreError::NotFound { .. }) => {
                store.insert_product(product.to_store(None), &operator::local()).await?
            }
            Err(error) => return Err(error.into()),
        }
        Ok(id)
    }
}

/// The registry's product of a written one.
pub fn to_fleet(product: firmseal_api::registry::Product) -> Result<Product> {
    use firmseal_fleet::product::{BlockSize, ComponentSpec, Environment};
    use firmseal_fleet::{AddressMap, Region};
    let refused = |error: firmseal_fleet::FleetError| CliError::new(Kind::Usage, error);
    let regions = |all: Vec<firmseal_api::registry::Region>| -> Vec<Region> {
        all.into_iter().map(|one| Region { name: one.name, start: one.start, size: one.size }).collect()
    };
    let components = product
        .components
        .into_iter()
        .map(|component| {
            Ok(ComponentSpec {
                name: component.name,
                capacity: component.capacity,
                block_size: BlockSize::try_from(component.block_size).map_err(refused)?,
                addresses: component.addresses.map(|map| AddressMap {
                    allowed: regions(map.allowed),
                    protected: regions(map.protected),
                    allow_unplaced: map.allow_unplaced,
                }),
            })
        })
        .collect::<Result<_>>()?;
    let product = Product {
        id: product.id,
        environment: match product.environment {
            firmseal_api::registry::Environment::Test => Environment::Test,
            firmseal_api::registry::Environment::Production => Environment::Production,
        },
        vendor: product.vendor,
        class: product.class,
        hardware: product.hardware,
        format: product.format,
        components,
        created: Time::from(SystemTime::now()),
    };
    product.check().map_err(refused)?;
    Ok(product)
}

/// Puts a file into the store as an artifact.
async fn store_artifact(store: &LocalStore, path: &Path, now: Time) -> Result<ArtifactId> {
    let mut input = tokio::fs::File::open(path).await.map_err(file(path))?;
    let mut hasher = RustCrypto.sha256();
    let (mut size, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match input.read(&mut buffer).await.map_err(file(path))? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
    let id: Digest = hasher.finish();
    let source = tokio::fs::File::open(path).await.map_err(file(path))?;
    store.put(id, size, stream(source)).await.map_err(|error| CliError::from(error).about(path.display()))?;
    let inspection = std::fs::File::open(path)
        .map_err(Into::into)
        .and_then(|source| firmseal_formats::inspect(&source))
        .map_err(|error| CliError::from(error).about(path.display()))?;
    store
        .insert_artifact(Artifact {
            id: ArtifactId(id),
            size,
            format: inspection.format.clone(),
            inspection: serde_json::to_value(&inspection).unwrap_or_default(),
            uploaded_by: operator::local().name,
            created: now,
        })
        .await?;
    Ok(ArtifactId(id))
}

fn stream(source: tokio::fs::File) -> BlobStream {
    Box::pin(futures_util::stream::unfold(Some(source), |source| async move {
        let mut source = source?;
        let mut piece = vec![0; 256 * 1024];
        match source.read(&mut piece).await {
            Ok(0) => None,
            Ok(count) => {
                piece.truncate(count);
                Some((Ok(piece.into()), Some(source)))
            }
            Err(error) => {
                let doing = "read the artifact".to_owned();
                Some((Err(StoreError::Unavailable { doing, why: error.to_string() }), None))
            }
        }
    }))
}

/// Writes a release's bundle: whole, or not at all, with the revocation and
/// with every root document, for devices that trust an older one.
async fn write_bundle(store: &LocalStore, trust: &Chain, release: &Release, new: NewFile) -> Result {
    let envelope = store.read_all(&release.envelope, ENVELOPE_MAX as u64).await?;
    // The newest ones: a device reads no more of them from a bundle.
    let older = trust.roots().len().saturating_sub(bundle::ROOTS_MAX as usize);
    let roots: Vec<Vec<u8>> = trust.roots()[older..].iter().map(|root| root.to_vec()).collect();
    let revocation = trust.revocation().map(|document| document.to_vec()).unwrap_or_default();
    let mut writer = BundleWriter::with_news(BufWriter::new(new), &roots, &revocation, &[], &envelope)?;
    for component in &release.components {
        for blob in [&component.hash_blocks, &component.payload] {
            let size = store.size(blob).await?.unwrap_or_default();
            writer.blob_head(size)?;
            let mut pieces = store.read(blob, 0..size).await?;
            while let Some(piece) = pieces.next().await {
                writer.blob_piece(&piece?)?;
            }
        }
    }
    // Flushed just now; only an error of that flush could be in here.
    writer.finish()?.into_inner().map_err(|error| error.into_error())?.finish()
}

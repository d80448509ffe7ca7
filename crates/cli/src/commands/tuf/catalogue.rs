//! The releases of a place or of a server, as an export reads them.

use std::collections::BTreeMap;

use bytes::Bytes;
use firmseal_api::client::Client;
use firmseal_api::{registry, signing};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::limits::ENVELOPE_MAX;
use firmseal_core::{Digest, Hasher};
use firmseal_fleet::product::{ComponentSpec, Environment};
use firmseal_fleet::{Product, ReleaseState, Time};
use firmseal_manifest::{ProductId, ReleaseId, payload_uri};
use firmseal_store::{Blobs, Page, Registry};
use firmseal_store_local::LocalStore;
use firmseal_tuf::{Component, Released};
use futures_util::StreamExt;

use crate::commands::listing::all;
use crate::download::Incoming;
use crate::error::{CliError, Kind, Result};

/// Most releases that are read at once.
const PAGE: u32 = 1000;

/// Where releases are kept.
pub enum Catalogue {
    /// In the store of a place.
    Place(LocalStore),
    /// On a server.
    Server(Box<Client>),
}

/// A release as it was recorded: nobody's word for it but the registry's.
pub struct Recorded {
    /// Its id.
    pub id: ReleaseId,
    /// What it is said to be.
    pub said: Released,
}

impl Catalogue {
    /// The releases that may be offered, newest first.
    pub async fn releases(&self) -> Result<Vec<Recorded>> {
        match self {
            Catalogue::Place(store) => {
                let mut releases = Vec::new();
                let mut page = Page::first(PAGE);
                loop {
                    let found = store.releases(None, page).await?;
                    let Some(last) = found.last().map(|release| release.id) else { return Ok(releases) };
                    releases.extend(found.into_iter().filter_map(from_store));
                    page = Page::after(last, PAGE);
                }
            }
            Catalogue::Server(client) => {
                let operator = client.operator();
                let found = all(async |page| operator.releases(None, &page).await).await?;
                Ok(found.into_iter().filter_map(from_server).collect())
            }
        }
    }

    /// The products of these releases.
    pub async fn products(&self, releases: &[Recorded]) -> Result<BTreeMap<ProductId, Product>> {
        let mut products = BTreeMap::new();
        for Recorded { said, .. } in releases {
            if !products.contains_key(&said.product) {
                let product = match self {
                    Catalogue::Place(store) => store.product(&said.product).await?,
                    Catalogue::Server(client) => product(client.operator().product(&said.product).await?)?,
                };
                products.insert(said.product.clone(), product);
            }
        }
        Ok(products)
    }

    /// A release's envelope, which must be the recorded one. The length in
    /// the record is filled in: no registry has it.
    pub async fn envelope(&self, release: &mut Recorded) -> Result<Bytes> {
        let (length, digest) = &mut release.said.envelope;
        let envelope = match self {
            Catalogue::Place(store) => store.read_all(digest, ENVELOPE_MAX as u64).await?,
            Catalogue::Server(client) => client.operator().envelope(release.id).await?,
        };
        if RustCrypto.digest(&envelope) != *digest {
            return Err(CliError::new(
                Kind::Refused,
                format_args!("the envelope of {} is not the recorded one", release.id),
            )
            .hint("the answer was damaged, or the record was changed"));
        }
        *length = envelope.len() as u64;
        Ok(envelope)
    }

    /// Reads a payload piece by piece, which must be the recorded one.
    pub async fn payload(&self, component: &Component, mut piece: impl FnMut(&[u8]) -> Result) -> Result {
        let digest = match self {
            Catalogue::Place(store) => {
                let mut hasher = RustCrypto.sha256();
                let mut stream = store.read(&component.payload, 0..component.size).await?;
                while let Some(bytes) = stream.next().await {
                    let bytes = bytes?;
                    hasher.update(&bytes);
                    piece(&bytes)?;
                }
                hasher.finish()
            }
            Catalogue::Server(client) => {
                let path = format!("/{}", payload_uri(&component.payload));
                let mut incoming = Incoming::new(client, path, component.size);
                while let Some(bytes) = incoming.piece().await? {
                    piece(&bytes)?;
                }
                incoming.digest()
            }
        };
        match digest == component.payload {
            true => Ok(()),
            false => Err(not_recorded(&component.payload)),
        }
    }
}

/// A payload that is not what it was recorded as.
pub fn not_recorded(payload: &Digest) -> CliError {
    CliError::new(Kind::Refused, format_args!("payload {payload} is not what its release says"))
        .hint("nothing was published; the store may be damaged")
}

/// Whether a release is offered to anybody is one rule for both.
fn from_store(release: firmseal_fleet::Release) -> Option<Recorded> {
    let component = |own: firmseal_fleet::ReleaseComponent| Component {
        name: own.name,
        size: own.size,
        payload: own.payload,
    };
    (release.state == ReleaseState::Verified).then(|| Recorded {
        id: release.id,
        said: Released {
            product: release.product,
            channel: release.channel,
            version: release.version,
            sequence: release.sequence,
            epoch: release.epoch,
            manifest: release.manifest,
            envelope: (0, release.envelope),
            components: release.components.into_iter().map(component).collect(),
        },
    })
}

fn from_server(release: signing::Release) -> Option<Recorded> {
    let component =
        |own: signing::Payload| Component { name: own.component, size: own.size, payload: own.payload.0 };
    (release.state == signing::ReleaseState::Verified).then(|| Recorded {
        id: release.id,
        said: Released {
            product: release.product,
            channel: release.channel,
            version: release.version,
            sequence: release.sequence,
            epoch: release.epoch,
            manifest: release.manifest.0,
            envelope: (0, release.envelope.0),
            components: release.components.into_iter().map(component).collect(),
        },
    })
}

/// A product as core is asked about it.
fn product(product: registry::Product) -> Result<Product> {
    let component = |own: registry::Component| {
        let block_size = own.block_size.try_into().map_err(|error| CliError::new(Kind::Unexpected, error))?;
        Ok(ComponentSpec { name: own.name, capacity: own.capacity, block_size, addresses: None })
    };
    Ok(Product {
        id: product.id,
        environment: match product.environment {
            registry::Environment::Test => Environment::Test,
            registry::Environment::Production => Environment::Production,
        },
        vendor: product.vendor,
        class: product.class,
        hardware: product.hardware,
        format: product.format,
        components: product.components.into_iter().map(component).collect::<Result<_>>()?,
        created: product.created.unwrap_or(Time::EPOCH),
    })
}

//! What the registry says, fetched as an operator who may look.

use firmseal_api::client::Client;
use firmseal_api::encoding::{PAGE_MAX, PageQuery};
use firmseal_api::registry::Product;
use firmseal_api::signatures::{SignatureQuery, SignatureState};
use firmseal_api::signing::Release;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Component, Device, Digest, Refusal, Root, Takes, Trust};
use firmseal_manifest::{Intent, KeyId};

use crate::error::MonitorError;
use crate::reconcile::{Installed, Registered, Registry, Signed};

/// Longest chain of root documents that is walked.
const ROOTS_MAX: u64 = 1024;

/// Fetches releases, signatures of files and devices. With a root document to
/// start from, every release is asked whether the newest root behind it finds
/// its approvals.
pub async fn fetch(client: &Client, anchor: Option<&[u8]>) -> Result<Registry, MonitorError> {
    let operator = client.operator();
    let mut registry = Registry::default();
    let root = match anchor {
        Some(anchor) => Some(newest(client, anchor, &mut registry.documents).await?),
        None => None,
    };
    if let Some(revocation) = revocation(client).await? {
        registry.documents.push(revocation);
    }
    let mut products: Vec<Product> = Vec::new();
    let mut page = first();
    loop {
        let found = operator.releases(None, &page).await?;
        for release in found.items {
            let unapproved = match &root {
                Some(root) => unapproved(client, root, &mut products, &release).await?,
                None => None,
            };
            registry.releases.push(Registered {
                id: release.id.to_string(),
                product: release.product.to_string(),
                sequence: release.sequence,
                version: release.version.to_string(),
                manifest: release.manifest.0,
                log_index: release.log_index,
                created: release.created.millis() / 1000,
                unapproved,
            });
        }
        match found.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    files(client, &mut registry).await?;
    let mut page = first();
    loop {
        let found = operator.devices(None, &page).await?;
        for device in found.items {
            let Some(running) = device.running else { continue };
            registry.devices.push(Installed {
                id: device.id.to_string(),
                product: device.product.to_string(),
                sequence: running.sequence,
                version: running.version.to_string(),
                manifest: running.manifest.map(|manifest| manifest.0),
            });
        }
        match found.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    Ok(registry)
}

/// Fetches signatures of files, and the orders for releases that wait or have
/// waited for people.
async fn files(client: &Client, registry: &mut Registry) -> Result<(), MonitorError> {
    let operator = client.operator();
    let (state, limit) = (Some(SignatureState::Signed), Some(PAGE_MAX - 1));
    let mut query = SignatureQuery { state, limit, ..SignatureQuery::default() };
    loop {
        let found = operator.signatures(&query).await?;
        for request in found.items {
            // One that was made for an earlier request is listed with that.
            let Some(own) = request.signature.filter(|own| own.request == request.id) else { continue };
            registry.signatures.push(Signed {
                request: own.request,
                tbs: own.tbs.0,
                key: KeyId(own.key_id.0),
                log_index: own.log_index,
                finished: own.finished.millis() / 1000,
            });
        }
        match found.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    let mut page = first();
    loop {
        let found = operator.signing_requests(None, &page).await?;
        registry.orders.extend(found.items.iter().map(|request| Intent::mark(&request.id)));
        match found.next {
            Some(next) => page.after = Some(next),
            None => return Ok(()),
        }
    }
}

fn first() -> PageQuery {
    PageQuery { after: None, limit: Some(PAGE_MAX - 1) }
}

/// The newest revocation. Whether it is one, and who signed it, devices ask;
/// the monitor asks whether all of them are told the same.
async fn revocation(client: &Client) -> Result<Option<(String, Digest)>, MonitorError> {
    match client.operator().revocation().await {
        Err(error) if error.status().is_some_and(|status| status.as_u16() == 404) => Ok(None),
        document => Ok(Some(("the newest revocation".to_owned(), RustCrypto.digest(&document?)))),
    }
}

/// The newest root document, each one verified under the one before it; what
/// comes after the first is noted.
async fn newest(
    client: &Client,
    anchor: &[u8],
    documents: &mut Vec<(String, Digest)>,
) -> Result<Vec<u8>, MonitorError> {
    let refused = |version: u64| move |refusal| MonitorError::Root { version, refusal };
    let mut bytes = anchor.to_vec();
    for _ in 0..ROOTS_MAX {
        let root = Root::decode(&bytes).map_err(refused(0))?;
        let next = root.version().saturating_add(1);
        let found = match client.operator().root(next).await {
            Err(error) if error.status().is_some_and(|status| status.as_u16() == 404) => break,
            found => found?,
        };
        root.successor(&found, &RustCrypto).map_err(refused(next))?;
        documents.push((format!("root document {next}"), RustCrypto.digest(&found)));
        bytes = found.to_vec();
    }
    Ok(bytes)
}

/// Asks core, as the product's newest device, about one release.
async fn unapproved(
    client: &Client,
    root: &[u8],
    products: &mut Vec<Product>,
    release: &Release,
) -> Result<Option<String>, MonitorError> {
    let root = Root::decode(root).map_err(|refusal| MonitorError::Root { version: 0, refusal })?;
    if !root.demands(release.product.as_str()).approvals {
        return Ok(None);
    }
    let known = products.iter().find(|product| product.id == release.product).cloned();
    let product = match known {
        Some(product) => product,
        None => {
            let product = client.operator().product(&release.product).await?;
            products.push(product.clone());
            product
        }
    };
    let envelope = client.operator().envelope(release.id).await?;
    let ids: Vec<[&[u8]; 1]> = product.components.iter().map(|part| [part.name.as_bytes()]).collect();
    let sequence = release.sequence.saturating_sub(1);
    let component = |(part, id): (&firmseal_api::registry::Component, _)| Component {
        id,
        slot: 0,
        capacity: part.capacity,
        sequence,
    };
    let components: Vec<Component<'_>> =
        product.components.iter().zip(ids.iter().map(|id| id.as_slice())).map(component).collect();
    let device = Device {
        trust: Trust::anchored(&root),
        stranded: false,
        takes: Takes::Any,
        product: product.id.as_str(),
        vendor: product.vendor.as_bytes(),
        class: product.class.as_bytes(),
        id: None,
        epoch: release.epoch,
        delegation: 0,
        components: &components,
    };
    // What else a root of today has against a release of before is not
    // asked here: keys rotate, approvals stay.
    Ok(match firmseal_core::admit(&envelope, &device, &RustCrypto) {
        Err(refusal @ Refusal::ApprovalsMissing { .. }) => Some(refusal.to_string()),
        _ => None,
    })
}

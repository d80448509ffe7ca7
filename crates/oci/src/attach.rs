//! Brings a bundle to its image, as a manifest that refers to it.
//!
//! A registry that lists referrers does so by itself. For one that does not,
//! the list is a tag that every client writes: whoever writes it from an old
//! reading takes away what others wrote since. So it is written only over what
//! was read, where the registry can tell, and looked at again afterwards.

use std::time::Duration;

use bytes::Bytes;
use firmseal_evidence::json;
use firmseal_formats::{Attested, BlobDigest, Covered, attested};
use firmseal_outbound::Fetched;
use http::{HeaderName, HeaderValue, header};
use serde_json::{Value, json};

use crate::BUNDLE;
use crate::error::OciError;
use crate::reference::Reference;
use crate::referrers::tag;
use crate::registry::{Image, Registry};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// "the content of the empty descriptor".
const EMPTY_JSON: &[u8] = b"{}";
/// How often the list is written, and when it is looked at again: others have
/// written what they had read before by then.
const TRIES: u32 = 10;
/// How often the manifest is brought again.
const PUSHES: u32 = 4;
const LOOKS: [Duration; 3] =
    [Duration::from_millis(60), Duration::from_millis(250), Duration::from_millis(700)];
/// What a registry says that knows what refers to what.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// A bundle that is where its image is.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The image's manifest.
    pub image: BlobDigest,
    /// The manifest that refers to it.
    pub referrer: BlobDigest,
    /// Whether the registry lists it by itself, and not in a tag.
    pub is_listed: bool,
}

/// Brings a bundle to an image. It has to be about that image; whose signature
/// it is, whoever verifies asks. Doing it again changes nothing.
pub async fn attach(
    registry: &Registry,
    reference: &Reference,
    bundle: Vec<u8>,
) -> Result<Attached, OciError> {
    let image = registry.image(reference).await?;
    let read = attested(&bundle, &image.bytes.to_vec())?;
    if !read.inspection.signatures.iter().any(|own| matches!(own.covered, Covered::Tbs(_))) {
        return Err(OciError::OtherImage { digest: image.digest.to_string() });
    }
    let bundle = Bytes::from(bundle);
    let manifest = manifest(&image, &bundle, &read);
    let bytes = Bytes::from(manifest.to_string());
    let referrer = BlobDigest::sha256(&bytes);
    let len = bytes.len();
    let answer = push(registry, &referrer, bytes, &bundle).await?;
    let is_listed = answer.headers.get(SUBJECT).is_some();
    if !is_listed {
        let entry = json!({
            "mediaType": MANIFEST,
            "digest": referrer.as_str(),
            "size": len,
            "artifactType": BUNDLE,
            "annotations": manifest["annotations"],
        });
        list(registry, &image.digest, &referrer, entry).await?;
    }
    Ok(Attached { image: image.digest, referrer, is_listed })
}

/// Brings a manifest, and its blobs before it. What another brings at the same
/// time, as everybody does the empty blob, may be said to be there before it
/// is: then once more.
async fn push(
    registry: &Registry,
    referrer: &BlobDigest,
    manifest: Bytes,
    bundle: &Bytes,
) -> Result<Fetched, OciError> {
    let mut turn = 0;
    loop {
        registry.push_blob(Bytes::from_static(EMPTY_JSON)).await?;
        registry.push_blob(bundle.clone()).await?;
        match registry.push_manifest(referrer.as_str(), MANIFEST, manifest.clone(), None).await {
            Err(OciError::Status { status: 400 | 500.., .. } | OciError::NotFound { .. })
                if turn < PUSHES =>
            {
                rest(turn).await;
                turn += 1;
            }
            other => return other,
        }
    }
}

/// The manifest around a bundle (cosign's BUNDLE_SPEC). It has no time in it:
/// the same bundle makes the same manifest.
fn manifest(image: &Image, bundle: &[u8], read: &Attested) -> Value {
    let blob = BlobDigest::sha256(bundle);
    let mut annotations = json!({ "dev.sigstore.bundle.content": "dsse-envelope" });
    if let Some(own) = &read.predicate_type {
        annotations["dev.sigstore.bundle.predicateType"] = own.as_str().into();
    }
    let empty = BlobDigest::sha256(EMPTY_JSON);
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BUNDLE,
        "config": { "mediaType": EMPTY, "digest": empty.as_str(), "size": EMPTY_JSON.len() },
        "layers": [{ "mediaType": BUNDLE, "digest": blob.as_str(), "size": bundle.len() }],
        "subject": {
            "mediaType": image.manifest.media_type,
            "digest": image.digest.as_str(),
            "size": image.bytes.len(),
        },
        "annotations": annotations,
    })
}

/// Puts an entry into the tag that lists what refers to an image.
async fn list(
    registry: &Registry,
    image: &BlobDigest,
    referrer: &BlobDigest,
    entry: Value,
) -> Result<(), OciError> {
    let tag = tag(image);
    // What was there at any time: who takes it away, us included, has it back.
    let mut wanted = vec![entry];
    for turn in 0..TRIES {
        let found = match registry.optional_manifest(&tag).await {
            Err(OciError::Status { status: 500.., .. }) => {
                rest(turn).await;
                continue;
            }
            other => other?,
        };
        let (mut index, etag) = match found {
            None => (json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }), None),
            Some((image, _)) if !image.manifest.is_index => {
                return Err(OciError::Untrue(format!(
                    "under {tag}, where signatures are listed, is no list"
                )));
            }
            // Read strictly already; members that we know nothing of stay.
            Some((image, etag)) => (json::parse(&image.bytes).map_err(untrue)?, Some(etag)),
        };
        let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
        let entries = entries.ok_or_else(|| OciError::Untrue(format!("under {tag} is no list")))?;
        let missing: Vec<Value> = wanted.iter().filter(|own| !holds(entries, own)).cloned().collect();
        for own in entries.iter() {
            if !holds(&wanted, own) {
                wanted.push(own.clone());
            }
        }
        if !missing.is_empty() {
            entries.extend(missing);
            let condition = match etag {
                None => Some((header::IF_NONE_MATCH, HeaderValue::from_static("*"))),
                Some(etag) => etag.map(|etag| (header::IF_MATCH, etag)),
            };
            let answer =
                registry.push_manifest(&tag, INDEX, Bytes::from(index.to_string()), condition).await?;
            if answer.status == 412 {
                tokio::time::sleep(LOOKS[0] * (turn % 3 + 1)).await;
                continue;
            }
        }
        if stays(registry, &tag, referrer).await? {
            return Ok(());
        }
    }
    Err(OciError::Contended)
}

/// Waits for those who write as well, each turn longer.
async fn rest(turn: u32) {
    tokio::time::sleep(LOOKS[0] * (turn + 1)).await;
}

/// Whether the entry is still there when those who read the list before us
/// have written it. Where the registry does not say, it is not.
async fn stays(registry: &Registry, tag: &str, referrer: &BlobDigest) -> Result<bool, OciError> {
    for pause in LOOKS {
        tokio::time::sleep(pause).await;
        let found = match registry.optional_manifest(tag).await {
            Err(OciError::Status { status: 500.., .. }) => None,
            other => other?,
        };
        let lists = |image: Image| image.manifest.listed.iter().any(|own| own.digest == *referrer);
        if !found.is_some_and(|(image, _)| lists(image)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds(entries: &[Value], own: &Value) -> bool {
    entries.iter().any(|entry| entry.get("digest") == own.get("digest"))
}

fn untrue(error: impl std::fmt::Display) -> OciError {
    OciError::Untrue(error.to_string())
}

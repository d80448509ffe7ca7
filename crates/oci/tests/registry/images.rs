//! Images, keys and bundles, and a way to bring images to any registry.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use firmseal_formats::{BlobDigest, Parameters, Wanted, attach, find, lay_out};
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) struct Key {
    pub(crate) public: PublicKey,
    pair: EcdsaKeyPair,
}

impl Key {
    pub(crate) fn new() -> Key {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public = PublicKey::from_point(KeyAlgorithm::P256, pair.public_key().as_ref()).unwrap();
        Key { public, pair }
    }

    /// A bundle over a file.
    pub(crate) fn bundle(&self, format: &str, file: &[u8], epoch: u64, wish: &[(&str, &str)]) -> Vec<u8> {
        let (file, parameters) = (file.to_vec(), wish.iter().copied().collect::<Parameters>());
        let version = semver::Version::new(1, 2, 3);
        let wanted = Wanted { version, epoch, key: &self.public, parameters: &parameters };
        let format = find(format).unwrap();
        let laid_out = lay_out(format, &file, &wanted).unwrap();
        let Tbs::Sha256(digest) = laid_out.tbs else { panic!("a P-256 key signs SHA-256") };
        let digest =
            aws_lc_rs::digest::Digest::import_less_safe(&digest, &aws_lc_rs::digest::SHA256).unwrap();
        let signature = Signature(self.pair.sign_digest(&digest).unwrap().as_ref().to_vec());
        let plan = attach(format, &laid_out.unsigned.unwrap(), &file, &signature).unwrap();
        let mut out = Vec::new();
        plan.write_to(&file, &mut out).unwrap();
        out
    }
}

/// An image: its manifest, and the blobs that it names.
pub(crate) fn image(payload: &str) -> (Vec<u8>, Vec<Vec<u8>>) {
    let config =
        json!({ "architecture": "arm64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } });
    let (config, layer) = (config.to_string().into_bytes(), payload.as_bytes().to_vec());
    let own =
        |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": own("application/vnd.oci.image.config.v1+json", &config),
        "layers": [own("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    (manifest.to_string().into_bytes(), vec![config, layer])
}

/// An index of images, by architecture.
pub(crate) fn index(images: &[(&str, &[u8])]) -> Vec<u8> {
    let all: Vec<Value> = images
        .iter()
        .map(|(architecture, bytes)| {
            json!({ "mediaType": MANIFEST, "digest": digest(bytes), "size": bytes.len(),
                "platform": { "os": "linux", "architecture": architecture } })
        })
        .collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": all }).to_string().into_bytes()
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    BlobDigest::sha256(bytes).to_string()
}

/// Brings a manifest and its blobs, with the specification's requests and none
/// of our code.
pub(crate) async fn push(host: &str, name: &str, kind: &str, manifest: &[u8], blobs: &[Vec<u8>]) {
    for blob in blobs {
        let (status, location) = request(host, "POST", "/v2/nodes/worker/blobs/uploads/", "", &[]).await;
        assert_eq!(status, 202);
        let path = location.strip_prefix(&format!("http://{host}")).unwrap_or(&location).to_owned();
        let path = format!("{path}{}digest={}", if path.contains('?') { '&' } else { '?' }, digest(blob));
        assert_eq!(request(host, "PUT", &path, "application/octet-stream", blob).await.0, 201);
    }
    let path = format!("/v2/nodes/worker/manifests/{name}");
    let (status, said) = request(host, "PUT", &path, kind, manifest).await;
    assert_eq!(status, 201, "{said}");
}

async fn request(host: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(count @ 1..) => seen.extend_from_slice(&piece[..count]),
            _ => break,
        }
    }
    let text = String::from_utf8_lossy(&seen).into_owned();
    let status = text.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let location = text
        .lines()
        .find_map(|line| line.to_lowercase().starts_with("location: ").then(|| line[10..].to_owned()));
    (status, location.unwrap_or(text))
}

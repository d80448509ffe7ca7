//! Descriptors (image-spec, descriptor.md): what a blob is, how long, and its
//! digest.

use std::fmt;

use base64ct::{Base64, Encoding};
use serde_json::{Map, Value};

use crate::der::Bad;
use crate::hash::{Hash, hex};
use crate::sigstore::is_plain;

/// Longest media type, name of a platform, or address.
const TEXT_MAX: usize = 255;

/// A digest in the registered algorithms: `sha256` or `sha512`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Digest(String);

impl Digest {
    /// Reads a digest in its one spelling.
    pub fn parse(text: &str) -> Option<Digest> {
        let (name, digits) = text.split_once(':')?;
        let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let fits = matches!((name, digits.len()), ("sha256", 64) | ("sha512", 128));
        (is_hex && fits).then(|| Digest(text.to_owned()))
    }

    /// The SHA-256 of bytes.
    pub fn sha256(bytes: &[u8]) -> Digest {
        Digest(format!("sha256:{}", hex(&Hash::Sha256.of(bytes))))
    }

    /// As it is written: the algorithm, a colon, the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the digest of these bytes.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        self.0.split_once(':').is_some_and(|(_, digits)| hex(&self.hash().of(bytes)) == digits)
    }

    pub(super) fn hash(&self) -> Hash {
        if self.0.starts_with("sha512:") { Hash::Sha512 } else { Hash::Sha256 }
    }

    /// Where the blob stands in a layout.
    pub(super) fn path(&self) -> String {
        format!("blobs/{}", self.0.replacen(':', "/", 1))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an image runs on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Platform {
    /// The operating system, as Go names it.
    pub os: String,
    /// The architecture, as Go names it.
    pub architecture: String,
    /// The architecture's variant.
    pub variant: Option<String>,
}

impl Platform {
    /// Reads `os/architecture` or `os/architecture/variant`.
    pub fn parse(text: &str) -> Option<Platform> {
        let mut parts = text.split('/').map(|part| is_plain(part, TEXT_MAX).then(|| part.to_owned()));
        let (os, architecture) = (parts.next()??, parts.next()??);
        let variant = match parts.next() {
            None => None,
            Some(variant) => Some(variant?),
        };
        parts.next().is_none().then_some(Platform { os, architecture, variant })
    }

    /// Whether this is what is asked for: who names no variant takes any.
    pub fn suits(&self, wanted: &Platform) -> bool {
        let same = self.os == wanted.os && self.architecture == wanted.architecture;
        same && (wanted.variant.is_none() || wanted.variant == self.variant)
    }

    /// Out of an object with these members: a platform, or an image's config.
    pub(super) fn read(object: &Value) -> Result<Platform, Bad> {
        let word = |name: &str| match object.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if is_plain(text, TEXT_MAX) && !text.contains('/') => {
                Ok(Some(text.clone()))
            }
            Some(_) => Err("its platform is no plain text"),
        };
        let none = "its platform has no os, or no architecture";
        Ok(Platform {
            os: word("os")?.ok_or(none)?,
            architecture: word("architecture")?.ok_or(none)?,
            variant: word("variant")?,
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// A blob that a manifest, an index or a layout names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What it runs on, in indexes that say so.
    pub platform: Option<Platform>,
    /// What kind of artifact it is, where it is one.
    pub artifact_type: Option<String>,
    /// Whether it may be fetched from elsewhere.
    pub(super) is_elsewhere: bool,
}

impl Descriptor {
    pub(super) fn read(object: &Value) -> Result<Descriptor, Bad> {
        let members = object.as_object().ok_or("a descriptor in it is no object")?;
        let digest = members.get("digest").and_then(Value::as_str).and_then(Digest::parse);
        let digest = digest.ok_or("a descriptor in it has no digest of SHA-256 or SHA-512")?;
        let size = members.get("size").and_then(Value::as_u64).filter(|size| *size <= i64::MAX as u64);
        let size = size.ok_or("a descriptor in it has no size")?;
        let media_type = word(members, "mediaType")?.ok_or("a descriptor in it has no mediaType")?;
        // "If present, this field MUST be base64 encoded ... the decoded data
        // MUST be identical to the referenced content."
        if let Some(data) = members.get("data") {
            let data = data.as_str().and_then(|text| Base64::decode_vec(text).ok());
            let same = data.is_some_and(|data| data.len() as u64 == size && digest.is_of(&data));
            if !same {
                return Err("a descriptor in it carries data that is not what its digest names");
            }
        }
        let is_elsewhere = match members.get("urls") {
            None => false,
            Some(Value::Array(urls)) => !urls.is_empty(),
            Some(_) => return Err("the urls of a descriptor in it are no list"),
        };
        let platform = members.get("platform").map(Platform::read).transpose()?;
        let artifact_type = word(members, "artifactType")?;
        Ok(Descriptor { media_type, digest, size, platform, artifact_type, is_elsewhere })
    }
}

/// A text that may be missing, and is plain where it is there.
pub(super) fn word(members: &Map<String, Value>, name: &str) -> Result<Option<String>, Bad> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if is_plain(text, TEXT_MAX) => Ok(Some(text.clone())),
        Some(_) => Err("a media type in it is no plain text"),
    }
}

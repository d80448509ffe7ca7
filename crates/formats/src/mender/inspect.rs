//! What an artifact says of itself.

use base64ct::{Base64, Encoding};
use firmseal_manifest::{KeyAlgorithm, Signature, Tbs};
use sha2::{Digest, Sha256};

use super::archive::{Archive, Member};
use super::header::{self, Header};
use super::manifest::{MANIFEST_MAX, Manifest};
use super::unpacked::Unpacked;
use super::{NAME, malformed};
use crate::error::FormatError;
use crate::hash::{Hash, array, hex};
use crate::inspection::{Covered, ExistingSignature, Inspection, KeyClaim};
use crate::source::Source;
use crate::tree::Value;

/// Longest `version`, and longest signature: RSA with 4096 bits has 684.
const SHORT_MAX: u64 = 1024;
/// Most files of one payload.
const FILES_MAX: usize = 1024;

/// An artifact whose parts are those in its manifest.
pub(super) struct Artifact {
    pub(super) archive: Archive,
    pub(super) header: Header,
    /// SHA-256 of the manifest: what is signed.
    pub(super) digest: [u8; 32],
    /// Files, with the number of their payload, length and SHA-256.
    files: Vec<(usize, String, u64, [u8; 32])>,
}

impl Artifact {
    pub(super) fn read(source: &dyn Source) -> Result<Artifact, FormatError> {
        let archive = Archive::read(source)?;
        version(&archive.version.content(source, SHORT_MAX)?)?;
        let signed = archive.manifest.content(source, MANIFEST_MAX)?;
        let mut manifest = Manifest::read(&signed)?;
        for member in [&archive.version, &archive.header] {
            manifest.take(&member.name, &member.sha256(source)?)?;
        }
        let header = Header::read(source, &archive.header)?;
        if header.types.len() != archive.data.len() {
            return Err(malformed(format!(
                "its header tells of {} payloads, it has {}",
                header.types.len(),
                archive.data.len()
            )));
        }
        let mut files = Vec::new();
        for (index, member) in archive.data.iter().enumerate() {
            payload(source, member, index, &mut manifest, &mut files)?;
        }
        manifest.end()?;
        Ok(Artifact { archive, header, digest: array(&Hash::Sha256.of(&signed)), files })
    }

    /// What stands inside the signature.
    pub(super) fn describe(&self) -> Inspection {
        let size = self.files.iter().map(|(_, _, size, _)| *size).fold(0, u64::saturating_add);
        let mut out = Inspection::new(NAME, size);
        let Header { devices, versions, told, types } = &self.header;
        // Of many, the first that differs would be another one.
        out.version = versions.first().filter(|first| versions.iter().all(|own| own == *first)).cloned();
        out.target = (!devices.is_empty()).then(|| devices.join(", "));
        for (name, value) in told {
            out.field(name, value);
        }
        for (index, kind) in types.iter().enumerate() {
            out.field(format!("payload {index} type"), kind);
            for (_, name, size, sha256) in self.files.iter().filter(|(own, ..)| *own == index) {
                out.field(
                    format!("payload {index} file"),
                    format!("{name} {size} bytes sha256:{}", hex(sha256)),
                );
            }
        }
        out.field("manifest sha256", hex(&self.digest));
        out
    }

    /// The signature, of the one kind that its length tells.
    fn signature(&self, source: &dyn Source) -> Result<Option<ExistingSignature>, FormatError> {
        let Some(member) = &self.archive.signature else { return Ok(None) };
        let text = member.content(source, SHORT_MAX)?;
        let value = std::str::from_utf8(&text).ok().and_then(|text| Base64::decode_vec(text).ok());
        let value = value.ok_or_else(|| malformed("its signature is no base64 on one line"))?;
        let (algorithm, tbs) = match value.len() {
            64 => (KeyAlgorithm::P256, Tbs::Sha256(self.digest)),
            len @ (256 | 384 | 512) => (KeyAlgorithm::Rsa(len as u16 * 8), Tbs::Pkcs1(self.digest)),
            len => {
                return Err(malformed(format!(
                    "its signature has {len} bytes; P-256 has 64, RSA 256, 384 or 512"
                )));
            }
        };
        let (claim, covered) = (KeyClaim::None, Covered::Tbs(tbs));
        Ok(Some(ExistingSignature { algorithm, claim, covered, signature: Signature(value) }))
    }
}

/// The one version that is read.
fn version(bytes: &[u8]) -> Result<(), FormatError> {
    let said = header::parsed("version", bytes)?;
    header::only(&said, &["format", "version"])?;
    match (said.get("format"), said.get("version")) {
        (Some(Value::Text(format)), Some(Value::Number(version))) if format == "mender" && version == "3" => {
            Ok(())
        }
        _ => Err(FormatError::unsupported(NAME, "an artifact of another version than 3; make it anew")),
    }
}

/// Checks the files of one payload.
fn payload(
    source: &dyn Source,
    member: &Member,
    index: usize,
    manifest: &mut Manifest,
    files: &mut Vec<(usize, String, u64, [u8; 32])>,
) -> Result<(), FormatError> {
    let mut inside = Unpacked::open(source, member.data.clone(), &member.name)?;
    let before = files.len();
    while let Some(file) = inside.next()? {
        if !header::is_plain(&file.name) || files.len() - before == FILES_MAX {
            return Err(malformed(format!(
                "`{}` has other characters than letters, digits and `.,_-`, or is the 1025th file of its payload",
                file.name
            )));
        }
        let mut hasher = Sha256::new();
        inside.content(&file, |piece| hasher.update(piece))?;
        let sha256 = array(&hasher.finalize());
        manifest.take(&format!("data/{index:04}/{}", file.name), &sha256)?;
        files.push((index, file.name, file.size, sha256));
    }
    Ok(())
}

/// Describes an artifact with its signature.
pub(super) fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    let artifact = Artifact::read(source)?;
    let mut inspection = artifact.describe();
    inspection.signatures.extend(artifact.signature(source)?);
    Ok(inspection)
}

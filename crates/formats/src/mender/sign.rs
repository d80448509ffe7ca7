//! An artifact with a signature: behind the manifest, in the place of one that
//! is there.

use base64ct::{Base64, Encoding};
use firmseal_manifest::{KeyAlgorithm, Tbs};

use super::NAME;
use super::archive::SIGNATURE;
use super::inspect::Artifact;
use super::tar::Header;
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::plan::Plan;
use crate::signature::encoded;
use crate::source::Source;

/// Lays out the signed artifact, all but the signature.
pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    wanted.parameters.check(&[])?;
    let algorithm = wanted.key.algorithm();
    if !matches!(algorithm, KeyAlgorithm::P256 | KeyAlgorithm::Rsa(_)) {
        // Its verifiers take 64 bytes of ECDSA, and nothing of Ed25519.
        return Err(FormatError::KeyAlgorithm { format: NAME, algorithm, use_instead: "a P-256 or RSA key" });
    }
    let artifact = Artifact::read(source)?;
    checked(&artifact, wanted)?;
    let tbs = match algorithm {
        KeyAlgorithm::P256 => Tbs::Sha256(artifact.digest),
        _ => Tbs::Pkcs1(artifact.digest),
    };
    let inspection = artifact.describe();
    let archive = artifact.archive;
    let before = archive.signature.as_ref().map_or(archive.header.start, |own| own.start);
    Ok(Unsigned::new(
        tbs,
        inspection,
        Box::new(move |signature| {
            // Its shape is checked as that of any other; ECDSA stays r and s.
            encoded(algorithm, signature)?;
            let text = Base64::encode_string(&signature.0).into_bytes();
            let header = Header { name: SIGNATURE.to_owned(), size: text.len() as u64 };
            let padding = vec![0; header.padding() as usize];
            Ok(Plan::new(archive.len)
                .source(0..before)
                .bytes([&header.write()[..], &text, &padding].concat())
                .source(archive.header.start..archive.len))
        }),
    ))
}

/// The versions of software that it provides are the one that was asked for.
fn checked(artifact: &Artifact, wanted: &Wanted<'_>) -> Result<(), FormatError> {
    let said = |own: &String| semver::Version::parse(own).ok();
    match artifact.header.versions.iter().find(|own| said(own).as_ref() != Some(&wanted.version)) {
        None => Ok(()),
        Some(other) => {
            let (inside, wanted) = (other.clone(), wanted.version.to_string());
            Err(FormatError::Disagrees { field: "version", inside, wanted })
        }
    }
}

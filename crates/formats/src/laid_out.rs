//! What a key signs of a file: in its own format, or beside it.
//!
//! The one place that says so. The service derives it before it uses a key,
//! an approver before agreeing, and whoever signs with a key of their own
//! before asking it.

use firmseal_manifest::{Digest, KeyAlgorithm, Signature, Tbs};

use crate::detect;
use crate::digest;
use crate::error::FormatError;
use crate::format::{Format, Unsigned, Wanted};
use crate::hash::Hash;
use crate::inspection::Inspection;
use crate::parameters::{Parameter, bad};
use crate::plan::Plan;
use crate::raw;
use crate::source::Source;

/// A file that was read, and what a key would sign of it.
pub struct LaidOut {
    /// Exactly what the key must sign.
    pub tbs: Tbs,
    /// What the file says of itself, or will.
    pub inspection: Inspection,
    /// In formats with a place for a signature: what it takes to write one
    /// there.
    pub unsigned: Option<Unsigned>,
}

/// Parameters of files that are signed beside themselves.
pub const DETACHED: &[Parameter] = &[Parameter {
    name: "padding",
    about: "of RSA keys: pss (salt of 32 bytes), or pkcs1 (PKCS #1 v1.5, with SHA-256); pss if not given",
}];

/// Whether PKCS #1 v1.5 is asked for.
fn is_pkcs1(wanted: &Wanted<'_>) -> Result<bool, FormatError> {
    // A misspelt bound would bound nothing.
    wanted.parameters.check(DETACHED)?;
    let is_rsa = matches!(wanted.key.algorithm(), KeyAlgorithm::Rsa(_));
    match wanted.parameters.get("padding") {
        None => Ok(false),
        Some(_) if !is_rsa => Err(bad("padding", "RSA keys alone have one".to_owned())),
        Some("pss") => Ok(false),
        Some("pkcs1") => Ok(true),
        Some(_) => Err(bad("padding", "use pss or pkcs1".to_owned())),
    }
}

/// The same input, in the padding that is asked for.
fn padded(tbs: Tbs, is_pkcs1: bool) -> Tbs {
    match tbs {
        Tbs::Sha256(digest) if is_pkcs1 => Tbs::Pkcs1(digest),
        tbs => tbs,
    }
}

/// Reads a file in a format and lays out what a key would sign.
pub fn lay_out(
    format: &dyn Format,
    source: &dyn Source,
    wanted: &Wanted<'_>,
) -> Result<LaidOut, FormatError> {
    if let Some(embedding) = format.embedding() {
        let unsigned = embedding.prepare(source, wanted)?;
        let (tbs, inspection) = (unsigned.tbs().clone(), unsigned.inspection().clone());
        return Ok(LaidOut { tbs, inspection, unsigned: Some(unsigned) });
    }
    let is_pkcs1 = is_pkcs1(wanted)?;
    let len = source.len()?;
    let inspection = format.inspect(source)?;
    if format.is_blind() {
        let tbs = handed_in(wanted.key.algorithm(), digest::read(source)?)?;
        return Ok(LaidOut { tbs: padded(tbs, is_pkcs1), inspection, unsigned: None });
    }
    let sha256 = Digest(array(&Hash::Sha256.of_range(source, 0..len)?));
    let tbs = match over(wanted.key.algorithm(), &sha256) {
        Some(tbs) => tbs,
        None => Tbs::Sha384(array(&Hash::Sha384.of_range(source, 0..len)?)),
    };
    Ok(LaidOut { tbs: padded(tbs, is_pkcs1), inspection, unsigned: None })
}

/// The same of a file that is kept under its SHA-256, where that and its
/// length say everything; `None` where it has to be read.
pub fn lay_out_by_digest(
    format: &dyn Format,
    sha256: &Digest,
    len: u64,
    wanted: &Wanted<'_>,
) -> Result<Option<LaidOut>, FormatError> {
    let tbs = over(wanted.key.algorithm(), sha256).filter(|_| format.name() == raw::NAME);
    let Some(tbs) = tbs else { return Ok(None) };
    let tbs = padded(tbs, is_pkcs1(wanted)?);
    Ok(Some(LaidOut { tbs, inspection: raw::described(sha256, len)?, unsigned: None }))
}

/// A file with its signature: what is written, once it was read back.
///
/// It still has to say what it said before, in a reading that knows nothing
/// of how it was made.
pub fn attach(
    format: &dyn Format,
    unsigned: &Unsigned,
    source: &dyn Source,
    signature: &Signature,
) -> Result<Plan, FormatError> {
    let plan = unsigned.attach(signature)?;
    let found = detect(&plan.over(source)?)?;
    let written = found.inspect(&plan.over(source)?)?;
    let same = found.name() == format.name() && written.digest() == unsigned.inspection().digest();
    // Others may be in it already: this one has to be.
    let there = written.signatures.iter().any(|own| own.signature == *signature);
    match same && there {
        true => Ok(plan),
        false => {
            Err(FormatError::malformed(format.name(), "with the signature it reads otherwise than before"))
        }
    }
}

/// What a key signs of bytes with this SHA-256; `None` for keys that sign
/// another hash.
fn over(algorithm: KeyAlgorithm, sha256: &Digest) -> Option<Tbs> {
    match algorithm {
        KeyAlgorithm::P256 | KeyAlgorithm::Rsa(_) => Some(Tbs::Sha256(sha256.0)),
        KeyAlgorithm::Ed25519 | KeyAlgorithm::Lms(_) | KeyAlgorithm::MlDsa(_) => {
            Some(Tbs::Message(sha256.as_bytes().to_vec()))
        }
        KeyAlgorithm::P384 => None,
    }
}

/// A digest that was handed in, for a key that signs one of its length.
pub(crate) fn handed_in(algorithm: KeyAlgorithm, digest: Vec<u8>) -> Result<Tbs, FormatError> {
    match (algorithm, digest.len()) {
        (KeyAlgorithm::P256 | KeyAlgorithm::Rsa(_), 32) => Ok(Tbs::Sha256(array(&digest))),
        (KeyAlgorithm::P384, 48) => Ok(Tbs::Sha384(array(&digest))),
        (_, len) => {
            let what = format!("keys of algorithm {algorithm} sign no digest of {len} bytes");
            Err(FormatError::unsupported(digest::NAME, what))
        }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

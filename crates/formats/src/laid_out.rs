//! What a key signs of a file: in its own format, or beside it.
//!
//! The one place that says so. The service derives it before it uses a key,
//! an approver before agreeing, and whoever signs with a key of their own
//! before asking it.

use std::sync::Arc;

use firmseal_manifest::{Digest, KeyAlgorithm, Signature, Tbs};

use crate::detect;
use crate::digest;
use crate::error::FormatError;
use crate::format::{Format, Unsigned, Wanted};
use crate::hash::{Hash, array};
use crate::inner;
use crate::inspection::Inspection;
use crate::parameters::{Parameter, bad};
use crate::plan::Plan;
use crate::raw;
use crate::source::{Remembering, Source};

/// A file that was read, and what a key would sign of it.
pub struct LaidOut {
    /// Exactly what the key must sign.
    pub tbs: Tbs,
    /// What the file says of itself, or will.
    pub inspection: Inspection,
    /// In formats whose signatures stand in a file, this one or one beside it:
    /// what it takes to write that.
    pub unsigned: Option<Unsigned>,
}

/// How RSA keys sign.
pub(crate) const PADDING: Parameter = Parameter {
    name: "padding",
    about: "of RSA keys: pss (salt of 32 bytes), pss-max (the longest salt that fits, by keys in HSMs), or \
            pkcs1 (PKCS #1 v1.5), all with SHA-256; pss if not given",
};

/// Parameters of signatures that are nothing but themselves.
pub const DETACHED: &[Parameter] = &[PADDING];

/// How an RSA key signs; for others it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Padding {
    /// PSS with a salt as long as the hash.
    Pss,
    /// PSS with the longest salt.
    PssMax,
    /// PKCS #1 v1.5.
    Pkcs1,
}

impl Padding {
    /// The one that is asked for.
    pub(crate) fn wanted(wanted: &Wanted<'_>) -> Result<Padding, FormatError> {
        let is_rsa = matches!(wanted.key.algorithm(), KeyAlgorithm::Rsa(_));
        match wanted.parameters.get("padding") {
            None => Ok(Padding::Pss),
            Some(_) if !is_rsa => Err(bad("padding", "RSA keys alone have one".to_owned())),
            Some("pss") => Ok(Padding::Pss),
            Some("pss-max") => Ok(Padding::PssMax),
            Some("pkcs1") => Ok(Padding::Pkcs1),
            Some(_) => Err(bad("padding", "use pss, pss-max or pkcs1".to_owned())),
        }
    }

    /// The same input, with this padding.
    fn of(self, tbs: Tbs) -> Tbs {
        match (tbs, self) {
            (Tbs::Sha256(digest), Padding::Pkcs1) => Tbs::Pkcs1(digest),
            (Tbs::Sha256(digest), Padding::PssMax) => Tbs::PssMax(digest),
            (tbs, _) => tbs,
        }
    }
}

/// Reads a file in a format and lays out what a key would sign.
pub fn lay_out(
    format: &dyn Format,
    source: &dyn Source,
    wanted: &Wanted<'_>,
) -> Result<LaidOut, FormatError> {
    let remembered = Arc::default();
    let source = &Remembering { source, remembered: Arc::clone(&remembered) };
    let prepared = match (format.embedding(), format.beside()) {
        (Some(embedding), _) => Some(embedding.prepare(source, wanted)?),
        (None, Some(beside)) => Some(beside.prepare(source, wanted)?),
        (None, None) => None,
    };
    if let Some(mut unsigned) = prepared {
        unsigned.remembered = remembered;
        let (tbs, inspection) = (unsigned.tbs().clone(), unsigned.inspection().clone());
        return Ok(LaidOut { tbs, inspection, unsigned: Some(unsigned) });
    }
    // A misspelt bound would bound nothing.
    wanted.parameters.check(DETACHED)?;
    let padding = Padding::wanted(wanted)?;
    let len = source.len()?;
    let inspection = format.inspect(source)?;
    if format.is_blind() {
        let tbs = handed_in(wanted.key.algorithm(), digest::read(source)?)?;
        return Ok(LaidOut { tbs: padding.of(tbs), inspection, unsigned: None });
    }
    inner::refuse(source)?;
    let sha256 = Digest(array(&Hash::Sha256.of_range(source, 0..len)?));
    let tbs = match over(wanted.key.algorithm(), &sha256) {
        Some(tbs) => tbs,
        None => Tbs::Sha384(array(&Hash::Sha384.of_range(source, 0..len)?)),
    };
    Ok(LaidOut { tbs: padding.of(tbs), inspection, unsigned: None })
}

/// A file that was read before, and is kept under its SHA-256.
pub struct Kept<'a> {
    /// SHA-256 of its bytes.
    pub sha256: &'a Digest,
    /// Their number.
    pub len: u64,
    /// The format that [`detect`] found.
    pub detected: &'a str,
}

/// The same of a file that is kept, where what is known of it says everything;
/// `None` where it has to be read.
pub fn lay_out_kept(
    format: &dyn Format,
    kept: &Kept<'_>,
    wanted: &Wanted<'_>,
) -> Result<Option<LaidOut>, FormatError> {
    // Of a file that was detected as anything else nobody knows here what it
    // begins with.
    let is_raw = format.name() == raw::NAME && kept.detected == raw::NAME;
    let tbs = over(wanted.key.algorithm(), kept.sha256).filter(|_| is_raw);
    let Some(tbs) = tbs else { return Ok(None) };
    wanted.parameters.check(DETACHED)?;
    let tbs = Padding::wanted(wanted)?.of(tbs);
    Ok(Some(LaidOut { tbs, inspection: raw::described(kept.sha256, kept.len)?, unsigned: None }))
}

/// A file with its signature, or the file that holds the signature: what is
/// written, once it was read back.
///
/// It still has to say what it said before, in a reading that knows nothing
/// of how it was made.
pub fn attach(
    format: &dyn Format,
    unsigned: &Unsigned,
    source: &dyn Source,
    signature: &Signature,
) -> Result<Plan, FormatError> {
    let plan = unsigned.readable(signature)?;
    let (found, written) = match format.beside() {
        Some(beside) => {
            // Nothing of it is written: it need not be hashed again.
            let own = Remembering { source, remembered: Arc::clone(&unsigned.remembered) };
            (format.name(), beside.read(&plan.over(source)?, &own)?)
        }
        None => {
            let found = detect(&plan.over(source)?)?;
            (found.name(), found.inspect(&plan.over(source)?)?)
        }
    };
    let same = found == format.name() && written.digest() == unsigned.inspection().digest();
    // Others may be in it already: this one has to be.
    let there = written.signatures.iter().any(|own| own.signature == *signature);
    match same && there {
        true => unsigned.written(plan, source),
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

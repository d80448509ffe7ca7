//! A signature on its way into a file, this one or one beside it, and what is
//! looked at before.
//!
//! Whoever made the signature is not believed: what it has to be over is
//! derived here from the file, and it has to verify under the key.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

#[cfg(feature = "full")]
use firmseal_formats::{Covered, Inspection};
use firmseal_formats::{Format, LaidOut, Wanted, attach, lay_out};
use firmseal_keys::verify::verify;
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, ecdsa};

use crate::error::{CliError, Kind, Result, file};
use crate::newfile::{self, NewFile};

/// A file, and what a key signs of it.
pub struct Readable<'a> {
    format: &'static dyn Format,
    source: &'a File,
    key: &'a PublicKey,
    laid_out: LaidOut,
}

impl<'a> Readable<'a> {
    /// Reads a file.
    pub fn read(format: &'static dyn Format, source: &'a File, wanted: &Wanted<'a>) -> Result<Readable<'a>> {
        let laid_out = lay_out(format, source, wanted)?;
        Ok(Readable { format, source, key: wanted.key, laid_out })
    }

    /// What the key signs.
    pub fn laid_out(&self) -> &LaidOut {
        &self.laid_out
    }

    /// Whether a signature holds.
    pub fn check(&self, signature: &Signature) -> Result {
        verify(self.key, &self.laid_out.tbs, signature).map_err(|error| {
            CliError::new(Kind::Refused, error)
                .hint("it is by another key, or over something else than this file")
        })
    }

    /// Writes the file with the signature in it, or the signature's own, read
    /// back before it gets its name.
    pub fn write(&self, signature: &Signature, path: &Path) -> Result {
        self.check(signature)?;
        let Some(unsigned) = &self.laid_out.unsigned else {
            let what = format!("files of format {} have no place for a signature", self.format.name());
            return Err(CliError::new(Kind::Usage, what).hint("it stands beside them"));
        };
        let plan = attach(self.format, unsigned, self.source, signature)?;
        let mut out = BufWriter::new(NewFile::create(path, newfile::PUBLIC)?);
        plan.write_to(self.source, &mut out)?;
        out.into_inner().map_err(|error| file(path)(error.into_error()))?.finish()
    }
}

/// Whether a file holds a signature of this key that is good. One is enough:
/// whoever signs again leaves the signatures of others where they are.
#[cfg(feature = "full")]
pub fn held(inspection: &Inspection, key: &PublicKey) -> Result {
    let mut why = Vec::new();
    for signature in &inspection.signatures {
        if signature.algorithm != key.algorithm() || !signature.claim.admits(key) {
            why.push("one is by another key".to_owned());
            continue;
        }
        match &signature.covered {
            Covered::Unknown(reason) => why.push((*reason).to_owned()),
            Covered::Tbs(tbs) => match verify(key, tbs, &signature.signature) {
                Ok(()) => return Ok(()),
                Err(error) => why.push(error.to_string()),
            },
        }
    }
    let what = match why.is_empty() {
        true => "there is no signature in it".to_owned(),
        false => format!("no signature by key {} holds: {}", key.id(), why.join("; ")),
    };
    Err(CliError::new(Kind::Refused, what))
}

/// A signature as other tools write it: ECDSA in DER (RFC 3279 §2.2.3).
pub fn to_tools(algorithm: KeyAlgorithm, signature: &Signature) -> Result<Vec<u8>> {
    match algorithm {
        KeyAlgorithm::P256 | KeyAlgorithm::P384 => ecdsa::to_der(&signature.0)
            .ok_or_else(|| CliError::new(Kind::Refused, "the signature is none of its key's algorithm")),
        _ => Ok(signature.0.clone()),
    }
}

/// The other way round: ECDSA in DER, or as `r || s`.
pub fn from_tools(algorithm: KeyAlgorithm, bytes: Vec<u8>) -> Result<Signature> {
    let field = match algorithm {
        KeyAlgorithm::P256 => 32,
        KeyAlgorithm::P384 => 48,
        _ => return Ok(Signature(bytes)),
    };
    if bytes.len() == 2 * field {
        return Ok(Signature(bytes));
    }
    let plain = ecdsa::from_der(&bytes, field).map(Signature);
    plain.ok_or_else(|| CliError::new(Kind::Refused, "is no ECDSA signature, neither in DER nor as r || s"))
}

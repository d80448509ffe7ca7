//! The format contract, and what signing takes and gives.

use std::sync::Arc;

use firmseal_manifest::{PublicKey, Signature, Tbs};

use crate::decryption_key::DecryptionKey;
use crate::error::FormatError;
use crate::inspection::Inspection;
use crate::parameters::{Parameter, Parameters};
use crate::plan::Plan;
use crate::source::{Remembered, Source};

/// How sure a format is that a file is its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Likeness {
    /// It is not.
    No,
    /// Any file would do.
    Any,
    /// The file says so itself, whether it is well formed or not.
    Own,
}

/// A file that is looked at before anybody knows its format.
pub struct Bare<'a> {
    /// All of it.
    pub source: &'a dyn Source,
    /// Its length.
    pub len: u64,
    /// Its first 64 bytes.
    pub head: &'a [u8],
    /// Its last two; zeros in a file of less than four.
    pub tail: [u8; 2],
}

/// A firmware format.
///
/// Contract: everything here is a total function of the source's bytes. It
/// never panics, holds at most a few hundred KiB at a time, checks every
/// length against the file before it reads or hashes what lies there, and
/// reads each byte a bounded number of times.
pub trait Format: Send + Sync {
    /// Its name: one lower-case word.
    fn name(&self) -> &'static str;

    /// What it is, in a line.
    fn about(&self) -> &'static str;

    /// Whether a file is of this format, from a few bytes at its ends. A
    /// damaged file is still its own: `inspect` then says what is wrong, and
    /// no other format takes it for something else.
    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError>;

    /// Describes a file, its signatures included.
    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError>;

    /// How a signature gets into files of this format. `None` where it
    /// stands beside them.
    fn embedding(&self) -> Option<&dyn Embedding> {
        None
    }

    /// How a file of its own is made of a signature, which stands beside the
    /// one that it is over. `None` where it stands in that, or is nothing but
    /// itself.
    fn beside(&self) -> Option<&dyn Beside> {
        None
    }

    /// Whether the hash of a whole file may be just what a signature in it is
    /// over: one beside such a file would count as one in it, with none of
    /// the format's rules.
    fn hashes_whole(&self) -> bool {
        true
    }

    /// What a file is called that is no more than what signatures in files of this
    /// format are over: one beside such a file, or around it in another format,
    /// would be one in a file that nobody has looked at. No format signs it
    /// (docs/decisions/0041-what-is-signed-inside.md).
    fn signed_inside(&self, _file: &Bare<'_>) -> Result<Option<&'static str>, FormatError> {
        Ok(None)
    }

    /// An encrypted file as its device reads it, in formats that encrypt.
    fn decrypt(&self, _source: &dyn Source, _key: &DecryptionKey) -> Result<Plan, FormatError> {
        Err(FormatError::unsupported(self.name(), "files of this format are not encrypted"))
    }

    /// Whether what is signed is handed in, and derived from nothing: only
    /// keys marked `blind` sign that, and never for production.
    fn is_blind(&self) -> bool {
        false
    }
}

/// A format with a signature of its own inside the file.
///
/// Contract: the same source and the same wish give the same bytes to be
/// signed and, for the same signature, the same file.
pub trait Embedding: Send + Sync {
    /// The parameters it takes.
    fn parameters(&self) -> &'static [Parameter];

    /// Whether version and security epoch stand in its files.
    fn numbers(&self) -> bool {
        true
    }

    /// Lays out the signed file, all but the signature.
    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError>;
}

/// A format whose signature is a file of its own, beside any file.
///
/// Contract: that of [`Embedding`], with the signature's file in the place of
/// the signed one.
pub trait Beside: Send + Sync {
    /// The parameters it takes.
    fn parameters(&self) -> &'static [Parameter];

    /// Lays out the signature's file, all but the signature.
    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError>;

    /// Describes a file, with the signatures that a file beside it holds.
    fn read(&self, signature: &dyn Source, source: &dyn Source) -> Result<Inspection, FormatError>;
}

/// What a signature is asked for.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The version: the file must carry it, or will.
    pub version: semver::Version,
    /// The security epoch: the file must carry it, or will.
    pub epoch: u64,
    /// The key that will sign.
    pub key: &'a PublicKey,
    /// What the format wants to know besides.
    pub parameters: &'a Parameters,
}

type Attach = Box<dyn Fn(&Signature) -> Result<Plan, FormatError> + Send + Sync>;
type Seal = Box<dyn Fn(&Plan, &dyn Source) -> Result<Plan, FormatError> + Send + Sync>;

/// A file that lacks only its signature: the signed one, or the signature's
/// own.
pub struct Unsigned {
    tbs: Tbs,
    inspection: Inspection,
    attach: Attach,
    seal: Option<(&'static str, Seal)>,
    /// What was hashed of the source on the way.
    pub(crate) remembered: Arc<Remembered>,
}

impl Unsigned {
    pub(crate) fn new(tbs: Tbs, inspection: Inspection, attach: Attach) -> Unsigned {
        Unsigned { tbs, inspection, attach, seal: None, remembered: Arc::default() }
    }

    /// Has the signed file, with its signature, go where its recipients alone
    /// read it.
    pub(crate) fn sealed(self, format: &'static str, seal: Seal) -> Unsigned {
        Unsigned { seal: Some((format, seal)), ..self }
    }

    /// Exactly what the key must sign.
    pub fn tbs(&self) -> &Tbs {
        &self.tbs
    }

    /// What the signed file will say of itself: what a gate decides on, and
    /// whose digest it will have.
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// The signed file. The signature's shape is checked, not its validity:
    /// verify the result by inspecting it. A file that is to be sealed is
    /// refused, and [`attach`](crate::attach) writes it.
    pub fn attach(&self, signature: &Signature) -> Result<Plan, FormatError> {
        match self.seal {
            None => (self.attach)(signature),
            Some((format, _)) => Err(FormatError::unsupported(
                format,
                "encrypted for its recipients, it cannot be read back here: sign the file by itself, with `firmseal \
                 sign`",
            )),
        }
    }

    /// The signed file as it can be read back, sealed or not.
    pub(crate) fn readable(&self, signature: &Signature) -> Result<Plan, FormatError> {
        (self.attach)(signature)
    }

    /// What is written of the signed file.
    pub(crate) fn written(&self, readable: Plan, source: &dyn Source) -> Result<Plan, FormatError> {
        match &self.seal {
            None => Ok(readable),
            Some((_, seal)) => seal(&readable, source),
        }
    }
}

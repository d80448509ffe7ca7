//! Sigstore bundles, version 0.3 (sigstore_bundle.proto in its JSON mapping),
//! of keys of one's own: a signature's file beside any file.
//!
//! ```text
//! bundle
//!   | verificationMaterial: publicKey, a hint     (who reads it has the key)
//!   | messageSignature: SHA-2 of the file, signature over it
//!   | or dsseEnvelope: a statement, signature over the statement and its type
//!        | in-toto Statement v1: SHA-256 of the file, and what is said of it
//! ```
//!
//! Which keys sign what is what the library that npm verifies with takes:
//! P-256 and RSA (PKCS #1 v1.5) either, with SHA-256; P-384 messages alone,
//! for verifiers do not agree on the hash under its envelopes; Ed25519
//! envelopes alone, for messages go to it unhashed or hashed by another name.

pub(crate) mod beside;
mod bundle;
mod scheme;
mod statement;

use crate::error::FormatError;
use crate::format::{Bare, Beside, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::oci;
use crate::parameters::{Parameter, bad};
use crate::source::Source;
use crate::{inner, raw};

pub use beside::Attested;
pub(crate) use bundle::is_plain;
pub(crate) use statement::{NAME as SUBJECT, PREDICATE, PREDICATE_TYPE};
pub use statement::{SIGNATURE_TYPE, is_predicate_type};

const NAME: &str = "sigstore";
const CONTENT: Parameter = Parameter {
    name: "content",
    about: "what is signed: dsse (default), a statement about the file, or message, the file itself",
};
const PARAMETERS: &[Parameter] = &[CONTENT, PREDICATE_TYPE, PREDICATE, SUBJECT];

/// The Sigstore format.
pub(crate) struct Sigstore;

impl Format for Sigstore {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "any bytes; the signature stands beside the file, in a Sigstore bundle, alone or with a statement about it"
    }

    fn detect(&self, _source: &dyn Source) -> Result<Likeness, FormatError> {
        // Any file would do; that its signature is to be a bundle, none says.
        Ok(Likeness::No)
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        let mut inspection = Inspection::new(NAME, source.len()?);
        inspection.fields = raw::Raw.inspect(source)?.fields;
        Ok(inspection)
    }

    fn beside(&self) -> Option<&dyn Beside> {
        Some(self)
    }

    fn signed_inside(&self, file: &Bare<'_>) -> Result<Option<&'static str>, FormatError> {
        Ok(file.head.starts_with(b"DSSEv1 ").then_some("an envelope's content, as DSSE has it signed"))
    }
}

impl Beside for Sigstore {
    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        wanted.parameters.check(PARAMETERS)?;
        inner::refuse(source)?;
        // A statement about it would be a signature of the image, with none of
        // what is looked at there.
        if oci::is_manifest(source)? {
            let what = "the file is the manifest of a container image: sign it in format `oci`";
            return Err(FormatError::unsupported(NAME, what));
        }
        let about = self.about_whole(source)?;
        match wanted.parameters.get(CONTENT.name) {
            None | Some("dsse") => about.prepare_statement(source, wanted),
            Some("message") => about.prepare_message(source, wanted),
            Some(_) => Err(bad(CONTENT.name, "use dsse or message".to_owned())),
        }
    }

    fn read(&self, signature: &dyn Source, source: &dyn Source) -> Result<Inspection, FormatError> {
        Ok(self.about_whole(source)?.read(signature, source)?.inspection)
    }
}

impl Sigstore {
    fn about_whole(&self, source: &dyn Source) -> Result<beside::About, FormatError> {
        let len = source.len()?;
        Ok(beside::About { format: NAME, inspection: self.inspect(source)?, signed: 0..len, messages: true })
    }
}

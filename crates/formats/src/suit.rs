//! SUIT envelopes (draft-ietf-suit-manifest-37) that others made: an owner adds a
//! signature to them, or puts one in the place of what is there.
//!
//! ```text
//! 107({                    the tag may be left out
//!   1: delegation          who may sign; covered by no signature here
//!   2: authentication      SUIT_Digest, then COSE_Sign1, Sign, Mac0, Mac
//!   3: manifest            a byte string: its digest covers the head as well
//!   16, 20, 23 ...         what was severed: covered by digests in the manifest
//!   "#name": payload       covered where the manifest matches its digest
//! })
//! ```
//!
//! A signature is over the encoded `SUIT_Digest` and over nothing that would say
//! what it is for: "external_aad" is empty in SUIT. So it would count as one over a
//! release of ours with the same digest. What keeps the two apart is content:
//! `admit` takes no manifest without facts (private member -257), and this format
//! reads none with them.

mod abstract_run;
mod authentication;
mod cbor;
mod commands;
mod cose;
mod digest;
mod envelope;
mod headers;
mod inspect;
mod manifest;
mod names;
mod sign;

use crate::error::FormatError;
use crate::format::{Bare, Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::source::Source;

pub use manifest::is_release;

const NAME: &str = "suit";

/// The SUIT format.
pub(crate) struct Suit;

impl Format for Suit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "SUIT envelopes of other makers, co-signed or signed anew with COSE_Sign1"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        Ok(if envelope::is_one(source)? { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        inspect::inspect(source)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }

    fn hashes_whole(&self) -> bool {
        // What is hashed is a Sig_structure, which is refused as a file of its
        // own.
        false
    }

    fn signed_inside(&self, file: &Bare<'_>) -> Result<Option<&'static str>, FormatError> {
        Ok(cose::is_sig_structure(file.head).then_some("a Sig_structure, as COSE has it signed"))
    }
}

impl Embedding for Suit {
    fn parameters(&self) -> &'static [Parameter] {
        sign::PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}

/// What is wrong with a part, as a rule of its encoding.
type Bad = &'static str;

/// The file breaks a rule, in a part that people know by name.
fn malformed(what: impl Into<String>) -> FormatError {
    FormatError::malformed(NAME, what)
}

/// The same of a rule that a reader names.
fn within(place: &str) -> impl Fn(Bad) -> FormatError + '_ {
    move |why| malformed(format!("{place}: {why}"))
}

//! A bundle beside a file, or beside the part of it that is signed.

use std::ops::Range;

use firmseal_manifest::{Signature, Tbs};

use super::bundle::{self, Bundle, Content};
use super::scheme;
use super::statement::{About as Subject, Statement, Wish};
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::hash::{Hash, array, hex};
use crate::inspection::{Covered, Inspection};
use crate::parameters::bad;
use crate::plan::Plan;
use crate::signature::encoded;
use crate::source::Source;

/// What a bundle is about: a range of a source, and what there is to say of
/// the whole.
pub(crate) struct About {
    pub(crate) format: &'static str,
    pub(crate) inspection: Inspection,
    /// The bytes whose digest is signed.
    pub(crate) signed: Range<u64>,
    /// Whether a signature over these bytes alone counts.
    pub(crate) messages: bool,
}

/// A file with the bundle beside it. What it says is true where one of the
/// signatures in the inspection is.
#[derive(Clone, Debug)]
pub struct Attested {
    /// What the file says of itself, and the bundle of it.
    pub inspection: Inspection,
    /// Of what kind the statement is; `None` where there is none.
    pub predicate_type: Option<String>,
    /// The name that it gives the file.
    pub subject: Option<String>,
}

const SOMETHING_ELSE: Covered = Covered::Unknown("it is over something else");

impl About {
    /// Lays out a bundle around a statement about the bytes.
    pub(crate) fn prepare_statement(
        self,
        source: &dyn Source,
        wanted: &Wanted<'_>,
    ) -> Result<Unsigned, FormatError> {
        let About { format, mut inspection, signed, .. } = self;
        let inside = inspection.semver().filter(|inside| *inside != wanted.version);
        if let Some(inside) = inside {
            let (inside, wanted) = (inside.to_string(), wanted.version.to_string());
            return Err(FormatError::Disagrees { field: "version", inside, wanted });
        }
        let wish = Wish::given(wanted.parameters)?;
        let digest = hex(&Hash::Sha256.of_range(source, signed)?);
        let text = wish.write(&digest, &wanted.version, wanted.epoch);
        // Read as everybody will.
        let statement =
            Statement::read(text.as_bytes()).map_err(|what| FormatError::malformed(format, what))?;
        let subject = statement.about(&digest).map_err(|what| FormatError::malformed(format, what))?;
        describe_statement(&mut inspection, &statement, subject.as_ref());
        let pae = bundle::pae(text.as_bytes());
        let tbs = scheme::over_statement(format, wanted.key.algorithm(), &pae)?;
        finish(tbs, inspection, source, wanted, move |wire, key| {
            bundle::with_statement(text.as_bytes(), wire, key)
        })
    }

    /// Lays out a bundle with a signature over the bytes.
    pub(crate) fn prepare_message(
        self,
        source: &dyn Source,
        wanted: &Wanted<'_>,
    ) -> Result<Unsigned, FormatError> {
        let About { format, mut inspection, signed, .. } = self;
        if let Some(name) = Wish::first_given(wanted.parameters) {
            return Err(bad(name, "a statement has it; leave content=message out".to_owned()));
        }
        let hash = scheme::message_hash(format, wanted.key.algorithm())?;
        let digest = hash.of_range(source, signed)?;
        inspection.field("content", "message");
        let tbs = scheme::over_message(wanted.key.algorithm(), &digest);
        finish(tbs, inspection, source, wanted, move |wire, key| {
            bundle::with_message(hash, &digest, wire, key)
        })
    }

    /// Reads a bundle.
    pub(crate) fn read(self, signature: &dyn Source, source: &dyn Source) -> Result<Attested, FormatError> {
        let About { format, mut inspection, signed, messages } = self;
        let bundle = Bundle::read(format, signature)?;
        let (mut predicate_type, mut name) = (None, None);
        let (possible, is_over) = match bundle.content {
            Content::Statement { payload, signature } => {
                let malformed = |what| FormatError::malformed(format, what);
                let statement = Statement::read(&payload).map_err(malformed)?;
                let digest = hex(&Hash::Sha256.of_range(source, signed)?);
                let subject = statement.about(&digest).map_err(malformed)?;
                describe_statement(&mut inspection, &statement, subject.as_ref());
                predicate_type = Some(statement.predicate_type);
                name = subject.as_ref().and_then(|subject| subject.name.clone());
                (scheme::of_statement(&signature, &bundle::pae(&payload)), subject.is_some())
            }
            Content::Message { .. } if !messages => {
                let what = "its bundle is a signature alone, and images are signed with a statement";
                return Err(FormatError::unsupported(format, what));
            }
            Content::Message { hash, digest, signature } => {
                inspection.field("content", "message");
                let own = hash.of_range(source, signed)?;
                (scheme::of_message(&signature, hash, &digest), own == digest)
            }
        };
        if possible.is_empty() {
            let what = "the signature in its bundle is none of P-256, Ed25519 (of statements), P-384 (of messages) or \
                        RSA";
            return Err(FormatError::unsupported(format, what));
        }
        inspection.signatures = possible;
        if !is_over {
            inspection.signatures.iter_mut().for_each(|own| own.covered = SOMETHING_ELSE);
        }
        for (name, value) in bundle.notes {
            inspection.note(name, value);
        }
        Ok(Attested { inspection, predicate_type, subject: name })
    }
}

fn describe_statement(inspection: &mut Inspection, statement: &Statement, subject: Option<&Subject>) {
    inspection.field("content", "statement");
    inspection.field("predicate type", &statement.predicate_type);
    inspection.field("statement", format!("sha256:{}", hex(&statement.sha256)));
    let Some(subject) = subject else { return };
    if let Some(name) = &subject.name {
        inspection.field("subject", name);
    }
    if subject.of > 1 {
        inspection.field("subjects", format!("{}, this one among them", subject.of));
    }
    if let Some(version) = &subject.version {
        inspection.version = Some(version.clone());
    }
    inspection.epoch = subject.epoch.or(inspection.epoch);
}

fn finish(
    tbs: Tbs,
    inspection: Inspection,
    source: &dyn Source,
    wanted: &Wanted<'_>,
    write: impl Fn(&[u8], &[u8; 32]) -> String + Send + Sync + 'static,
) -> Result<Unsigned, FormatError> {
    let (len, algorithm) = (source.len()?, wanted.key.algorithm());
    // What cosign writes as the hint of a key.
    let key: [u8; 32] = array(&Hash::Sha256.of(wanted.key.spki()));
    let attach = move |signature: &Signature| {
        let wire = encoded(algorithm, signature)?;
        Ok(Plan::new(len).bytes(write(&wire, &key)))
    };
    Ok(Unsigned::new(tbs, inspection, Box::new(attach)))
}

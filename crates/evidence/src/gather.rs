//! Gathering: the documents that were handed in for one request, and what
//! they come to together.

use std::collections::BTreeSet;

use firmseal_manifest::{ArtifactId, ProductId};
use serde_json::Value;

use crate::builder::{Attests, Builder, Builders, Verify};
use crate::dsse::{self, Envelope};
use crate::error::EvidenceError;
use crate::facts::{Evaluation, Facts, Provenance, Sbom};
use crate::materials::{self, Materials};
use crate::statement::Statement;
use crate::{evaluation, json, junit, provenance, reproduction, scan, test_result};

/// Longest document, in bytes.
pub const DOCUMENT_MAX: usize = 8 << 20;
/// Most documents of one request.
pub const DOCUMENTS_MAX: usize = 64;
/// Most statements in one document with a statement a line.
const LINES_MAX: usize = 64;
/// Most work that signatures make: tries of a signature under a key, one
/// over a long payload counting for more. Without it, envelopes full of
/// signatures in front of many builders would keep a processor for hours.
const WORK_MAX: usize = 32 * 1024;
/// Bytes of payload that make as much work as a signature.
const WORK_BYTES: usize = 64 * 1024;
/// Most entries of each kind in the facts: they are kept with every record.
const ENTRIES_MAX: usize = 256;

/// What a document turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A software bill of materials, unsigned.
    Sbom,
    /// Test results, unsigned.
    Tests,
    /// Statements, signed by whomever.
    Statements,
}

/// Evidence about the artifacts of one request.
pub struct Gathering<'a> {
    artifacts: BTreeSet<ArtifactId>,
    builders: Vec<&'a Builder>,
    verify: Verify<'a>,
    documents: usize,
    work: usize,
    facts: Facts,
    attested: BTreeSet<ArtifactId>,
    reproduced: BTreeSet<ArtifactId>,
}

impl<'a> Gathering<'a> {
    /// Nothing is known yet of these artifacts, which are to be signed for a
    /// product.
    pub fn new(
        product: &'a ProductId,
        artifacts: &[ArtifactId],
        builders: &'a Builders,
        verify: Verify<'a>,
    ) -> Gathering<'a> {
        Gathering {
            artifacts: artifacts.iter().copied().collect(),
            builders: builders.of(product).collect(),
            verify,
            documents: 0,
            work: 0,
            facts: Facts::default(),
            attested: BTreeSet::new(),
            reproduced: BTreeSet::new(),
        }
    }

    /// Reads one more document. Of several bills of materials one counts: a
    /// signed one rather than others, the first rather than later ones.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Kind, EvidenceError> {
        if bytes.len() > DOCUMENT_MAX {
            return Err(EvidenceError::Long(DOCUMENT_MAX));
        }
        self.documents += 1;
        if self.documents > DOCUMENTS_MAX {
            return Err(EvidenceError::Many("64 documents of a request"));
        }
        let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        if start.first() == Some(&b'<') {
            let runs = junit::read(bytes)?;
            if self.facts.tests.len() + runs.len() > ENTRIES_MAX {
                return Err(EvidenceError::Many("256 test runs of a request"));
            }
            self.facts.tests.extend(runs);
            return Ok(Kind::Tests);
        }
        let whole = match json::parse(bytes) {
            Ok(document) => document,
            Err(error) => {
                // Several attestations come as one a line (in-toto bundles).
                let lines = lines(bytes).ok_or(error)?;
                return lines.iter().try_fold(Kind::Statements, |_, line| self.statement(line));
            }
        };
        if Materials::claims(&whole) {
            let materials = Materials::of(&whole, bytes)?;
            self.facts.sbom.get_or_insert_with(|| materials.facts());
            return Ok(Kind::Sbom);
        }
        self.statement(&whole)
    }

    /// What everything comes to.
    pub fn finish(mut self) -> Facts {
        let every =
            |covered: &BTreeSet<ArtifactId>| !self.artifacts.is_empty() && self.artifacts.is_subset(covered);
        self.facts.attested = every(&self.attested);
        if self.facts.reproduced.is_none() && every(&self.reproduced) {
            self.facts.reproduced = Some(true);
        }
        once(&mut self.facts.provenance);
        once(&mut self.facts.scans);
        once(&mut self.facts.evaluations);
        self.facts
    }

    /// One statement: in an envelope, in a Sigstore bundle, or bare.
    fn statement(&mut self, document: &Value) -> Result<Kind, EvidenceError> {
        let document = document.get("dsseEnvelope").unwrap_or(document);
        if Envelope::claims(document) {
            self.envelope(&Envelope::read(document)?)?;
        } else if Statement::claims(document) {
            // Nobody signed it.
            self.unproven();
        } else {
            return Err(EvidenceError::Unknown);
        }
        Ok(Kind::Statements)
    }

    fn envelope(&mut self, envelope: &Envelope) -> Result<(), EvidenceError> {
        if envelope.payload_type() != dsse::STATEMENT {
            return Err(EvidenceError::NotStatement);
        }
        self.work = self.work.saturating_add(envelope.work(self.builders.len(), WORK_BYTES));
        if self.work > WORK_MAX {
            return Err(EvidenceError::Many("32768 tries of a signature under a builder's key"));
        }
        let signers = envelope.signers(self.builders.iter().copied(), self.verify);
        if signers.is_empty() {
            // Not even parsed: what a stranger says in it is of no interest.
            self.unproven();
            return Ok(());
        }
        let statement = Statement::read(envelope.payload())?;
        if !self.proven(&statement, &signers, envelope.payload())? {
            self.unproven();
        }
        Ok(())
    }

    /// Takes what a statement says, if these signers may say it of artifacts
    /// of this request.
    fn proven(
        &mut self,
        statement: &Statement,
        signers: &[&Builder],
        payload: &[u8],
    ) -> Result<bool, EvidenceError> {
        let about: Vec<ArtifactId> = self.artifacts.intersection(&statement.subjects).copied().collect();
        if about.is_empty() {
            return Ok(false);
        }
        let may = |what| signers.iter().any(|signer| signer.attests.contains(&what));
        // The key must be one of whom the statement names: anybody else could
        // claim to be it.
        let own =
            |what, id: &str| signers.iter().any(|signer| signer.id == id && signer.attests.contains(&what));
        let all = about.len() == self.artifacts.len();
        let (of, predicate) = (statement.predicate_type.as_str(), &statement.predicate);
        let facts = &mut self.facts;
        if provenance::TYPES.contains(&of) {
            let told = provenance::read(of, predicate)?;
            if !own(Attests::Provenance, &told.builder) {
                return Ok(false);
            }
            self.attested.extend(&about);
            let told = Provenance { artifacts: about, ..told };
            push(&mut facts.provenance, told, "256 provenance statements of a request")?;
        } else if of == test_result::TYPE {
            if !may(Attests::Tests) {
                return Ok(false);
            }
            let told = test_result::read(predicate, about)?;
            push(&mut facts.tests, told, "256 test runs of a request")?;
        } else if of == reproduction::TYPE {
            if !may(Attests::Reproduction) {
                return Ok(false);
            }
            match reproduction::read(predicate)? {
                true => self.reproduced.extend(&about),
                // One that differs is enough, whatever others say.
                false => facts.reproduced = Some(false),
            }
        } else if scan::TYPES.contains(&of) {
            if !may(Attests::Scan) {
                return Ok(false);
            }
            push(&mut facts.scans, scan::read(of, predicate, about)?, "256 scans of a request")?;
        } else if evaluation::TYPES.contains(&of) {
            if !may(Attests::Evaluation) {
                return Ok(false);
            }
            let told = evaluation::read(of, predicate)?;
            if !own(Attests::Evaluation, &told.evaluator) {
                return Ok(false);
            }
            let told = Evaluation { artifacts: about, ..told };
            push(&mut facts.evaluations, told, "256 evaluations of a request")?;
        } else if materials::PREDICATES.contains(&of) {
            if !may(Attests::Sbom) || !all {
                return Ok(false);
            }
            let materials = Materials::of(predicate, payload)?;
            if facts.sbom.as_ref().is_none_or(|sbom| !sbom.signed) {
                facts.sbom = Some(Sbom { signed: true, ..materials.facts() });
            }
        }
        // Anything else is signed, about these artifacts, and of no kind that
        // a policy asks about.
        Ok(true)
    }

    fn unproven(&mut self) {
        self.facts.unproven = self.facts.unproven.saturating_add(1);
    }
}

/// One entry more, if there is room.
fn push<T>(entries: &mut Vec<T>, entry: T, most: &'static str) -> Result<(), EvidenceError> {
    if entries.len() == ENTRIES_MAX {
        return Err(EvidenceError::Many(most));
    }
    entries.push(entry);
    Ok(())
}

/// In order, and what was handed in twice once.
fn once<T: Ord>(entries: &mut Vec<T>) {
    entries.sort();
    entries.dedup();
}

/// One document a line, if that is what it is.
fn lines(bytes: &[u8]) -> Option<Vec<Value>> {
    let lines: Vec<&[u8]> =
        bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect();
    if lines.len() < 2 || lines.len() > LINES_MAX {
        return None;
    }
    lines.into_iter().map(|line| json::parse(line).ok()).collect()
}

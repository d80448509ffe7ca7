//! Why a document is no evidence.

/// Why a document is no evidence. It is told to whoever handed it in; what
/// is well formed and merely not proven is a number in
/// [`Facts`](crate::Facts) instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// Too long.
    #[error("is longer than {0} bytes")]
    Long(usize),
    /// Neither JSON nor XML.
    #[error("is not JSON (line {line}, column {column})")]
    NotJson {
        /// Where reading ended.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// A JSON object with one name twice: two readers may see two documents.
    #[error("names something twice (line {line}, column {column})")]
    Twice {
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// More nesting or more values than any such document has.
    #[error("nests deeper, or holds more values, than is read")]
    Vast,
    /// No JUnit XML that is read here.
    #[error("is XML and not JUnit: {0}")]
    NotJunit(&'static str),
    /// A kind of document that nothing here reads.
    #[error(
        "is of no kind that is read here; hand in CycloneDX 1.4 to 1.6, SPDX 2.2, 2.3 or 3.0, in-toto statements in \
         DSSE, or JUnit XML"
    )]
    Unknown,
    /// A member that is missing or is not what the format says.
    #[error("{format}: {what} is missing or malformed")]
    Malformed {
        /// The format.
        format: &'static str,
        /// The member.
        what: &'static str,
    },
    /// A DSSE envelope around something else than a statement.
    #[error("is a DSSE envelope and does not hold an in-toto statement")]
    NotStatement,
    /// More documents, or more said in them, than is kept.
    #[error("says more than is kept: at most {0}")]
    Many(&'static str),
}

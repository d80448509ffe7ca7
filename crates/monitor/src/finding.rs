//! Findings: what is wrong, in a word that does not change.

use serde::Serialize;

/// What kind of thing is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The log shows another history than it showed before.
    SplitView,
    /// The log shows less than it showed before.
    Rollback,
    /// The log's own key did not sign the checkpoint.
    BadSignature,
    /// A cosignature of a known witness does not verify.
    BadCosignature,
    /// Too few witnesses have cosigned.
    NoQuorum,
    /// The newest cosignatures are old: somebody shows yesterday's log.
    Stale,
    /// The log does not hold what its checkpoint says.
    Incomplete,
    /// An entry that our pipeline does not write.
    Unreadable,
    /// A leaf of an LMS key was given away again, or without the key.
    LeafReused,
    /// A signature was announced, and nothing on record came of it.
    Unreleased,
    /// A release, signature of a file, root document or revocation without its
    /// entry in the log.
    Unlogged,
    /// A release without the approvals that the root demands.
    Unapproved,
    /// A device says that it runs what no release is.
    UnknownImage,
    /// Something happened that is on no audit record, or a record is missing.
    Unrecorded,
    /// An audit record says something else than the log.
    Contradicted,
    /// A key was used, as what holds it says, and the log did not announce it.
    Unannounced,
    /// A signature was announced, and what holds the key knows of no use.
    Unused,
}

impl Kind {
    /// Every kind, as metrics name them.
    pub const ALL: [Kind; 17] = [
        Kind::SplitView,
        Kind::Rollback,
        Kind::BadSignature,
        Kind::BadCosignature,
        Kind::NoQuorum,
        Kind::Stale,
        Kind::Incomplete,
        Kind::Unreadable,
        Kind::LeafReused,
        Kind::Unreleased,
        Kind::Unlogged,
        Kind::Unapproved,
        Kind::UnknownImage,
        Kind::Unrecorded,
        Kind::Contradicted,
        Kind::Unannounced,
        Kind::Unused,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::SplitView => "split_view",
            Kind::Rollback => "rollback",
            Kind::BadSignature => "bad_signature",
            Kind::BadCosignature => "bad_cosignature",
            Kind::NoQuorum => "no_quorum",
            Kind::Stale => "stale",
            Kind::Incomplete => "incomplete",
            Kind::Unreadable => "unreadable",
            Kind::LeafReused => "leaf_reused",
            Kind::Unreleased => "unreleased",
            Kind::Unlogged => "unlogged",
            Kind::Unapproved => "unapproved",
            Kind::UnknownImage => "unknown_image",
            Kind::Unrecorded => "unrecorded",
            Kind::Contradicted => "contradicted",
            Kind::Unannounced => "unannounced",
            Kind::Unused => "unused",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// What it is about: an index, a release, a request, a device, a size.
    pub about: String,
    /// What was seen.
    pub detail: String,
}

impl Finding {
    pub(crate) fn new(kind: Kind, about: impl ToString, detail: impl ToString) -> Finding {
        Finding { kind, about: about.to_string(), detail: detail.to_string() }
    }
}

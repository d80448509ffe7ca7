//! Refusals: why something may not install or boot.
//!
//! Each has a number that never changes its meaning, for devices and
//! dashboards, and a sentence for people. Numbers are grouped: 1xx form,
//! 2xx signatures, 3xx target, 4xx rollback, 5xx commands, 6xx payload,
//! 7xx demands of the root, revocation and freshness.

use core::fmt;

use crate::limits::Limit;

/// Why an envelope, a root document, an image or a block was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The bytes are not what the specification's grammar allows.
    Malformed(&'static str),
    /// A limit was exceeded.
    Limit(Limit),
    /// A part of the specification, or a version, that is not supported.
    Unsupported(&'static str),
    /// A member of the envelope is not named by the signed manifest.
    UnsignedMember(i64),
    /// A severed member is needed and absent.
    SeveredMissing(i64),
    /// A severed member differs from its digest in the manifest.
    SeveredMismatch(i64),

    /// The manifest does not have the digest that was signed.
    ManifestDigest,
    /// A signature names a key of the role and does not verify under it.
    BadSignature,
    /// Every signature names a key that the role does not have.
    UnknownSigner,
    /// Too few distinct holders have signed.
    ThresholdNotMet {
        /// Holders with a valid signature.
        have: u8,
        /// Holders that the root demands.
        need: u8,
    },
    /// The root document has no such role for this product.
    RoleMissing,
    /// A threshold of zero, or above the number of holders.
    BadThreshold,
    /// One key in two roles, or twice in one.
    KeyReused,
    /// A root document that does not follow the one held: its number is not
    /// one higher.
    RootVersion {
        /// Version of the document.
        offered: u64,
        /// Version of the one held.
        held: u64,
    },
    /// Signed under another chain of root documents.
    WrongLineage,
    /// Too few holders remain without a key that was revoked.
    KeyRevoked,
    /// The delegation does not cover this release.
    DelegationScope(&'static str),
    /// What was signed had expired when it was used.
    Expired {
        /// Seconds since 1970.
        expiry: u64,
    },
    /// What was signed did not hold yet when it was used.
    NotYetValid {
        /// Seconds since 1970.
        not_before: u64,
    },

    /// The manifest carries no facts.
    FactsMissing,
    /// Facts and command sequences contradict each other.
    FactsDisagree(&'static str),
    /// Signed for test where production is demanded, or the reverse.
    WrongEnvironment,
    /// Signed for another product.
    WrongProduct,
    /// Made for a channel that the device does not take.
    WrongChannel,
    /// Signed for another vendor.
    WrongVendor,
    /// Signed for another device class.
    WrongClass,
    /// A component that this device does not have, or names twice.
    UnknownComponent(u8),
    /// A payload that is larger than its slot.
    TooLarge {
        /// Size in the facts, in bytes.
        size: u64,
        /// Capacity of the slot, in bytes.
        capacity: u64,
    },
    /// Built for another slot.
    WrongSlot {
        /// The slot in the facts.
        built_for: u64,
        /// The slot it would go to.
        slot: u64,
    },

    /// The sequence number is not above (at boot: below) the device's floor.
    SequenceTooLow {
        /// Sequence number of the manifest.
        offered: u64,
        /// The device's floor.
        floor: u64,
    },
    /// The security epoch is below the device's counter.
    EpochTooLow {
        /// Epoch in the facts.
        offered: u64,
        /// The device's counter.
        counter: u64,
    },
    /// The security epoch is below the root's minimum for installs.
    EpochBelowRoot {
        /// Epoch in the facts.
        offered: u64,
        /// The root's minimum.
        minimum: u64,
    },
    /// The delegation index is below the highest one committed.
    DelegationTooLow {
        /// Index in the facts.
        offered: u64,
        /// The device's floor.
        floor: u64,
    },

    /// A command that the specification does not define.
    UnknownCommand(i64),
    /// A parameter that the specification does not define.
    UnknownParameter(i64),
    /// A command in a section where it may not stand.
    CommandNotAllowed(i64),
    /// A command needs a parameter that was not set.
    ParameterMissing(i64),
    /// A condition failed.
    ConditionFailed(i64),
    /// A directive failed.
    DirectiveFailed(i64),

    /// A block differs from its hash.
    BlockMismatch(u64),
    /// A hash block differs from its hash.
    HashBlockMismatch {
        /// Level, 0 being the one above the data.
        level: u8,
        /// Index within the level.
        index: u64,
    },
    /// A block or hash block has the wrong length or place.
    BlockGeometry,
    /// The installed image differs from its digest or size.
    ImageMismatch,

    /// The root demands a log proof with a witness quorum; there is none.
    ProofMissing,
    /// The root demands approvals; there are too few.
    ApprovalsMissing {
        /// Holders that have approved.
        have: u8,
        /// Holders that the root demands.
        need: u8,
    },
    /// The root demands that releases are signed under a delegation.
    DelegationMissing,
    /// The root demands the owner's Statement; there is none.
    OwnerMissing,
    /// The log proof does not hold.
    ProofInvalid(&'static str),
    /// Too few witnesses have cosigned.
    WitnessesMissing {
        /// Witnesses that have cosigned.
        have: u8,
        /// Witnesses that the root demands.
        need: u8,
    },
    /// The logged Intent is not that of this release.
    IntentMismatch(&'static str),
    /// A Statement is not about this release.
    StatementMismatch(&'static str),

    /// The release was revoked.
    ReleaseRevoked,
    /// A revocation document that is older than one already seen or needed.
    RevocationTooOld {
        /// Its version.
        offered: u64,
        /// The version that is known to exist.
        needed: u64,
    },
    /// The device's policy demands a recent checkpoint; there is none, or an
    /// old one.
    Stale,
    /// A pre-signed rollback whose release was not revoked.
    RollbackEarly,
}

impl Refusal {
    /// The number devices report. Never renumbered; retired numbers stay
    /// retired.
    pub const fn code(self) -> u16 {
        match self {
            Refusal::Malformed(_) => 100,
            Refusal::Limit(_) => 101,
            Refusal::Unsupported(_) => 102,
            Refusal::UnsignedMember(_) => 103,
            Refusal::SeveredMissing(_) => 104,
            Refusal::SeveredMismatch(_) => 105,
            Refusal::ManifestDigest => 200,
            Refusal::BadSignature => 201,
            Refusal::UnknownSigner => 202,
            Refusal::ThresholdNotMet { .. } => 203,
            Refusal::RoleMissing => 204,
            Refusal::BadThreshold => 205,
            Refusal::KeyReused => 206,
            Refusal::RootVersion { .. } => 207,
            Refusal::WrongLineage => 208,
            Refusal::KeyRevoked => 209,
            Refusal::DelegationScope(_) => 210,
            Refusal::Expired { .. } => 211,
            Refusal::NotYetValid { .. } => 212,
            Refusal::FactsMissing => 300,
            Refusal::FactsDisagree(_) => 301,
            Refusal::WrongEnvironment => 302,
            Refusal::WrongProduct => 303,
            Refusal::WrongVendor => 304,
            Refusal::WrongClass => 305,
            Refusal::UnknownComponent(_) => 306,
            Refusal::TooLarge { .. } => 307,
            Refusal::WrongSlot { .. } => 308,
            Refusal::WrongChannel => 309,
            Refusal::SequenceTooLow { .. } => 400,
            Refusal::EpochTooLow { .. } => 401,
            Refusal::EpochBelowRoot { .. } => 402,
            Refusal::DelegationTooLow { .. } => 403,
            Refusal::UnknownCommand(_) => 500,
            Refusal::UnknownParameter(_) => 501,
            Refusal::CommandNotAllowed(_) => 502,
            Refusal::ParameterMissing(_) => 503,
            Refusal::ConditionFailed(_) => 504,
            Refusal::DirectiveFailed(_) => 505,
            Refusal::BlockMismatch(_) => 600,
            Refusal::HashBlockMismatch { .. } => 601,
            Refusal::BlockGeometry => 602,
            Refusal::ImageMismatch => 603,
            Refusal::ProofMissing => 700,
            Refusal::ApprovalsMissing { .. } => 701,
            Refusal::DelegationMissing => 702,
            Refusal::OwnerMissing => 703,
            Refusal::ProofInvalid(_) => 704,
            Refusal::WitnessesMissing { .. } => 705,
            Refusal::IntentMismatch(_) => 706,
            Refusal::StatementMismatch(_) => 707,
            Refusal::ReleaseRevoked => 710,
            Refusal::RevocationTooOld { .. } => 711,
            Refusal::Stale => 712,
            Refusal::RollbackEarly => 713,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Malformed(what) => write!(f, "malformed: {what}"),
            Refusal::Limit(limit) => write!(f, "exceeds the limit {limit}"),
            Refusal::Unsupported(what) => write!(f, "not supported: {what}"),
            Refusal::UnsignedMember(label) => {
                write!(f, "the envelope carries member {label}, which the signed manifest does not name")
            }
            Refusal::SeveredMissing(label) => write!(f, "severed member {label} is needed and absent"),
            Refusal::SeveredMismatch(label) => {
                write!(f, "severed member {label} differs from its digest in the manifest")
            }
            Refusal::ManifestDigest => f.write_str("the manifest does not have the digest that was signed"),
            Refusal::BadSignature => f.write_str("a signature does not verify under the key it names"),
            Refusal::UnknownSigner => f.write_str("signed by a key that the root does not trust for this"),
            Refusal::ThresholdNotMet { have, need } => {
                write!(f, "{have} of {need} needed holders have signed")
            }
            Refusal::RoleMissing => f.write_str("the root document has no such role for this product"),
            Refusal::BadThreshold => f.write_str("a threshold is zero or above the number of holders"),
            Refusal::KeyReused => f.write_str("one key stands in the root document twice"),
            Refusal::RootVersion { offered, held } => {
                write!(f, "root document {offered} does not follow {held}, the one that is held")
            }
            Refusal::WrongLineage => f.write_str("signed under another lineage of root documents"),
            Refusal::KeyRevoked => f.write_str("signed by a key that was revoked"),
            Refusal::DelegationScope(what) => write!(f, "the delegation does not cover {what}"),
            Refusal::Expired { expiry } => write!(f, "used after it had expired (at {expiry})"),
            Refusal::NotYetValid { not_before } => {
                write!(f, "used before it was valid (from {not_before})")
            }
            Refusal::FactsMissing => f.write_str("the manifest carries no facts"),
            Refusal::FactsDisagree(what) => write!(f, "facts and commands disagree about {what}"),
            Refusal::WrongEnvironment => {
                f.write_str("signed for another environment (test and production never mix)")
            }
            Refusal::WrongProduct => f.write_str("signed for another product"),
            Refusal::WrongChannel => f.write_str("a release of a channel that this device does not take"),
            Refusal::WrongVendor => f.write_str("signed for another vendor"),
            Refusal::WrongClass => f.write_str("signed for another device class"),
            Refusal::UnknownComponent(index) => {
                write!(f, "component {index} is unknown to this device or named twice")
            }
            Refusal::TooLarge { size, capacity } => {
                write!(f, "the payload has {size} bytes, the slot {capacity}")
            }
            Refusal::WrongSlot { built_for, slot } => write!(f, "built for slot {built_for}, not {slot}"),
            Refusal::SequenceTooLow { offered, floor } => {
                write!(f, "sequence number {offered} is too low: the device stands at {floor}")
            }
            Refusal::EpochTooLow { offered, counter } => {
                write!(f, "security epoch {offered} is below the device's counter {counter}")
            }
            Refusal::EpochBelowRoot { offered, minimum } => {
                write!(f, "security epoch {offered} is below the root's minimum {minimum}")
            }
            Refusal::DelegationTooLow { offered, floor } => {
                write!(f, "delegation index {offered} is below the highest one committed, {floor}")
            }
            Refusal::UnknownCommand(label) => write!(f, "unknown command {label}"),
            Refusal::UnknownParameter(label) => write!(f, "unknown parameter {label}"),
            Refusal::CommandNotAllowed(label) => write!(f, "command {label} may not stand in this section"),
            Refusal::ParameterMissing(label) => write!(f, "parameter {label} is needed and was not set"),
            Refusal::ConditionFailed(label) => write!(f, "condition {label} failed"),
            Refusal::DirectiveFailed(label) => write!(f, "directive {label} failed"),
            Refusal::BlockMismatch(index) => write!(f, "block {index} differs from its hash"),
            Refusal::HashBlockMismatch { level, index } => {
                write!(f, "hash block {index} of level {level} differs from its hash")
            }
            Refusal::BlockGeometry => f.write_str("a block has the wrong length or place"),
            Refusal::ImageMismatch => f.write_str("the installed image differs from its digest or size"),
            Refusal::ProofMissing => f.write_str("the root demands a log proof, and there is none"),
            Refusal::ApprovalsMissing { have, need } => {
                write!(f, "{have} of {need} needed approvers have approved")
            }
            Refusal::DelegationMissing => {
                f.write_str("the root demands a delegation, and the release is signed without one")
            }
            Refusal::OwnerMissing => f.write_str("the root demands the owner's Statement, and there is none"),
            Refusal::ProofInvalid(why) => write!(f, "the log proof does not hold: {why}"),
            Refusal::WitnessesMissing { have, need } => {
                write!(f, "{have} of {need} needed witnesses have cosigned")
            }
            Refusal::IntentMismatch(what) => {
                write!(f, "the logged intent and the release disagree about {what}")
            }
            Refusal::StatementMismatch(what) => {
                write!(f, "a Statement and the release disagree about {what}")
            }
            Refusal::ReleaseRevoked => f.write_str("the release was revoked"),
            Refusal::RevocationTooOld { offered, needed } => {
                write!(f, "revocation document {offered} is too old: {needed} is known to exist")
            }
            Refusal::Stale => f.write_str("no checkpoint that is recent enough for this device's policy"),
            Refusal::RollbackEarly => {
                f.write_str("a rollback that is kept for the day its successor is revoked")
            }
        }
    }
}

impl core::error::Error for Refusal {}

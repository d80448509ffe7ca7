//! Limits: every bound on what is accepted, in one place.
//!
//! Exceeding one is an error that names it. They are constants, not
//! configuration: a device sizes its buffers by them, and a server must
//! refuse what some device could not hold.

use core::fmt;

/// Longest envelope without payloads, in bytes: a device copies it into
/// internal RAM before it looks at it.
pub const ENVELOPE_MAX: usize = 32 * 1024;
/// Longest root document with its signatures, in bytes.
pub const ROOT_MAX: usize = 32 * 1024;
/// Signatures in one authentication wrapper or root document.
pub const SIGNATURES_MAX: usize = 16;
/// Integrated payloads in one envelope.
pub const INTEGRATED_MAX: usize = 8;
/// Components of one manifest.
pub const COMPONENTS_MAX: usize = 8;
/// Byte strings in one component identifier.
pub const COMPONENT_PARTS_MAX: usize = 4;
/// Longest command sequence, in bytes.
pub const SEQUENCE_MAX: usize = 8 * 1024;
/// Commands in all sequences of a manifest together, nested ones included.
pub const COMMANDS_MAX: usize = 512;
/// Depth of try-each and run-sequence.
pub const NESTING_MAX: usize = 4;
/// Commands executed in one section: bounds what nesting and component
/// lists can multiply.
pub const STEPS_MAX: usize = 4096;
/// Longest text (uri, product, channel, version, holder), in bytes.
pub const TEXT_MAX: usize = 256;
/// Roles in one root document.
pub const ROLES_MAX: usize = 32;
/// Holders of one role.
pub const HOLDERS_MAX: usize = 32;
/// Keys in one root document.
pub const KEYS_MAX: usize = 64;
/// Products that one role entry may name.
pub const PRODUCTS_MAX: usize = 64;
/// Closed logs in one root document.
pub const CLOSED_LOGS_MAX: usize = 16;
/// Longest revocation document with its signatures, in bytes.
pub const REVOCATION_MAX: usize = 32 * 1024;
/// Longest freshness document, in bytes.
pub const FRESHNESS_MAX: usize = 4 * 1024;
/// Longest claims of one delegation, in bytes.
pub const CWT_MAX: usize = 1024;
/// Delegation chains in one envelope.
pub const DELEGATIONS_MAX: usize = 4;
/// Links of one delegation chain.
pub const LINKS_MAX: usize = 3;
/// Cosignatures of one checkpoint.
pub const COSIGNATURES_MAX: usize = 16;
/// Hashes of one inclusion proof.
pub const PATH_MAX: usize = 64;
/// Statements in one envelope.
pub const STATEMENTS_MAX: usize = 16;
/// Digests in one list of an Intent or a Statement.
pub const INTENT_DIGESTS_MAX: usize = 32;
/// Longest client data of a WebAuthn assertion, in bytes.
pub const ASSERTION_MAX: usize = 1024;
/// Keys that one revocation document may name.
pub const REVOKED_MAX: usize = 128;
/// Manifest digests in one list of a revocation document.
pub const ALLOWED_MAX: usize = 256;
/// Largest payload in bytes: 2^48.
pub const PAYLOAD_MAX: u64 = 1 << 48;
/// Levels of a block tree: enough for [`PAYLOAD_MAX`] in 1024-byte blocks.
pub const LEVELS_MAX: usize = 8;

/// The limit that was exceeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "each is named after its constant")]
pub enum Limit {
    EnvelopeMax,
    RootMax,
    SignaturesMax,
    IntegratedMax,
    ComponentsMax,
    ComponentPartsMax,
    SequenceMax,
    CommandsMax,
    NestingMax,
    StepsMax,
    TextMax,
    RolesMax,
    HoldersMax,
    KeysMax,
    ProductsMax,
    ClosedLogsMax,
    RevocationMax,
    FreshnessMax,
    CwtMax,
    DelegationsMax,
    LinksMax,
    CosignaturesMax,
    PathMax,
    StatementsMax,
    IntentDigestsMax,
    AssertionMax,
    RevokedMax,
    AllowedMax,
    PayloadMax,
}

impl Limit {
    /// Name of the constant and its value.
    pub const fn describe(self) -> (&'static str, u64) {
        match self {
            Limit::EnvelopeMax => ("ENVELOPE_MAX", ENVELOPE_MAX as u64),
            Limit::RootMax => ("ROOT_MAX", ROOT_MAX as u64),
            Limit::SignaturesMax => ("SIGNATURES_MAX", SIGNATURES_MAX as u64),
            Limit::IntegratedMax => ("INTEGRATED_MAX", INTEGRATED_MAX as u64),
            Limit::ComponentsMax => ("COMPONENTS_MAX", COMPONENTS_MAX as u64),
            Limit::ComponentPartsMax => ("COMPONENT_PARTS_MAX", COMPONENT_PARTS_MAX as u64),
            Limit::SequenceMax => ("SEQUENCE_MAX", SEQUENCE_MAX as u64),
            Limit::CommandsMax => ("COMMANDS_MAX", COMMANDS_MAX as u64),
            Limit::NestingMax => ("NESTING_MAX", NESTING_MAX as u64),
            Limit::StepsMax => ("STEPS_MAX", STEPS_MAX as u64),
            Limit::TextMax => ("TEXT_MAX", TEXT_MAX as u64),
            Limit::RolesMax => ("ROLES_MAX", ROLES_MAX as u64),
            Limit::HoldersMax => ("HOLDERS_MAX", HOLDERS_MAX as u64),
            Limit::KeysMax => ("KEYS_MAX", KEYS_MAX as u64),
            Limit::ProductsMax => ("PRODUCTS_MAX", PRODUCTS_MAX as u64),
            Limit::ClosedLogsMax => ("CLOSED_LOGS_MAX", CLOSED_LOGS_MAX as u64),
            Limit::RevocationMax => ("REVOCATION_MAX", REVOCATION_MAX as u64),
            Limit::FreshnessMax => ("FRESHNESS_MAX", FRESHNESS_MAX as u64),
            Limit::CwtMax => ("CWT_MAX", CWT_MAX as u64),
            Limit::DelegationsMax => ("DELEGATIONS_MAX", DELEGATIONS_MAX as u64),
            Limit::LinksMax => ("LINKS_MAX", LINKS_MAX as u64),
            Limit::CosignaturesMax => ("COSIGNATURES_MAX", COSIGNATURES_MAX as u64),
            Limit::PathMax => ("PATH_MAX", PATH_MAX as u64),
            Limit::StatementsMax => ("STATEMENTS_MAX", STATEMENTS_MAX as u64),
            Limit::IntentDigestsMax => ("INTENT_DIGESTS_MAX", INTENT_DIGESTS_MAX as u64),
            Limit::AssertionMax => ("ASSERTION_MAX", ASSERTION_MAX as u64),
            Limit::RevokedMax => ("REVOKED_MAX", REVOKED_MAX as u64),
            Limit::AllowedMax => ("ALLOWED_MAX", ALLOWED_MAX as u64),
            Limit::PayloadMax => ("PAYLOAD_MAX", PAYLOAD_MAX),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = self.describe();
        write!(f, "{name} ({value})")
    }
}

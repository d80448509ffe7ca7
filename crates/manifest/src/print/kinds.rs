//! What may stand where in an envelope, and under which name it is printed:
//! the tables behind the printer.

/// What a value is, and so how to print it and what is inside.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Whatever it is, in diagnostic notation.
    Plain,
    Envelope,
    Wrapper,
    Sign1,
    Header,
    Manifest,
    Common,
    Components,
    Sequence,
    Parameters,
    Digest,
    Uuid,
    Text,
    Facts,
    ComponentFacts,
    Link,
    Claims,
    Confirmation,
    Scope,
    Evidence,
    Intent,
    Statement,
    Agreement,
    Checkpoint,
    /// Seconds since 1970.
    Moment,
    KeyId,
    Algorithm,
    /// A byte string whose content is CBOR of another kind.
    Wrapped(&'static Kind),
    /// As many of one kind as there are, numbered.
    List(&'static str, &'static Kind),
    /// Values of known places.
    Tuple(&'static [(&'static str, Kind)]),
    /// A number that stands for a word.
    Word(&'static [&'static str]),
    /// A wrapped sequence, or its digest where it was severed.
    Severable(&'static Kind),
}

use Kind::{KeyId, List, Moment, Plain, Severable, Tuple, Word, Wrapped};

const ENVELOPE: &[(i64, &str, Kind)] = &[
    (1, "delegation", Wrapped(&List("chain", &List("link", &Wrapped(&Kind::Link))))),
    (2, "authentication-wrapper", Wrapped(&Kind::Wrapper)),
    (3, "manifest", Wrapped(&Kind::Manifest)),
    (16, "payload-fetch", Wrapped(&Kind::Sequence)),
    (20, "install", Wrapped(&Kind::Sequence)),
    (23, "text", Wrapped(&Kind::Text)),
    (-258, "evidence", Wrapped(&Kind::Evidence)),
];
const MANIFEST: &[(i64, &str, Kind)] = &[
    (1, "manifest-version", Plain),
    (2, "sequence-number", Plain),
    (3, "common", Wrapped(&Kind::Common)),
    (4, "reference-uri", Plain),
    (7, "validate", Wrapped(&Kind::Sequence)),
    (8, "load", Wrapped(&Kind::Sequence)),
    (9, "invoke", Wrapped(&Kind::Sequence)),
    (16, "payload-fetch", Severable(&Kind::Sequence)),
    (20, "install", Severable(&Kind::Sequence)),
    (23, "text", Severable(&Kind::Text)),
    (-257, "facts", Wrapped(&Kind::Facts)),
];
const COMMON: &[(i64, &str, Kind)] =
    &[(2, "components", Kind::Components), (4, "shared-sequence", Wrapped(&Kind::Sequence))];
const COMMANDS: &[(i64, &str, Kind)] = &[
    (1, "condition-vendor-identifier", Plain),
    (2, "condition-class-identifier", Plain),
    (3, "condition-image-match", Plain),
    (5, "condition-component-slot", Plain),
    (6, "condition-check-content", Plain),
    (12, "directive-set-component-index", Plain),
    (14, "condition-abort", Plain),
    (15, "directive-try-each", List("alternative", &Wrapped(&Kind::Sequence))),
    (18, "directive-write", Plain),
    (20, "directive-override-parameters", Kind::Parameters),
    (21, "directive-fetch", Plain),
    (22, "directive-copy", Plain),
    (23, "directive-invoke", Plain),
    (24, "condition-device-identifier", Plain),
    (31, "directive-swap", Plain),
    (32, "directive-run-sequence", Wrapped(&Kind::Sequence)),
];
const PARAMETERS: &[(i64, &str, Kind)] = &[
    (1, "vendor-id", Kind::Uuid),
    (2, "class-id", Kind::Uuid),
    (3, "image-digest", Wrapped(&Kind::Digest)),
    (5, "component-slot", Plain),
    (12, "strict-order", Plain),
    (13, "soft-failure", Plain),
    (14, "image-size", Plain),
    (18, "content", Plain),
    (21, "uri", Plain),
    (22, "source-component", Plain),
    (23, "invoke-args", Plain),
    (24, "device-id", Kind::Uuid),
    (25, "fetch-args", Plain),
];
const HEADER: &[(i64, &str, Kind)] = &[(1, "algorithm", Kind::Algorithm), (4, "key id", KeyId)];
const FACTS: &[(i64, &str, Kind)] = &[
    (1, "profile", Plain),
    (2, "environment", ENVIRONMENT),
    (3, "vendor", Kind::Uuid),
    (4, "class", Kind::Uuid),
    (5, "product", Plain),
    (6, "channel", Plain),
    (7, "version", Plain),
    (8, "security epoch", Plain),
    (9, "delegation index", Plain),
    (10, "components", List("component", &Kind::ComponentFacts)),
    (11, "rollback of", KeyId),
];
const COMPONENT_FACTS: &[(i64, &str, Kind)] =
    &[(1, "size", Plain), (2, "slot", Plain), (3, "block tree", Plain)];

const CLAIMS: &[(i64, &str, Kind)] = &[
    (4, "expires", Moment),
    (5, "not before", Moment),
    (8, "certifies", Kind::Confirmation),
    (-65537, "scope", Kind::Scope),
];
const CONFIRMATION: &[(i64, &str, Kind)] = &[(1, "key", Plain)];
const SCOPE: &[(i64, &str, Kind)] = &[
    (1, "environment", ENVIRONMENT),
    (2, "lineage", Kind::Uuid),
    (3, "products", Plain),
    (4, "versions", Tuple(&[("lowest", Plain), ("highest", Plain)])),
    (5, "highest security epoch", Plain),
    (6, "index", Plain),
];
const EVIDENCE: &[(i64, &str, Kind)] = &[
    (1, "intent", Wrapped(&Kind::Intent)),
    (2, "statements", List("statement", &SIGNED)),
    (3, "birth proof", PROOF),
];
const SIGNED: Kind =
    Tuple(&[("says", Wrapped(&Kind::Statement)), ("signatures", List("signature", &Kind::Agreement))]);
const PROOF: Kind =
    Tuple(&[("checkpoint", Kind::Checkpoint), ("index", Plain), ("path", List("hash", &KeyId))]);
const PURPOSES: &[&str] =
    &["root", "artifact", "release", "delegation", "revocation", "statement", "TUF metadata"];
const INTENT: &[(i64, &str, Kind)] = &[
    (1, "purpose", Word(PURPOSES)),
    (2, "subject", KeyId),
    (3, "keys", List("key", &KeyId)),
    (4, "delegation", KeyId),
    (5, "statements", List("statement", &KeyId)),
    (6, "requester", KeyId),
    (7, "policy", KeyId),
    (8, "context", List("digest", &KeyId)),
];
const STATEMENT: &[(i64, &str, Kind)] = &[
    (1, "purpose", Word(&["approval", "owner's consent"])),
    (2, "environment", ENVIRONMENT),
    (3, "lineage", Kind::Uuid),
    (4, "signing request", Kind::Uuid),
    (5, "manifest", KeyId),
    (6, "keys", List("key", &KeyId)),
    (7, "previous release", KeyId),
    (8, "expires", Moment),
    (9, "header", KeyId),
    (10, "difference", KeyId),
    (11, "policy", KeyId),
    (12, "requester", KeyId),
];
const CHECKPOINT: &[(i64, &str, Kind)] = &[
    (1, "origin", Plain),
    (2, "size", Plain),
    (3, "root hash", KeyId),
    (4, "signature", Tuple(&[("key", KeyId), ("signature", Plain)])),
    (5, "cosignatures", List("cosignature", &COSIGNATURE)),
];
const COSIGNATURE: Kind = Tuple(&[("key", KeyId), ("time", Moment), ("signature", Plain)]);

const ENVIRONMENT: Kind = Word(&["test", "production"]);
/// A passkey's signature.
pub(super) const ASSERTION: Kind =
    Tuple(&[("key", KeyId), ("authenticator data", Plain), ("client data", Plain), ("signature", Plain)]);

impl Kind {
    pub(super) fn members(self) -> &'static [(i64, &'static str, Kind)] {
        match self {
            Kind::Envelope => ENVELOPE,
            Kind::Manifest => MANIFEST,
            Kind::Common => COMMON,
            Kind::Sequence => COMMANDS,
            Kind::Parameters => PARAMETERS,
            Kind::Header => HEADER,
            Kind::Facts => FACTS,
            Kind::ComponentFacts => COMPONENT_FACTS,
            Kind::Claims => CLAIMS,
            Kind::Confirmation => CONFIRMATION,
            Kind::Scope => SCOPE,
            Kind::Evidence => EVIDENCE,
            Kind::Intent => INTENT,
            Kind::Statement => STATEMENT,
            Kind::Checkpoint => CHECKPOINT,
            _ => &[],
        }
    }
}

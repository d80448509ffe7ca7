//! Names of numbers: of the draft itself, of draft-ietf-suit-trust-domains,
//! -update-management and -firmware-encryption.

use std::borrow::Cow;

/// What a number means, or the number.
fn named(table: &[(i64, &'static str)], what: &str, number: i64) -> Cow<'static, str> {
    match table.iter().find(|(own, _)| *own == number) {
        Some((_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(format!("{what} {number}")),
    }
}

/// Members of manifests; those that can be severed have the same number in
/// the envelope.
pub(super) fn member(number: i64) -> Cow<'static, str> {
    const TABLE: [(i64, &str); 13] = [
        (4, "reference-uri"),
        (5, "component-id"),
        (6, "set-version"),
        (7, "validate"),
        (8, "load"),
        (9, "invoke"),
        (14, "coswid"),
        (15, "dependency-resolution"),
        (16, "payload-fetch"),
        (18, "candidate-verification"),
        (20, "install"),
        (23, "text"),
        (24, "uninstall"),
    ];
    named(&TABLE, "member", number)
}

/// Conditions: their argument is a reporting policy.
pub(super) const CONDITIONS: [(i64, &str); 14] = [
    (1, "condition-vendor-identifier"),
    (2, "condition-class-identifier"),
    (3, "condition-image-match"),
    (4, "condition-use-before"),
    (5, "condition-component-slot"),
    (6, "condition-check-content"),
    (7, "condition-dependency-integrity"),
    (8, "condition-is-dependency"),
    (14, "condition-abort"),
    (24, "condition-device-identifier"),
    (25, "condition-image-not-match"),
    (26, "condition-minimum-battery"),
    (27, "condition-update-authorized"),
    (28, "condition-version"),
];

/// Directives with such an argument.
pub(super) const ACTS: [(i64, &str); 8] = [
    (11, "process-dependency"),
    (18, "write"),
    (21, "fetch"),
    (22, "copy"),
    (23, "invoke"),
    (29, "wait"),
    (31, "swap"),
    (33, "unlink"),
];

/// A condition or directive.
pub(super) fn command(number: i64) -> Cow<'static, str> {
    match CONDITIONS.iter().chain(&ACTS).find(|(own, _)| *own == number) {
        Some((_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(format!("command {number}")),
    }
}

/// A parameter.
pub(super) fn parameter(number: i64) -> Cow<'static, str> {
    const TABLE: [(i64, &str); 20] = [
        (1, "vendor-id"),
        (2, "class-id"),
        (3, "image-digest"),
        (4, "use-before"),
        (5, "component-slot"),
        (12, "strict-order"),
        (13, "soft-failure"),
        (14, "image-size"),
        (18, "content"),
        (19, "encryption-info"),
        (21, "uri"),
        (22, "source-component"),
        (23, "invoke-args"),
        (24, "device-id"),
        (25, "fetch-args"),
        (26, "minimum-battery"),
        (27, "update-priority"),
        (28, "version"),
        (29, "wait-info"),
        (30, "component-metadata"),
    ];
    named(&TABLE, "parameter", number)
}

/// An algorithm of COSE (RFC 9053, RFC 9864, RFC 9964, RFC 8230, RFC 8778).
pub(super) fn algorithm(number: i64) -> Cow<'static, str> {
    const TABLE: [(i64, &str); 16] = [
        (4, "HMAC 256/64"),
        (5, "HMAC 256/256"),
        (6, "HMAC 384/384"),
        (7, "HMAC 512/512"),
        (-7, "ES256"),
        (-8, "EdDSA"),
        (-9, "ESP256"),
        (-19, "Ed25519"),
        (-35, "ES384"),
        (-36, "ES512"),
        (-37, "PS256"),
        (-46, "HSS-LMS"),
        (-48, "ML-DSA-44"),
        (-49, "ML-DSA-65"),
        (-50, "ML-DSA-87"),
        (-51, "ESP384"),
    ];
    named(&TABLE, "algorithm", number)
}

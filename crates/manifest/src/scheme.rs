//! Signature schemes of certificates and CMS: other people's, which we only
//! verify.

/// How somebody else signed. ECDSA signatures are DER, RSA is PKCS #1 v1.5
/// (RFC 8017 §8.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// RSA with SHA-256.
    RsaSha256,
    /// RSA with SHA-384.
    RsaSha384,
    /// RSA with SHA-512.
    RsaSha512,
    /// ECDSA on whichever curve the key has, with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512.
    EcdsaSha512,
    /// Ed25519.
    Ed25519,
}

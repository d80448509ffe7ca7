//! Signature schemes by their object identifiers (RFC 5754, RFC 5758,
//! RFC 8419).

use der::asn1::ObjectIdentifier;
use firmseal_manifest::Scheme;
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::hash::Hash;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `ecdsa-with-SHA256`.
pub(crate) const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// `ecdsa-with-SHA384`.
pub(crate) const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

const SCHEMES: [(&str, Scheme); 7] = [
    ("1.2.840.113549.1.1.11", Scheme::RsaSha256),
    ("1.2.840.113549.1.1.12", Scheme::RsaSha384),
    ("1.2.840.113549.1.1.13", Scheme::RsaSha512),
    ("1.2.840.10045.4.3.2", Scheme::EcdsaSha256),
    ("1.2.840.10045.4.3.3", Scheme::EcdsaSha384),
    ("1.2.840.10045.4.3.4", Scheme::EcdsaSha512),
    ("1.3.101.112", Scheme::Ed25519),
];

/// The scheme of an algorithm identifier; `digest` is what a CMS signer says
/// beside it, where RSA may stand without its hash.
pub(crate) fn of(algorithm: &AlgorithmIdentifierOwned, digest: Option<Hash>) -> Option<Scheme> {
    if algorithm.oid == RSA {
        return digest.map(|digest| match digest {
            Hash::Sha256 => Scheme::RsaSha256,
            Hash::Sha384 => Scheme::RsaSha384,
            Hash::Sha512 => Scheme::RsaSha512,
        });
    }
    let named = |(oid, _): &&(&str, Scheme)| ObjectIdentifier::new(oid).is_ok_and(|oid| oid == algorithm.oid);
    let (_, scheme) = SCHEMES.iter().find(named)?;
    let own = match scheme {
        Scheme::RsaSha256 | Scheme::EcdsaSha256 => Hash::Sha256,
        Scheme::RsaSha384 | Scheme::EcdsaSha384 => Hash::Sha384,
        Scheme::RsaSha512 | Scheme::EcdsaSha512 | Scheme::Ed25519 => Hash::Sha512,
    };
    // Two different hashes in one signature would leave the weaker one to
    // whoever chooses.
    digest.is_none_or(|digest| digest == own).then_some(*scheme)
}

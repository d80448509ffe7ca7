//! What a certificate says.

use firmseal_manifest::{KeyAlgorithm, Signature};

use super::NAME;
use super::certificate::{Certificate, load};
use crate::error::FormatError;
use crate::hash::{Hash, hex};
use crate::inspection::{Covered, ExistingSignature, Inspection, KeyClaim};
use crate::source::Source;

pub(super) fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    let bytes = load(source)?;
    let own = Certificate::read(&bytes)?;
    let mut inspection = describe(&own);
    inspection.note("public key sha256", hex(&Hash::Sha256.of(own.spki)));
    let Some(key) = own.key() else {
        inspection.note("signature", "by a key of a kind that nobody here signs with");
        return Ok(inspection);
    };
    inspection.note("key", key.id().to_string());
    inspection.note("signed", format!("the {} bytes of the TBSCertificate", own.tbs.len()));
    let scheme = own.scheme(&key);
    let decoded = scheme.as_ref().and_then(|scheme| scheme.decode(own.signature));
    let covered = match (&scheme, &decoded) {
        (Some(scheme), Some(_)) => Covered::Tbs(scheme.tbs(own.tbs)),
        (Some(_), None) => Covered::Unknown("the signature is not in the form that its algorithm has"),
        (None, _) if matches!(key.algorithm(), KeyAlgorithm::Rsa(_)) => {
            Covered::Unknown("it is signed otherwise than with RSA-PSS, SHA-256 and a salt of 32 bytes")
        }
        (None, _) => Covered::Unknown("it is signed otherwise than with P-256 and SHA-256"),
    };
    inspection.signatures.push(ExistingSignature {
        algorithm: key.algorithm(),
        claim: KeyClaim::Key(Box::new(key)),
        covered,
        signature: decoded.unwrap_or_else(|| Signature(own.signature.to_vec())),
    });
    Ok(inspection)
}

/// What is signed, but for the key and the algorithm that follows from it.
pub(super) fn describe(own: &Certificate<'_>) -> Inspection {
    let mut inspection = Inspection::new(NAME, own.behind.len() as u64);
    inspection.epoch = own.extensions.counter;
    inspection.field("name", &own.name);
    inspection.field("serial", hex(own.serial));
    inspection.field("not before", &own.not_before);
    inspection.field("not after", &own.not_after);
    for (name, value) in &own.extensions.told {
        inspection.field(name, value);
    }
    if let Some(identifier) = own.extensions.key_identifier {
        inspection.field("key identifier", hex(identifier));
    }
    inspection
}

//! COSE_Sign1 with a detached payload, as signers write it (RFC 9052 §4.2).

use firmseal_core::Digest;
use firmseal_core::cose::{Algorithm, Context, SigStructure};

use crate::cbor::Writer;
use crate::key::{KeyError, PublicKey, Signature};
use crate::tbs::Tbs;

/// What `key` signs to vouch for `digest` in a context. Keys that devices
/// cannot verify with are refused.
pub fn to_be_signed(key: &PublicKey, context: Context, digest: &Digest) -> Result<Tbs, KeyError> {
    let algorithm = algorithm(key)?;
    let structure = SigStructure::new(&algorithm.protected(), context, digest).ok_or(KeyError::Malformed)?;
    Ok(Tbs::Message(structure.as_bytes().to_vec()))
}

/// Encodes a signature over [`to_be_signed`], with the key's id as a hint.
pub fn encode(key: &PublicKey, signature: &Signature) -> Result<Vec<u8>, KeyError> {
    let mut writer = Writer::new();
    writer.tag(18).array(4).bytes(&algorithm(key)?.protected());
    writer.map(1).uint(4).bytes(key.id().0.as_bytes());
    writer.null().bytes(&signature.0);
    Ok(writer.finish())
}

fn algorithm(key: &PublicKey) -> Result<Algorithm, KeyError> {
    key.as_core()
        .map(|core| Algorithm::of(&core))
        .ok_or_else(|| KeyError::Unsupported(format!("{} for envelopes and root documents", key.algorithm())))
}

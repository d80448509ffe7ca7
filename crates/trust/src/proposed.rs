//! Revocations that nobody has signed yet, read back for those who are
//! asked to.
//!
//! Core reads a revocation only once it is signed, so that nothing else is
//! ever obeyed; what is proposed is read here, and believed by nobody.

use firmseal_core::limits::{ALLOWED_MAX, CLOSED_LOGS_MAX, REVOCATION_MAX, REVOKED_MAX};
use firmseal_core::{Digest, Environment, KeyId};
use minicbor::Decoder;

use crate::revocation::{RevocationSpec, RevokedKey};

impl RevocationSpec {
    /// What an unsigned revocation says; `None` where it is not exactly
    /// what [`RevocationSpec::assemble`] writes.
    pub fn of_unsigned(document: &[u8]) -> Option<RevocationSpec> {
        if document.len() > REVOCATION_MAX {
            return None;
        }
        let mut outer = Decoder::new(document);
        if outer.array().ok()? != Some(2) {
            return None;
        }
        let spec = body(outer.bytes().ok()?)?;
        // Whatever was read past, in whatever order or form, shows here: one
        // document has one spelling.
        (spec.assemble().unsigned() == document).then_some(spec)
    }
}

fn body(bytes: &[u8]) -> Option<RevocationSpec> {
    let mut reader = Decoder::new(bytes);
    let mut spec = RevocationSpec {
        version: 0,
        lineage: [0; 16],
        environment: Environment::Test,
        keys: Vec::new(),
        releases: Vec::new(),
    };
    for _ in 0..reader.map().ok()?? {
        match reader.u64().ok()? {
            1 => {
                reader.u64().ok()?;
            }
            2 => spec.version = reader.u64().ok()?,
            3 => spec.lineage = reader.bytes().ok()?.try_into().ok()?,
            4 => {
                spec.environment = match reader.u64().ok()? {
                    0 => Environment::Test,
                    1 => Environment::Production,
                    _ => return None,
                }
            }
            5 => spec.keys = list(&mut reader, REVOKED_MAX, key)?,
            6 => spec.releases = list(&mut reader, ALLOWED_MAX, digest)?,
            _ => return None,
        }
    }
    Some(spec)
}

fn key(reader: &mut Decoder<'_>) -> Option<RevokedKey> {
    if reader.array().ok()? != Some(3) {
        return None;
    }
    let key = KeyId(digest(reader)?);
    let last_good = list(reader, CLOSED_LOGS_MAX, |reader| {
        if reader.array().ok()? != Some(2) {
            return None;
        }
        Some((reader.str().ok()?.to_owned(), reader.u64().ok()?))
    })?;
    Some(RevokedKey { key, last_good, allowed: list(reader, ALLOWED_MAX, digest)? })
}

fn digest(reader: &mut Decoder<'_>) -> Option<Digest> {
    Some(Digest(reader.bytes().ok()?.try_into().ok()?))
}

fn list<'b, T>(
    reader: &mut Decoder<'b>,
    most: usize,
    item: impl Fn(&mut Decoder<'b>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = usize::try_from(reader.array().ok()??).ok().filter(|count| *count <= most)?;
    (0..count).map(|_| item(reader)).collect()
}

//! Revocations: which keys and releases no longer count, and since when.
//!
//! Only subtracts. A key that was stolen signed well before it was stolen:
//! per log it keeps what was logged up to the last good index, and besides
//! what an allow-list names. Root and recovery keys are beyond its reach, so
//! whoever steals the revocation role cannot lock the owner out.

use crate::cbor::Reader;
use crate::checkpoint::Witnessed;
use crate::cose::Context;
use crate::crypto::Crypto;
use crate::digest::Digest;
use crate::envelope::{Sign1, decode_signatures};
use crate::key::KeyId;
use crate::limits::{ALLOWED_MAX, CLOSED_LOGS_MAX, Limit, REVOCATION_MAX, REVOKED_MAX, SIGNATURES_MAX};
use crate::refusal::Refusal;
use crate::role::Role;
use crate::root::{Environment, Root};

/// A revocation document that the root's revocation role has signed. Only
/// [`Root::revocation`] makes one.
#[derive(Clone, Debug)]
pub struct Revocation<'a> {
    version: u64,
    keys: (Reader<'a>, usize),
    releases: (Reader<'a>, usize),
}

impl<'r> Root<'r> {
    /// Reads and verifies a revocation document under this root.
    pub fn revocation<'a>(&self, bytes: &'a [u8], crypto: &impl Crypto) -> Result<Revocation<'a>, Refusal> {
        if bytes.len() > REVOCATION_MAX {
            return Err(Refusal::Limit(Limit::RevocationMax));
        }
        let mut outer = Reader::new(bytes);
        outer.array_exact(2)?;
        let body = outer.bytes()?;
        let count = outer.array(SIGNATURES_MAX, Limit::SignaturesMax)?;
        let signatures = outer.rest();
        for _ in 0..count {
            Sign1::decode(outer.bytes()?)?;
        }
        outer.end()?;
        let role = self.role(Role::Revocation, "")?;
        let digest = crypto.digest(body);
        let signatures = decode_signatures(signatures, count);
        role.check(|| role.keys(), |_| false, signatures, Context::Revocation, &digest, crypto)?;
        Revocation::decode(body, self, crypto)
    }
}

impl<'a> Revocation<'a> {
    fn decode(body: &'a [u8], root: &Root<'_>, crypto: &impl Crypto) -> Result<Revocation<'a>, Refusal> {
        let mut reader = Reader::new(body);
        let mut labels = reader.map()?;
        let (mut format, mut version, mut lineage, mut environment) = (None, None, None, None);
        let empty = (Reader::new(&[]), 0);
        let (mut keys, mut releases) = (empty.clone(), empty);
        while let Some(label) = labels.next_int(&mut reader)? {
            match label {
                1 => format = Some(reader.uint()?),
                2 => version = Some(reader.uint()?),
                3 => lineage = Some(reader.array_of::<16>()?),
                4 => environment = Environment::from_label(reader.uint()?),
                5 => {
                    let count = reader.array(REVOKED_MAX, Limit::RevokedMax)?;
                    keys = (reader.clone(), count);
                    for _ in 0..count {
                        RevokedKey::decode(&mut reader)?;
                    }
                }
                6 => {
                    let count = reader.array(ALLOWED_MAX, Limit::AllowedMax)?;
                    releases = (reader.clone(), count);
                    for _ in 0..count {
                        reader.array_of::<32>()?;
                    }
                }
                _ => return Err(Refusal::Unsupported("a member of a revocation document")),
            }
        }
        reader.end()?;
        if format != Some(1) {
            return Err(Refusal::Unsupported("a revocation document of another format"));
        }
        if lineage != Some(root.lineage()) {
            return Err(Refusal::WrongLineage);
        }
        if environment != Some(root.environment()) {
            return Err(Refusal::WrongEnvironment);
        }
        let version = version.ok_or(Refusal::Malformed("a revocation document without a version"))?;
        let revocation = Revocation { version, keys, releases };
        for role in root.roles().filter(|role| matches!(role.role(), Role::Root | Role::Recovery)) {
            if role.keys().any(|(_, key)| revocation.key(&key.id(crypto)).is_some()) {
                return Err(Refusal::Malformed("a revocation of a root or recovery key"));
            }
        }
        Ok(revocation)
    }

    /// Its number. A device never goes back to a lower one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a release was revoked by its manifest digest.
    pub fn revokes(&self, manifest: &Digest) -> bool {
        self.releases().any(|own| own == *manifest)
    }

    /// The keys that it names, in order.
    pub fn keys(&self) -> impl Iterator<Item = RevokedKey<'a>> + use<'a> {
        let mut reader = self.keys.0.clone();
        (0..self.keys.1).map_while(move |_| RevokedKey::decode(&mut reader).ok())
    }

    /// The manifest digests of the releases that it names, in order.
    pub fn releases(&self) -> impl Iterator<Item = Digest> + use<'a> {
        digests(&self.releases)
    }

    /// Whether everything that `older` takes away is taken away here too.
    ///
    /// A document replaces the one before it, so one that forgets an entry
    /// gives back what was stolen: documents only subtract.
    pub fn contains(&self, older: &Revocation<'_>) -> bool {
        older.releases().all(|manifest| self.revokes(&manifest))
            && older.keys().all(|named| match (self.key(&named.id()), older.key(&named.id())) {
                (Some(new), Some(old)) => new.narrows(&old),
                _ => false,
            })
    }

    /// Whether what a key has signed no longer counts. `born` is where the
    /// release stands in which log, if that is proven.
    pub(crate) fn takes_away(&self, key: &KeyId, manifest: &Digest, born: Option<&Born<'_>>) -> bool {
        let Some(entry) = self.key(key) else { return false };
        !entry.allows(manifest) && !born.is_some_and(|born| entry.keeps(born))
    }

    fn key(&self, id: &KeyId) -> Option<RevokedKey<'a>> {
        self.keys().find(|entry| entry.id == id.0.as_bytes())
    }
}

/// Where a release stands, by a proof under a witness quorum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Born<'a> {
    pub(crate) checkpoint: Witnessed<'a>,
    pub(crate) index: u64,
}

/// A key that no longer counts, and what of its work stays valid:
/// `[key id, [* [origin, last good index]], [* manifest digest]]`.
#[derive(Clone, Debug)]
pub struct RevokedKey<'a> {
    id: &'a [u8; 32],
    logs: (Reader<'a>, usize),
    allowed: (Reader<'a>, usize),
}

impl<'a> RevokedKey<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<RevokedKey<'a>, Refusal> {
        reader.array_exact(3)?;
        let id = reader.array_of()?;
        let count = reader.array(CLOSED_LOGS_MAX, Limit::ClosedLogsMax)?;
        let logs = (reader.clone(), count);
        for _ in 0..count {
            read_last_good(reader)?;
        }
        let count = reader.array(ALLOWED_MAX, Limit::AllowedMax)?;
        let allowed = (reader.clone(), count);
        for _ in 0..count {
            reader.array_of::<32>()?;
        }
        Ok(RevokedKey { id, logs, allowed })
    }

    /// The key.
    pub fn id(&self) -> KeyId {
        KeyId(Digest(*self.id))
    }

    /// By the origin of a log, the last index that stays valid.
    pub fn last_good(&self) -> impl Iterator<Item = (&'a str, u64)> + use<'a> {
        let (mut reader, count) = self.logs.clone();
        (0..count).map_while(move |_| read_last_good(&mut reader).ok())
    }

    /// The manifests that stay valid wherever they stand.
    pub fn allowed(&self) -> impl Iterator<Item = Digest> + use<'a> {
        digests(&self.allowed)
    }

    fn keeps(&self, born: &Born<'_>) -> bool {
        self.last_good().any(|(origin, last)| origin == born.checkpoint.origin && born.index <= last)
    }

    fn allows(&self, manifest: &Digest) -> bool {
        self.allowed().any(|own| own == *manifest)
    }

    /// Whether it keeps no more than another entry of the key does.
    fn narrows(&self, old: &RevokedKey<'_>) -> bool {
        self.allowed().all(|manifest| old.allows(&manifest))
            && self.last_good().all(|(origin, last)| {
                old.last_good().any(|(known, before)| known == origin && last <= before)
            })
    }
}

/// Reads manifest digests whose form was checked before.
fn digests<'a>((reader, count): &(Reader<'a>, usize)) -> impl Iterator<Item = Digest> + use<'a> {
    let (mut reader, count) = (reader.clone(), *count);
    (0..count).map_while(move |_| reader.array_of::<32>().ok().map(|bytes| Digest(*bytes)))
}

fn read_last_good<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, u64), Refusal> {
    reader.array_exact(2)?;
    Ok((reader.text()?, reader.uint()?))
}

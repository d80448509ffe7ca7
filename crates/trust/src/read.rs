//! Documents that were signed before, read back as what an author writes:
//! where the next one begins.

use firmseal_core::{Refusal, Revocation, Root};
use firmseal_manifest::{ChannelName, KeyAlgorithm, KeyError, ProductId, PublicKey};

use crate::revocation::{RevocationSpec, RevokedKey};
use crate::root::{ClosedLogSpec, DemandsSpec, Holder, RoleSpec, RootError, RootSpec};

impl RootSpec {
    /// What a root document says, in full. Assembled again it is the same
    /// body, byte for byte.
    pub fn of(root: &Root<'_>) -> Result<RootSpec, RootError> {
        let mut roles = Vec::new();
        for entry in root.roles() {
            let mut holders: Vec<Holder> =
                entry.holders().map(|name| Holder { name: name.to_owned(), keys: Vec::new() }).collect();
            for (index, key) in entry.keys() {
                if let Some(holder) = holders.get_mut(index) {
                    holder.keys.push(key_of(&key)?);
                }
            }
            roles.push(RoleSpec {
                role: entry.role(),
                threshold: entry.threshold() as u64,
                holders,
                products: products(entry.products())?,
                channels: channels(entry.channels())?,
                both_kinds: entry.both(),
            });
        }
        let mut demands = Vec::new();
        for (said, of) in root.demand_entries() {
            demands.push(DemandsSpec { demands: said, products: products(of)? });
        }
        let mut closed_logs = Vec::new();
        for log in root.closed_logs() {
            let (origin, key) = (log.origin.to_owned(), key_of(&log.key)?);
            closed_logs.push(ClosedLogSpec { origin, key, size: log.size, hash: log.hash });
        }
        let mut sequence_resets = Vec::new();
        for (name, sequence) in root.sequence_resets() {
            sequence_resets.push((product(name)?, sequence));
        }
        Ok(RootSpec {
            version: root.version(),
            lineage: *root.lineage(),
            environment: root.environment(),
            roles,
            minimum_epoch: root.minimum_epoch(),
            demands,
            closed_logs,
            sequence_resets,
        })
    }
}

impl RevocationSpec {
    /// What a revocation says, in full, under the root that verified it.
    pub fn of(revocation: &Revocation<'_>, root: &Root<'_>) -> RevocationSpec {
        RevocationSpec {
            version: revocation.version(),
            lineage: *root.lineage(),
            environment: root.environment(),
            keys: revocation
                .keys()
                .map(|entry| RevokedKey {
                    key: entry.id(),
                    last_good: entry.last_good().map(|(origin, index)| (origin.to_owned(), index)).collect(),
                    allowed: entry.allowed().collect(),
                })
                .collect(),
            releases: revocation.releases().collect(),
        }
    }
}

/// A device's key as hosts hold it.
pub fn key_of(key: &firmseal_core::PublicKey<'_>) -> Result<PublicKey, KeyError> {
    match key {
        firmseal_core::PublicKey::Ed25519(x) => PublicKey::from_ed25519(**x),
        firmseal_core::PublicKey::Lms(key) => PublicKey::from_lms(key.encoded()),
        firmseal_core::PublicKey::Rsa(key) => PublicKey::from_rsa(key.modulus(), key.exponent()),
        firmseal_core::PublicKey::MlDsa(key) => PublicKey::from_ml_dsa(key.set(), key.encoded()),
        firmseal_core::PublicKey::P256 { x, y } => {
            // SEC 1 §2.3.3: an uncompressed point.
            let point = [&[4], x.as_slice(), y.as_slice()].concat();
            PublicKey::from_point(KeyAlgorithm::P256, &point)
        }
    }
}

fn product(name: &str) -> Result<ProductId, RootError> {
    name.parse().map_err(|_| RootError::Refused(Refusal::Malformed("a product name that is none")))
}

fn channels<'a>(names: Option<impl Iterator<Item = &'a str>>) -> Result<Vec<ChannelName>, RootError> {
    let Some(names) = names else { return Ok(Vec::new()) };
    let channel = |name: &str| {
        name.parse().map_err(|_| RootError::Refused(Refusal::Malformed("a channel name that is none")))
    };
    let named: Vec<ChannelName> = names.map(channel).collect::<Result<_, _>>()?;
    // As with products: none named would be written as all.
    if named.is_empty() {
        return Err(RootError::Refused(Refusal::Unsupported("a list of channels without any")));
    }
    Ok(named)
}

fn products<'a>(names: Option<impl Iterator<Item = &'a str>>) -> Result<Vec<ProductId>, RootError> {
    let Some(names) = names else { return Ok(Vec::new()) };
    let named: Vec<ProductId> = names.map(product).collect::<Result<_, _>>()?;
    // An author writes an empty list as none at all, which means every
    // product: what is limited to nothing must not be read as unlimited.
    if named.is_empty() {
        return Err(RootError::Refused(Refusal::Unsupported("a list of products without any")));
    }
    Ok(named)
}

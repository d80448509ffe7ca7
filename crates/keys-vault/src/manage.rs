//! Making keys in Vault: the version that the URI names, and no other.

use std::time::Duration;

use firmseal_keys::{SecretSource, VaultUri};
use firmseal_keys_remote::wait_for;
use firmseal_manifest::{KeyAlgorithm, PublicKey};

use crate::error::VaultError;
use crate::key::transit;
use crate::transit::kind;

/// RSA keys take seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// Makes exactly the key version that the URI names: version 1 makes the
/// key, which cannot be exported; the one after the newest rotates it. So a
/// command that is run twice does not rotate twice.
pub fn generate(
    uri: &VaultUri,
    token: &SecretSource,
    algorithm: KeyAlgorithm,
) -> Result<PublicKey, VaultError> {
    let kind = kind(algorithm).ok_or(VaultError::NotForSigning(
        "vault makes p256, p384, ed25519, rsa2048, rsa3072 and rsa4096 keys here",
    ))?;
    let (transit, version) = (transit(uri, token, DEADLINE)?, uri.version);
    wait_for(DEADLINE, async move {
        match transit.key().await {
            Err(VaultError::NoKey { .. }) if version == 1 => transit.create(kind).await?,
            Err(VaultError::NoKey { .. }) => return Err(VaultError::OutOfTurn { next: 1 }),
            Err(error) => return Err(error),
            Ok(there) if version <= there.latest() => return Err(VaultError::Exists(version)),
            Ok(there) if there.kind != kind => {
                return Err(VaultError::NotForSigning("a rotation keeps the key's type"));
            }
            Ok(there) if version > there.latest().saturating_add(1) => {
                return Err(VaultError::OutOfTurn { next: there.latest().saturating_add(1) });
            }
            Ok(_) => transit.rotate().await?,
        }
        // What Vault made, not what we asked for. Somebody may have made or
        // rotated it at the same moment: creating twice changes nothing, and
        // a second rotation shows as a newer version than ours.
        let made = transit.key().await?;
        let public_key = made.public_key(version)?;
        if let Some(weakness) = made.weakness() {
            return Err(VaultError::NotConfined(weakness));
        }
        match public_key.algorithm() == algorithm {
            true => Ok(public_key),
            false => Err(VaultError::NotConfined("is of another type")),
        }
    })?
}

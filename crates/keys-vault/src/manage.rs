//! Making, listing and destroying keys in Vault: the version that the URI
//! names, and no other.

use std::time::Duration;

use firmseal_keys::{ListedKey, SecretSource};
use firmseal_keys_remote::wait_for;
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};

use crate::error::VaultError;
use crate::key::transit;
use crate::transit::{Configure, Transit, kind};
use crate::uri::VaultUri;

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

/// Lists the keys of the engine that the URI names, each version that may
/// sign by itself, usable or not. The name in the URI does not matter.
pub fn list(
    uri: &VaultUri,
    token: &SecretSource,
) -> Result<Vec<ListedKey<VaultUri, VaultError>>, VaultError> {
    let (transit, place) = (transit(uri, token, DEADLINE)?, VaultUri { token: None, ..uri.clone() });
    wait_for(DEADLINE, async move {
        let mut found = Vec::new();
        for name in transit.names().await? {
            let described = match transit.key_called(&name).await {
                Ok(described) => described,
                // Taken away while we read.
                Err(VaultError::NoKey { .. }) => continue,
                Err(error) => return Err(error),
            };
            let weakness = described.weakness();
            found.extend(described.numbers().into_iter().map(|version| {
                let uri = VaultUri { name: name.clone(), version, ..place.clone() };
                ListedKey { uri, public_key: described.public_key(version), weakness }
            }));
        }
        Ok(found)
    })?
}

/// Destroys a key version, and looks whether it is gone. Only the one with
/// this public half: another key may have the name by now. Whether it was
/// there.
///
/// Vault takes versions away from the oldest on, and the newest with the
/// whole key. What somebody else keeps under the name is not ours to take,
/// so a version with older ones waits for them.
pub fn destroy(uri: &VaultUri, token: &SecretSource, id: &KeyId) -> Result<bool, VaultError> {
    let (transit, version, id) = (transit(uri, token, DEADLINE)?, uri.version, *id);
    wait_for(DEADLINE, async move {
        let mut there = match transit.key().await {
            Err(VaultError::NoKey { .. }) => return Ok(false),
            there => there?,
        };
        if there.is_trimmed(version) {
            return Ok(false);
        }
        if version < there.latest() && !there.numbers().contains(&version) {
            // Nobody may use it any more, perhaps since we were cut off
            // below. Vault shows only what may be used.
            let seen = Configure { min_decryption_version: Some(version), ..Configure::default() };
            transit.configure(&seen).await.map_err(|error| not_allowed(&transit, error))?;
            there = transit.key().await?;
        }
        if there.shown(version)?.id() != id {
            return Ok(false);
        }
        if there.oldest() < version {
            return Err(VaultError::OlderFirst { oldest: there.oldest() });
        }
        let done = match there.latest() == version {
            true => delete(&transit).await,
            false => trim(&transit, version).await,
        };
        done.map_err(|error| not_allowed(&transit, error))?;
        match transit.key().await {
            Err(VaultError::NoKey { .. }) => Ok(true),
            Ok(left) if left.is_trimmed(version) => Ok(true),
            Ok(_) => Err(VaultError::StillThere),
            Err(error) => Err(error),
        }
    })?
}

/// A refusal, with what the token's policy lacks.
fn not_allowed(transit: &Transit, error: VaultError) -> VaultError {
    match error {
        VaultError::Denied(why) => VaultError::MayNotDestroy { path: transit.key_path(), why },
        error => error,
    }
}

/// Takes the key away, which has to be allowed first. Where it is not taken
/// after all, it is protected again: a key that anybody may delete is weak.
async fn delete(transit: &Transit) -> Result<(), VaultError> {
    let allowed = |yes| Configure { deletion_allowed: Some(yes), ..Configure::default() };
    transit.configure(&allowed(true)).await?;
    let gone = transit.delete().await;
    if gone.is_err() {
        // If that fails too, the first error is the one to read.
        let _ = transit.configure(&allowed(false)).await;
    }
    gone
}

/// Takes the oldest version away. Vault trims what nobody may use any more.
async fn trim(transit: &Transit, version: u32) -> Result<(), VaultError> {
    let next = Some(version.saturating_add(1));
    let unused =
        Configure { min_decryption_version: next, min_encryption_version: next, ..Configure::default() };
    transit.configure(&unused).await?;
    transit.trim(version.saturating_add(1)).await
}

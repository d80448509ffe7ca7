//! Making keys in KMS, under an alias; listing and destroying them.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::DateTimeFormat;
use aws_sdk_kms::types::{KeyMetadata, KeySpec, KeyState, KeyUsageType};
use firmseal_keys::ListedKey;
use firmseal_keys_remote::wait_for;
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};

use crate::client::client;
use crate::error::AwsError;
use crate::key::{describe, enabled, public_key, weakness};
use crate::uri::AwsKmsUri;

const DEADLINE: Duration = Duration::from_secs(60);
/// The shortest time, in days, that KMS keeps a key that is to be deleted.
const SHORTEST: i32 = 7;

/// Makes a key and gives it the alias that the URI names, as
/// `alias/NAME`. The key is made in KMS and cannot be exported; its policy
/// is KMS's default one.
pub fn generate(uri: &AwsKmsUri, algorithm: KeyAlgorithm) -> Result<PublicKey, AwsError> {
    let spec = match algorithm {
        KeyAlgorithm::P256 => KeySpec::EccNistP256,
        KeyAlgorithm::P384 => KeySpec::EccNistP384,
        KeyAlgorithm::Rsa(2048) => KeySpec::Rsa2048,
        KeyAlgorithm::Rsa(3072) => KeySpec::Rsa3072,
        KeyAlgorithm::Rsa(4096) => KeySpec::Rsa4096,
        _ => {
            return Err(AwsError::NotForSigning(
                "kms makes p256, p384, rsa2048, rsa3072 and rsa4096 keys here",
            ));
        }
    };
    let Some(alias) = uri.key.strip_prefix("alias/") else {
        return Err(AwsError::NotForSigning("a new key gets an alias: write `alias/NAME` and `region=`"));
    };
    let (uri, alias) = (uri.clone(), format!("alias/{alias}"));
    wait_for(DEADLINE, async move {
        let client = client(&uri, DEADLINE).await;
        match public_key(&client, &alias).await {
            Err(AwsError::NoKey(_)) => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(AwsError::Exists(alias)),
        }
        let made = client
            .create_key()
            .key_spec(spec)
            .key_usage(KeyUsageType::SignVerify)
            .description("made by firmseal")
            .send()
            .await
            .map_err(AwsError::from_sdk)?;
        let metadata = made.key_metadata.ok_or(AwsError::Answer("metadata"))?;
        let named = client.create_alias().alias_name(&alias).target_key_id(metadata.key_id()).send().await;
        if let Err(error) = named {
            // A key that nobody can name must not stay and cost money. If
            // that fails too, the first error is the one to read.
            let _ = client
                .schedule_key_deletion()
                .key_id(metadata.key_id())
                .pending_window_in_days(SHORTEST)
                .send()
                .await;
            return Err(AwsError::from_sdk(error));
        }
        let key = public_key(&client, &alias).await?;
        match key.algorithm() == algorithm {
            true => Ok(key),
            false => Err(AwsError::Replaced),
        }
    })?
}

/// What became of a key that was to be destroyed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destroyed {
    /// It is not there.
    Gone,
    /// It signs nothing any more, and KMS deletes it then. Until that day
    /// whoever may `kms:CancelKeyDeletion` can bring it back.
    On(String),
}

/// Lists the keys that sign, of the account and region that the URI names,
/// each under its alias if it has one, usable or not. The key in the URI
/// does not matter.
pub fn list(uri: &AwsKmsUri) -> Result<Vec<ListedKey<AwsKmsUri, AwsError>>, AwsError> {
    let place = uri.clone();
    wait_for(DEADLINE, async move {
        let client = client(&place, DEADLINE).await;
        let aliases = aliases(&client).await?;
        let mut found = Vec::new();
        for id in key_ids(&client).await? {
            let metadata = describe(&client, &id).await;
            let signs = |metadata: &KeyMetadata| metadata.key_usage() == Some(&KeyUsageType::SignVerify);
            // Keys that encrypt are nobody's business here. Of one that
            // nobody lets us look at, that is what there is to say.
            if metadata.as_ref().is_ok_and(|metadata| !signs(metadata)) {
                continue;
            }
            let key = aliases.get(&id).cloned().unwrap_or_else(|| id.clone());
            let (public_key, weak) = match metadata.and_then(|metadata| enabled(&metadata).map(|()| metadata))
            {
                Ok(metadata) => (public_key(&client, &id).await, weakness(&metadata)),
                Err(error) => (Err(error), None),
            };
            let uri = AwsKmsUri { key, ..place.clone() };
            found.push(ListedKey { uri, public_key, weakness: weak });
        }
        found.sort_by(|a, b| a.uri.key.cmp(&b.uri.key));
        Ok(found)
    })?
}

/// The ids of all keys of the account in the region.
async fn key_ids(client: &Client) -> Result<Vec<String>, AwsError> {
    let (mut ids, mut marker) = (Vec::new(), None);
    loop {
        let page = client.list_keys().set_marker(marker).send().await.map_err(AwsError::from_sdk)?;
        ids.extend(page.keys().iter().filter_map(|key| key.key_id().map(str::to_owned)));
        marker = page.next_marker;
        if marker.is_none() {
            return Ok(ids);
        }
    }
}

/// One alias of each key that has any: the first by name.
async fn aliases(client: &Client) -> Result<BTreeMap<String, String>, AwsError> {
    let (mut aliases, mut marker) = (BTreeMap::new(), None);
    loop {
        let page = client.list_aliases().set_marker(marker).send().await.map_err(AwsError::from_sdk)?;
        for alias in page.aliases() {
            if let (Some(name), Some(id)) = (alias.alias_name(), alias.target_key_id()) {
                let known = aliases.entry(id.to_owned()).or_insert_with(|| name.to_owned());
                if name < known.as_str() {
                    *known = name.to_owned();
                }
            }
        }
        marker = page.next_marker;
        if marker.is_none() {
            return Ok(aliases);
        }
    }
}

/// Has KMS delete a key as soon as it does, which is after seven days, and
/// looks whether it will. Only the one with this public half: an alias may
/// stand for another by now.
pub fn destroy(uri: &AwsKmsUri, id: &KeyId) -> Result<Destroyed, AwsError> {
    let (uri, id) = (uri.clone(), *id);
    wait_for(DEADLINE, async move {
        let client = client(&uri, DEADLINE).await;
        let found = match describe(&client, &uri.key).await {
            Err(AwsError::NoKey(_)) => return Ok(Destroyed::Gone),
            found => found?,
        };
        // From here on it is this key, whatever an alias says.
        let key = found.key_id().to_owned();
        let is_pending = found.key_state() == Some(&KeyState::PendingDeletion);
        match public_key(&client, &key).await {
            Ok(key) if key.id() != id => return Ok(Destroyed::Gone),
            Ok(_) => {}
            // KMS does not show the public half of a key that is not
            // enabled. An id says which key it is. An alias does not; but
            // what is under it goes in any case, and was very likely sent
            // away by us, who were cut off before we could say so.
            Err(AwsError::Disabled(_)) if is_pending || !is_alias(&uri) => {}
            Err(error) => return Err(error),
        }
        if !is_pending {
            let ask = client.schedule_key_deletion().key_id(&key).pending_window_in_days(SHORTEST);
            ask.send().await.map_err(AwsError::from_sdk)?;
        }
        let left = describe(&client, &key).await?;
        let day = left.deletion_date().and_then(|day| day.fmt(DateTimeFormat::DateTime).ok());
        match (left.key_state(), day) {
            (Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion), Some(day)) => {
                Ok(Destroyed::On(day))
            }
            (Some(KeyState::PendingReplicaDeletion), None) => {
                Ok(Destroyed::On("the day that its replicas are gone".to_owned()))
            }
            _ => Err(AwsError::Refused("it has not scheduled the deletion".to_owned())),
        }
    })?
}

fn is_alias(uri: &AwsKmsUri) -> bool {
    uri.key.starts_with("alias/") || uri.key.contains(":alias/")
}

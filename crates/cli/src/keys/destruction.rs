//! Destroying keys where they are kept.

use std::collections::BTreeSet;
use std::time::SystemTime;

use firmseal_fleet::{KeyPhase, KeyRecord, Time};
use firmseal_keys::{FileKey, KeyUri, SecretSource};
use firmseal_manifest::{KeyId, KeyName};
use firmseal_sign::{Destruction, finish_destruction};
use firmseal_store::Store;

use super::pin;
use crate::error::Result;
use crate::key_table::KeyTable;
use crate::place::Place;

/// How the key of this id is destroyed. What it takes, a PIN or a token, is
/// read again when the day comes: nobody keeps it until then.
pub fn destruction(uri: &KeyUri, secret: &SecretSource, id: KeyId) -> Destruction {
    let secret = secret.clone();
    match uri.clone() {
        KeyUri::File(path) => Destruction::Here(Box::new(move || quietly(FileKey::destroy(&path)))),
        KeyUri::Pkcs11(uri) => Destruction::Here(Box::new(move || {
            let pin = pin(&uri, &secret).map_err(|error| error.message)?;
            quietly(firmseal_keys_pkcs11::destroy(&uri, Some(pin), &id))
        })),
        KeyUri::Vault(uri) => {
            Destruction::Here(Box::new(move || quietly(firmseal_keys_vault::destroy(&uri, &secret, &id))))
        }
        #[cfg(feature = "tpm")]
        KeyUri::Tpm(uri) => Destruction::Here(Box::new(move || super::tpm::destroy(&uri, &id))),
        #[cfg(feature = "aws")]
        KeyUri::AwsKms(uri) => Destruction::Here(Box::new(move || super::aws::destroy(&uri, &id))),
        #[cfg(not(feature = "tpm"))]
        KeyUri::Tpm(_) => elsewhere("tpm"),
        #[cfg(not(feature = "aws"))]
        KeyUri::AwsKms(_) => elsewhere("aws"),
        // A host that destroyed at a server's word would lose its keys to
        // whoever takes the server.
        KeyUri::Host(uri) => Destruction::Elsewhere(format!(
            "on the key host `{}`: stop it, take key `{}` out of its keyhost.toml and use its backend's tool",
            uri.host, uri.key
        )),
    }
}

#[cfg(not(all(feature = "aws", feature = "tpm")))]
fn elsewhere(feature: &str) -> Destruction {
    Destruction::Elsewhere(format!("with a program that was built with the feature `{feature}`"))
}

/// Nothing is to be said about a key that is gone.
fn quietly<E: std::fmt::Display>(
    gone: std::result::Result<bool, E>,
) -> std::result::Result<Option<String>, String> {
    gone.map(|_| None).map_err(|error| error.to_string())
}

/// The names of keys that are not opened any more: destroyed, or gone since
/// a service was cut off that had no time to say so.
pub async fn gone(
    place: &Place,
    store: &dyn Store,
    tables: &[KeyTable],
    secret: &SecretSource,
) -> Result<BTreeSet<KeyName>> {
    let (now, mut names) = (Time::from(SystemTime::now()), BTreeSet::new());
    for record in store.key_records().await? {
        if record.state.phase == KeyPhase::Destroyed
            || (record.state.is_to_be_destroyed(now)
                && finish(place, store, tables, secret, &record, now).await)
        {
            names.insert(record.name);
        }
    }
    Ok(names)
}

/// Whether the key is gone. What went wrong is not told here: the key is
/// opened then, and either that fails too, or the service tries again.
async fn finish(
    place: &Place,
    store: &dyn Store,
    tables: &[KeyTable],
    secret: &SecretSource,
    record: &KeyRecord,
    now: Time,
) -> bool {
    let Some(table) = tables.iter().find(|table| table.name == record.name) else { return false };
    match destruction(&place.own(&table.uri), secret, KeyId(record.key)) {
        Destruction::Here(destroyer) => finish_destruction(store, record, destroyer, now).await.is_ok(),
        Destruction::Elsewhere(_) => false,
    }
}

//! Destroying keys where they are kept.

use std::collections::BTreeSet;
use std::time::SystemTime;

use firmseal_fleet::{KeyPhase, KeyRecord, Time};
use firmseal_keys::{Destruction, SecretSource};
use firmseal_manifest::{KeyId, KeyName};
use firmseal_sign::finish_destruction;
use firmseal_store::Store;

use super::KeyUri;
use crate::error::Result;
use crate::key_table::KeyTable;
use crate::place::Place;

/// How the key of this id is destroyed.
pub fn destruction(uri: &KeyUri, secret: &SecretSource, id: KeyId) -> Destruction {
    match uri.home() {
        Ok(home) => home.destruction(id, secret),
        Err(absent) => Destruction::Elsewhere(format!(
            "with a program that was built with the feature `{}`",
            absent.feature
        )),
    }
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

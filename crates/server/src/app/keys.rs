//! Signing keys: how they stand, and what officers say about them.

use std::collections::BTreeMap;
use std::time::Duration;

use firmseal_api::keys::{HourUses, KeyUsage, NamedUses, SigningKey};
use firmseal_fleet::signing_key::{hour_begins, hour_of};
use firmseal_fleet::{KeyLimits, KeyPhase, KeyRecord, Time};
use firmseal_keys::KeyPlace;
use firmseal_manifest::{KeyName, PublicKey};
use firmseal_sign::{Age, KeyOrder, KeyStateError, Requester};
use firmseal_store::StoreError;

use super::App;
use crate::error::ApiError;

/// How much of the past is told unless asked for, and at most.
const WEEK: u64 = 7 * 24;
const YEAR: u64 = 366 * 24;
const DAY: Duration = Duration::from_secs(86_400);
/// How long before it is destroyed a key can still be kept, in days.
const DELAY: u16 = 30;
const DELAYS: std::ops::RangeInclusive<u16> = 1..=365;
const WHY_MAX: usize = 256;

impl From<KeyStateError> for ApiError {
    fn from(err: KeyStateError) -> ApiError {
        let why = err.to_string();
        match err {
            KeyStateError::Store(err) => err.into(),
            KeyStateError::Unknown(name) => ApiError::NotFound(format!("signing key `{name}`")),
            KeyStateError::InUse(_) | KeyStateError::NotScheduled(_) => ApiError::Conflict(why),
            KeyStateError::OutOfHand { .. } => ApiError::Refused {
                why,
                hint: "it stays disabled here, and signs nothing, whatever becomes of it there".to_owned(),
            },
            KeyStateError::Failed { .. } => ApiError::Internal(why),
        }
    }
}

impl App {
    /// Every key that signs here, or did.
    pub(crate) async fn keys(&self) -> Result<Vec<SigningKey>, ApiError> {
        let now = self.clock.now();
        let mut keys = Vec::new();
        for record in self.store.key_records().await? {
            keys.push(self.key_out(record, now).await?);
        }
        Ok(keys)
    }

    /// One of them, with its uses in a period.
    pub(crate) async fn key(
        &self,
        name: &KeyName,
        from: Option<Time>,
        until: Option<Time>,
    ) -> Result<KeyUsage, ApiError> {
        let now = self.clock.now();
        let record = self.key_record(name).await?;
        // What happened so far is part of the answer.
        self.pipeline.note_uses().await?;
        let until = until.map_or_else(|| hour_of(now) + 1, hour_of);
        let from = from.map_or_else(|| until.saturating_sub(WEEK), hour_of);
        if until <= from || until - from > YEAR {
            return Err(ApiError::Malformed("from is before until, by a year at most".to_owned()));
        }
        let uses = self.store.key_uses(&record.key, from, until).await?;
        let mut by_hour: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut by_product, mut by_caller) = (BTreeMap::new(), BTreeMap::new());
        for own in &uses {
            *by_hour.entry(own.hour).or_default() += own.uses;
            *by_product.entry(own.product.to_string()).or_default() += own.uses;
            *by_caller.entry(own.caller.clone()).or_default() += own.uses;
        }
        Ok(KeyUsage {
            key: self.key_out(record, now).await?,
            from: hour_begins(from),
            until: hour_begins(until),
            uses: uses.iter().map(|own| own.uses).sum(),
            last: uses.iter().map(|own| own.last).max(),
            by_hour: by_hour
                .into_iter()
                .map(|(hour, uses)| HourUses { hour: hour_begins(hour), uses })
                .collect(),
            by_product: most_first(by_product),
            by_caller: most_first(by_caller),
        })
    }

    /// Changes a key's state, in force for its next use.
    pub(crate) async fn order_key(
        &self,
        name: &KeyName,
        order: KeyOrder,
        by: &Requester,
        why: &str,
    ) -> Result<SigningKey, ApiError> {
        if why.trim().is_empty() || why.len() > WHY_MAX || why.chars().any(char::is_control) {
            return Err(ApiError::Malformed(format!("why: 1 to {WHY_MAX} bytes without control characters")));
        }
        let now = self.clock.now();
        let state = self.pipeline.order_key(name, order, by, why, now).await?;
        tracing::warn!(
            key = %name,
            state = state.phase.word(),
            due = state.due.map(|due| due.to_string()),
            officer = by.name,
            why,
            "the state of a signing key changed"
        );
        self.key_out(self.key_record(name).await?, now).await
    }

    /// The order to destroy a key, in so many days.
    pub(crate) fn destroy_in(&self, days: Option<u16>) -> Result<KeyOrder, ApiError> {
        let days = days.unwrap_or(DELAY);
        if !DELAYS.contains(&days) {
            let (first, last) = (DELAYS.start(), DELAYS.end());
            return Err(ApiError::Malformed(format!("days: {first} to {last}")));
        }
        Ok(KeyOrder::Destroy { at: self.clock.now().plus(DAY * u32::from(days)) })
    }

    pub(crate) async fn key_record(&self, name: &KeyName) -> Result<KeyRecord, ApiError> {
        let records = self.store.key_records().await?;
        let found = records.into_iter().find(|record| record.name == *name);
        found.ok_or_else(|| ApiError::NotFound(format!("signing key `{name}`")))
    }

    async fn key_out(&self, record: KeyRecord, now: Time) -> Result<SigningKey, ApiError> {
        let public = PublicKey::from_spki(&record.spki)
            .map_err(|_| StoreError::corrupt(format!("public half of key `{}`", record.name)))?;
        let held = self.pipeline.keyring().all().find(|key| key.id().0 == record.key);
        let rules = held.map(|key| key.rules());
        let limits = rules.map_or(KeyLimits::default(), |rules| rules.limits);
        let (in_hour, all) = match limits.is_open() {
            true => (0, 0),
            false => self.store.granted(&record.key, hour_of(now)).await?,
        };
        let left = |limit: Option<u64>, had: u64| limit.map(|limit| limit.saturating_sub(had));
        let phase = record.state.at(now);
        let mut key = SigningKey {
            name: record.name,
            id: public.id().to_string(),
            algorithm: public.algorithm().to_string(),
            public: public.to_pem().map_err(|err| ApiError::Internal(err.to_string()))?,
            purpose: record.purpose.name().to_owned(),
            environment: record.environment.name().to_owned(),
            held: held.is_some(),
            products: rules.map(|rules| rules.products.iter().cloned().collect()).unwrap_or_default(),
            owner: rules.map(|rules| rules.owner.clone()).unwrap_or_default(),
            state: phase.word().to_owned(),
            since: record.state.since,
            by: record.state.by,
            why: record.state.why,
            due: record.state.due,
            rotate_by: rules.and_then(|rules| rules.rotation).map(|rotation| rotation.by),
            days_left: rules.and_then(|rules| rules.days_left(now)),
            per_hour: limits.per_hour,
            total: limits.total,
            left_in_hour: left(limits.per_hour, in_hour),
            left: left(limits.total, all),
            fallback: rules.and_then(|rules| rules.fallback.clone()),
            replaces: rules.and_then(|rules| rules.replaces.clone()),
            blind: rules.is_some_and(|rules| rules.blind),
            warnings: Vec::new(),
        };
        let age = rules.map_or(Age::Fresh, |rules| rules.age(now));
        if matches!(phase, KeyPhase::Enabled | KeyPhase::Ending) {
            key.warnings = warnings(&key, age);
            key.warnings.extend(held.map(|held| away(&held.places())).unwrap_or_default());
        }
        Ok(key)
    }
}

/// What somebody should look at, about a key that signs.
pub(crate) fn warnings(key: &SigningKey, age: Age) -> Vec<String> {
    let mut out = Vec::new();
    let date = key.rotate_by.map(|by| by.to_string()).unwrap_or_default();
    let date = date.get(..10).unwrap_or(&date);
    match (age, key.days_left) {
        (Age::Due, Some(days)) => out.push(format!("rotate it by {date}, in {days} days")),
        (Age::Overdue, _) => out.push(format!("it should have been rotated by {date}")),
        (Age::Expired, _) => {
            out.push(format!("it should have been rotated by {date} and signs nothing any more"));
        }
        _ => {}
    }
    if let (Some(left), Some(total)) = (key.left, key.total)
        && left < total.div_ceil(10)
    {
        out.push(format!("it signs {left} more times of {total}; rotate it"));
    }
    if key.left_in_hour == Some(0) {
        out.push("it has no use left in this hour".to_owned());
    }
    out
}

/// The same, about the hosts that hold it. Why one is away the log says.
fn away(places: &[KeyPlace]) -> Vec<String> {
    let whose = match places.len() {
        1 => "its key host".to_owned(),
        many => format!("one of its {many} key hosts"),
    };
    let away = places.iter().filter(|place| place.away.is_some());
    away.map(|place| format!("{}, {whose}, is away", place.address)).collect()
}

fn most_first(uses: BTreeMap<String, u64>) -> Vec<NamedUses> {
    let mut out: Vec<_> = uses.into_iter().map(|(name, uses)| NamedUses { name, uses }).collect();
    out.sort_by(|one, other| other.uses.cmp(&one.uses).then_with(|| one.name.cmp(&other.name)));
    out
}

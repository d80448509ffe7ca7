//! The `[[key]]` tables of `signing.toml`, and the keyring they make.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use firmseal_fleet::{Environment, Time};
use firmseal_manifest::{KeyAlgorithm, KeyName, ProductId, WordError};
use firmseal_sign::{KeyLimits, KeyPurpose, KeyRules, Keyring, KeyringError, Keys, Rotation, SigningKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{CliError, Kind, Result};
use crate::key_opening::Opening;
use crate::keys::{self, KeyUri};
use crate::place::{KeySet, Place, Signing, delegation, layout};

const DAY: Duration = Duration::from_secs(86_400);
/// How long before its date a key is warned of, unless its table says.
const WARN_DAYS: u16 = 60;

/// A key in a set: the name of a `[[key]]` table, or a URI.
#[derive(Clone, Debug)]
pub enum KeyRef {
    /// A key with a table.
    Name(KeyName),
    /// A key of its own, without rules beyond those of its place.
    Uri(KeyUri),
}

impl KeyRef {
    /// The URI, of a key that has no table.
    pub fn uri(&self) -> Option<&KeyUri> {
        match self {
            KeyRef::Name(_) => None,
            KeyRef::Uri(uri) => Some(uri),
        }
    }
}

impl FromStr for KeyRef {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<KeyRef, String> {
        // A URI has a colon and a name has none.
        match text.contains(':') {
            true => {
                text.parse().map(KeyRef::Uri).map_err(|error: firmseal_keys::KeysError| error.to_string())
            }
            false => text
                .parse()
                .map(KeyRef::Name)
                .map_err(|error: WordError| format!("not a key name: {}; or write a URI", error.why)),
        }
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyRef::Name(name) => name.fmt(f),
            KeyRef::Uri(uri) => uri.fmt(f),
        }
    }
}

impl Serialize for KeyRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A date as people write it: a day, or a day with a time.
#[derive(Clone, Copy, Debug)]
pub struct Date(pub Time);

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Date, String> {
        let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
        whole.parse().map(Date).map_err(|_| format!("`{text}` is not a date; write it as 2027-06-30"))
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A table `[[key]]`: a key with a name and rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyTable {
    /// Its name, for good.
    pub name: KeyName,
    /// Where it is.
    pub uri: KeyUri,
    /// `release` or `artifact`.
    pub purpose: KeyPurpose,
    /// `test` or `production`: that of the root document.
    pub environment: Environment,
    /// The products that it signs for; all of them if absent.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub products: BTreeSet<ProductId>,
    /// What its algorithm has to be, as `keys show` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// The day by which it is rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_by: Option<Date>,
    /// How many days before that it is warned of; 60 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn_days: Option<u16>,
    /// How many days after that it still signs; if absent, policy decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_days: Option<u16>,
    /// How often it may be used in an hour of the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u64>,
    /// How often in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The key that may stand in for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<KeyName>,
    /// The key that it succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<KeyName>,
    /// Whether it signs digests that nobody here derived; never in
    /// production.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blind: bool,
}

impl KeyTable {
    fn rules(&self) -> std::result::Result<KeyRules, String> {
        let algorithm = self.algorithm.as_deref().map(str::parse::<KeyAlgorithm>).transpose();
        let days = |days: u16| DAY * u32::from(days);
        let rotation = match (self.rotate_by, self.warn_days, self.grace_days) {
            (Some(by), warn, grace) => {
                Some(Rotation { by: by.0, warn: days(warn.unwrap_or(WARN_DAYS)), grace: grace.map(days) })
            }
            (None, None, None) => None,
            (None, ..) => return Err("`warn_days` and `grace_days` need `rotate_by`".to_owned()),
        };
        if self.owner.len() > 128 || self.owner.chars().any(char::is_control) {
            return Err("`owner` is at most 128 bytes without control characters".to_owned());
        }
        Ok(KeyRules {
            products: self.products.clone(),
            algorithm: algorithm.map_err(|error| error.to_string())?,
            owner: self.owner.clone(),
            limits: KeyLimits { per_hour: self.per_hour, total: self.total },
            rotation,
            fallback: self.fallback.clone(),
            replaces: self.replaces.clone(),
            blind: self.blind,
            ..KeyRules::new(self.name.clone(), self.purpose, self.environment)
        })
    }
}

/// The keyring of every key that the settings name, opened once each, and
/// which of them sign for which product.
pub fn keyring(
    place: &Place,
    signing: &Signing,
    keys: &Opening,
    environment: Environment,
    gone: &BTreeSet<KeyName>,
) -> Result<Keyring> {
    let settings = place.path(layout::SIGNING);
    let about = |error: CliError, what: &dyn fmt::Display| {
        error.about(format_args!("{}: {what}", settings.display()))
    };
    let ring_error = |error: KeyringError| {
        let own =
            CliError::new(Kind::Refused, error).hint("docs/how-to/keys.md says what a [[key]] table holds");
        own.about(settings.display())
    };
    let mut opened: BTreeMap<KeyName, Arc<SigningKey>> = BTreeMap::new();
    // What was destroyed cannot be opened, and its table may still be there.
    for table in signing.key.iter().filter(|table| !gone.contains(&table.name)) {
        let entry = format!("key `{}`", table.name);
        let rules = table.rules().map_err(|why| about(CliError::new(Kind::Usage, why), &entry))?;
        let signer = keys.open(&table.uri).map_err(|error| about(error, &entry))?;
        let id = signer.dyn_public_key().id();
        let destruction = keys::destruction(&place.own(&table.uri), keys.secret(), id);
        let key = SigningKey::with_destruction(rules, signer, destruction).map_err(ring_error)?;
        if opened.insert(table.name.clone(), key).is_some() {
            return Err(ring_error(KeyringError::NameTwice(table.name.clone())));
        }
    }
    let ring = Keyring::new(environment, opened.values().cloned()).map_err(ring_error)?;

    let mut plain: Vec<(KeyPurpose, KeyUri, Arc<SigningKey>)> = Vec::new();
    let mut find = |reference: &KeyRef, purpose: KeyPurpose| match reference {
        KeyRef::Name(name) => opened.get(name).cloned().ok_or_else(|| {
            let what = match gone.contains(name) {
                true => format!("key `{name}` was destroyed"),
                false => format!("no [[key]] table is called `{name}`"),
            };
            CliError::new(Kind::Usage, what)
                .about(settings.display())
                .hint("name a table, or write a `file:` or `pkcs11:` URI")
        }),
        KeyRef::Uri(uri) => {
            if let Some((.., key)) = plain.iter().find(|(own, known, _)| *own == purpose && known == uri) {
                return Ok(key.clone());
            }
            let signer = keys.open(uri)?;
            let key = SigningKey::implicit(purpose, environment, signer);
            plain.push((purpose, uri.clone(), key.clone()));
            Ok(key)
        }
    };
    let mut set = |set: &KeySet| -> Result<Keys> {
        let delegations = set.delegation.iter().map(|path| delegation(&place.path(path)));
        Ok(Keys {
            delegations: delegations.collect::<Result<_>>()?,
            release: set.release.iter().map(|key| find(key, KeyPurpose::Release)).collect::<Result<_>>()?,
            artifact: set.artifact.as_ref().map(|key| find(key, KeyPurpose::Artifact)).transpose()?,
        })
    };
    let default = set(&signing.keys)?;
    let products = signing.products.iter().map(|(product, own)| Ok((product, set(own)?)));
    let products = products.collect::<Result<Vec<_>>>()?;
    // Keys without a table are looked at beside those with one: a key that
    // has a table is not used without its rules.
    let every = opened.into_values().chain(plain.into_iter().map(|(.., key)| key));
    Keyring::new(environment, every).map_err(ring_error)?;
    let mut ring = ring.with_default(default).map_err(ring_error)?;
    for (product, keys) in products {
        ring = ring.with_product(product.clone(), keys).map_err(ring_error)?;
    }
    Ok(ring)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_holds() {
        let text = r#"
            name = "router-2026"
            uri = "pkcs11:token=hsm;object=router"
            purpose = "artifact"
            environment = "production"
            products = ["router"]
            algorithm = "p256"
            owner = "boot team"
            rotate_by = "2027-06-30"
            grace_days = 14
        "#;
        let rules = toml::from_str::<KeyTable>(text).unwrap().rules().unwrap();
        assert_eq!(rules.algorithm, Some(KeyAlgorithm::P256));
        let by = "2027-06-30T00:00:00Z".parse().unwrap();
        assert_eq!(rules.rotation, Some(Rotation { by, warn: 60 * DAY, grace: Some(14 * DAY) }));
        for (more, why) in [
            ("limit = 5", "unknown field"),
            ("warn_days = -1", "u16"),
            ("blind = \"yes\"", "boolean"),
            ("fallback = \"../x\"", "key name"),
        ] {
            let error = toml::from_str::<KeyTable>(&format!("{text}\n{more}")).unwrap_err().to_string();
            assert!(error.contains(why), "{more}: {error}");
        }
        let dateless = text.replace("rotate_by", "#").replace("owner = ", "# ");
        assert!(toml::from_str::<KeyTable>(&dateless).unwrap().rules().unwrap_err().contains("rotate_by"));
        let undated = text.replace("2027-06-30", "next year");
        assert!(toml::from_str::<KeyTable>(&undated).unwrap_err().to_string().contains("2027-06-30"));
    }

    #[test]
    fn a_set_names_tables_and_uris() {
        assert!(matches!("router".parse(), Ok(KeyRef::Name(_))));
        assert!(matches!("file:keys/a.pem".parse(), Ok(KeyRef::Uri(_))));
        for bad in ["", "Router", "a/b", "file:"] {
            assert!(bad.parse::<KeyRef>().is_err(), "{bad}");
        }
    }
}

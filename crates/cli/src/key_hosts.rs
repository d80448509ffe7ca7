//! Key hosts of a place: the `[[keyhost]]` tables of `signing.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use firmseal_fleet::Environment;
use firmseal_keyhost::{ConnectError, Connection, KeyHostUri};
use firmseal_keys::{DynSigner, SecretSource};
use firmseal_manifest::KeyName;
use firmseal_store_local::IntentLog;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{CliError, Kind, Result, file};
use crate::keys::{self, KeyUri};
use crate::place::{Place, Signing, layout};

/// A table `[[keyhost]]`: where a key host is, and how it knows us.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyHostRow {
    /// What key URIs call it.
    pub name: KeyName,
    /// Its address, `https://...`, or those of several hosts that hold the
    /// same keys.
    #[serde(deserialize_with = "one_or_several")]
    pub url: Vec<String>,
    /// Its certificate, or the authority that vouches for it, PEM.
    pub authority: PathBuf,
    /// Our certificate, PEM.
    pub certificate: PathBuf,
    /// Our key, PEM.
    pub key: PathBuf,
}

fn one_or_several<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "an address, or a list of addresses")]
    enum Addresses {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Addresses::deserialize(from)? {
        Addresses::One(address) => vec![address],
        Addresses::Several(addresses) => addresses,
    })
}

/// The key hosts of a place, none of them asked yet.
pub struct KeyHosts {
    hosts: BTreeMap<KeyName, Connection>,
    environment: Environment,
}

impl KeyHosts {
    /// Those of the settings, for keys whose uses stand in this log.
    pub fn of(
        place: &Place,
        signing: &Signing,
        log: &IntentLog,
        environment: Environment,
    ) -> Result<KeyHosts> {
        let mut hosts = BTreeMap::new();
        for row in &signing.hosts {
            let about = |error: CliError| {
                error.about(format_args!(
                    "{}: key host `{}`",
                    place.path(layout::SIGNING).display(),
                    row.name
                ))
            };
            let read = |path: &PathBuf| {
                let path = place.path(path);
                std::fs::read(&path).map_err(file(&path)).map_err(about)
            };
            let (authority, certificate) = (read(&row.authority)?, read(&row.certificate)?);
            let path = place.path(&row.key);
            let key = firmseal_keys::private::read(&path).map_err(|error| about(error.into()))?;
            let identity = (certificate.as_slice(), key.as_slice());
            let connection = Connection::new(&row.url, &authority, identity, log.clone(), Default::default())
                .map_err(|error| about(error.into()))?;
            if hosts.insert(row.name.clone(), connection).is_some() {
                return Err(about(CliError::new(Kind::Usage, "it stands there twice")));
            }
        }
        Ok(KeyHosts { hosts, environment })
    }

    /// What opens the keys of the place, wherever they are.
    pub fn opener(self, secret: SecretSource) -> KeyOpener {
        KeyOpener { secret, hosts: self }
    }

    fn open(&self, uri: &KeyHostUri) -> Result<Arc<dyn DynSigner>> {
        let host = self.hosts.get(&uri.host).ok_or_else(|| {
            CliError::new(Kind::Usage, format_args!("no [[keyhost]] table is called `{}`", uri.host))
                .hint("docs/how-to/key-host.md says what it holds")
        })?;
        Ok(Arc::new(firmseal_keyhost::open(host, &uri.key, self.environment)?))
    }
}

/// Opens the keys of a place.
pub struct KeyOpener {
    secret: SecretSource,
    hosts: KeyHosts,
}

impl KeyOpener {
    /// Opens a key.
    pub fn open(&self, uri: &KeyUri) -> Result<Arc<dyn DynSigner>> {
        match uri.of::<KeyHostUri>() {
            Some(uri) => self.hosts.open(uri),
            None => keys::open(uri, &self.secret),
        }
    }

    /// Where secrets come from.
    pub fn secret(&self) -> &SecretSource {
        &self.secret
    }
}

impl From<ConnectError> for CliError {
    fn from(error: ConnectError) -> CliError {
        let kind = match &error {
            ConnectError::Outbound(_) | ConnectError::NoAnswer(_) => Kind::Unavailable,
            ConnectError::NotPrivate | ConnectError::NoAddress | ConnectError::Twice(_) => Kind::Usage,
            ConnectError::Host { .. } | ConnectError::Different { .. } | ConnectError::Key(_) => {
                Kind::Refused
            }
        };
        CliError::new(kind, error)
    }
}

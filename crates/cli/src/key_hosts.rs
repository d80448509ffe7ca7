//! Key hosts of a place: the `[[keyhost]]` tables of `signing.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use firmseal_fleet::Environment;
use firmseal_keyhost::{ConnectError, Connection, KeyHostUri};
use firmseal_keys::{BackendError, DynSigner, Fault, SecretSource, SignError};
use firmseal_manifest::KeyName;
use firmseal_store_local::IntentLog;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{CliError, Kind, Result, file};
use crate::keys::KeyUri;
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

/// Opens keys, wherever they are.
pub struct KeyOpener {
    secret: SecretSource,
    hosts: KeyHosts,
}

/// Why a key is not open.
pub struct NotOpen {
    /// What happened.
    pub error: CliError,
    /// Whether its PIN was refused, which is not offered again.
    is_pin: bool,
}

impl KeyOpener {
    /// Opens a key.
    pub fn open(&self, uri: &KeyUri) -> std::result::Result<Arc<dyn DynSigner>, NotOpen> {
        if let Some(uri) = uri.of::<KeyHostUri>() {
            return Ok(self.hosts.open(uri)?);
        }
        uri.home().map_err(CliError::from)?.open(&self.secret).map_err(|error| NotOpen {
            is_pin: matches!(error, BackendError::Told { fault: Fault::WrongPin, .. }),
            error: error.into(),
        })
    }

    /// Whether a server may begin before this key is there: nobody types its
    /// secret then, and it is kept where it can be away.
    pub fn may_wait(&self, uri: &KeyUri) -> bool {
        uri.home().is_ok_and(|home| !home.is_development_only() && !home.asks_a_person(&self.secret))
    }

    /// Where secrets come from.
    pub fn secret(&self) -> &SecretSource {
        &self.secret
    }
}

impl From<CliError> for NotOpen {
    fn from(error: CliError) -> NotOpen {
        NotOpen { error, is_pin: false }
    }
}

impl From<NotOpen> for CliError {
    fn from(not_open: NotOpen) -> CliError {
        not_open.error
    }
}

impl From<NotOpen> for SignError {
    fn from(NotOpen { error, is_pin }: NotOpen) -> SignError {
        match error.kind {
            _ if is_pin => SignError::WrongPin,
            Kind::NotAllowed => SignError::Denied(error.message),
            _ => SignError::Unavailable(error.message),
        }
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

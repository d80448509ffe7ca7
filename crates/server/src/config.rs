//! Configuration: a TOML file, checked before anything starts.
//!
//! Unknown keys are errors: a misspelt `check_remote_host` that is silently
//! ignored would leave a door open.

mod limits;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use firmseal_fleet::{Role, Scope};
use firmseal_identity::IdentitySettings;
use firmseal_notify::{NotifyError, SinkSettings};
use serde::Deserialize;

use crate::app::NamedOperator;
use crate::tasks::notices::Receiver;
use crate::tls::{Door, HostRule, TlsSettings};

pub use limits::{Limits, ListenerLimits};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {why}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct ConfigError {
    /// The configuration file.
    pub file: PathBuf,
    /// The line, where one is to blame.
    pub line: Option<usize>,
    /// What is wrong.
    pub why: String,
    /// What to do about it.
    pub hint: String,
}

/// What a listener serves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serves {
    /// The operators' API, metrics and readiness.
    Operator,
    /// Enrolment, polls and payloads for devices.
    Device,
    /// Reading what is published, for anybody.
    Public,
    /// Signing, for servers: of a key host, which has nothing else.
    Signing,
}

impl Serves {
    /// The word in configuration, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Serves::Operator => "operator",
            Serves::Device => "device",
            Serves::Public => "public",
            Serves::Signing => "signing",
        }
    }
}

/// One listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// What it serves.
    pub serves: Serves,
    /// The address it listens on.
    #[serde(default = "loopback")]
    pub address: IpAddr,
    /// The port, 1 to 65535.
    pub port: u16,
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Demand client certificates that `authority` vouches for. Without it
    /// the connection is encrypted only.
    #[serde(default)]
    pub validate_client_certificates: bool,
    /// PEM file of certificate authorities or chosen client certificates.
    /// For devices, the device CA.
    pub authority: Option<PathBuf>,
    /// Admit only these common names, alternative names or `*.domains`.
    #[serde(default)]
    pub check_remote_host: Vec<String>,
}

fn loopback() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

/// An operator who is known by a name in a client certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateOperator {
    /// A common name, DNS name or IP address, as it stands there.
    pub name: String,
    /// What it allows.
    pub roles: BTreeSet<Role>,
    /// The team that answers for it.
    pub team: Option<String>,
    /// What it is confined to; everything is open without it.
    #[serde(default)]
    pub scope: Scope,
}

/// The device CA.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceCaFiles {
    /// Its certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Days that a device certificate is valid.
    #[serde(default = "ninety")]
    pub valid_days: u32,
}

fn ninety() -> u32 {
    90
}

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether the process gives up to change files elsewhere than in its
    /// place and below `writable`, and to start programs.
    #[serde(default)]
    pub confine: bool,
    /// Directories that change besides its own: where a module keeps tokens.
    #[serde(default)]
    pub writable: Vec<PathBuf>,
    /// The listeners.
    pub listener: Vec<Listener>,
    /// Operators who are known by their client certificate.
    #[serde(default)]
    pub operator: Vec<CertificateOperator>,
    /// Identity providers whose tokens are taken.
    #[serde(default)]
    pub identity: Vec<IdentitySettings>,
    /// The device CA.
    pub device_ca: DeviceCaFiles,
    /// What bounds callers.
    #[serde(default)]
    pub limits: Limits,
    /// Who is told what is put on record.
    #[serde(default)]
    pub notify: Vec<SinkSettings>,
    /// Where the file is: paths in it are relative to this.
    #[serde(skip)]
    pub base: PathBuf,
}

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to it.
    pub fn read(file: &Path) -> Result<Config, ConfigError> {
        let text = fs::read_to_string(file).map_err(|err| ConfigError {
            file: file.to_owned(),
            line: None,
            why: match err.kind() {
                std::io::ErrorKind::InvalidData => "this is not UTF-8 text".to_owned(),
                _ => format!("cannot be read: {err}"),
            },
            hint: "give the file that `firmseal init` wrote, or make its reader its owner".to_owned(),
        })?;
        Config::parse(file, &text)
    }

    /// Checks a text as if it stood in a file.
    pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
        let mut config: Config = toml::from_str(text).map_err(|err| ConfigError {
            file: file.to_owned(),
            line: err.span().map(|span| line_of(text, span.start)),
            why: err.message().to_owned(),
            hint: hint_for(err.message()).to_owned(),
        })?;
        let base = file.parent().unwrap_or(Path::new(""));
        for listener in &mut config.listener {
            for path in
                [&mut listener.certificate, &mut listener.key].into_iter().chain(&mut listener.authority)
            {
                *path = base.join(&*path);
            }
        }
        for identity in &mut config.identity {
            identity.authority = base.join(&identity.authority);
        }
        config.device_ca.certificate = base.join(&config.device_ca.certificate);
        config.device_ca.key = base.join(&config.device_ca.key);
        for path in &mut config.writable {
            *path = base.join(&*path);
        }
        config.base = base.to_owned();
        config.check(file, text)?;
        Ok(config)
    }

    fn check(&self, file: &Path, text: &str) -> Result<(), ConfigError> {
        let tables: Vec<usize> = text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.trim_start().starts_with("[[listener]]"))
            .map(|(index, _)| index + 1)
            .collect();
        if self.listener.is_empty() {
            return Err(ConfigError {
                file: file.to_owned(),
                line: None,
                why: "there is no listener".to_owned(),
                hint: "add a [[listener]] with serves, port, certificate and key".to_owned(),
            });
        }
        if !self.confine && !self.writable.is_empty() {
            return Err(ConfigError {
                file: file.to_owned(),
                line: text
                    .lines()
                    .position(|line| line.trim_start().starts_with("writable"))
                    .map(|at| at + 1),
                why: "writable has no effect without confinement".to_owned(),
                hint: "write confine = true, or leave it out".to_owned(),
            });
        }
        if let Some(name) = self.limits.unusable() {
            return Err(ConfigError {
                file: file.to_owned(),
                line: text.lines().position(|line| line.trim_start().starts_with(name)).map(|line| line + 1),
                why: format!("limits: {name} = 0 would let nothing through"),
                hint: "leave it out to get the default".to_owned(),
            });
        }
        for identity in &self.identity {
            identity.check().map_err(|err| ConfigError {
                file: file.to_owned(),
                line: text.lines().position(|line| line.contains(&identity.issuer)).map(|line| line + 1),
                why: format!("identity provider {}: {err}", identity.issuer),
                hint: err.hint.to_owned(),
            })?;
        }
        self.check_operators().map_err(|(name, why, hint)| ConfigError {
            file: file.to_owned(),
            line: text.lines().position(|line| line.contains(&format!("\"{name}\""))).map(|line| line + 1),
            why: format!("operator `{name}`: {why}"),
            hint: hint.to_owned(),
        })?;
        let mut names = BTreeSet::new();
        if let Some(twice) = self.notify.iter().find(|receiver| !names.insert(&receiver.name)) {
            return Err(ConfigError {
                file: file.to_owned(),
                line: text.lines().position(|line| line.trim() == "[[notify]]").map(|line| line + 1),
                why: format!("two receivers of notices are called `{}`", twice.name),
                hint: "what each was told is kept by its name: give each its own".to_owned(),
            });
        }
        for (index, listener) in self.listener.iter().enumerate() {
            if listener.serves == Serves::Signing {
                return Err(ConfigError {
                    file: file.to_owned(),
                    line: tables.get(index).copied(),
                    why: "a server does not serve signing; a key host does".to_owned(),
                    hint: "`firmseal keyhost init` makes one; see docs/how-to/key-host.md".to_owned(),
                });
            }
            listener.check().map_err(|(why, hint)| ConfigError {
                file: file.to_owned(),
                line: tables.get(index).copied(),
                why: format!("the {} listener: {why}", listener.serves.as_str()),
                hint: hint.to_owned(),
            })?;
        }
        Ok(())
    }
}

impl Config {
    fn check_operators(&self) -> Result<(), (String, &'static str, &'static str)> {
        let mut seen = BTreeSet::new();
        let checked = |listener: &Listener| {
            listener.serves == Serves::Operator && listener.validate_client_certificates
        };
        for CertificateOperator { name, roles, .. } in &self.operator {
            let fail = |why, hint| Err((name.clone(), why, hint));
            if name.parse::<HostRule>().is_err() || name.contains('*') {
                return fail("not a name", "write one common name, DNS name or IP address, without `*`");
            }
            if roles.is_empty() {
                return fail("no role", "give it roles: auditor, signer, approver, operator, officer, admin");
            }
            if !seen.insert(name.to_ascii_lowercase()) {
                return fail("named twice", "put all its roles into one entry");
            }
            if !self.listener.iter().any(checked) {
                return fail(
                    "no listener for operators asks for certificates",
                    "set validate_client_certificates = true and an authority file on one",
                );
            }
        }
        Ok(())
    }

    /// Opens the receivers of notices.
    pub(crate) fn receivers(&self) -> Result<Vec<Receiver>, NotifyError> {
        let open = |settings: &SinkSettings| {
            Ok(Receiver { sink: settings.open(&self.base)?, settings: settings.clone() })
        };
        self.notify.iter().map(open).collect()
    }

    /// The operators that are known by a certificate.
    pub(crate) fn named_operators(&self) -> impl Iterator<Item = NamedOperator> + '_ {
        self.operator.iter().map(|operator| NamedOperator {
            name: operator.name.clone(),
            roles: operator.roles.clone(),
            team: operator.team.clone(),
            scope: operator.scope.clone(),
        })
    }
}

impl Listener {
    /// The checks that one listener passes by itself; what is wrong, and a
    /// hint.
    pub(crate) fn check(&self) -> Result<(), (String, &'static str)> {
        if self.port == 0 {
            return Err(("port 0 is not a port to be found at".to_owned(), "choose a port from 1 to 65535"));
        }
        match self.serves {
            Serves::Device if self.validate_client_certificates || !self.check_remote_host.is_empty() => Err((
                "validate_client_certificates and check_remote_host are for operators and the public".to_owned(),
                "leave them out: devices always need a certificate of the device CA",
            )),
            Serves::Device => Ok(()),
            Serves::Signing if !self.validate_client_certificates => Err((
                "whoever reaches a key host may ask it for signatures".to_owned(),
                "set validate_client_certificates = true and authority to the servers' certificates",
            )),
            _ if self.validate_client_certificates && self.authority.is_none() => Err((
                "validate_client_certificates needs an authority file".to_owned(),
                "set authority to a PEM file of authorities or chosen client certificates",
            )),
            _ if !self.validate_client_certificates && self.authority.is_some() => Err((
                "an authority file has no effect without validate_client_certificates".to_owned(),
                "set validate_client_certificates = true, or leave authority out",
            )),
            _ if !self.validate_client_certificates && !self.check_remote_host.is_empty() => Err((
                "check_remote_host needs validate_client_certificates: names nobody checked are worth nothing"
                    .to_owned(),
                "set validate_client_certificates = true and an authority file",
            )),
            _ => self.rules().map(|_| ()).map_err(|err| (err.to_string(), "write `host.example.com` or `*.example.com`")),
        }
    }

    fn rules(&self) -> Result<Vec<HostRule>, crate::tls::TlsError> {
        self.check_remote_host.iter().map(|rule| rule.parse()).collect()
    }

    /// Where it listens.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// Its TLS settings. The device CA stands in where a device listener
    /// names no authority of its own.
    pub(crate) fn tls(&self, device_ca: &Path) -> Result<TlsSettings, crate::tls::TlsError> {
        let door = match (self.serves, &self.authority) {
            (Serves::Device, authority) => {
                Door::Devices { authority: authority.clone().unwrap_or_else(|| device_ca.to_owned()) }
            }
            (_, Some(authority)) if self.validate_client_certificates => {
                Door::Operators { authority: authority.clone(), hosts: self.rules()? }
            }
            _ => Door::EncryptedOnly,
        };
        Ok(TlsSettings { certificate: self.certificate.clone(), key: self.key.clone(), door })
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn hint_for(message: &str) -> &'static str {
    if message.contains("unknown variant `viewer`") {
        "the role that was called viewer is auditor, and approver for whoever brings approvals"
    } else if message.contains("unknown variant `engineer`") {
        "the role that was called engineer is signer"
    } else if message.contains("unknown field") || message.contains("unknown variant") {
        "check the spelling; nothing that is unknown is ignored"
    } else if message.contains("missing field") {
        "add it; `firmseal init` writes a complete file to compare with"
    } else if message.contains("u16") {
        "a port is a number from 1 to 65535"
    } else {
        "compare with the file that `firmseal init` writes"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
[[listener]]
serves = \"operator\"
port = 8443
certificate = \"server.pem\"
key = \"server.key\"

[device_ca]
certificate = \"ca.pem\"
key = \"ca.key\"
";

    fn why(text: &str) -> String {
        match Config::parse(Path::new("/etc/firmseal/server.toml"), text) {
            Ok(_) => "fine".to_owned(),
            Err(err) => format!("{err} | {}", err.hint),
        }
    }

    #[test]
    fn mistakes_are_named_with_file_line_and_hint() {
        assert_eq!(why(GOOD), "fine");
        for (from, to, want) in [
            ("8443", "0", "server.toml, line 2: the operator listener: port 0"),
            ("8443", "65536", "line 4"),
            ("8443", "65536", "1 to 65535"),
            ("8443", "-1", "1 to 65535"),
            ("port", "prot", "unknown field `prot`"),
            ("\"operator\"", "\"robots\"", "unknown variant `robots`"),
            ("key = \"server.key\"", "", "missing field `key`"),
            ("port = 8443", "port = 8443\nvalidate_client_certificates = true", "authority file"),
            ("port = 8443", "port = 8443\nauthority = \"x\"", "has no effect"),
            ("port = 8443", "port = 8443\ncheck_remote_host = [\"a\"]", "nobody checked"),
            (
                "port = 8443",
                "port = 8443\nvalidate_client_certificates = true\nauthority = \"x\"\ncheck_remote_host = [\"a.*\"]",
                "only at the beginning",
            ),
            ("[[listener]]", "[[listner]]", "unknown field `listner`"),
            ("[[listener]]", "writable = [\"x\"]\n[[listener]]", "line 2: writable has no effect"),
            ("[device_ca]", "[limits]\nconnections = 0\n[device_ca]", "line 9: limits: connections = 0"),
            ("port = 8443", "port = ", "line 4"),
            (
                "[device_ca]",
                "[[operator]]\nname = \"ci\"\nroles = [\"auditor\"]\n[device_ca]",
                "asks for certificates",
            ),
            (
                "[device_ca]",
                "[[operator]]\nname = \"ci\"\nroles = [\"auditor\"]\n[device_ca]",
                "line 9: operator `ci`",
            ),
            (
                "[device_ca]",
                "[[operator]]\nname = \"ci\"\nroles = [\"king\"]\n[device_ca]",
                "unknown variant `king`",
            ),
            ("[device_ca]", "[[operator]]\nname = \"ci\"\nroles = [\"viewer\"]\n[device_ca]", "is auditor"),
            ("[device_ca]", "[[operator]]\nname = \"ci\"\nroles = [\"engineer\"]\n[device_ca]", "is signer"),
            ("[device_ca]", "[[operator]]\nname = \"ci\"\nroles = []\n[device_ca]", "no role"),
            (
                "[device_ca]",
                "[[operator]]\nname = \"*.ci\"\nroles = [\"auditor\"]\n[device_ca]",
                "not a name",
            ),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert!(why(&text).contains(want), "{want:?} not in {:?}", why(&text));
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = Config::parse(Path::new("/etc/firmseal/server.toml"), GOOD);
        let certificate = config.ok().map(|config| config.listener[0].certificate.clone());
        assert_eq!(certificate, Some(PathBuf::from("/etc/firmseal/server.pem")));
    }
}

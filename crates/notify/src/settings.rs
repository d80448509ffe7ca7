//! Settings: who is told of what.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use firmseal_fleet::audit::AuditAction;
use firmseal_keys::{Secret, SecretSource};
use firmseal_outbound::Endpoint;
use serde::Deserialize;

use crate::error::NotifyError;
use crate::mail::{Mail, Relay};
use crate::sink::Sink;
use crate::syslog::Syslog;
use crate::webhook::{self, Webhook};

/// A receiver, as a `[[notify]]` table names it; where it is stands in
/// `[notify.to.webhook]`, `[notify.to.syslog]` or `[notify.to.mail]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkSettings {
    /// Its name: positions and metrics go by it.
    pub name: String,
    /// What it is told; everything if absent.
    #[serde(default)]
    pub actions: BTreeSet<AuditAction>,
    /// Where it is.
    pub to: To,
}

/// Where a receiver is.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum To {
    /// An HTTPS address.
    Webhook {
        /// The address.
        url: String,
        /// Authorities of its certificate, PEM.
        authority: PathBuf,
        /// Where the shared secret comes from.
        secret: String,
    },
    /// A syslog receiver.
    Syslog {
        /// `tls://host:port` or `tcp://host:port`.
        url: String,
        /// Authorities of its certificate, PEM; for `tls`.
        authority: Option<PathBuf>,
        /// The name of this service in messages.
        origin: String,
    },
    /// An e-mail relay.
    Mail {
        /// `smtp://host:port`.
        url: String,
        /// Authorities of its certificate, PEM; may be absent for a relay on
        /// this machine.
        authority: Option<PathBuf>,
        /// The sender.
        from: String,
        /// The receivers.
        to: Vec<String>,
        /// The user to log in as.
        user: Option<String>,
        /// Where the password comes from.
        secret: Option<String>,
    },
}

impl SinkSettings {
    /// Whether it wants to hear of this.
    pub fn wants(&self, action: AuditAction) -> bool {
        self.actions.is_empty() || self.actions.contains(&action)
    }

    /// Opens the receiver. Relative paths are relative to `base`; nothing is
    /// sent yet.
    pub fn open(&self, base: &Path) -> Result<Box<dyn Sink>, NotifyError> {
        let name = self.name.as_str();
        let wrong = |why: String| NotifyError::Settings { sink: name.to_owned(), why };
        let pem = |path: &PathBuf| {
            let path = base.join(path);
            std::fs::read(&path).map_err(|error| wrong(format!("{}: {error}", path.display())))
        };
        let secret = |text: &str| -> Result<Secret, NotifyError> {
            let source = match text.parse::<SecretSource>()? {
                SecretSource::File(path) => SecretSource::File(base.join(path)),
                other => other,
            };
            Ok(source.read(&format!("secret of `{name}`"))?)
        };
        Ok(match &self.to {
            To::Webhook { url, authority, secret: source } => {
                let (host, path) = split(url).ok_or_else(|| wrong(format!("`{url}` is no address")))?;
                let endpoint = Endpoint::new(host, Some(&pem(authority)?), webhook::DEADLINE)?;
                Box::new(Webhook::new(name, endpoint, path, &secret(source)?)?)
            }
            To::Syslog { url, authority, origin } => {
                // RFC 5424 §6.2.4: printable ASCII without spaces.
                if origin.is_empty()
                    || origin.len() > 255
                    || !origin.bytes().all(|byte| byte.is_ascii_graphic())
                {
                    return Err(wrong("origin is a host name".to_owned()));
                }
                let (scheme, host, port) = address(url).ok_or_else(|| {
                    wrong(format!("`{url}` is no syslog address; write tls://host:6514 or tcp://host:601"))
                })?;
                let tls = match (scheme, authority) {
                    ("tls", Some(path)) => Some(connector(&pem(path)?).map_err(wrong)?),
                    ("tls", None) => {
                        return Err(wrong(
                            "tls needs the authority of the receiver's certificate".to_owned(),
                        ));
                    }
                    ("tcp", None) => None,
                    ("tcp", Some(_)) => return Err(wrong("an authority has no effect on tcp://".to_owned())),
                    _ => return Err(wrong(format!("`{url}` begins with tls:// or tcp://"))),
                };
                Box::new(Syslog::new(name, host, port, tls, origin))
            }
            To::Mail { url, authority, from, to, user, secret: source } => {
                let Some(("smtp", host, port)) = address(url) else {
                    return Err(wrong(format!("`{url}` is no relay; write smtp://host:587")));
                };
                let authorities = authority.as_ref().map(pem).transpose()?;
                let password = source.as_deref().map(secret).transpose()?;
                let login = match (user, &password) {
                    (Some(user), Some(password)) => Some((user.as_str(), password)),
                    (None, None) => None,
                    _ => return Err(wrong("user and secret go together".to_owned())),
                };
                let relay = Relay { host, port, authorities: authorities.as_deref(), login };
                Box::new(Mail::new(name, from, to, relay)?)
            }
        })
    }
}

/// `https://host:port` and the path behind it.
fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.find("://")? + 3;
    Some(match url[rest..].find('/') {
        Some(slash) => url.split_at(rest + slash),
        None => (url, ""),
    })
}

/// `scheme://host:port`.
fn address(url: &str) -> Option<(&str, &str, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((scheme, host, port.parse().ok().filter(|port| *port > 0)?)).filter(|_| !host.is_empty())
}

fn connector(pem: &[u8]) -> Result<tokio_rustls::TlsConnector, String> {
    firmseal_outbound::connector(pem, None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_whole() {
        assert_eq!(split("https://siem.example/hooks/a?b"), Some(("https://siem.example", "/hooks/a?b")));
        assert_eq!(split("https://siem.example:8443"), Some(("https://siem.example:8443", "")));
        assert_eq!(split("siem.example"), None);
        assert_eq!(address("tls://[::1]:6514"), Some(("tls", "::1", 6514)));
        for bad in ["tls://host", "tls://host:0", "tls://:6514", "host:6514", "tls://host:99999"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}

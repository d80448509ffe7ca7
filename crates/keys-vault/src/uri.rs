//! Keys in HashiCorp Vault or OpenBao:
//! `vault:https://HOST[:PORT]/MOUNT/keys/NAME?version=N&ca-file=PATH`.
//!
//! The path is that of Vault's API without `/v1`. The version is part of the
//! name: each version of a transit key is a key pair of its own, and a
//! rotation must not change what a configuration means.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use firmseal_keys::uri_options::{Options, fail, write};
use firmseal_keys::{KeysError, SecretSource};

const KIND: &str = "vault";

/// A parsed Vault URI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VaultUri {
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// 443 unless the URI says otherwise.
    pub port: u16,
    /// Where the transit engine is mounted.
    pub mount: String,
    /// The key.
    pub name: String,
    /// The version of the key, from 1.
    pub version: u32,
    /// The namespace, of Vault Enterprise and OpenBao.
    pub namespace: Option<String>,
    /// The authorities that Vault's certificate is checked against, in PEM.
    /// Public ones are not assumed: whoever gets a certificate for the name
    /// would get the token.
    pub authorities: PathBuf,
    /// Where the token comes from.
    pub token: Option<SecretSource>,
}

impl VaultUri {
    /// `https://host:port`, as it is shown.
    pub fn address(&self) -> String {
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        match self.host.contains(':') {
            true => format!("https://[{}]{port}", self.host),
            false => format!("https://{}{port}", self.host),
        }
    }
}

impl FromStr for VaultUri {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<VaultUri, KeysError> {
        let fail = |why: &str| fail(KIND, why);
        let (name, mut options) = Options::split(KIND, text)?;
        let Some(rest) = name.strip_prefix("vault:https://") else {
            return fail("it begins with `vault:https://`");
        };
        let Some((authority, path)) = rest.split_once('/') else {
            return fail("the path is `/MOUNT/keys/NAME`");
        };
        let (host, port) = match host_and_port(authority) {
            Some(found) => found,
            None => return fail("the host is a name or an address, with a port if it is not 443"),
        };
        let (mount, name) = match path.rsplit_once("/keys/") {
            Some((mount, name)) if is_path(mount) && is_segment(name) => (mount, name),
            _ => return fail("the path is `/MOUNT/keys/NAME`, without `/v1`"),
        };
        if mount == "v1" || mount.starts_with("v1/") {
            return fail("the path is `/MOUNT/keys/NAME`, without `/v1`");
        }
        let Some(version) = options.text("version").map(version) else {
            return fail("`version=` says which key pair of the key; see `vault read`");
        };
        let Some(version) = version else { return fail("`version` is a number from 1") };
        let namespace = options.text("namespace");
        if namespace.is_some_and(|namespace| !is_path(namespace)) {
            return fail("`namespace` is a path without a slash at either end");
        }
        let Some(authorities) = options.path("ca-file")? else {
            return fail("`ca-file=` names the authorities that vault's certificate is checked against");
        };
        let token = options.source("token-source")?;
        options.end("version, namespace, ca-file and token-source")?;
        Ok(VaultUri {
            host,
            port,
            mount: mount.to_owned(),
            name: name.to_owned(),
            version,
            namespace: namespace.map(str::to_owned),
            authorities,
            token,
        })
    }
}

fn host_and_port(authority: &str) -> Option<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (address, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_name = |host: &str| {
        !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
    };
    if !is_name(host) && !authority.starts_with('[') {
        return None;
    }
    let port = match port {
        None => 443,
        Some(digits) => u16::try_from(version(digits)?).ok()?,
    };
    Some((host.to_owned(), port))
}

/// A number from 1, in one spelling.
fn version(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if plain { digits.parse().ok() } else { None }
}

fn is_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !text.is_empty() && text.bytes().all(plain) && !matches!(text, "." | "..")
}

fn is_path(text: &str) -> bool {
    text.split('/').all(is_segment)
}

impl fmt::Display for VaultUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vault:{}/{}/keys/{}", self.address(), self.mount, self.name)?;
        write(
            f,
            &[
                ("version", Some(self.version.to_string())),
                ("namespace", self.namespace.clone()),
                ("ca-file", Some(self.authorities.display().to_string())),
                ("token-source", self.token.as_ref().map(SecretSource::to_string)),
            ],
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_has_one_spelling() {
        for text in [
            "vault:https://vault.example:8200/transit/keys/release?version=3&ca-file=/etc/ca.pem",
            "vault:https://10.0.0.7/a/b/keys/r.1?version=1&namespace=team/fw&ca-file=/c&token-source=file:/t",
            "vault:https://[::1]:8200/transit/keys/keys?version=1&ca-file=/c&token-source=env:VAULT_TOKEN",
        ] {
            assert_eq!(text.parse::<VaultUri>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_no_value_repeated() {
        for (bad, says) in [
            ("vault:http://h/transit/keys/k?version=1&ca-file=/c", "https"),
            ("vault:https://h", "/MOUNT/keys/NAME"),
            ("vault:https://h/transit/k?version=1&ca-file=/c", "/MOUNT/keys/NAME"),
            ("vault:https://h/keys/k?version=1&ca-file=/c", "/MOUNT/keys/NAME"),
            ("vault:https://h/v1/transit/keys/k?version=1&ca-file=/c", "without `/v1`"),
            ("vault:https://h/a/../keys/k?version=1&ca-file=/c", "/MOUNT/keys/NAME"),
            ("vault:https://h/a//keys/k?version=1&ca-file=/c", "/MOUNT/keys/NAME"),
            ("vault:https://s.123456@h/t/keys/k?version=1&ca-file=/c", "host"),
            ("vault:https://h:0/t/keys/k?version=1&ca-file=/c", "host"),
            ("vault:https://[h]/t/keys/k?version=1&ca-file=/c", "host"),
            ("vault:https://h/t/keys/k?ca-file=/c", "`version=`"),
            ("vault:https://h/t/keys/k?version=0&ca-file=/c", "from 1"),
            ("vault:https://h/t/keys/k?version=+1&ca-file=/c", "from 1"),
            ("vault:https://h/t/keys/k?version=latest&ca-file=/c", "from 1"),
            ("vault:https://h/t/keys/k?version=1", "`ca-file=`"),
            ("vault:https://h/t/keys/k?version=1&ca-file=ca.pem", "absolute"),
            ("vault:https://h/t/keys/k?version=1&ca-file=/c&token=s.123456", "no option `token`"),
            ("vault:https://h/t/keys/k?version=1&ca-file=/c&token-source=s.123456", "file:PATH"),
            ("vault:https://h/t/keys/k?version=1&version=1&ca-file=/c", "twice"),
            ("vault:https://h/t/keys/k?version=1&ca-file=/c&namespace=/a", "`namespace`"),
            ("vault:https://h/t/keys/k?version=1&ca-file=/c&", "name=value"),
            ("vault:https://h/t/keys/%6b?version=1&ca-file=/c", "no escapes"),
            ("vault:https://h/t/keys/k?version=1&ca-file=/c&s.123456=1", "no option `…`"),
        ] {
            let error = bad.parse::<VaultUri>().unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
            assert!(!error.contains("123456"), "{error}");
        }
    }
}

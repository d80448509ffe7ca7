//! The configuration: a small TOML file, named in an environment variable.

use std::path::{Path, PathBuf};

use firmseal_manifest::{ChannelName, KeyName, ProductId};
use serde::Deserialize;

use crate::fault::{Fault, Result};

/// The variable that names the file.
pub const VARIABLE: &str = "FIRMSEAL_PKCS11_CONFIG";
/// The variable with a token, where the file names none.
const TOKEN: &str = "FIRMSEAL_TOKEN";

/// Which service, as whom, and which of its keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its address, `https://HOST:PORT`.
    pub server: String,
    /// Authorities that vouch for it, PEM.
    pub authority: PathBuf,
    /// File with the token, readable by its owner only; without one the token
    /// stands in `FIRMSEAL_TOKEN`.
    #[serde(default)]
    token: Option<PathBuf>,
    /// The keys that are shown; every one that the token may see, if none is
    /// named.
    #[serde(default)]
    pub key: Vec<KeyRow>,
}

/// A key: `[[key]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRow {
    /// Its name at the service.
    pub name: KeyName,
    /// A certificate for it, PEM: tools that write CMS look for one.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Of a blind key: for what it signs.
    #[serde(default)]
    pub blind: Option<Blind>,
}

/// For what a blind key signs digests that nobody derived.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blind {
    /// A product of format `digest`, in a test environment.
    pub product: ProductId,
    /// The channel; `stable` if absent.
    #[serde(default)]
    pub channel: Option<ChannelName>,
    /// The security epoch.
    #[serde(default)]
    pub epoch: u64,
}

impl Config {
    /// Reads the file that the environment names. Relative paths in it are
    /// relative to it.
    pub fn read() -> Result<Config> {
        let path = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = path.ok_or_else(|| Fault::failed(format_args!("{VARIABLE} names no configuration")))?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Fault::failed(format_args!("{}: {error}", path.display())))?;
        let mut config: Config = toml::from_str(&text)
            .map_err(|error| Fault::failed(format_args!("{}: {}", path.display(), error.message())))?;
        let base = path.parent().unwrap_or(Path::new(""));
        config.authority = base.join(&config.authority);
        config.token = config.token.map(|token| base.join(token));
        for row in &mut config.key {
            row.certificate = row.certificate.take().map(|certificate| base.join(certificate));
        }
        Ok(config)
    }

    /// The token, read when it is needed: one that lives for minutes is
    /// replaced meanwhile.
    pub fn token(&self) -> Result<firmseal_keys::Secret> {
        match &self.token {
            Some(path) => {
                let bytes = firmseal_keys::private::read(path).map_err(Fault::failed)?;
                Ok(firmseal_keys::Secret::new(bytes.trim_ascii().to_vec()))
            }
            None => std::env::var(TOKEN)
                .map(|token| firmseal_keys::Secret::new(token.trim().as_bytes().to_vec()))
                .map_err(|_| Fault::failed(format_args!("there is no token: name a file, or set {TOKEN}"))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_member_is_refused_and_nothing_is_assumed() {
        let good = "server = \"https://s:1\"\nauthority = \"ca.pem\"\n[[key]]\nname = \"boot\"\n";
        let config: Config = toml::from_str(good).unwrap();
        assert!(config.key[0].blind.is_none(), "no key is blind unless somebody says so");
        for (more, why) in
            [("blnd = true", "unknown field"), ("blind = true", "invalid type"), ("blind = {}", "product")]
        {
            let error = toml::from_str::<Config>(&format!("{good}{more}\n")).unwrap_err().to_string();
            assert!(error.contains(why), "{more}: {error}");
        }
    }
}

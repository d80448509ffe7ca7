//! Settings of a witness: which logs it watches. A TOML file, checked
//! before anything starts; what is unknown in it is an error.
//!
//! ```toml
//! [[log]]
//! key = "firmseal.invalid/0123456789abcdef+89abcdef+AQ..."
//! # origin = "..."   where it is not the key's name
//! ```

use std::path::Path;

use firmseal_tlog::{Kind, KnownLog, VerifierKey};
use serde::Deserialize;

use crate::error::{WitnessError, file};

/// What `witness init` writes.
pub const TEMPLATE: &str =
    "# The logs that this witness cosigns, one [[log]] each. `firmseal log show` prints a
# log's key. The witness reads this file when it starts.
#
# [[log]]
# key = \"example.com/log+01234567+AQ...\"
";

/// The settings.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The logs.
    #[serde(default)]
    log: Vec<LogSettings>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogSettings {
    key: String,
    origin: Option<String>,
}

impl Settings {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Settings, WitnessError> {
        let text = std::fs::read_to_string(path).map_err(file("read", path))?;
        toml::from_str(&text).map_err(|error| bad(path, error.message()))
    }

    /// The logs, each once, with the keys that speak for it.
    pub(crate) fn logs(&self, path: &Path) -> Result<Vec<KnownLog>, WitnessError> {
        let mut logs: Vec<KnownLog> = Vec::new();
        for LogSettings { key, origin } in &self.log {
            let key = VerifierKey::parse(key).map_err(|error| bad(path, &error.to_string()))?;
            if key.kind() == Kind::Cosignature {
                return Err(bad(path, "this is a witness's key, where a log's is wanted"));
            }
            let origin = origin.clone().unwrap_or_else(|| key.name().to_owned());
            match logs.iter_mut().find(|log| log.origin == origin) {
                // A log that changes its key has two for a while; one of
                // another kind stands beside the first for good.
                Some(log) if !log.keys.contains(&key) => log.keys.push(key),
                Some(_) => return Err(bad(path, "a log stands in it twice")),
                None => logs.push(KnownLog { origin, keys: vec![key] }),
            }
        }
        match logs.iter().all(|log| log.keys.iter().any(|key| key.kind() == Kind::Ed25519)) {
            true => Ok(logs),
            false => Err(bad(path, "a log has a key of type 1; others stand beside it, in a [[log]] each")),
        }
    }
}

fn bad(path: &Path, why: &str) -> WitnessError {
    WitnessError::Settings { path: path.to_owned(), why: why.to_owned() }
}

//! What a node believes: keys, how many of them, and for how long.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use firmseal_fleet::Time;
use firmseal_manifest::PublicKey;
use serde::Deserialize;

use super::text;
use crate::commands::sign::public_key;
use crate::error::{CliError, Kind, Result};

/// Longest file.
const STORE_MAX: u64 = 64 * 1024;
/// How long before its end a store is said to be near it.
const NEAR: Duration = Duration::from_secs(14 * 86_400);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    expires: Time,
    keys: Vec<PathBuf>,
    #[serde(default = "one")]
    threshold: usize,
    minimum_epoch: Option<u64>,
    subject: Option<String>,
}

const fn one() -> usize {
    1
}

/// A trust store that is in date.
pub struct TrustStore {
    pub keys: Vec<PublicKey>,
    pub threshold: usize,
    pub minimum_epoch: Option<u64>,
    pub subject: Option<String>,
    /// When it ends.
    pub expires: Time,
}

impl TrustStore {
    /// Reads a store; paths in it begin where it is. One that has ended is
    /// refused: who took a key out of it since could not tell this node.
    pub fn read(path: &Path, now: SystemTime) -> Result<TrustStore> {
        let bad = |error: toml::de::Error| CliError::new(Kind::Usage, error.message()).about(path.display());
        let written: Written = toml::from_str(&text(path, STORE_MAX)?).map_err(bad)?;
        let expires = written.expires;
        if Time::from(now) >= expires {
            let what = format!("the trust store is stale: it ended {expires}");
            let hint = "bring the newest one here; until then nothing can be verified with it";
            return Err(CliError::new(Kind::Refused, what).about(path.display()).hint(hint));
        }
        let directory = path.parent().unwrap_or(Path::new("."));
        let keys = written.keys.iter().map(|own| public_key(&directory.join(own))).collect::<Result<_>>()?;
        let Written { threshold, minimum_epoch, subject, .. } = written;
        Ok(TrustStore { keys, threshold, minimum_epoch, subject, expires })
    }

    /// What to tell people of a store that will end soon.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let is_near = Time::from(now).plus(NEAR) >= self.expires;
        is_near.then(|| format!("the trust store ends {}; bring a newer one here", self.expires))
    }
}

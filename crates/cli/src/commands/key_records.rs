//! The file of `firmseal monitor --uses`: where what holds the keys says what
//! they did.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use firmseal_keys_vault::VaultUri;
use firmseal_manifest::{KeyId, KeyName, PublicKey};
use firmseal_monitor::{HostRecord, Keeper, Memory, Records, TrailRecord, VaultKey};
use firmseal_tlog::VerifierKey;
use serde::Deserialize;

use super::monitor::trusted;
use crate::error::{CliError, Kind, Result, file};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    keyhost: Vec<HostRow>,
    #[serde(default)]
    cloudtrail: Vec<CloudTrailRow>,
    #[serde(default)]
    vault: Vec<VaultRow>,
    #[serde(default)]
    hsm: Vec<HsmRow>,
}

/// A table `[[keyhost]]`: a copy of a host's record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostRow {
    name: KeyName,
    record: PathBuf,
    vkeys: Vec<String>,
    keys: Vec<PathBuf>,
    #[serde(default)]
    first: u64,
}

/// A table `[[cloudtrail]]`: a key in KMS, and what CloudTrail delivered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloudTrailRow {
    directory: PathBuf,
    arn: String,
    key: PathBuf,
}

/// A table `[[vault]]`: a key in Vault, and what an audit device wrote.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultRow {
    directory: PathBuf,
    uri: String,
    key: PathBuf,
}

/// A table `[[hsm]]`: a key in an HSM, and its log in lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HsmRow {
    directory: PathBuf,
    name: String,
    key: PathBuf,
}

/// Reads the file. What is seen of hosts' records is kept below `state`.
pub fn read(path: &Path, state: &Path) -> Result<Records> {
    let usage = |why: String| CliError::new(Kind::Usage, why).about(path.display());
    let text = std::fs::read_to_string(path).map_err(file(path))?;
    let settings: Settings = toml::from_str(&text).map_err(|error| usage(error.message().to_owned()))?;
    let Settings { keyhost, cloudtrail, vault, hsm } = settings;
    if keyhost.is_empty() && cloudtrail.is_empty() && vault.is_empty() && hsm.is_empty() {
        let hint = "name key hosts in tables [[keyhost]], and keys elsewhere in tables [[cloudtrail]], [[vault]] and [[hsm]]";
        return Err(usage("it names no record".to_owned()).hint(hint));
    }
    let base = path.parent().unwrap_or(Path::new(""));
    let mut names = BTreeSet::new();
    let mut records = Records::default();
    for row in keyhost {
        let about =
            |error: CliError| error.about(format_args!("{}: key host `{}`", path.display(), row.name));
        if !names.insert(row.name.clone()) {
            return Err(about(CliError::new(Kind::Usage, "it is named twice")));
        }
        let vkeys: std::result::Result<Vec<_>, _> =
            row.vkeys.iter().map(|key| VerifierKey::parse(key)).collect();
        let vkeys = vkeys.map_err(|error| {
            about(
                CliError::new(Kind::Usage, error)
                    .hint("`firmseal keyhost show` prints the keys of its record"),
            )
        })?;
        let keys: Result<BTreeSet<KeyId>> = row.keys.iter().map(|key| key_id(&base.join(key))).collect();
        records.hosts.push(HostRecord {
            name: row.name.to_string(),
            tiles: base.join(&row.record),
            trusted: trusted(&vkeys, &[], None, u64::MAX).map_err(about)?,
            keys: keys.map_err(about)?,
            first: row.first,
            memory: Memory::open(&state.join("keyhost").join(row.name.as_str()))?,
        });
    }
    for CloudTrailRow { directory, arn, key } in cloudtrail {
        if !arn.starts_with("arn:") || !arn.contains(":kms:") || !arn.contains(":key/") {
            let hint =
                "CloudTrail has keys by their ARN, arn:aws:kms:REGION:ACCOUNT:key/ID, never by an alias";
            return Err(usage(format!("`{arn}` is no key in KMS")).hint(hint));
        }
        let key = key_id(&base.join(key))?;
        records.trails.push(TrailRecord {
            keeper: Keeper::CloudTrail(arn),
            key,
            directory: base.join(directory),
        });
    }
    for VaultRow { directory, uri, key } in vault {
        let uri: VaultUri = uri.parse().map_err(|error| usage(format!("{error}")))?;
        let VaultUri { namespace, mount, name, version, .. } = uri;
        let keeper = Keeper::Vault(VaultKey { namespace, mount, name, version });
        let key = key_id(&base.join(key))?;
        records.trails.push(TrailRecord { keeper, key, directory: base.join(directory) });
    }
    for HsmRow { directory, name, key } in hsm {
        let key = key_id(&base.join(key))?;
        records.trails.push(TrailRecord { keeper: Keeper::Hsm(name), key, directory: base.join(directory) });
    }
    Ok(records)
}

fn key_id(path: &Path) -> Result<KeyId> {
    let text = std::fs::read_to_string(path).map_err(file(path))?;
    let key = PublicKey::from_pem(&text).map_err(|error| {
        CliError::new(Kind::Usage, error)
            .about(path.display())
            .hint("`firmseal keys show` prints public keys")
    })?;
    Ok(key.id())
}

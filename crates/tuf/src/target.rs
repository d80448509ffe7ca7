//! Targets: the files that clients may have.

use firmseal_manifest::{Digest, ids};
use serde_json::{Value, json};

use crate::error::TufError;

/// Longest name of a target.
const NAME_MAX: usize = 512;

/// A file that clients may have (TUF 1.0.34 §4.5).
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// Its bytes.
    pub length: u64,
    /// Their digest.
    pub sha256: Digest,
    /// What it is, for those who ask: product, version, sequence.
    pub custom: Value,
}

impl Target {
    /// As it stands in targets metadata.
    pub(crate) fn object(&self) -> Value {
        json!({
            "length": self.length,
            "hashes": { "sha256": self.sha256.to_string() },
            "custom": self.custom,
        })
    }

    /// The way back.
    pub(crate) fn read(value: &Value) -> Option<Target> {
        let target = Target {
            length: value["length"].as_u64()?,
            sha256: ids::parse_digest(value["hashes"]["sha256"].as_str()?)?,
            custom: value["custom"].clone(),
        };
        (target.object() == *value).then_some(target)
    }

    /// Where the file with this name stands below `targets/`: the digest
    /// goes before the last part (TUF 1.0.34 §6.2).
    pub fn file(&self, name: &str) -> String {
        match name.rsplit_once('/') {
            Some((directory, last)) => format!("{directory}/{}.{last}", self.sha256),
            None => format!("{}.{name}", self.sha256),
        }
    }
}

/// Refuses a name that would leave its directory, or that a web server and a
/// client would spell differently (CVE-2021-41131).
pub fn check_name(name: &str) -> Result<(), TufError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    match name.len() <= NAME_MAX && name.split('/').all(part) {
        true => Ok(()),
        false => Err(TufError::Name(name.chars().take(80).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_digest_before_its_last_part() {
        let target = Target { length: 1, sha256: Digest([0xab; 32]), custom: json!({}) };
        let digest = "ab".repeat(32);
        assert_eq!(target.file("a/b/c.bin"), format!("a/b/{digest}.c.bin"));
        assert_eq!(target.file("c.bin"), format!("{digest}.c.bin"));
        assert_eq!(Target::read(&target.object()), Some(target));
    }

    #[test]
    fn names_stay_below_targets() {
        assert_eq!(check_name("gateway/stable/1.2.3-rc.1+build.7/main.bin"), Ok(()));
        let long = "a/".repeat(256) + "a";
        for bad in [
            "", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".a", "a b", "a%2fb", "a\\b", "é", "a\0",
            &long,
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}

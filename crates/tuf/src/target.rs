//! Targets: the files that clients may have.

use firmseal_manifest::{Digest, ids};
use serde_json::{Value, json};

use crate::error::TufError;

/// Longest name of a target: with its digest it is a file's, and in URLs a
/// client escapes some of it.
const NAME_MAX: usize = 190;

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

    /// The file with this name below `targets/`: the digest goes before it
    /// (TUF 1.0.34 §6.2).
    pub fn file(&self, name: &str) -> String {
        format!("{}.{name}", self.sha256)
    }
}

/// Refuses a name that would leave its directory (CVE-2021-41131), or that a
/// web server and a client would spell differently. That includes one with a
/// slash: python-tuf puts the digest behind the last one, tough before the
/// whole name.
pub fn check_name(name: &str) -> Result<(), TufError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    match (1..=NAME_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain) {
        true => Ok(()),
        false => Err(TufError::Name(name.chars().take(80).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_digest_before_its_name() {
        let target = Target { length: 1, sha256: Digest([0xab; 32]), custom: json!({}) };
        let digest = "ab".repeat(32);
        assert_eq!(target.file("a_b_c.bin"), format!("{digest}.a_b_c.bin"));
        assert_eq!(Target::read(&target.object()), Some(target));
    }

    #[test]
    fn names_stay_below_targets() {
        assert_eq!(check_name("gateway_stable_1.2.3-rc.1+build.7_main.bin"), Ok(()));
        let long = "a".repeat(191);
        for bad in ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a b", "a%2fb", "a\\b", "é", "a\0", &long]
        {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}

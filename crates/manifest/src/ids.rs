//! Typed ids: a device can never be passed where a release is meant.
//!
//! Things that people name (products, channels) have slugs; things that the
//! system makes (releases, devices, rollouts, requests, uploads) have a
//! UUID version 7 (RFC 9562) behind a prefix that says what they are;
//! artifacts are named by their digest.

use std::fmt;
use std::str::FromStr;

use firmseal_core::{Digest, KeyId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {why}")]
pub struct WordError {
    /// What was expected, in the glossary's word.
    pub what: &'static str,
    /// The offending text, shortened.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl WordError {
    fn new(what: &'static str, text: &str, why: &'static str) -> WordError {
        WordError { what, text: text.chars().take(80).collect(), why }
    }
}

/// Longest slug, in bytes.
pub const SLUG_MAX: usize = 64;

fn check_slug(what: &'static str, text: &str) -> Result<(), WordError> {
    let fail = |why| Err(WordError::new(what, text, why));
    if text.is_empty() || text.len() > SLUG_MAX {
        return fail("use 1 to 64 characters");
    }
    // Names become paths, URLs and metric labels: an alphabet without
    // separators, dots at the edges or case leaves nothing to escape.
    if !text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')) {
        return fail("use a-z, 0-9, `-` and `.`");
    }
    if text.starts_with(['-', '.']) || text.ends_with(['-', '.']) || text.contains("..") {
        return fail("begin and end with a letter or digit, and never double a `.`");
    }
    Ok(())
}

macro_rules! string_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = WordError;

            fn from_str(text: &str) -> Result<Self, WordError> {
                check_slug($what, text)?;
                Ok($name(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        string_serde!($name);
    };
}

macro_rules! generated {
    ($(#[$doc:meta])* $name:ident, $what:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh id, ordered after those made before it on this machine.
            // An id names a new thing; a default one would name nothing.
            #[allow(clippy::new_without_default)]
            pub fn new() -> $name {
                $name(Uuid::now_v7())
            }

            /// The id of a known UUID.
            pub const fn from_uuid(uuid: Uuid) -> $name {
                $name(uuid)
            }

            /// The UUID alone.
            pub const fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = WordError;

            fn from_str(text: &str) -> Result<Self, WordError> {
                let uuid = text
                    .strip_prefix(concat!($prefix, "-"))
                    .ok_or_else(|| WordError::new($what, text, concat!("it begins with `", $prefix, "-`")))?;
                // Only the hyphenated form: one thing, one spelling.
                if uuid.len() != 36 || uuid.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(WordError::new($what, text, "a lower-case UUID follows the prefix"));
                }
                let uuid = Uuid::try_parse(uuid)
                    .map_err(|_| WordError::new($what, text, "a lower-case UUID follows the prefix"))?;
                Ok($name(uuid))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0)
            }
        }

        string_serde!($name);
    };
}

slug!(
    /// A product: vendor and class ids, hardware revisions, components.
    ProductId,
    "product name"
);
slug!(
    /// A channel of a product: `stable`, `beta`.
    ChannelName,
    "channel name"
);
slug!(
    /// A signing key: `router-boot-2026`.
    KeyName,
    "key name"
);
generated!(
    /// A release: one signed envelope with its payloads.
    ReleaseId,
    "release id",
    "rel"
);
generated!(
    /// A device known to the fleet.
    DeviceId,
    "device id",
    "dev"
);
generated!(
    /// A rollout of one release to a cohort.
    RolloutId,
    "rollout id",
    "rol"
);
generated!(
    /// A signing request.
    RequestId,
    "signing request id",
    "req"
);
generated!(
    /// A resumable upload.
    UploadId,
    "upload id",
    "upl"
);

impl KeyName {
    /// The name of a key that nobody gave one, made from its id.
    pub fn of(id: &KeyId) -> KeyName {
        let short = u64::from_be_bytes(id.0.0.first_chunk().copied().unwrap_or_default());
        KeyName(format!("key-{short:016x}"))
    }
}

/// An artifact: immutable bytes, named by their SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactId(pub Digest);

impl FromStr for ArtifactId {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        parse_digest(text)
            .map(ArtifactId)
            .ok_or_else(|| WordError::new("artifact id", text, "it is a SHA-256 in 64 lower-case hex digits"))
    }
}

impl fmt::Display for ArtifactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

string_serde!(ArtifactId);

/// Reads a digest from exactly 64 lower-case hexadecimal digits.
pub fn parse_digest(text: &str) -> Option<Digest> {
    let text = text.as_bytes();
    if text.len() != 64 {
        return None;
    }
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(Digest(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_has_nothing_to_escape() {
        for good in ["gateway", "gw-2.1", "a"] {
            assert_eq!(good.parse::<ProductId>().map(|id| id.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "-a", "a-", ".", "..", "a..b", "A", "a/b", "a b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<ProductId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_without_a_name_is_called_by_its_id() {
        let name = KeyName::of(&KeyId(Digest([0xab; 32])));
        assert_eq!(name.as_str(), "key-abababababababab");
        assert_eq!(name.as_str().parse(), Ok(name));
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = ReleaseId::new();
        assert_eq!(id.to_string().parse::<ReleaseId>(), Ok(id));
        assert!(id.to_string().to_uppercase().parse::<ReleaseId>().is_err());
        assert!(id.to_string().parse::<DeviceId>().is_err(), "another kind of id");
        assert!(format!("rel-{}", id.uuid().simple()).parse::<ReleaseId>().is_err());
    }

    #[test]
    fn an_artifact_id_is_a_full_digest() {
        let id = ArtifactId(Digest([0xab; 32]));
        assert_eq!(id.to_string().parse::<ArtifactId>(), Ok(id));
        assert!("ab".repeat(31).parse::<ArtifactId>().is_err());
        assert!("AB".repeat(32).parse::<ArtifactId>().is_err());
    }
}

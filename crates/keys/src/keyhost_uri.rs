//! Keys on a key host: `keyhost:NAME/KEY`.
//!
//! Both are words. Where the host of that name is, and how it is spoken to,
//! the settings of a place say once for all its keys.

use std::fmt;
use std::str::FromStr;

use firmseal_manifest::KeyName;

use crate::error::KeysError;
use crate::uri_options::{Options, fail};

const KIND: &str = "keyhost";

/// A parsed key host URI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyHostUri {
    /// The host, as the settings call it. Spelt as keys are.
    pub host: KeyName,
    /// The key, as the host calls it.
    pub key: KeyName,
}

impl FromStr for KeyHostUri {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<KeyHostUri, KeysError> {
        let (name, options) = Options::split(KIND, text)?;
        options.end("none")?;
        let parts = name.strip_prefix("keyhost:").and_then(|rest| rest.split_once('/'));
        let word = |text: &str| text.parse::<KeyName>().ok();
        match parts.and_then(|(host, key)| Some((word(host)?, word(key)?))) {
            Some((host, key)) => Ok(KeyHostUri { host, key }),
            None => fail(KIND, "it is `keyhost:NAME/KEY`, both in lower-case letters, digits and hyphens"),
        }
    }
}

impl fmt::Display for KeyHostUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keyhost:{}/{}", self.host, self.key)
    }
}

//! Key URIs: which key, as settings and the command line write it. Parsed
//! once, by the backend that the scheme names.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use firmseal_keys::{FileUri, KeyHome, KeysError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::backends::{BACKENDS, Row, written};
use crate::error::{CliError, Kind};

/// Names a key.
#[derive(Clone, Debug)]
pub struct KeyUri(Named);

#[derive(Clone, Debug)]
enum Named {
    Home(Arc<dyn KeyHome>),
    Absent(Absent),
}

/// A key of a backend that this program was built without. Settings may name
/// some, as long as nobody asks anything of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Absent {
    scheme: &'static str,
    /// What the program has to be built with.
    pub feature: &'static str,
    /// Not printed: nobody here can tell whether a secret stands in it.
    text: String,
}

impl KeyUri {
    /// Parses a URI by a table.
    pub fn parse(table: &[Row], text: &str) -> Result<KeyUri, KeysError> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        match table.iter().find(|row| Some(row.scheme()) == scheme) {
            Some(Row::Built(scheme)) => Ok(KeyUri(Named::Home((scheme.parse)(text)?))),
            Some(Row::Absent { scheme, feature }) => {
                Ok(KeyUri(Named::Absent(Absent { scheme, feature, text: text.to_owned() })))
            }
            None => Err(KeysError::NotAKeyUri(format!("write {}", written(table)))),
        }
    }

    /// The key in a file.
    pub fn file(path: PathBuf) -> KeyUri {
        KeyUri(Named::Home(Arc::new(FileUri(path))))
    }

    /// What its backend can be asked, if this program has that.
    pub fn home(&self) -> Result<&Arc<dyn KeyHome>, &Absent> {
        match &self.0 {
            Named::Home(home) => Ok(home),
            Named::Absent(absent) => Err(absent),
        }
    }

    /// The URI of one backend, for what no other has: a file's path, the PIN
    /// of a token in a ceremony, the host of a key.
    pub fn of<H: KeyHome>(&self) -> Option<&H> {
        let home: &dyn Any = &**self.home().ok()?;
        home.downcast_ref()
    }

    /// Whether keys of this kind may stand for development only.
    pub fn is_development_only(&self) -> bool {
        self.home().is_ok_and(|home| home.is_development_only())
    }

    /// The same key seen from a directory, to which paths in URIs may be
    /// relative.
    pub fn within(&self, directory: &Path) -> KeyUri {
        match self.home().ok().and_then(|home| home.within(directory)) {
            Some(home) => KeyUri(Named::Home(home)),
            None => self.clone(),
        }
    }
}

impl FromStr for KeyUri {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<KeyUri, KeysError> {
        KeyUri::parse(BACKENDS, text)
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Named::Home(home) => home.fmt(f),
            Named::Absent(absent) => absent.fmt(f),
        }
    }
}

impl PartialEq for KeyUri {
    fn eq(&self, other: &KeyUri) -> bool {
        match (self.home(), other.home()) {
            // There is one spelling of each.
            (Ok(own), Ok(other)) => own.to_string() == other.to_string(),
            (Err(own), Err(other)) => own == other,
            _ => false,
        }
    }
}

impl Serialize for KeyUri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:...", self.scheme)
    }
}

impl fmt::Debug for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Absent({self})")
    }
}

impl From<&Absent> for CliError {
    fn from(absent: &Absent) -> CliError {
        let feature = absent.feature;
        CliError::new(Kind::Usage, format_args!("this program was built without the feature `{feature}`"))
            .hint(format!("build it with `cargo build --features {feature}`"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_file_or_somewhere_that_keeps_it() {
        for good in [
            "file:/etc/firmseal/dev.pem",
            "file:dev.pem",
            "pkcs11:token=hsm;object=release",
            "vault:https://vault.example/transit/keys/release?version=1&ca-file=/etc/ca.pem",
            #[cfg(feature = "tpm")]
            "tpm:0x81010001",
            #[cfg(feature = "aws")]
            "aws-kms:alias/release?region=eu-central-1",
            "keyhost:vault-room/router-boot-2026",
        ] {
            let uri = good.parse::<KeyUri>().unwrap();
            assert_eq!(uri.to_string(), good);
            assert_eq!(serde_json::to_string(&uri).unwrap(), format!("\"{good}\""));
        }
        for bad in [
            "",
            "dev.pem",
            "file:",
            "File:a",
            "aws:1",
            "pkcs11",
            "pkcs11:?pin-value=123456",
            "keyhost:a/b?pin=123456",
            "https://123456@example",
        ] {
            let error = bad.parse::<KeyUri>().unwrap_err().to_string();
            assert!(!error.contains("123456"), "{error}");
        }
        assert!("file:a".parse::<KeyUri>().unwrap().is_development_only());
        assert!(!"pkcs11:".parse::<KeyUri>().unwrap().is_development_only());
    }

    #[test]
    fn what_is_no_key_is_told_every_way_to_write_one() {
        let error = "https://example".parse::<KeyUri>().unwrap_err().to_string();
        for row in BACKENDS {
            assert!(error.contains(&format!("`{}:", row.scheme())), "{}: {error}", row.scheme());
            let same = BACKENDS.iter().filter(|other| other.scheme() == row.scheme());
            assert_eq!(same.count(), 1, "{} has two rows", row.scheme());
        }
    }

    #[test]
    fn two_spellings_of_a_key_are_one() {
        let uri = |text: &str| text.parse::<KeyUri>().unwrap();
        assert_eq!(
            uri("pkcs11:object=a;token=t?pin-source=/p"),
            uri("pkcs11:token=t;object=a?pin-source=file:/p")
        );
        assert_ne!(uri("file:a"), uri("file:b"));
        assert_eq!(uri("file:a").within(Path::new("/srv")), uri("file:/srv/a"));
        assert_eq!(uri("file:/a").within(Path::new("/srv")), uri("file:/a"));
        assert_eq!(uri("pkcs11:object=a").within(Path::new("/srv")), uri("pkcs11:object=a"));
    }
}

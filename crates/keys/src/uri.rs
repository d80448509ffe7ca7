//! Key URIs: which key, as configurations and the command line write it.
//!
//! `file:PATH` is the encrypted key file, for development; `pkcs11:...` is
//! a key in a token or HSM (RFC 7512); `vault:...` one in HashiCorp Vault or
//! OpenBao; `tpm:...` one in a TPM 2.0; `aws-kms:...` one in AWS KMS;
//! `keyhost:...` one that a process of its own holds. Parsed once; this crate
//! opens files, and the program at the rim hands the rest to the backend it
//! was built with.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::aws_uri::AwsKmsUri;
use crate::error::KeysError;
use crate::keyhost_uri::KeyHostUri;
use crate::pkcs11_uri::Pkcs11Uri;
use crate::tpm_uri::TpmUri;
use crate::vault_uri::VaultUri;

/// Names a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyUri {
    /// An encrypted key file. Development only.
    File(PathBuf),
    /// A key in a PKCS#11 token.
    Pkcs11(Box<Pkcs11Uri>),
    /// A key of Vault's or OpenBao's transit engine.
    Vault(Box<VaultUri>),
    /// A key in a TPM 2.0.
    Tpm(Box<TpmUri>),
    /// A key in AWS KMS.
    AwsKms(Box<AwsKmsUri>),
    /// A key on a key host.
    Host(KeyHostUri),
}

impl KeyUri {
    /// Whether keys of this kind may stand for development only.
    pub fn is_development_only(&self) -> bool {
        matches!(self, KeyUri::File(_))
    }
}

impl FromStr for KeyUri {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<KeyUri, KeysError> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() && !path.contains('\0') => Ok(KeyUri::File(path.into())),
            Some(("pkcs11", _)) => Ok(KeyUri::Pkcs11(Box::new(text.parse()?))),
            Some(("vault", _)) => Ok(KeyUri::Vault(Box::new(text.parse()?))),
            Some(("tpm", _)) => Ok(KeyUri::Tpm(Box::new(text.parse()?))),
            Some(("aws-kms", _)) => Ok(KeyUri::AwsKms(Box::new(text.parse()?))),
            Some(("keyhost", _)) => Ok(KeyUri::Host(text.parse()?)),
            _ => Err(KeysError::NotAKeyUri(
                "write `file:PATH`, `pkcs11:...` (RFC 7512), `vault:https://...`, `tpm:...`, `aws-kms:...` \
                 or `keyhost:NAME/KEY`"
                    .to_owned(),
            )),
        }
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyUri::File(path) => write!(f, "file:{}", path.display()),
            KeyUri::Pkcs11(uri) => uri.fmt(f),
            KeyUri::Vault(uri) => uri.fmt(f),
            KeyUri::Tpm(uri) => uri.fmt(f),
            KeyUri::AwsKms(uri) => uri.fmt(f),
            KeyUri::Host(uri) => uri.fmt(f),
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
            "tpm:0x81010001",
            "aws-kms:alias/release?region=eu-central-1",
            "keyhost:vault-room/router-boot-2026",
        ] {
            assert_eq!(good.parse::<KeyUri>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "dev.pem",
            "file:",
            "File:a",
            "aws:1",
            "pkcs11",
            "pkcs11:?pin-value=123456",
            "keyhost:a",
            "keyhost:a/",
            "keyhost:a/b/c",
            "keyhost:A/b",
            "keyhost:a/b?pin=123456",
        ] {
            let error = bad.parse::<KeyUri>().unwrap_err().to_string();
            assert!(!error.contains("123456"), "{error}");
        }
        assert!("file:a".parse::<KeyUri>().unwrap().is_development_only());
        assert!(!"pkcs11:".parse::<KeyUri>().unwrap().is_development_only());
    }
}

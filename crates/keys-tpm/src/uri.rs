//! Keys in a TPM 2.0: `tpm:0x81010001` for one that is kept at a persistent
//! handle, `tpm:/etc/firmseal/release.tpm` for one that lies wrapped in a
//! file and opens in one TPM only.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use firmseal_keys::uri_options::{Options, fail, write};
use firmseal_keys::{KeysError, SecretSource};

const KIND: &str = "tpm";

/// Persistent handles that the owner gives out (TPM 2.0 Part 2 §7.5 and the
/// registry of reserved handles, §2.3.1).
pub(crate) const PERSISTENT: std::ops::RangeInclusive<u32> = 0x8100_0000..=0x817f_ffff;

/// Where a key of a TPM is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TpmKeyPlace {
    /// At a persistent handle.
    Handle(u32),
    /// Wrapped, in a file.
    File(PathBuf),
}

/// A parsed TPM URI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TpmUri {
    /// The key.
    pub place: TpmKeyPlace,
    /// How the TPM is reached, in the notation of tpm2-tss; the kernel's
    /// resource manager if it is left out.
    pub tcti: Option<String>,
    /// Where the key's authorization value comes from.
    pub pin_source: Option<SecretSource>,
}

/// What reaches the TPM if the URI does not say.
pub(crate) const DEFAULT_TCTI: &str = "device:/dev/tpmrm0";

impl TpmUri {
    /// How the TPM is reached.
    pub fn tcti(&self) -> &str {
        self.tcti.as_deref().unwrap_or(DEFAULT_TCTI)
    }
}

impl FromStr for TpmUri {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<TpmUri, KeysError> {
        let (name, mut options) = Options::split(KIND, text)?;
        let place = match name.strip_prefix("tpm:") {
            Some(path) if path.starts_with('/') && path.len() > 1 => TpmKeyPlace::File(path.into()),
            Some(number) => match handle(number) {
                Some(handle) => TpmKeyPlace::Handle(handle),
                None => {
                    return fail(
                        KIND,
                        "it names a persistent handle, 0x81000000 to 0x817fffff, or a file, absolute",
                    );
                }
            },
            None => return fail(KIND, "it begins with `tpm:`"),
        };
        let tcti = options.text("tcti").map(str::to_owned);
        let pin_source = options.source("pin-source")?;
        options.end("tcti and pin-source")?;
        Ok(TpmUri { place, tcti, pin_source })
    }
}

/// Eight lower-case digits: one spelling.
fn handle(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x")?;
    let plain = digits.len() == 8 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let value = plain.then(|| u32::from_str_radix(digits, 16).ok())??;
    PERSISTENT.contains(&value).then_some(value)
}

impl fmt::Display for TpmUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            TpmKeyPlace::Handle(handle) => write!(f, "tpm:{handle:#010x}")?,
            TpmKeyPlace::File(path) => write!(f, "tpm:{}", path.display())?,
        }
        write(
            f,
            &[
                ("tcti", self.tcti.clone()),
                ("pin-source", self.pin_source.as_ref().map(SecretSource::to_string)),
            ],
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_has_one_spelling() {
        for text in [
            "tpm:0x81010001",
            "tpm:/etc/firmseal/release.tpm?pin-source=file:/run/pin",
            "tpm:0x81000a0f?tcti=swtpm:host=127.0.0.1,port=2321&pin-source=env:PIN",
        ] {
            assert_eq!(text.parse::<TpmUri>().unwrap().to_string(), text);
        }
        assert_eq!("tpm:0x81010001".parse::<TpmUri>().unwrap().tcti(), DEFAULT_TCTI);
    }

    #[test]
    fn what_is_wrong_is_named_and_no_value_repeated() {
        for (bad, says) in [
            ("tpm:", "handle"),
            ("tpm:/", "handle"),
            ("tpm:release.tpm", "absolute"),
            ("tpm:81010001", "handle"),
            ("tpm:0x8101000A", "handle"),
            ("tpm:0x081010001", "handle"),
            ("tpm:0x01010001", "handle"),
            ("tpm:0x81800000", "handle"),
            ("tpm:0x81010001?pin=123456", "no option `pin`"),
            ("tpm:0x81010001?pin-source=123456", "file:PATH"),
            ("tpm:0x81010001?tcti=", "name=value"),
        ] {
            let error = bad.parse::<TpmUri>().unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
            assert!(!error.contains("123456"), "{error}");
        }
    }
}

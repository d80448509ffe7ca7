//! What a FIT's signature is asked for.

use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature};

use super::NAME;
use crate::error::FormatError;
use crate::parameters::{Parameter, Parameters, bad};

pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "configuration",
        about: "the configuration that is signed; the default one if not given, or the only one",
    },
    Parameter {
        name: "signature",
        about: "the node that takes the signature; the one that is there if not given, or signature-1",
    },
    Parameter {
        name: "key-name-hint",
        about: "the key's name in U-Boot's devicetree, without key-; what the node says if not given, or the first 16 \
                digits of the key's id",
    },
    Parameter {
        name: "padding",
        about: "of RSA keys: pkcs1 (PKCS #1 v1.5), or pss (salt of 32 bytes), which U-Boot verifies if it was built \
                so; pkcs1 if not given",
    },
    Parameter {
        name: "timestamp",
        about: "seconds since 1970 for people to read, outside of what is signed; none if not given",
    },
    Parameter {
        name: "add-hashes",
        about: "`true` gives images without a hash their SHA-256, which mkimage does where the source asks for it; \
                default `false`",
    },
];

/// How a key signs a FIT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scheme {
    /// RSA with PKCS #1 v1.5, by the key's bits.
    Pkcs1(u16),
    /// RSA-PSS.
    Pss(u16),
    /// ECDSA on P-256.
    Ecdsa,
}

impl Scheme {
    /// That of a key.
    pub(super) fn of(key: &PublicKey, is_pss: bool) -> Result<Scheme, FormatError> {
        match key.algorithm() {
            KeyAlgorithm::Rsa(bits @ (2048 | 3072 | 4096)) if is_pss => Ok(Scheme::Pss(bits)),
            KeyAlgorithm::Rsa(bits @ (2048 | 3072 | 4096)) => Ok(Scheme::Pkcs1(bits)),
            KeyAlgorithm::P256 => Ok(Scheme::Ecdsa),
            algorithm => {
                let use_instead = "an RSA key of 2048, 3072 or 4096 bits, or a P-256 key";
                Err(FormatError::KeyAlgorithm { format: NAME, algorithm, use_instead })
            }
        }
    }

    /// Its name in U-Boot.
    pub(super) fn name(self) -> String {
        match self {
            Scheme::Pkcs1(bits) | Scheme::Pss(bits) => format!("sha256,rsa{bits}"),
            Scheme::Ecdsa => "sha256,ecdsa256".to_owned(),
        }
    }

    /// The key's algorithm.
    pub(super) fn algorithm(self) -> KeyAlgorithm {
        match self {
            Scheme::Pkcs1(bits) | Scheme::Pss(bits) => KeyAlgorithm::Rsa(bits),
            Scheme::Ecdsa => KeyAlgorithm::P256,
        }
    }

    /// Length of its signatures; ECDSA has r || s.
    pub(super) fn len(self) -> usize {
        match self {
            Scheme::Pkcs1(bits) | Scheme::Pss(bits) => usize::from(bits) / 8,
            Scheme::Ecdsa => 64,
        }
    }

    /// A signature of this length.
    pub(super) fn check(self, signature: &Signature) -> Result<(), FormatError> {
        match signature.0.len() == self.len() {
            true => Ok(()),
            false => {
                let (algorithm, why) = (self.algorithm(), "it has another length");
                Err(FormatError::SignatureShape { algorithm, why })
            }
        }
    }
}

/// The parameters, parsed.
pub(super) struct Options {
    pub(super) configuration: Option<String>,
    pub(super) signature: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) is_pss: bool,
    pub(super) timestamp: Option<u32>,
    pub(super) add_hashes: bool,
}

impl Options {
    pub(super) fn parse(given: &Parameters, key: &PublicKey) -> Result<Options, FormatError> {
        given.check(PARAMETERS)?;
        let is_rsa = matches!(key.algorithm(), KeyAlgorithm::Rsa(_));
        let is_pss = match given.get("padding") {
            Some(_) if !is_rsa => return Err(bad("padding", "RSA keys alone have one".to_owned())),
            None | Some("pkcs1") => false,
            Some("pss") => true,
            Some(_) => return Err(bad("padding", "use pkcs1 or pss".to_owned())),
        };
        let signature = given.get("signature");
        if signature.is_some_and(|name| !name.starts_with("signature") || !is_name(name)) {
            // U-Boot looks at no others.
            return Err(bad("signature", "use a name that begins with `signature`".to_owned()));
        }
        let hint = given.get("key-name-hint");
        if let Some(hint) = hint {
            check_hint(hint)?;
        }
        Ok(Options {
            configuration: given.get("configuration").map(str::to_owned),
            signature: signature.map(str::to_owned),
            hint: hint.map(str::to_owned),
            is_pss,
            timestamp: given.number("timestamp", u64::from(u32::MAX))?.map(|time| time as u32),
            add_hashes: given.flag("add-hashes")?,
        })
    }
}

/// A name of a node of ours.
fn is_name(name: &str) -> bool {
    (1..=31).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b",._+-".contains(&byte))
}

/// A hint names a node: `key-` and itself.
pub(super) fn check_hint(hint: &str) -> Result<(), FormatError> {
    match is_name(hint) {
        true => Ok(()),
        false => Err(bad(
            "key-name-hint",
            "use up to 31 letters, digits, and characters of `,._+-`: it names a node of a devicetree"
                .to_owned(),
        )),
    }
}

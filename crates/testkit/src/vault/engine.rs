//! Keys and signatures of the fake Vault.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use firmseal_manifest::PublicKey;
use serde_json::{Value, json};

/// What an administrator may have allowed for a key.
#[derive(Clone, Copy, Default)]
pub struct Flags {
    /// The private half can be read.
    pub exportable: bool,
    /// The key can be backed up in the clear.
    pub allow_plaintext_backup: bool,
    /// Another key for each context.
    pub derived: bool,
    /// The key can be taken away.
    pub deletion_allowed: bool,
    /// Versions below this do not sign.
    pub min_encryption_version: u32,
    /// Versions below this are not shown, and verify nothing.
    pub min_decryption_version: u32,
}

#[derive(Default)]
pub(crate) struct Engine(BTreeMap<String, Key>);

struct Key {
    kind: String,
    flags: Flags,
    /// The first is version 1; what was trimmed away is not there.
    versions: Vec<Option<Pair>>,
}

enum Pair {
    Ec { der: EcdsaKeyPair, fixed: EcdsaKeyPair, digest: &'static digest::Algorithm },
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// A refusal: status and Vault's words.
pub(crate) type Refusal = (u16, String);

fn refuse<T>(why: &str) -> Result<T, Refusal> {
    Err((400, why.to_owned()))
}

impl Pair {
    fn make(kind: &str) -> Result<Pair, Refusal> {
        let ec = |der: &'static EcdsaSigningAlgorithm, fixed: &'static EcdsaSigningAlgorithm, digest| {
            let document = EcdsaKeyPair::generate_pkcs8(der, &SystemRandom::new()).unwrap();
            let read = |scheme| EcdsaKeyPair::from_pkcs8(scheme, document.as_ref()).unwrap();
            Ok(Pair::Ec { der: read(der), fixed: read(fixed), digest })
        };
        let rsa = |size| Ok(Pair::Rsa(RsaKeyPair::generate(size).unwrap()));
        match kind {
            "ecdsa-p256" => {
                ec(&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_FIXED_SIGNING, &digest::SHA256)
            }
            "ecdsa-p384" => {
                ec(&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_FIXED_SIGNING, &digest::SHA384)
            }
            "ed25519" => Ok(Pair::Ed25519(Ed25519KeyPair::generate().unwrap())),
            "rsa-2048" => rsa(KeySize::Rsa2048),
            "rsa-3072" => rsa(KeySize::Rsa3072),
            "rsa-4096" => rsa(KeySize::Rsa4096),
            other => refuse(&format!("unknown key type {other}")),
        }
    }

    /// As Vault shows it: PEM, or the plain bytes of an Ed25519 key.
    fn public(&self) -> String {
        let spki: PublicKeyX509Der<'_> = match self {
            Pair::Ec { der, .. } => der.public_key().as_der().unwrap(),
            Pair::Ed25519(pair) => return Base64::encode_string(pair.public_key().as_ref()),
            Pair::Rsa(pair) => pair.public_key().as_der().unwrap(),
        };
        PublicKey::from_spki(spki.as_ref()).unwrap().to_pem().unwrap()
    }

    fn sign(&self, input: &[u8], request: &Value) -> Result<String, Refusal> {
        let text = |name: &str, default: &'static str| request[name].as_str().unwrap_or(default).to_owned();
        let prehashed = request["prehashed"].as_bool().unwrap_or(false);
        let hash = text("hash_algorithm", "sha2-256");
        let import = |algorithm: &'static digest::Algorithm| match prehashed {
            false => Ok(digest::digest(algorithm, input)),
            true => Digest::import_less_safe(input, algorithm)
                .map_err(|_| (400, "input is not a digest of this algorithm".to_owned())),
        };
        match self {
            Pair::Ec { der, fixed, digest } => {
                let wanted = if digest.output_len() == 32 { "sha2-256" } else { "sha2-384" };
                if hash != wanted {
                    return refuse("this fake hashes for a curve with the hash of its size");
                }
                let digest = import(digest)?;
                match text("marshaling_algorithm", "asn1").as_str() {
                    "asn1" => Ok(Base64::encode_string(der.sign_digest(&digest).unwrap().as_ref())),
                    "jws" => {
                        Ok(Base64UrlUnpadded::encode_string(fixed.sign_digest(&digest).unwrap().as_ref()))
                    }
                    other => refuse(&format!("requested marshaling type {other} is unknown")),
                }
            }
            Pair::Ed25519(_) if prehashed => refuse("Ed25519ph is not what was asked for"),
            Pair::Ed25519(pair) => Ok(Base64::encode_string(pair.sign(input).as_ref())),
            Pair::Rsa(pair) => {
                if hash != "sha2-256" {
                    return refuse("this fake hashes for RSA with sha2-256");
                }
                let scheme: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    match (text("signature_algorithm", "pss").as_str(), text("salt_length", "auto").as_str())
                    {
                        ("pkcs1v15", _) => &RSA_PKCS1_SHA256,
                        ("pss", "hash" | "32") => &RSA_PSS_SHA256,
                        _ => return refuse("this fake salts with 32 bytes"),
                    };
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign_digest(scheme, &import(&digest::SHA256)?, &mut out).unwrap();
                Ok(Base64::encode_string(&out))
            }
        }
    }
}

impl Engine {
    /// Makes a key; one that is there stays as it is.
    pub(crate) fn create(&mut self, name: &str, kind: &str, flags: Flags) -> Result<(), Refusal> {
        if !self.0.contains_key(name) {
            let versions = vec![Some(Pair::make(kind)?)];
            let flags = Flags { min_decryption_version: flags.min_decryption_version.max(1), ..flags };
            self.0.insert(name.to_owned(), Key { kind: kind.to_owned(), flags, versions });
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        if let Some(key) = self.0.remove(from) {
            self.0.insert(to.to_owned(), key);
        }
    }

    pub(crate) fn rotate(&mut self, name: &str) -> Result<(), Refusal> {
        let key = self.0.get_mut(name).ok_or((400, "key not found".to_owned()))?;
        key.versions.push(Some(Pair::make(&key.kind)?));
        Ok(())
    }

    /// Changes what a request names.
    pub(crate) fn configure(&mut self, name: &str, change: &Value) -> Result<(), Refusal> {
        let key =
            self.0.get_mut(name).ok_or((400, format!("no existing key named {name} could be found")))?;
        let number = |name: &str, now: u32| change[name].as_u64().map_or(now, |number| number as u32);
        let decryption = number("min_decryption_version", key.flags.min_decryption_version);
        let encryption = number("min_encryption_version", key.flags.min_encryption_version);
        if decryption.max(encryption) as usize > key.versions.len() {
            return refuse("cannot set min decryption or encryption version, latest key version is lower");
        }
        if encryption != 0 && encryption < decryption {
            return refuse("min encryption version must be greater than or equal to min decryption version");
        }
        (key.flags.min_decryption_version, key.flags.min_encryption_version) = (decryption, encryption);
        key.flags.deletion_allowed =
            change["deletion_allowed"].as_bool().unwrap_or(key.flags.deletion_allowed);
        Ok(())
    }

    /// Takes away versions that nobody may use any more.
    pub(crate) fn trim(&mut self, name: &str, request: &Value) -> Result<(), Refusal> {
        let key = self.0.get_mut(name).ok_or((400, "invalid key name".to_owned()))?;
        let wanted = request["min_available_version"].as_u64().unwrap_or(0) as u32;
        let Flags { min_encryption_version: encryption, min_decryption_version: decryption, .. } = key.flags;
        if encryption == 0 {
            return refuse(
                "minimum available version cannot be set when minimum encryption version is not set",
            );
        }
        if wanted > encryption.min(decryption) {
            return refuse(
                "minimum available version cannot be greater than minimum en- or decryption version",
            );
        }
        key.versions.iter_mut().take(wanted.saturating_sub(1) as usize).for_each(|pair| *pair = None);
        Ok(())
    }

    /// Takes a key away, where that was allowed before.
    pub(crate) fn delete(&mut self, name: &str) -> Result<(), Refusal> {
        match self.0.get(name) {
            None => refuse("could not delete key; not found"),
            Some(key) if !key.flags.deletion_allowed => {
                refuse(&format!("error deleting policy {name}: deletion is not allowed for this key"))
            }
            Some(_) => {
                self.0.remove(name);
                Ok(())
            }
        }
    }

    /// The names of all keys; Vault has nothing to say of none.
    pub(crate) fn names(&self) -> Result<Value, Refusal> {
        match self.0.is_empty() {
            true => Err((404, String::new())),
            false => Ok(json!({ "keys": self.0.keys().collect::<Vec<_>>() })),
        }
    }

    pub(crate) fn read(&self, name: &str) -> Result<Value, Refusal> {
        let key = self.0.get(name).ok_or((404, String::new()))?;
        let lowest = key.flags.min_decryption_version as usize;
        let version = |(index, pair): (usize, &Option<Pair>)| {
            let shown = json!({
                "creation_time": "2026-01-01T00:00:00Z",
                "name": key.kind,
                "public_key": pair.as_ref()?.public(),
            });
            (index + 1 >= lowest).then(|| ((index + 1).to_string(), shown))
        };
        let keys: serde_json::Map<String, Value> =
            key.versions.iter().enumerate().filter_map(version).collect();
        let trimmed = key.versions.iter().take_while(|pair| pair.is_none()).count();
        Ok(json!({
            "name": name,
            "type": key.kind,
            "derived": key.flags.derived,
            "exportable": key.flags.exportable,
            "allow_plaintext_backup": key.flags.allow_plaintext_backup,
            "deletion_allowed": key.flags.deletion_allowed,
            "imported_key": false,
            "keys": keys,
            "latest_version": key.versions.len(),
            "min_available_version": if trimmed == 0 { 0 } else { trimmed + 1 },
            "min_decryption_version": key.flags.min_decryption_version,
            "min_encryption_version": key.flags.min_encryption_version,
            "supports_decryption": false,
            "supports_encryption": false,
            "supports_derivation": key.kind == "ed25519",
            "supports_signing": true,
        }))
    }

    pub(crate) fn sign(&self, name: &str, request: &Value) -> Result<Value, Refusal> {
        let Some(key) = self.0.get(name) else { return refuse("signing key not found") };
        let version = match request["key_version"].as_u64().unwrap_or(0) {
            0 => key.versions.len(),
            version => version as usize,
        };
        if version < key.flags.min_encryption_version as usize {
            return refuse("requested version for signing is less than the minimum encryption key version");
        }
        let Some(pair) = version.checked_sub(1).and_then(|index| key.versions.get(index)) else {
            return refuse("requested version for signing is higher than the latest key version");
        };
        let Some(pair) = pair else { return refuse("requested version for signing was trimmed") };
        let Ok(input) = Base64::decode_vec(request["input"].as_str().unwrap_or_default()) else {
            return refuse("unable to decode input as base64");
        };
        let signature = pair.sign(&input, request)?;
        Ok(json!({ "signature": format!("vault:v{version}:{signature}"), "key_version": version }))
    }
}

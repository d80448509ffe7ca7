//! Sealed keys: PKCS#8 under a passphrase, in PEM.
//!
//! EncryptedPrivateKeyInfo (RFC 5958 §3) with PBES2 (RFC 8018 §6.2): scrypt
//! (RFC 7914) and AES-256-CBC when written, what OpenSSL writes when read.
//! Argon2id would be the stronger derivation but has no place in PKCS#8
//! that other tools understand.

use std::path::Path;

use aws_lc_rs::rand;
use pkcs8::der::asn1::OctetString;
use pkcs8::pkcs5::scrypt::Params as ScryptCost;
use pkcs8::pkcs5::{Error as Pkcs5Error, pbes2};
use pkcs8::{EncryptedPrivateKeyInfoOwned, EncryptedPrivateKeyInfoRef, LineEnding, SecretDocument};
use zeroize::Zeroizing;

use crate::error::KeysError;
use crate::secret::Secret;

const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// Cost of the files we write: N = 2^14, r = 8, p = 5, one of the settings
/// that OWASP's password storage advice counts as equal to N = 2^17, p = 1.
/// OpenSSL refuses a larger N, because it caps scrypt at 32 MiB.
const LOG_N: u8 = 14;
const R: u32 = 8;
const P: u32 = 5;

/// What a file may cost us: a hostile one names its own parameters.
const SCRYPT_MEMORY_MAX: u64 = 64 << 20;
const SCRYPT_WORK_MAX: u64 = 1 << 30;
const PBKDF2_ITERATIONS_MAX: u32 = 10_000_000;

/// Encrypts a PKCS#8 document.
pub(crate) fn seal(pkcs8: &SecretDocument, passphrase: &Secret) -> Result<Zeroizing<String>, KeysError> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    rand::fill(&mut salt).and_then(|()| rand::fill(&mut iv)).map_err(|_| KeysError::Crypto("randomness"))?;
    let failed = |_| KeysError::Crypto("encryption of the key");
    let cost = ScryptCost::new(LOG_N, R, P).map_err(|_| KeysError::Crypto("encryption of the key"))?;
    let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).map_err(failed)?;
    let encrypted = parameters.encrypt(passphrase.expose(), pkcs8.as_bytes()).map_err(failed)?;
    let encrypted_data = OctetString::new(encrypted).map_err(|_| KeysError::Crypto("encoding of the key"))?;
    let sealed = EncryptedPrivateKeyInfoOwned { encryption_algorithm: parameters.into(), encrypted_data };
    let document = SecretDocument::encode_msg(&sealed);
    document
        .and_then(|document| document.to_pem(LABEL, LineEnding::LF))
        .map_err(|_| KeysError::Crypto("encoding of the key"))
}

/// Decrypts a sealed key. `path` is for errors only.
pub(crate) fn open(path: &Path, pem: &[u8], passphrase: &Secret) -> Result<SecretDocument, KeysError> {
    let not_a_key = |why| KeysError::NotAKey { path: path.to_owned(), why };
    let pem = std::str::from_utf8(pem).map_err(|_| not_a_key("it is not PEM"))?;
    let (label, document) = SecretDocument::from_pem(pem).map_err(|_| not_a_key("it is not PEM"))?;
    match label {
        LABEL => {}
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
            return Err(KeysError::Unencrypted { path: path.display().to_string() });
        }
        _ => return Err(not_a_key("its PEM label is another")),
    }
    let sealed = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|_| not_a_key("it is malformed, or its encryption is not PBES2 with scrypt or PBKDF2"))?;
    let Some(parameters) = sealed.encryption_algorithm.pbes2() else {
        return Err(not_a_key("its encryption is obsolete; encrypt it again with `openssl pkcs8 -scrypt`"));
    };
    if !is_affordable(&parameters.kdf) {
        return Err(KeysError::ExcessiveKdf { path: path.to_owned() });
    }
    let plain = parameters.decrypt(passphrase.expose(), sealed.encrypted_data.as_bytes());
    let plain = Zeroizing::new(plain.map_err(|error| match error {
        Pkcs5Error::DecryptFailed => KeysError::WrongPassphrase { path: path.to_owned() },
        _ => not_a_key("its encryption is obsolete; encrypt it again with `openssl pkcs8 -scrypt`"),
    })?);
    // One wrong passphrase in 256 leaves valid padding; what comes out is
    // then not DER.
    SecretDocument::try_from(plain.as_slice())
        .map_err(|_| KeysError::WrongPassphrase { path: path.to_owned() })
}

fn is_affordable(kdf: &pbes2::Kdf) -> bool {
    if let Some(pbkdf2) = kdf.pbkdf2() {
        return (1..=PBKDF2_ITERATIONS_MAX).contains(&pbkdf2.iteration_count);
    }
    let Some(scrypt) = kdf.scrypt() else { return false };
    // N is a power of two above one (RFC 7914 §2).
    let n = scrypt.cost_parameter;
    if !n.is_power_of_two() || n < 2 {
        return false;
    }
    let memory = n.saturating_mul(128).saturating_mul(scrypt.block_size.into());
    let work = memory.saturating_mul(scrypt.parallelization.into());
    memory <= SCRYPT_MEMORY_MAX && work <= SCRYPT_WORK_MAX
}

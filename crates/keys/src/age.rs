//! Files for one X25519 recipient in the age format (C2SP age v1), so that
//! a custodian can open a share with any age implementation.
//!
//! Small files only, one chunk: what is kept here is shares of keys. The
//! crate `age` would bring the generation of cryptographic crates before
//! ours, a hundred of them; the format on the library that is here already
//! is this file.

use std::str::FromStr;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hkdf, hmac, rand};
use base64ct::{Base64Unpadded, Encoding};
use zeroize::Zeroizing;

use crate::bech32;

/// Most bytes in one file: a single chunk.
pub const CONTENT_MAX: usize = 64 * 1024;
/// Longest header that is read.
const HEADER_MAX: usize = 16 * 1024;

const VERSION: &str = "age-encryption.org/v1";
const STANZA: &str = "X25519";
const WRAP_INFO: &[u8] = b"age-encryption.org/v1/X25519";

/// Why a file cannot be written or opened. No message repeats an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgeError {
    /// Not a recipient.
    #[error("not an age recipient; write age1... as `age-keygen -y` prints it")]
    NotARecipient,
    /// Not an identity.
    #[error("not an age identity; a file from `age-keygen` has a line AGE-SECRET-KEY-1...")]
    NotAnIdentity,
    /// Not an age file, or damaged.
    #[error("not an age file for X25519 recipients, or damaged")]
    Malformed,
    /// It is for somebody else.
    #[error("the file is for another recipient")]
    NotForUs,
    /// More than one chunk.
    #[error("more than {CONTENT_MAX} bytes")]
    TooLong,
    /// The library failed at something that cannot fail.
    #[error("encryption failed; the system has no randomness, or the recipient's key is weak")]
    Failed,
}

impl From<Unspecified> for AgeError {
    fn from(_: Unspecified) -> AgeError {
        AgeError::Failed
    }
}

/// Whom a file is for.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

/// Who opens it. Wiped when dropped, never shown.
pub struct Identity(Zeroizing<[u8; 32]>);

impl FromStr for Recipient {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Recipient, AgeError> {
        let bytes = bech32::decode("age", text).ok_or(AgeError::NotARecipient)?;
        bytes.as_slice().try_into().map(Recipient).map_err(|_| AgeError::NotARecipient)
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&bech32::encode("age", &self.0))
    }
}

impl Identity {
    /// Reads an identity file: comments, and one identity.
    pub fn from_file(bytes: &[u8]) -> Result<Identity, AgeError> {
        let text = std::str::from_utf8(bytes).map_err(|_| AgeError::NotAnIdentity)?;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else { return Err(AgeError::NotAnIdentity) };
        // Bech32 has one case in one text (BIP 173); identities are upper.
        if line.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(AgeError::NotAnIdentity);
        }
        let lower = Zeroizing::new(line.to_ascii_lowercase());
        let bytes = bech32::decode("age-secret-key-", &lower).ok_or(AgeError::NotAnIdentity)?;
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| AgeError::NotAnIdentity)?;
        Ok(Identity(Zeroizing::new(key)))
    }

    /// The public half.
    pub fn recipient(&self) -> Result<Recipient, AgeError> {
        let key = PrivateKey::from_private_key(&X25519, &*self.0).map_err(|_| AgeError::NotAnIdentity)?;
        let public = key.compute_public_key()?;
        public.as_ref().try_into().map(Recipient).map_err(|_| AgeError::NotAnIdentity)
    }
}

/// Encrypts to one recipient.
pub fn encrypt(to: &Recipient, content: &[u8]) -> Result<Vec<u8>, AgeError> {
    if content.len() > CONTENT_MAX {
        return Err(AgeError::TooLong);
    }
    let mut file_key = Zeroizing::new([0; 16]);
    let mut nonce = [0; 16];
    rand::fill(&mut *file_key)?;
    rand::fill(&mut nonce)?;
    let ephemeral = PrivateKey::generate(&X25519)?;
    let share: [u8; 32] =
        ephemeral.compute_public_key()?.as_ref().try_into().map_err(|_| AgeError::Failed)?;
    let wrap = wrap_key(&ephemeral, &to.0, &share, &to.0)?;
    let mut body = Zeroizing::new(roomy(&*file_key));
    seal(&wrap, [0; 12], &mut body)?;
    let mut header = format!(
        "{VERSION}\n-> {STANZA} {}\n{}\n---",
        Base64Unpadded::encode_string(&share),
        Base64Unpadded::encode_string(&body)
    );
    let mac = hmac::sign(&mac_key(&*file_key)?, header.as_bytes());
    header.push_str(&format!(" {}\n", Base64Unpadded::encode_string(mac.as_ref())));
    let mut out = header.into_bytes();
    out.extend(nonce);
    let mut payload = roomy(content);
    seal(&*payload_key(&*file_key, &nonce)?, last_chunk(), &mut payload)?;
    out.extend(payload);
    Ok(out)
}

/// Opens a file.
pub fn decrypt(identity: &Identity, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let (header, stanzas, mac, rest) = read_header(file)?;
    let own = identity.recipient()?;
    let key = PrivateKey::from_private_key(&X25519, &*identity.0).map_err(|_| AgeError::NotAnIdentity)?;
    let open_stanza = |(share, body): &([u8; 32], Vec<u8>)| -> Option<Zeroizing<Vec<u8>>> {
        let wrap = wrap_key(&key, share, share, &own.0).ok()?;
        open(&wrap, [0; 12], body).ok().filter(|key| key.len() == 16)
    };
    let file_key = stanzas.iter().find_map(open_stanza).ok_or(AgeError::NotForUs)?;
    hmac::verify(&mac_key(&file_key)?, header, &mac).map_err(|_| AgeError::Malformed)?;
    let (nonce, payload) = rest.split_at_checked(16).ok_or(AgeError::Malformed)?;
    if payload.len() > CONTENT_MAX + 16 {
        return Err(AgeError::TooLong);
    }
    open(&*payload_key(&file_key, nonce)?, last_chunk(), payload)
}

type Header<'a> = (&'a [u8], Vec<([u8; 32], Vec<u8>)>, Vec<u8>, &'a [u8]);

/// Reads what stands before the payload: the bytes under the MAC, the
/// stanzas for X25519 recipients, the MAC. Stanzas of other kinds are
/// skipped; the MAC covers them.
fn read_header(file: &[u8]) -> Result<Header<'_>, AgeError> {
    let mut at = 0;
    let mut line = || -> Result<(usize, &str), AgeError> {
        let rest = file.get(at..file.len().min(HEADER_MAX)).ok_or(AgeError::Malformed)?;
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or(AgeError::Malformed)?;
        let start = at;
        at += length + 1;
        Ok((start, std::str::from_utf8(&rest[..length]).map_err(|_| AgeError::Malformed)?))
    };
    let bytes = |text: &str| Base64Unpadded::decode_vec(text).map_err(|_| AgeError::Malformed);
    if line()?.1 != VERSION {
        return Err(AgeError::Malformed);
    }
    let mut stanzas = Vec::new();
    loop {
        let (start, text) = line()?;
        if let Some(mac) = text.strip_prefix("--- ") {
            let mac = bytes(mac)?;
            return Ok((&file[..start + 3], stanzas, mac, &file[at..]));
        }
        let mut arguments = text.strip_prefix("-> ").ok_or(AgeError::Malformed)?.split(' ');
        // A body ends with its first line that is not full.
        let mut body = String::new();
        loop {
            let (_, text) = line()?;
            body.push_str(text);
            if text.len() < 64 {
                break;
            }
        }
        if arguments.next() == Some(STANZA) {
            let share = bytes(arguments.next().ok_or(AgeError::Malformed)?)?;
            let share = share.as_slice().try_into().map_err(|_| AgeError::Malformed)?;
            stanzas.push((share, bytes(&body)?));
        }
    }
}

fn wrap_key(
    own: &PrivateKey,
    peer: &[u8; 32],
    share: &[u8; 32],
    recipient: &[u8; 32],
) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    // A shared secret of zeros is refused by the library.
    agree(own, UnparsedPublicKey::new(&X25519, peer), AgeError::Failed, |shared| {
        derive(shared, &[&share[..], &recipient[..]].concat(), WRAP_INFO)
    })
}

fn mac_key(file_key: &[u8]) -> Result<hmac::Key, AgeError> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &*derive(file_key, &[], b"header")?))
}

fn payload_key(file_key: &[u8], nonce: &[u8]) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    derive(file_key, nonce, b"payload")
}

fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    let mut key = Zeroizing::new([0; 32]);
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    extracted.expand(&[info], hkdf::HKDF_SHA256)?.fill(&mut *key)?;
    Ok(key)
}

/// The nonce of the first chunk, which is the last: counter 0, flag 1.
fn last_chunk() -> [u8; 12] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
}

/// A copy with room for the tag: a vector that grows leaves its first bytes
/// behind, and here those would be a secret.
fn roomy(bytes: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(bytes.len() + CHACHA20_POLY1305.tag_len());
    copy.extend_from_slice(bytes);
    copy
}

fn seal(key: &[u8; 32], nonce: [u8; 12], bytes: &mut Vec<u8>) -> Result<(), AgeError> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key)?);
    Ok(key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), bytes)?)
}

fn open(key: &[u8; 32], nonce: [u8; 12], bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key)?);
    let mut plain = Zeroizing::new(bytes.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = key.open_in_place(nonce, Aad::empty(), &mut plain).map_err(|_| AgeError::Malformed)?.len();
    plain.truncate(length);
    Ok(plain)
}

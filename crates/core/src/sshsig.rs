//! SSH signatures (OpenSSH's PROTOCOL.sshsig and PROTOCOL.u2f): how people
//! sign with the key that they have.
//!
//! Ed25519 and P-256, in a file, in an agent or in a security key. The hash
//! is SHA-256 (`ssh-keygen -Y sign -O hashalg=sha256`), the only one that a
//! device has.

use crate::crypto::{Crypto, Hasher};
use crate::digest::Digest;
use crate::ecdsa;
use crate::key::PublicKey;
use crate::refusal::Refusal;

/// The namespace of our signatures: one made for git or a file never counts.
pub const NAMESPACE: &[u8] = b"statement@firmseal";

const MAGIC: &[u8] = b"SSHSIG";
const MALFORMED: Refusal = Refusal::Malformed("not an SSH signature of a kind that is verified");

/// A decoded signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blob<'a> {
    key: Key<'a>,
    /// Ed25519: 64 bytes. P-256: two SSH integers.
    signature: &'a [u8],
    /// Of a security key: the application, the flags and the counter.
    token: Option<Token<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key<'a> {
    Ed25519(&'a [u8]),
    /// An uncompressed point.
    P256(&'a [u8]),
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    application: &'a [u8],
    /// One byte of flags and four of a counter.
    state: &'a [u8; 5],
}

/// The user touched the key (PROTOCOL.u2f).
const PRESENT: u8 = 1;

impl<'a> Blob<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Blob<'a>, Refusal> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(MALFORMED)?;
        if take::<4>(&mut rest)? != &[0, 0, 0, 1] {
            return Err(MALFORMED);
        }
        let (key, application) = read_key(string(&mut rest)?)?;
        let (namespace, reserved, hash) = (string(&mut rest)?, string(&mut rest)?, string(&mut rest)?);
        if namespace != NAMESPACE || !reserved.is_empty() || hash != b"sha256" {
            return Err(Refusal::Malformed("an SSH signature of another namespace or hash"));
        }
        let mut signature = string(&mut rest)?;
        end(rest)?;
        if string(&mut signature)? != kind(&key, application.is_some()) {
            return Err(MALFORMED);
        }
        let value = string(&mut signature)?;
        let token = match application {
            Some(application) => Some(Token { application, state: take(&mut signature)? }),
            None => None,
        };
        end(signature)?;
        Ok(Blob { key, signature: value, token })
    }

    /// Whether the blob says that this key made it.
    pub(crate) fn is_by(&self, key: &PublicKey<'_>) -> bool {
        match (key, self.key) {
            (PublicKey::Ed25519(x), Key::Ed25519(own)) => own == x.as_slice(),
            (PublicKey::P256 { x, y }, Key::P256(own)) => own.split_first().is_some_and(|(form, point)| {
                *form == 4 && point.len() == 64 && point[..32] == **x && point[32..] == **y
            }),
            _ => false,
        }
    }

    /// Whether it is a signature over a message with this SHA-256.
    pub(crate) fn verifies(&self, key: &PublicKey<'_>, digest: &Digest, crypto: &impl Crypto) -> bool {
        let signed = signed_data(digest);
        let raw;
        let signature = match key {
            PublicKey::Ed25519(_) => self.signature,
            // SSH has no such keys, or signs otherwise with them; `is_by`
            // never matches one.
            PublicKey::Lms(_) | PublicKey::MlDsa(_) | PublicKey::Rsa(_) => return false,
            PublicKey::P256 { .. } => {
                let Some(pair) = integers(self.signature) else { return false };
                raw = pair;
                &raw
            }
        };
        let Some(token) = self.token else { return crypto.verify(key, &signed, signature).is_ok() };
        // A security key signs H(application) || flags || counter || H(signed).
        let mut message = [0; 32 + 5 + 32];
        message[..32].copy_from_slice(crypto.digest(token.application).as_bytes());
        message[32..37].copy_from_slice(token.state);
        let mut hasher = crypto.sha256();
        hasher.update(&signed);
        message[37..].copy_from_slice(hasher.finish().as_bytes());
        token.state[0] & PRESENT != 0 && crypto.verify(key, &message, signature).is_ok()
    }
}

/// Length of [`signed_data`].
const SIGNED: usize = 6 + 4 + NAMESPACE.len() + 4 + 4 + 6 + 4 + 32;

/// What an SSH key signs for a message with this SHA-256: "SSHSIG",
/// namespace, reserved, hash algorithm, H(message).
pub fn signed_data(digest: &Digest) -> [u8; SIGNED] {
    let mut signed = [0; SIGNED];
    let mut at = 0;
    let parts: [&[u8]; 8] = [
        MAGIC,
        &(NAMESPACE.len() as u32).to_be_bytes(),
        NAMESPACE,
        &[0, 0, 0, 0],
        &[0, 0, 0, 6],
        b"sha256",
        &[0, 0, 0, 32],
        digest.as_bytes(),
    ];
    for part in parts {
        signed[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    signed
}

/// Reads a public key; of a security key also its application.
fn read_key(mut blob: &[u8]) -> Result<(Key<'_>, Option<&[u8]>), Refusal> {
    let name = string(&mut blob)?;
    let (key, token) = match name {
        b"ssh-ed25519" => (Key::Ed25519(string(&mut blob)?), false),
        b"sk-ssh-ed25519@openssh.com" => (Key::Ed25519(string(&mut blob)?), true),
        b"ecdsa-sha2-nistp256" | b"sk-ecdsa-sha2-nistp256@openssh.com" => {
            if string(&mut blob)? != b"nistp256" {
                return Err(MALFORMED);
            }
            (Key::P256(string(&mut blob)?), name.starts_with(b"sk-"))
        }
        _ => return Err(MALFORMED),
    };
    let application = if token { Some(string(&mut blob)?) } else { None };
    end(blob)?;
    Ok((key, application))
}

/// The name that stands before the signature's bytes.
fn kind(key: &Key<'_>, token: bool) -> &'static [u8] {
    match (key, token) {
        (Key::Ed25519(_), false) => b"ssh-ed25519",
        (Key::Ed25519(_), true) => b"sk-ssh-ed25519@openssh.com",
        (Key::P256(_), false) => b"ecdsa-sha2-nistp256",
        (Key::P256(_), true) => b"sk-ecdsa-sha2-nistp256@openssh.com",
    }
}

/// Two SSH integers (RFC 4251 §5) as r || s.
fn integers(mut bytes: &[u8]) -> Option<[u8; 64]> {
    let (r, s) = (string(&mut bytes).ok()?, string(&mut bytes).ok()?);
    if bytes.is_empty() { ecdsa::pair(r, s) } else { None }
}

/// Reads a string: four bytes of length, and as many more.
fn string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Refusal> {
    let length = u32::from_be_bytes(*take::<4>(rest)?) as usize;
    let (value, after) = rest.split_at_checked(length).ok_or(MALFORMED)?;
    *rest = after;
    Ok(value)
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Refusal> {
    let (value, after) = rest.split_first_chunk().ok_or(MALFORMED)?;
    *rest = after;
    Ok(value)
}

fn end(rest: &[u8]) -> Result<(), Refusal> {
    if rest.is_empty() { Ok(()) } else { Err(MALFORMED) }
}

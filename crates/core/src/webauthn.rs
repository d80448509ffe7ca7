//! WebAuthn assertions (W3C WebAuthn Level 2): approvals by passkey.
//!
//! The challenge is the SHA-256 of the Statement. The client data is not
//! parsed as JSON: the limited verification algorithm (§5.8.1.2) compares
//! the beginning, whose form the specification fixes.

use crate::crypto::{Crypto, Hasher};
use crate::digest::Digest;
use crate::ecdsa;
use crate::key::PublicKey;
use crate::limits::{ASSERTION_MAX, Limit};
use crate::note::base64url;
use crate::refusal::Refusal;

/// Authenticator data begins with the hash of the relying party's id, one
/// byte of flags and four of a counter (§6.1).
const FLAGS: usize = 32;
const HEADER: usize = 37;
const AUTHENTICATOR_MAX: usize = 256;

/// The user was there and was verified.
const PRESENT_AND_VERIFIED: u8 = 0b101;

/// What an authenticator answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assertion<'a> {
    authenticator: &'a [u8],
    client: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Assertion<'a> {
    pub(crate) fn new(
        authenticator: &'a [u8],
        client: &'a [u8],
        signature: &'a [u8],
    ) -> Result<Assertion<'a>, Refusal> {
        if authenticator.len() > AUTHENTICATOR_MAX || client.len() > ASSERTION_MAX {
            return Err(Refusal::Limit(Limit::AssertionMax));
        }
        if authenticator.len() < HEADER {
            return Err(Refusal::Malformed("authenticator data that is too short"));
        }
        Ok(Assertion { authenticator, client, signature })
    }

    /// Whether the key's owner agreed to a Statement with this SHA-256.
    pub(crate) fn verifies(&self, key: &PublicKey<'_>, digest: &Digest, crypto: &impl Crypto) -> bool {
        if self.authenticator[FLAGS] & PRESENT_AND_VERIFIED != PRESENT_AND_VERIFIED || !self.answers(digest) {
            return false;
        }
        let mut message = [0; AUTHENTICATOR_MAX + 32];
        let (data, hash) = message.split_at_mut(self.authenticator.len());
        data.copy_from_slice(self.authenticator);
        let mut hasher = crypto.sha256();
        hasher.update(self.client);
        hash[..32].copy_from_slice(hasher.finish().as_bytes());
        let message = &message[..self.authenticator.len() + 32];
        match key {
            PublicKey::Ed25519(_) => crypto.verify(key, message, self.signature).is_ok(),
            // No authenticator has such a key, or signs in this form with it.
            PublicKey::Lms(_) | PublicKey::MlDsa(_) | PublicKey::Rsa(_) => false,
            PublicKey::P256 { .. } => ecdsa::der(self.signature)
                .is_some_and(|signature| crypto.verify(key, message, &signature).is_ok()),
        }
    }

    /// `{"type":"webauthn.get","challenge":"<base64url>",` and the rest.
    fn answers(&self, digest: &Digest) -> bool {
        let rest = self.client.strip_prefix(br#"{"type":"webauthn.get","challenge":""#);
        let rest = rest.and_then(|rest| rest.strip_prefix(base64url(digest).as_slice()));
        rest.is_some_and(|rest| rest.starts_with(b"\",") && rest.ends_with(b"}"))
    }
}

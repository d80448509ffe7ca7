//! Base64 as every C2SP text uses it: standard alphabet, padded (RFC 4648
//! §4), and canonical, so that one value has one spelling.

use base64ct::{Base64, Encoding};
use firmseal_core::Digest;

pub(crate) fn encode(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = Base64::decode_vec(text).ok()?;
    // Bits behind the last byte must be zero, or one signature would have
    // several spellings.
    (encode(&bytes) == text).then_some(bytes)
}

pub(crate) fn digest(text: &str) -> Option<Digest> {
    Digest::from_slice(&decode(text)?)
}

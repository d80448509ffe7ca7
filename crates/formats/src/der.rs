//! DER at the edges: the SPKI of a bare RSAPublicKey.

/// SubjectPublicKeyInfo (RFC 3279 §2.3.1) around an RSAPublicKey. Only
/// lengths from 256 bytes on encode right: RSA keys of 2048 bits and more.
pub(crate) fn spki_of_rsa(key: &[u8]) -> Vec<u8> {
    const ALGORITHM: [u8; 15] =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let head = |tag: u8, len: usize| [tag, 0x82, (len >> 8) as u8, len as u8];
    let mut out = Vec::with_capacity(key.len() + 24);
    out.extend(head(0x30, ALGORITHM.len() + 5 + key.len()));
    out.extend(ALGORITHM);
    out.extend(head(0x03, 1 + key.len()));
    out.push(0);
    out.extend(key);
    out
}

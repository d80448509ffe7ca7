//! Public keys as people hold them: PEM, or a line of OpenSSH.
//!
//! Approvers sign with the SSH key that they have, also one in a security
//! key, and OpenSSH writes no PEM for Ed25519. The line is read here, so
//! that nobody takes it apart by hand on the way into a root document.

use base64ct::{Base64, Encoding};

use crate::key::{KeyAlgorithm, KeyError, PublicKey};

impl PublicKey {
    /// Reads what a file with one public key holds: PEM ([`from_pem`]) or an
    /// OpenSSH line ([`from_openssh`]).
    ///
    /// [`from_pem`]: PublicKey::from_pem
    /// [`from_openssh`]: PublicKey::from_openssh
    pub fn from_text(text: &str) -> Result<PublicKey, KeyError> {
        let text = text.trim();
        match text.contains("-----BEGIN ") {
            // Of either form; its public half is what a root document has.
            true if text.contains("PRIVATE KEY-----") => Err(KeyError::Private),
            true => PublicKey::from_pem(text),
            false => PublicKey::from_openssh(text),
        }
    }

    /// Reads a line of OpenSSH's public key files (RFC 4253 §6.6, RFC 5656
    /// §3.1, RFC 8709 §4, PROTOCOL.u2f): kind, base64, comment. Of a security
    /// key the application is not part of the key: whoever verifies takes it
    /// from the signature.
    pub fn from_openssh(line: &str) -> Result<PublicKey, KeyError> {
        let mut words = line.split_ascii_whitespace();
        let (Some(kind), Some(encoded)) = (words.next(), words.next()) else { return Err(KeyError::NotPem) };
        if line.trim().lines().count() != 1 {
            return Err(KeyError::NotPem);
        }
        let blob = Base64::decode_vec(encoded).map_err(|_| KeyError::NotPem)?;
        let mut rest = blob.as_slice();
        if string(&mut rest)? != kind.as_bytes() {
            return Err(KeyError::Malformed);
        }
        let key = match kind {
            "ssh-ed25519" | "sk-ssh-ed25519@openssh.com" => {
                let key = string(&mut rest)?.try_into().map_err(|_| KeyError::Malformed)?;
                PublicKey::from_ed25519(key)?
            }
            "ecdsa-sha2-nistp256" | "sk-ecdsa-sha2-nistp256@openssh.com" => {
                if string(&mut rest)? != b"nistp256" {
                    return Err(KeyError::Malformed);
                }
                PublicKey::from_point(KeyAlgorithm::P256, string(&mut rest)?)?
            }
            other => return Err(KeyError::Unsupported(format!("SSH key of kind {other:?}"))),
        };
        if kind.starts_with("sk-") {
            string(&mut rest)?;
        }
        if rest.is_empty() { Ok(key) } else { Err(KeyError::Malformed) }
    }
}

/// Takes a string (RFC 4251 §5).
fn string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], KeyError> {
    let (length, after) = rest.split_first_chunk::<4>().ok_or(KeyError::Malformed)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (string, after) = after.split_at_checked(length).ok_or(KeyError::Malformed)?;
    *rest = after;
    Ok(string)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn field(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
    }

    fn line(kind: &str, fields: &[&[u8]]) -> String {
        let blob: Vec<u8> =
            [field(kind.as_bytes())].into_iter().chain(fields.iter().map(|f| field(f))).flatten().collect();
        format!("{kind} {} ann@desk", Base64::encode_string(&blob))
    }

    #[test]
    fn a_line_is_the_key_that_pem_is() {
        let ed = PublicKey::from_ed25519([7; 32]).unwrap();
        let point = [&[4][..], &[1; 32], &[2; 32]].concat();
        let p256 = PublicKey::from_point(KeyAlgorithm::P256, &point).unwrap();
        let application = b"ssh:".as_slice();
        let lines = [
            (line("ssh-ed25519", &[&[7; 32]]), &ed),
            (line("sk-ssh-ed25519@openssh.com", &[&[7; 32], application]), &ed),
            (line("ecdsa-sha2-nistp256", &[b"nistp256", &point]), &p256),
            (line("sk-ecdsa-sha2-nistp256@openssh.com", &[b"nistp256", &point, application]), &p256),
        ];
        for (line, key) in lines {
            assert_eq!(PublicKey::from_text(&line).unwrap(), *key, "{line}");
            assert_eq!(PublicKey::from_text(&format!("\n{line}\n")).unwrap(), *key, "{line}");
            assert_eq!(PublicKey::from_text(&key.to_pem().unwrap()).unwrap(), *key, "{line}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        let good = line("ssh-ed25519", &[&[7; 32]]);
        let blob = good.split(' ').nth(1).unwrap();
        let lines = [
            String::new(),
            "ssh-ed25519".to_owned(),
            "ssh-ed25519 ????".to_owned(),
            format!("ssh-rsa {blob}"),
            format!("{good}\n{good}"),
            line("ssh-rsa", &[&[1, 0, 1], &[9; 256]]),
            line("ssh-ed25519", &[&[7; 31]]),
            line("ssh-ed25519", &[&[7; 32], b"more"]),
            line("sk-ssh-ed25519@openssh.com", &[&[7; 32]]),
            line("ecdsa-sha2-nistp256", &[b"nistp384", &[4; 65]]),
            line("ecdsa-sha2-nistp256", &[b"nistp256", &[2; 33]]),
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----".to_owned(),
        ];
        for line in lines {
            assert!(PublicKey::from_text(&line).is_err(), "{line}");
        }
    }
}

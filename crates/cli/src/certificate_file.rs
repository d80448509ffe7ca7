//! Certificate files: what PEM, DER and PKCS#12 hold, and PEM from all of
//! them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64ct::{Base64, Encoding};
use firmseal_keys::SecretSource;
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as Pkcs12Error;
use pkcs8::EncryptedPrivateKeyInfoRef;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::certificates::parse;
use crate::error::{CliError, Kind, Result, file};

/// Longest file that is read: some hundred certificates.
const FILE_MAX: u64 = 1 << 20;

/// What a file holds, in its order.
#[derive(Default)]
pub struct Found {
    /// Certificates, DER.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Private keys, DER.
    pub keys: Vec<PrivateKeyDer<'static>>,
}

impl Found {
    /// Reads a file in whatever form it is; its content tells. The
    /// passphrase is asked for only where something is encrypted.
    pub fn read(path: &Path, passphrase: Option<&SecretSource>) -> Result<Found> {
        let mut bytes = Zeroizing::new(Vec::new());
        let opened = File::open(path).map_err(file(path))?;
        opened.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(file(path))?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(
                CliError::new(Kind::Refused, "is too long for certificates and keys").about(path.display())
            );
        }
        let secret = |what: &str| match passphrase {
            Some(source) => Ok(Some(source.read(&format!("passphrase of {what} {}", path.display()))?)),
            None => Ok(None),
        };
        let found = if contains(&bytes, b"-----BEGIN ") {
            Found::pem(&bytes, &secret)
        } else {
            Found::der(&bytes, &secret)
        };
        let found = found.map_err(|error| error.about(path.display()))?;
        if found.certificates.is_empty() && found.keys.is_empty() {
            return Err(CliError::new(Kind::Refused, "holds neither a certificate nor a private key")
                .about(path.display()));
        }
        Ok(found)
    }

    fn pem(bytes: &[u8], secret: Secrets<'_>) -> Result<Found> {
        if contains(bytes, b"Proc-Type: 4,ENCRYPTED") {
            return Err(CliError::new(Kind::Refused, "holds a key in OpenSSL's old encrypted form")
                .hint("convert it first: openssl pkcs8 -topk8 -in OLD.pem -out NEW.pem"));
        }
        let mut found = Found::default();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            let (kind, der) = section
                .map_err(|error| CliError::new(Kind::Refused, format_args!("damaged PEM: {error}")))?;
            match kind {
                SectionKind::Certificate => found.certificates.push(der.into()),
                SectionKind::PrivateKey => found.keys.push(PrivateKeyDer::Pkcs8(der.into())),
                SectionKind::RsaPrivateKey => found.keys.push(PrivateKeyDer::Pkcs1(der.into())),
                SectionKind::EcPrivateKey => found.keys.push(PrivateKeyDer::Sec1(der.into())),
                _ => {}
            }
        }
        // The iterator skips a section that it does not know.
        let mut rest = bytes;
        const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
        while let Some(at) = position(rest, format!("-----BEGIN {ENCRYPTED}-----").as_bytes()) {
            let (body, after) = section_body(&rest[at..], ENCRYPTED).ok_or_else(|| {
                CliError::new(Kind::Refused, "damaged PEM: an encrypted key without an end")
            })?;
            found.keys.push(decrypt(&body, secret)?);
            rest = after;
        }
        Ok(found)
    }

    fn der(bytes: &[u8], secret: Secrets<'_>) -> Result<Found> {
        let mut found = Found::default();
        if matches!(x509_parser::parse_x509_certificate(bytes), Ok((rest, _)) if rest.is_empty()) {
            found.certificates.push(bytes.to_vec().into());
        } else if let Ok(info) = EncryptedPrivateKeyInfoRef::try_from(bytes) {
            found.keys.push(decrypt_info(&info, secret)?);
        } else if is_pkcs12(bytes) {
            return pkcs12(bytes, secret);
        } else if let Ok(key) = PrivateKeyDer::try_from(bytes)
            && KeyPair::try_from(&key).is_ok()
        {
            found.keys.push(key.clone_key());
        } else {
            return Err(CliError::new(Kind::Refused, "is neither PEM, DER nor PKCS#12"));
        }
        Ok(found)
    }

    /// Puts the key's certificate first and its issuers after it, as TLS
    /// wants them (RFC 8446 §4.4.2), and leaves out what is twice there.
    pub fn in_order(mut self) -> Result<Found> {
        let mut seen: Vec<CertificateDer<'static>> = Vec::new();
        self.certificates.retain(|certificate| {
            let new = !seen.contains(certificate);
            if new {
                seen.push(certificate.clone());
            }
            new
        });
        let Some(key) = self.keys.first() else { return Ok(self) };
        let public = public_half(key)?;
        let own = self.certificates.iter().position(|der| {
            parse(der).is_ok_and(|certificate| certificate.public_key().raw == public.as_slice())
        });
        let Some(own) = own else {
            if self.certificates.is_empty() {
                return Ok(self);
            }
            return Err(CliError::new(Kind::Refused, "none of the certificates belongs to the private key"));
        };
        let mut ordered = vec![self.certificates.remove(own)];
        while let Some(next) = self.issuer_of(ordered.last()) {
            ordered.push(self.certificates.remove(next));
        }
        ordered.append(&mut self.certificates);
        self.certificates = ordered;
        Ok(self)
    }

    fn issuer_of(&self, last: Option<&CertificateDer<'static>>) -> Option<usize> {
        let last = parse(last?).ok()?;
        self.certificates.iter().position(|der| {
            parse(der).is_ok_and(|certificate| certificate.subject().as_raw() == last.issuer().as_raw())
        })
    }

    /// The certificates in PEM.
    pub fn certificates_pem(&self) -> String {
        self.certificates.iter().map(|der| encode_pem("CERTIFICATE", der)).collect()
    }
}

type Secrets<'a> = &'a dyn Fn(&str) -> Result<Option<firmseal_keys::Secret>>;

/// A private key in PEM, under the label of its form.
pub fn key_pem(key: &PrivateKeyDer<'_>) -> Zeroizing<String> {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    Zeroizing::new(encode_pem(label, key.secret_der()))
}

/// RFC 7468 §2: lines of 64 characters.
fn encode_pem(label: &str, der: &[u8]) -> String {
    let text = Zeroizing::new(Base64::encode_string(der));
    // The whole capacity at once: a buffer that grows leaves copies behind.
    let mut out = String::with_capacity(text.len() + text.len() / 64 + 2 * label.len() + 40);
    out.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    position(bytes, what).is_some()
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The DER of the PEM section that `bytes` begins with, and what follows.
fn section_body<'a>(bytes: &'a [u8], label: &str) -> Option<(Zeroizing<Vec<u8>>, &'a [u8])> {
    let begin = format!("-----BEGIN {label}-----").len();
    let end = position(bytes, format!("-----END {label}-----").as_bytes())?;
    let text: Vec<u8> =
        bytes.get(begin..end)?.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = Base64::decode_vec(std::str::from_utf8(&text).ok()?).ok()?;
    Some((Zeroizing::new(der), &bytes[end..]))
}

/// RFC 5958 §3, RFC 8018.
fn decrypt(der: &[u8], secret: Secrets<'_>) -> Result<PrivateKeyDer<'static>> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der)
        .map_err(|_| CliError::new(Kind::Refused, "holds an encrypted key that is not PKCS#8"))?;
    decrypt_info(&info, secret)
}

fn decrypt_info(
    info: &EncryptedPrivateKeyInfoRef<'_>,
    secret: Secrets<'_>,
) -> Result<PrivateKeyDer<'static>> {
    let secret = secret("the key in")?.ok_or_else(no_passphrase)?;
    let document = info.decrypt(secret.expose()).map_err(|_| wrong_passphrase())?;
    Ok(PrivateKeyDer::Pkcs8(document.as_bytes().to_vec().into()))
}

/// PFX ::= SEQUENCE { version INTEGER {v3(3)}, ... } (RFC 7292 §4).
fn is_pkcs12(bytes: &[u8]) -> bool {
    let content = match bytes {
        [0x30, len, rest @ ..] if *len < 0x80 => rest,
        // Indefinite lengths are BER; old exporters write them.
        [0x30, 0x80, rest @ ..] => rest,
        [0x30, len @ 0x81..=0x84, rest @ ..] => rest.get(usize::from(len & 0x7f)..).unwrap_or_default(),
        _ => return false,
    };
    content.starts_with(&[0x02, 0x01, 0x03])
}

fn pkcs12(bytes: &[u8], secret: Secrets<'_>) -> Result<Found> {
    let secret = secret("the PKCS#12 file")?;
    let given = secret.is_some();
    let password = match &secret {
        Some(secret) => std::str::from_utf8(secret.expose())
            .map_err(|_| CliError::new(Kind::Usage, "the passphrase of a PKCS#12 file is UTF-8 text"))?,
        // Files without a passphrase have the empty one.
        None => "",
    };
    let archive = Pkcs12Archive::from_pkcs12(bytes, password).map_err(|error| match error {
        Pkcs12Error::MacError(_) | Pkcs12Error::UnpadError if given => wrong_passphrase(),
        Pkcs12Error::MacError(_) | Pkcs12Error::UnpadError => no_passphrase(),
        other => CliError::new(Kind::Refused, format_args!("PKCS#12 that is not understood: {other}"))
            .hint("let OpenSSL convert it: openssl pkcs12 -legacy -in OLD.p12 -noenc -out NEW.pem"),
    })?;
    Ok(Found {
        certificates: archive.certs.iter().map(|bag| bag.cert.as_der().to_vec().into()).collect(),
        keys: archive.keys.iter().map(|bag| PrivateKeyDer::Pkcs8(bag.key.as_der().to_vec().into())).collect(),
    })
}

fn no_passphrase() -> CliError {
    CliError::new(Kind::NotAllowed, "is encrypted")
        .hint("say where its passphrase comes from: --passphrase file:PATH, env:NAME or prompt")
}

fn wrong_passphrase() -> CliError {
    CliError::new(Kind::NotAllowed, "wrong passphrase, or the file is damaged")
}

/// SubjectPublicKeyInfo of a private key's public half.
fn public_half(key: &PrivateKeyDer<'_>) -> Result<Vec<u8>> {
    let pair = KeyPair::try_from(key).map_err(|error| {
        CliError::new(
            Kind::Refused,
            format_args!("the private key is of no kind that TLS here uses: {error}"),
        )
        .hint("use ECDSA P-256 or P-384, Ed25519, or RSA with 2048 bits or more")
    })?;
    Ok(pair.subject_public_key_info())
}

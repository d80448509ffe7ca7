//! The device's identity: a key that never leaves it, and certificates for
//! that key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::files::{Access, Files};

/// Longest file of an identity, in bytes.
const FILE_MAX: u64 = 256 * 1024;

/// Key, certificate, authority and trust anchor in the state directory.
pub(crate) struct Identity {
    files: Arc<dyn Files>,
    dir: PathBuf,
}

/// The certificate's validity, in seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Validity {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

impl Validity {
    /// Whether it is time for the next certificate: two thirds of this
    /// one's life are over, or all of it.
    pub(crate) fn wants_renewal(&self, now: u64) -> bool {
        let life = self.not_after.saturating_sub(self.not_before);
        now >= self.not_after.saturating_sub(life / 3)
    }
}

impl Identity {
    pub(crate) fn new(files: Arc<dyn Files>, dir: &Path) -> Identity {
        Identity { files, dir: dir.to_owned() }
    }

    /// The device's key in PEM; made now if there is none. It is durable
    /// before anybody is asked to certify it.
    pub(crate) fn key(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        if let Some(key) = self.read("device.key")? {
            return Ok(Zeroizing::new(key));
        }
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map_err(|err| Error::Identity(format!("no key could be made: {err}")))?;
        let pem = Zeroizing::new(pair.serialize_pem().into_bytes());
        self.write("device.key", &pem)?;
        Ok(pem)
    }

    /// A PKCS#10 request for the device's key, in PEM. The names in it are
    /// for the server to choose.
    pub(crate) fn request(&self) -> Result<String, Error> {
        let fail = |why: rcgen::Error| Error::Identity(format!("no certificate request: {why}"));
        let pair = self.pair()?;
        let params = CertificateParams::new(Vec::new()).map_err(fail)?;
        params.serialize_request(&pair).and_then(|request| request.pem()).map_err(fail)
    }

    fn pair(&self) -> Result<KeyPair, Error> {
        let no_key = || Error::Identity("device.key holds no private key in PEM".to_owned());
        let pem = self.key()?;
        KeyPair::from_pem(std::str::from_utf8(&pem).map_err(|_| no_key())?).map_err(|_| no_key())
    }

    /// The certificate chain in PEM, if the device is enrolled.
    pub(crate) fn certificate(&self) -> Result<Option<Vec<u8>>, Error> {
        self.read("device.crt")
    }

    /// Checks that a certificate which a server issued is one for this
    /// device's key, with a period in order: another one would lock the
    /// device out.
    pub(crate) fn check_certificate(&self, pem: &str) -> Result<(), Error> {
        let Validity { not_before, not_after } = validity(pem.as_bytes())?;
        if not_before >= not_after {
            return Err(Error::Identity("the server issued a certificate that is never valid".to_owned()));
        }
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| unusable())?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|_| unusable())?;
        if parsed.public_key().raw != self.pair()?.subject_public_key_info() {
            return Err(Error::Identity("the server issued a certificate for another key".to_owned()));
        }
        Ok(())
    }

    /// Keeps a certificate that the server issued.
    pub(crate) fn keep_certificate(&self, pem: &str) -> Result<(), Error> {
        self.check_certificate(pem)?;
        self.write("device.crt", pem.as_bytes())
    }

    /// The authorities that the server is checked against, in PEM.
    pub(crate) fn authority(&self) -> Result<Option<Vec<u8>>, Error> {
        self.read("authority.crt")
    }

    pub(crate) fn keep_authority(&self, pem: &[u8]) -> Result<(), Error> {
        self.write("authority.crt", pem)
    }

    /// The trust anchor: root document version 1.
    pub(crate) fn anchor(&self) -> Result<Option<Vec<u8>>, Error> {
        self.read("root.cbor")
    }

    pub(crate) fn keep_anchor(&self, root: &[u8]) -> Result<(), Error> {
        self.write("root.cbor", root)
    }

    /// The server of a device whose configuration names none.
    pub(crate) fn server(&self) -> Result<Option<String>, Error> {
        Ok(self.read("server")?.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    pub(crate) fn keep_server(&self, server: &str) -> Result<(), Error> {
        self.write("server", server.as_bytes())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.dir.join(name);
        let read = || {
            let file = match self.files.open(&path, Access::Read) {
                Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                other => other?,
            };
            let mut bytes = vec![0; file.len()?.min(FILE_MAX) as usize];
            let count = file.read_full_at(&mut bytes, 0)?;
            bytes.truncate(count);
            Ok(Some(bytes))
        };
        read().map_err(|err| Error::storage(&path, err))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.dir.join(name);
        let temporary = self.dir.join(format!("{name}.new"));
        let write = || {
            let file = self.files.open(&temporary, Access::Replace)?;
            file.write_at(bytes, 0)?;
            file.sync()?;
            self.files.rename(&temporary, &path)?;
            self.files.sync_dir(&self.dir)
        };
        write().map_err(|err| Error::storage(&path, err))
    }
}

fn unusable() -> Error {
    Error::Identity("device.crt holds no certificate in PEM".to_owned())
}

/// The validity of the first certificate in a PEM file.
pub(crate) fn validity(pem: &[u8]) -> Result<Validity, Error> {
    let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| unusable())?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|_| unusable())?;
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    let validity = parsed.validity();
    Ok(Validity { not_before: seconds(validity.not_before), not_after: seconds(validity.not_after) })
}

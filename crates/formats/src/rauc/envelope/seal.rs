//! An envelope for the devices of a bundle.
//!
//! Nothing here is random: the keys come out of what is sealed, which holds
//! the payload's own key and is known to nobody who must not open it
//! (decision 42).

use firmseal_manifest::{KeyAlgorithm, PublicKey};
use zeroize::Zeroizing;

use super::keys::{self, Derivation, KEY};
use super::{
    AES256_CBC, AES256_WRAP, AGREED_SHA256, AGREEMENT, EC_PUBLIC_KEY, ENVELOPED_DATA, MGF1, RSAES_OAEP,
};
use crate::agreement::{Recipient, Secret};
use crate::cms;
use crate::cms::certificate::{Certificate, pem};
use crate::cms::scheme::hash_identifier;
use crate::der::{self, BIT_STRING, INTEGER, OCTET_STRING, OID, SEQUENCE, SET};
use crate::error::FormatError;
use crate::hash::Hash;
use crate::hkdf::MacHash;
use crate::key_wrap;
use crate::parameters::{Parameter, bad};
use crate::transport::RsaRecipient;

/// The parameter that names the devices.
pub(in crate::rauc) const PARAMETER: Parameter = Parameter {
    name: "encrypt",
    about: "the certificates, in PEM, of the devices that a crypt bundle is encrypted for: P-256 or RSA keys; \
            `@FILE` on the command line",
};

/// Most devices of one bundle: they fit into its CMS.
const DEVICES_MAX: usize = 64;
/// Most bytes that each takes: its certificate's issuer apart, a key of 8192
/// bits and what is around it.
const DEVICE_MAX: usize = 1280;

/// Who opens an envelope that is to be made.
#[derive(Clone)]
pub(in crate::rauc) struct Devices(Vec<Device>);

#[derive(Clone)]
struct Device {
    /// IssuerAndSerialNumber.
    name: Vec<u8>,
    spki: Vec<u8>,
    key: Key,
}

#[derive(Clone)]
enum Key {
    Agreed(Recipient),
    Transported(RsaRecipient),
}

impl Devices {
    /// Those whose certificates are given.
    pub(in crate::rauc) fn given(text: &str) -> Result<Devices, FormatError> {
        let wrong = |why: &str| bad(PARAMETER.name, why.to_owned());
        let all = pem(text, "CERTIFICATE").ok_or_else(|| wrong("it is no PEM of certificates"))?;
        if all.is_empty() || all.len() > DEVICES_MAX {
            return Err(wrong("it holds none, or more than 64 certificates"));
        }
        let mut devices = Vec::new();
        for (index, der) in all.iter().enumerate() {
            let numbered = |why: &str| bad(PARAMETER.name, format!("certificate {}: {why}", index + 1));
            let certificate = Certificate::read(der).map_err(numbered)?;
            let key = Key::of(certificate.spki)
                .ok_or_else(|| numbered("its key is neither of P-256 nor of RSA with up to 8192 bits"))?;
            let (name, spki) = (certificate.name(), certificate.spki.to_vec());
            if devices.iter().any(|own: &Device| own.name == name) {
                return Err(numbered("it stands in it twice"));
            }
            devices.push(Device { name, spki, key });
        }
        Ok(Devices(devices))
    }

    /// What an envelope takes beside its content, at most.
    pub(in crate::rauc) fn len(&self) -> usize {
        self.0.iter().map(|own| own.name.len() + DEVICE_MAX).sum()
    }

    /// A ContentInfo with EnvelopedData (RFC 5652 §6.1) around another one.
    pub(in crate::rauc) fn seal(&self, content: &[u8]) -> Option<Vec<u8>> {
        let seed = MacHash::Sha256.mac(b"firmseal rauc envelope 1", &[content]);
        let everybody: Vec<&[u8]> = self.0.iter().flat_map(|own| [&own.name[..], &own.spki]).collect();
        let everybody = Hash::Sha256.of(&everybody.concat());
        let derive = |what: &str, of: &[u8], count: u8| {
            let info = [what.as_bytes(), &[count], &everybody, of].concat();
            let mut out = Zeroizing::new([0; KEY]);
            out.copy_from_slice(&MacHash::Sha256.expand(&seed, &info, KEY));
            out
        };
        let key = derive("content", &[], 0);
        let mut iv = [0; 16];
        iv.copy_from_slice(&derive("iv", &[], 0)[..16]);
        let infos =
            self.0.iter().map(|device| device.info(&key, |what, count| derive(what, &device.spki, count)));
        let infos = infos.collect::<Option<Vec<_>>>()?;
        // "version is 0" where all keys are transported and named by issuer
        // and number, else 2.
        let version = u8::from(self.0.iter().any(|own| matches!(own.key, Key::Agreed(_)))) * 2;
        let algorithm = identifier(AES256_CBC, &der::tlv(OCTET_STRING, &[&iv]));
        let sealed = der::tlv(0x80, &[&keys::encrypt(&key, iv, content)]);
        let encrypted = der::tlv(SEQUENCE, &[&der::tlv(OID, &[cms::DATA]), &algorithm, &sealed]);
        let enveloped =
            der::tlv(SEQUENCE, &[&der::tlv(INTEGER, &[&[version]]), &der::set(SET, infos), &encrypted]);
        let inside = der::tlv(der::context(0), &[&enveloped]);
        Some(der::tlv(SEQUENCE, &[&der::tlv(OID, &[ENVELOPED_DATA]), &inside]))
    }
}

impl Device {
    /// RecipientInfo, with the content's key for this device.
    fn info(&self, key: &[u8; KEY], derive: impl Fn(&str, u8) -> Zeroizing<[u8; KEY]>) -> Option<Vec<u8>> {
        match &self.key {
            Key::Agreed(recipient) => {
                // One in 2^32 values is no scalar of P-256.
                let ephemeral = (0..=u8::MAX)
                    .find_map(|count| Secret::for_peer(recipient, &derive("ephemeral", count)[..]))?;
                let wrap = identifier(AES256_WRAP, &[]);
                let with = Derivation::Sha256.key(&ephemeral.agree(recipient)?[..], &wrap, None);
                let point = der::tlv(BIT_STRING, &[&[0], &ephemeral.public().bytes()]);
                let origin = der::tlv(der::context(1), &[&identifier(EC_PUBLIC_KEY, &[]), &point]);
                let sealed = der::tlv(OCTET_STRING, &[&key_wrap::wrap(&with[..], key)?]);
                let parts = [
                    &der::tlv(INTEGER, &[&[3]]),
                    &der::tlv(der::context(0), &[&origin]),
                    &identifier(AGREED_SHA256, &wrap),
                    &der::tlv(SEQUENCE, &[&der::tlv(SEQUENCE, &[&self.name, &sealed])]),
                ];
                Some(der::tlv(AGREEMENT, &parts.map(Vec::as_slice)))
            }
            Key::Transported(recipient) => {
                let sealed = der::tlv(OCTET_STRING, &[&recipient.seal(key, &derive("oaep", 0))?]);
                let sha256 = hash_identifier(Hash::Sha256, true);
                let mask = identifier(MGF1, &sha256);
                let parameters =
                    [der::tlv(der::context(0), &[&sha256]), der::tlv(der::context(1), &[&mask])].concat();
                let algorithm = identifier(RSAES_OAEP, &der::tlv(SEQUENCE, &[&parameters]));
                let version = der::tlv(INTEGER, &[&[0]]);
                Some(der::tlv(SEQUENCE, &[&version, &self.name, &algorithm, &sealed]))
            }
        }
    }
}

impl Key {
    fn of(spki: &[u8]) -> Option<Key> {
        let key = PublicKey::from_spki(spki).ok()?;
        match key.algorithm() {
            KeyAlgorithm::P256 => Recipient::from_point(&key.bits()).map(Key::Agreed),
            KeyAlgorithm::Rsa(_) => RsaRecipient::from_spki(spki).map(Key::Transported),
            _ => None,
        }
    }
}

/// AlgorithmIdentifier.
fn identifier(oid: &[u8], parameters: &[u8]) -> Vec<u8> {
    der::tlv(SEQUENCE, &[&der::tlv(OID, &[oid]), parameters])
}

//! A key in a TPM, as a signer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{self, SHA256, SHA384};
use firmseal_keys::pool::wait;
use firmseal_keys::{Backend, Covered, Secret, SignError, Verifier};
use firmseal_manifest::{KeyAlgorithm, KeyError, PublicKey, Signature, Tbs};
use tss_esapi::structures::Signature as Signed;

use crate::error::TpmError;
use crate::public::{pad, public_key, scheme, weakness};
use crate::tpm::{Done, Tpm};
use crate::uri::TpmUri;

/// A signer with its key in a TPM.
pub struct TpmKey {
    tpm: Arc<Tpm>,
    uri: TpmUri,
    pin: Secret,
    public_key: PublicKey,
    verifier: Verifier,
    weakness: Option<&'static str>,
    /// The PIN was refused: nobody asks the TPM any more.
    latched: Arc<AtomicBool>,
}

impl TpmKey {
    /// Opens the key that the URI names, and has the TPM look at the PIN.
    ///
    /// Blocks; call it at start. A PIN that was refused is not offered
    /// again: a TPM locks all its keys after some wrong ones.
    pub fn open(uri: &TpmUri, pin: Secret) -> Result<TpmKey, TpmError> {
        let tpm = Tpm::of(uri.tcti())?;
        let (place, offered) = (uri.place.clone(), pin.clone());
        let done = wait(tpm.ask(move |connection| {
            let (handle, public) = connection.load(&place, &offered)?;
            let key = public_key(&public)?;
            connection.check_pin(handle)?;
            Ok(Done::Key(key, weakness(public.object_attributes())))
        }))?;
        let Done::Key(public_key, weakness) = done else { return Err(TpmError::Replaced) };
        if scheme(public_key.algorithm(), None).is_none() {
            return Err(TpmError::NotForSigning("no TPM signs with such a key"));
        }
        let verifier = Verifier::new(&public_key).map_err(|_| TpmError::from(KeyError::Malformed))?;
        let latched = Arc::new(AtomicBool::new(false));
        Ok(TpmKey { tpm, uri: uri.clone(), pin, public_key, verifier, weakness, latched })
    }

    /// What lets the key out of the TPM, if anything does.
    pub fn weakness(&self) -> Option<&'static str> {
        self.weakness
    }

    /// One line for people: which key this is, and whether it can leave.
    pub fn describe(&self) -> String {
        let key = &self.public_key;
        let kept = match self.weakness {
            None => "it cannot leave the tpm".to_owned(),
            Some(weakness) => format!("weakly kept: {weakness}"),
        };
        let place = TpmUri { tcti: None, pin_source: None, ..self.uri.clone() };
        format!("{} key {} at {place} ({kept})", key.algorithm(), key.id())
    }

    /// Loads the key, makes sure that it is still the same, and uses it if
    /// there is something to sign.
    async fn ask(&self, tbs: Option<Tbs>) -> Result<Option<Signature>, SignError> {
        if self.latched.load(Ordering::Acquire) {
            return Err(SignError::WrongPin);
        }
        let (place, pin, key) = (self.uri.place.clone(), self.pin.clone(), self.public_key.clone());
        let latched = Arc::clone(&self.latched);
        let work = move |connection: &mut crate::connection::Connection| {
            // Others may have been refused while this one waited.
            if latched.load(Ordering::Acquire) {
                return Err(TpmError::WrongPin);
            }
            let (handle, public) = connection.load(&place, &pin)?;
            if public_key(&public)? != key {
                return Err(TpmError::Replaced);
            }
            let Some(tbs) = &tbs else { return Ok(Done::Key(key.clone(), None)) };
            let algorithm = key.algorithm();
            let scheme = scheme(algorithm, Some(tbs))
                .ok_or_else(|| TpmError::NotThis("there is no scheme for such input".to_owned()))?;
            let signed = connection.sign(handle, input(algorithm, tbs), scheme).inspect_err(|error| {
                // Before the next one in the queue is looked at.
                if error.is_pin() {
                    latched.store(true, Ordering::Release);
                }
            })?;
            Ok(Done::Signed(signature(algorithm, &signed)?))
        };
        match self.tpm.ask(work).await? {
            Done::Signed(signature) => Ok(Some(signature)),
            Done::Key(..) | Done::Found(_) | Done::Gone(_) => Ok(None),
        }
    }
}

impl Backend for TpmKey {
    fn public_half(&self) -> &PublicKey {
        &self.public_key
    }

    /// It finds out, too, a TPM that salts PSS with as many bytes as fit
    /// and not with 32 (FIPS 186): the former no device takes.
    fn verifier(&self) -> Option<&Verifier> {
        Some(&self.verifier)
    }

    async fn sign_unverified(&self, covered: Covered) -> Result<Signature, SignError> {
        self.ask(Some(covered.into_tbs())).await?.ok_or(SignError::BadSignature)
    }

    /// Loads the key, which uses nothing.
    async fn probe(&self) -> Result<(), SignError> {
        self.ask(None).await.map(drop)
    }

    fn hanging(&self) -> usize {
        self.tpm.hanging()
    }
}

/// What goes to the TPM.
fn input(algorithm: KeyAlgorithm, tbs: &Tbs) -> Vec<u8> {
    match (tbs, algorithm) {
        (Tbs::Message(message), KeyAlgorithm::P384) => digest::digest(&SHA384, message).as_ref().to_vec(),
        (Tbs::Message(message), _) => digest::digest(&SHA256, message).as_ref().to_vec(),
        (Tbs::Sha256(value) | Tbs::Pkcs1(value) | Tbs::PssMax(value), _) => value.to_vec(),
        (Tbs::Sha384(value), _) => value.to_vec(),
    }
}

fn signature(algorithm: KeyAlgorithm, signed: &Signed) -> Result<Signature, TpmError> {
    let malformed = TpmError::UnsupportedKey(KeyError::Malformed);
    match (signed, algorithm) {
        (Signed::EcDsa(ecdsa), KeyAlgorithm::P256 | KeyAlgorithm::P384) => {
            let width = if algorithm == KeyAlgorithm::P256 { 32 } else { 48 };
            let mut out = Vec::with_capacity(2 * width);
            for number in [ecdsa.signature_r().value(), ecdsa.signature_s().value()] {
                pad(&mut out, number, width).ok_or_else(|| malformed.clone())?;
            }
            Ok(Signature(out))
        }
        (Signed::RsaPss(rsa) | Signed::RsaSsa(rsa), KeyAlgorithm::Rsa(_)) => {
            Ok(Signature(rsa.signature().value().to_vec()))
        }
        _ => Err(malformed),
    }
}

impl fmt::Debug for TpmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TpmKey({})", self.describe())
    }
}

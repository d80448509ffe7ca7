//! A witness's key: it cosigns checkpoints and nothing else.
//!
//! One line in a file for this user only, as `sumdb/note` writes private
//! keys: `PRIVATE+KEY+<name>+<id>+<base64 of 0x04 and the seed>`. The name is
//! not part of what is signed, so a key has one name: "Key must be unique
//! per cosigner" (C2SP tlog-cosignature).

use std::io::Write;
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64ct::{Base64, Encoding};
use firmseal_tlog::{Kind, NoteSignature, VerifierKey, cosignature_message};
use zeroize::Zeroizing;

use crate::error::{WitnessError, file};
use crate::files;

const PREFIX: &str = "PRIVATE+KEY+";

/// The key, ready to cosign.
pub struct CosignerKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl CosignerKey {
    /// Makes a key under this name, in a file that must not exist yet.
    pub fn create(path: &Path, name: &str) -> Result<CosignerKey, WitnessError> {
        let failed = |why: &str| WitnessError::Key { path: path.to_owned(), why: why.to_owned() };
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *seed).map_err(|_| failed("there are no random bytes"))?;
        let (_, public) = pair(&*seed).ok_or_else(|| failed("it cannot be made"))?;
        // Names stand in one byte of length in other cosignatures.
        let verifier = VerifierKey::new(name, Kind::Cosignature, public).ok();
        let verifier = verifier.filter(|_| name.len() <= 255);
        let id = verifier.ok_or_else(|| WitnessError::Name(name.to_owned()))?.id();
        let key = Zeroizing::new([Kind::Cosignature.identifier(), &*seed].concat());
        let secret = Zeroizing::new(Base64::encode_string(&key));
        let text = Zeroizing::new(format!("{PREFIX}{name}+{id:08x}+{}\n", *secret));
        let mut out = files::private(path)?;
        out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(file("write", path))?;
        files::sync_parent(path)?;
        CosignerKey::read(path)
    }

    /// Reads a key, unless others may read its file.
    pub fn read(path: &Path) -> Result<CosignerKey, WitnessError> {
        let failed = |why: String| WitnessError::Key { path: path.to_owned(), why };
        let bytes = firmseal_keys::private::read(path).map_err(|error| failed(error.to_string()))?;
        // Never the text itself: it is the secret.
        let key = std::str::from_utf8(&bytes).ok().and_then(|text| parse(text.trim_end()));
        key.ok_or_else(|| failed("it is no cosigner's key".to_owned()))
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Cosigns a checkpoint's text at a time that is not 0. Whoever calls
    /// this has made durable that it was seen.
    pub(crate) fn cosign(&self, text: &str, time: u64) -> NoteSignature {
        let signature = self.pair.sign(&cosignature_message(time, text));
        NoteSignature::timed(&self.verifier, time, signature.as_ref())
    }
}

fn parse(text: &str) -> Option<CosignerKey> {
    let mut parts = text.strip_prefix(PREFIX)?.splitn(3, '+');
    let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let key = Zeroizing::new(Base64::decode_vec(key).ok()?);
    let (pair, public) = pair(key.strip_prefix(Kind::Cosignature.identifier())?)?;
    let verifier = VerifierKey::new(name, Kind::Cosignature, public).ok()?;
    (id == format!("{:08x}", verifier.id())).then_some(CosignerKey { pair, verifier })
}

fn pair(seed: &[u8]) -> Option<(Ed25519KeyPair, [u8; 32])> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
    let public = pair.public_key().as_ref().try_into().ok()?;
    Some((pair, public))
}

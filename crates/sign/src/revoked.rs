//! What the newest revocation takes away: keys that sign here, and releases
//! that were signed before.

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{KeyId, Refusal};
use firmseal_fleet::Product;
use firmseal_manifest::Digest;

use crate::device::{self, Floors};
use crate::error::PipelineError;
use crate::keys::Keys;
use crate::pipeline::Pipeline;
use crate::trust::Chain;

impl Chain {
    /// The revocation that names a key, if one does.
    pub fn revokes_key(&self, key: &KeyId) -> Option<u64> {
        let named = self.revoked_keys().is_some_and(|keys| keys.contains(key));
        // Under a root document that cannot be read no key's standing is
        // known, and none signs.
        (named || self.root_version() == 0).then(|| self.revocation_version())
    }

    /// Whether a device of this product that holds the newest root document
    /// and revocation, and nothing else, would install a release.
    pub fn admits(&self, product: &Product, envelope: &[u8]) -> Result<(), Refusal> {
        device::ask(product, self, Floors::default(), |device| {
            firmseal_core::admit(envelope, device, &RustCrypto).map(drop)
        })
    }

    /// Whether a revocation names a release, by its manifest digest.
    pub fn revokes_release(&self, manifest: &Digest) -> bool {
        let named =
            self.ask(|trust| Ok(trust.revocation.is_some_and(|revocation| revocation.revokes(manifest))));
        named.unwrap_or(true)
    }

    /// Whether the newest revocation names any key.
    pub fn revokes_keys(&self) -> bool {
        self.revoked_keys().is_some_and(|keys| !keys.is_empty())
    }

    /// Whether the newest revocation takes a release away, by name or with
    /// the keys that signed it.
    ///
    /// Core is asked as a device would ask it, under the newest root
    /// document that knows the release's signers: once the stolen key has
    /// left the roots, the newest one calls it a stranger, and devices that
    /// have not got there yet must not be offered the release either.
    pub fn takes_away(&self, product: &Product, manifest: &Digest, envelope: &[u8]) -> bool {
        if self.revokes_release(manifest) {
            return true;
        }
        self.roots().iter().rev().find_map(|root| {
            let verdict = self.ask_under(root, |trust| {
                device::ask_with(product, trust, Floors::default(), |device| {
                    firmseal_core::admit(envelope, device, &RustCrypto).map(drop)
                })
            });
            match verdict {
                Ok(()) => Some(false),
                Err(Refusal::KeyRevoked | Refusal::ReleaseRevoked) => Some(true),
                Err(_) => None,
            }
        }) == Some(true)
    }
}

impl Pipeline {
    /// Refuses keys that were revoked, before the first of them signs.
    /// Devices would refuse the outcome; a thief's key must not get as far
    /// as an entry in the log.
    pub(crate) fn check_revoked(&self, keys: &Keys) -> Result<(), PipelineError> {
        let trust = self.trust();
        for signer in keys.signers() {
            let key = signer.id();
            if let Some(version) = trust.revokes_key(&key) {
                return Err(PipelineError::KeyRevoked { key, version });
            }
        }
        Ok(())
    }
}

//! The keys that sign for a product.

use std::sync::Arc;

use firmseal_fleet::product::Environment;
use firmseal_fleet::{Product, Time};
use firmseal_keys::known::development_key;
use firmseal_manifest::{DelegationChain, Digest};

use crate::error::PipelineError;
use crate::gate::GateRefusal;
use crate::key_rules::KeyPurpose;
use crate::keyring::KeyringError;
use crate::signing_key::{Ask, SigningKey};

/// The keys that sign for a product.
#[derive(Clone, Default, Debug)]
pub struct Keys {
    /// Sign the manifest: as many holders as the root's threshold demands.
    pub release: Vec<Arc<SigningKey>>,
    /// Signs the image itself where the format has a signature of its own.
    pub artifact: Option<Arc<SigningKey>>,
    /// Let release keys sign that are not the role's own; all have one index.
    pub delegations: Vec<DelegationChain>,
}

impl Keys {
    /// Every key, of either kind.
    pub fn signers(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.placed().map(|(_, key)| key)
    }

    fn placed(&self) -> impl Iterator<Item = (KeyPurpose, &Arc<SigningKey>)> {
        let release = self.release.iter().map(|key| (KeyPurpose::Release, key));
        release.chain(self.artifact.iter().map(|key| (KeyPurpose::Artifact, key)))
    }

    /// Ids of the keys that sign the manifest, sorted.
    pub(crate) fn ids(&self) -> Vec<Digest> {
        let mut ids: Vec<_> = self.release.iter().map(|key| key.id().0).collect();
        ids.sort();
        ids
    }

    /// Each key stands where it belongs.
    pub(crate) fn check_places(&self) -> Result<(), KeyringError> {
        match self.placed().find(|(place, key)| key.rules().purpose != *place) {
            None => Ok(()),
            Some((place, key)) => {
                let (name, own) = (key.name().clone(), key.rules().purpose);
                Err(KeyringError::Misplaced { name, own, place })
            }
        }
    }

    /// Keys that everybody knows never sign for production, and none signs
    /// for what it is not for: said before the first of them is used.
    pub(crate) fn check(&self, product: &Product, now: Time) -> Result<(), PipelineError> {
        for (purpose, key) in self.placed() {
            if product.environment == Environment::Production
                && let Some(name) = development_key(key.public_key())
            {
                return Err(GateRefusal::DevelopmentKey { name }.into());
            }
            // No caller: nobody is counted for looking.
            key.permit(Ask { purpose, product, caller: "", now })?;
        }
        Ok(())
    }
}

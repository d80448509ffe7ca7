//! The keys that sign for a product.

use std::sync::Arc;

use firmseal_fleet::Product;
use firmseal_fleet::product::Environment;
use firmseal_keys::{DynSigner, Signer};
use firmseal_manifest::{DelegationChain, Digest};

use crate::gate::GateRefusal;

/// The keys that sign for a product.
#[derive(Clone, Default)]
pub struct Keys {
    /// Sign the manifest: as many holders as the root's threshold demands.
    pub release: Vec<Arc<dyn DynSigner>>,
    /// Signs the image itself where the format has a signature of its own.
    pub artifact: Option<Arc<dyn DynSigner>>,
    /// Let release keys sign that are not the role's own; all have one index.
    pub delegations: Vec<DelegationChain>,
}

impl Keys {
    /// Every key, of either kind.
    pub fn signers(&self) -> impl Iterator<Item = &Arc<dyn DynSigner>> {
        self.release.iter().chain(&self.artifact)
    }

    /// Ids of the keys that sign the manifest, sorted.
    pub(crate) fn ids(&self) -> Vec<Digest> {
        let mut ids: Vec<_> = self.release.iter().map(|signer| signer.public_key().id().0).collect();
        ids.sort();
        ids
    }

    /// Keys that everybody knows never sign for production.
    pub(crate) fn check(&self, product: &Product) -> Result<(), GateRefusal> {
        if product.environment == Environment::Test {
            return Ok(());
        }
        for signer in self.signers() {
            if let Some(name) = firmseal_keys::known::development_key(signer.public_key()) {
                return Err(GateRefusal::DevelopmentKey { name });
            }
        }
        Ok(())
    }
}

//! Sealing: from a manifest to an envelope that devices accept.

use firmseal_keys::{DynSigner, Logged, SignError, Signer};
use firmseal_manifest::{Digest, Intent, PublicKey, Purpose, Signature, Tbs, UnsignedManifest};

use crate::error::PipelineError;
use crate::gate;
use crate::keys::Keys;
use crate::order::Order;
use crate::pipeline::Pipeline;

impl Pipeline {
    /// Logs the intent and signs the manifest with every release key.
    pub(crate) async fn sign(
        &self,
        order: &Order,
        manifest: &UnsignedManifest,
        leaves: Vec<Digest>,
        keys: &Keys,
    ) -> Result<(Vec<u8>, u64), PipelineError> {
        let mut ids: Vec<_> = keys.release.iter().map(|signer| signer.public_key().id()).collect();
        ids.sort();
        let intent = Intent {
            purpose: Purpose::Release,
            subject: manifest.digest(),
            keys: ids,
            delegation: None,
            statements: Vec::new(),
            requester: order.requester.credential,
            policy: gate::policy(),
            context: leaves,
        };
        let (mut signatures, mut first): (Vec<(&PublicKey, Signature)>, _) = (Vec::new(), None);
        for signer in &keys.release {
            // Every use of a key has an entry of its own.
            let logged = Logged::append(self.log(), intent.clone()).await?;
            let index = *first.get_or_insert(logged.index());
            debug_assert!(index <= logged.index());
            let key = signer.public_key();
            signatures.push((key, checked(&**signer, logged, manifest.to_be_signed(key)?).await?));
        }
        Ok((manifest.seal(&signatures)?, first.unwrap_or_default()))
    }
}

/// Signs, and checks the answer here as well: what leaves the pipeline does
/// not depend on every backend keeping its contract.
pub(crate) async fn checked(
    signer: &dyn DynSigner,
    logged: Logged<Intent>,
    tbs: Tbs,
) -> Result<Signature, SignError> {
    let signature = signer.sign(logged, tbs.clone()).await?;
    match firmseal_keys::verify(signer.public_key(), &tbs, &signature) {
        Ok(()) => Ok(signature),
        Err(_) => Err(SignError::BadSignature),
    }
}

//! Sealing: from a manifest to an envelope that devices accept.

use std::collections::BTreeSet;

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Demands, KeyId, Role, Root};
use firmseal_manifest::{
    BirthProof, Delegation, Evidence, Intent, ProductId, PublicKey, Purpose, Signature, SignedStatement,
    UnsignedManifest,
};

use crate::delegated::Meant;
use crate::draft::Draft;
use crate::error::PipelineError;
use crate::keys::Keys;
use crate::pipeline::Pipeline;
use crate::signing_key::Ask;

impl Pipeline {
    /// What the root in force demands of a product's releases. What cannot
    /// be met here is said before any key is used.
    pub(crate) fn demands(&self, product: &ProductId) -> Result<Demands, PipelineError> {
        let root = self.root();
        let demands = Root::decode(&root)?.demands(product.as_str());
        if demands.proof && self.proofs().is_none() {
            return Err(PipelineError::NoWitnesses(product.to_string()));
        }
        Ok(demands)
    }

    /// Counts the witnesses of a proof as devices do: the quorum of the
    /// settings may be another than the root document's, and no key is to be
    /// used for what nobody would take.
    fn check_witnessed(&self, product: &ProductId, proof: &BirthProof) -> Result<(), PipelineError> {
        let document = self.root();
        let role = Root::decode(&document)?.role(Role::Witness, product.as_str())?;
        let counted = role.keys().filter(|(_, key)| {
            let id = key.id(&RustCrypto);
            proof.checkpoint.cosignatures.iter().any(|cosignature| cosignature.key == id)
        });
        let have = counted.map(|(holder, _)| holder).collect::<BTreeSet<_>>().len();
        match role.threshold() {
            need if have < need => Err(PipelineError::TooFewWitnesses { have, need }),
            _ => Ok(()),
        }
    }

    /// Logs the intent, has it witnessed where that is demanded, and signs
    /// the manifest with every release key.
    pub(crate) async fn seal(
        &self,
        draft: &Draft,
        demands: Demands,
        manifest: &UnsignedManifest,
        statements: Vec<SignedStatement>,
        keys: &Keys,
        ask: Ask<'_>,
    ) -> Result<(Vec<u8>, u64), PipelineError> {
        let mut agreed: Vec<_> = statements.iter().map(|signed| signed.statement.digest()).collect();
        agreed.sort();
        let delegation = keys.delegation();
        let intent = Intent {
            purpose: Purpose::Release,
            subject: manifest.digest(),
            keys: keys.ids().into_iter().map(KeyId).collect(),
            delegation: delegation.as_ref().map(Delegation::digest),
            statements: agreed,
            requester: draft.requester_id,
            policy: draft.policy,
            context: draft
                .leaves
                .iter()
                .copied()
                .chain(draft.decision)
                .chain(draft.attempts.mark())
                .collect(),
        };
        // Every use of a key has an entry of its own.
        let mut tokens = Vec::with_capacity(keys.release.len());
        // Uses first: an intent that no key may follow is not announced.
        let mut uses = Vec::with_capacity(keys.release.len());
        for key in &keys.release {
            uses.push((key, self.claim(key, ask).await?));
        }
        for (key, used) in uses {
            let logged = draft.attempts.log(self.log(), &used, intent.clone()).await?;
            tokens.push((key.public_key(), used, logged));
        }
        // All entries are the same leaf; the envelope proves the first.
        let index = tokens.first().map_or(0, |(.., logged)| logged.index());
        // Witnesses come before keys: if they stay away, or know another log
        // than this one, nothing was signed that they have not seen.
        let proof = match (demands.proof, self.proofs()) {
            (true, Some(proofs)) => Some(proofs.prove(index).await?),
            _ => None,
        };
        if let Some(proof) = &proof {
            let Draft { product, version, epoch, .. } = draft;
            self.check_entitled_at(keys, Meant { product, version, epoch: *epoch }, proof)?;
            self.check_witnessed(product, proof)?;
        }
        let mut signatures: Vec<(&PublicKey, Signature)> = Vec::with_capacity(tokens.len());
        for (key, used, logged) in tokens {
            let signature = draft.attempts.sign(used, logged, manifest.to_be_signed(key)?).await?;
            signatures.push((key, signature));
        }
        let evidence = (demands.proof || demands.approvals || !statements.is_empty()).then_some(Evidence {
            intent: Some(intent),
            statements,
            proof,
        });
        Ok((manifest.seal_with(&signatures, delegation.as_ref(), evidence.as_ref())?, index))
    }
}

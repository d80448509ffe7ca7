//! Releases that people sign: one after the other, by keys that no server
//! reaches.

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Component, Device, Refusal, Role, Root, Takes, Trust, admit};
use firmseal_manifest::{ProductId, PublicKey, ReleaseSpec, Signature, UnsignedManifest};

use super::CeremonyError;

/// A release without signatures, and the role that signs it.
#[derive(Clone, Debug)]
pub(super) struct ReleasePlan {
    pub(super) spec: ReleaseSpec,
    pub(super) unsigned: UnsignedManifest,
    pub(super) recovery: bool,
}

impl ReleasePlan {
    /// Reads a release and refuses what devices under this root would
    /// refuse, whoever signs it.
    pub(super) fn new(
        document: &[u8],
        root: &Root<'_>,
        recovery: bool,
    ) -> Result<ReleasePlan, CeremonyError> {
        let spec = ReleaseSpec::of(document)?;
        let unsigned = spec.assemble()?;
        if unsigned.seal(&[])? != document {
            return Err(CeremonyError::Signed);
        }
        if spec.environment != root.environment() {
            return Err(Refusal::WrongEnvironment.into());
        }
        if spec.epoch < root.minimum_epoch() {
            return Err(Refusal::EpochBelowRoot { offered: spec.epoch, minimum: root.minimum_epoch() }.into());
        }
        let plan = ReleasePlan { spec, unsigned, recovery };
        match recovery {
            true => plan.check_recovery()?,
            false => plan.check_release(root)?,
        }
        Ok(plan)
    }

    /// Recovery is asked for no evidence; a roll-back waits for a
    /// revocation, and whoever is stranded cannot.
    fn check_recovery(&self) -> Result<(), CeremonyError> {
        match self.spec.rollback_of {
            Some(_) => Err(CeremonyError::Release("a recovery image waits for no revocation, this one does")),
            None => Ok(()),
        }
    }

    /// What only the pipeline can bring, people cannot sign for here.
    fn check_release(&self, root: &Root<'_>) -> Result<(), CeremonyError> {
        let product = &self.spec.product;
        let demands = root.demands(product.as_str());
        let missing = [
            (demands.proof, "log proofs"),
            (demands.approvals, "approvals"),
            (demands.delegation, "delegations"),
        ];
        if let Some((_, what)) = missing.iter().find(|(demanded, _)| *demanded) {
            return Err(CeremonyError::Demanded { product: product.clone(), what });
        }
        if self.spec.delegation != 0 {
            return Err(CeremonyError::Release(
                "it was made for a delegation; holders of the role sign it here",
            ));
        }
        Ok(())
    }

    /// Who signs it.
    pub(super) fn role(&self) -> Role {
        if self.recovery { Role::Recovery } else { Role::Release }
    }

    /// The product whose role that is.
    pub(super) fn product(&self) -> &ProductId {
        &self.spec.product
    }

    /// Puts the envelope together, and asks core as a device of this product
    /// would: one that is stranded, where it is a recovery image.
    pub(super) fn seal(
        &self,
        root: &Root<'_>,
        signatures: &[(&PublicKey, Signature)],
    ) -> Result<Vec<u8>, CeremonyError> {
        let envelope = self.unsigned.seal(signatures)?;
        let ids: Vec<[&[u8]; 1]> =
            self.spec.components.iter().map(|component| [component.name.as_bytes()]).collect();
        let components: Vec<Component<'_>> = self
            .spec
            .components
            .iter()
            .zip(&ids)
            .map(|(component, id)| Component {
                id,
                slot: component.slot.unwrap_or_default(),
                capacity: component.size,
                sequence: self.spec.sequence.saturating_sub(1),
            })
            .collect();
        let device = Device {
            trust: Trust::anchored(root),
            stranded: self.recovery,
            takes: Takes::Any,
            product: self.spec.product.as_str(),
            vendor: self.spec.vendor.as_bytes(),
            class: self.spec.class.as_bytes(),
            id: None,
            epoch: self.spec.epoch,
            delegation: 0,
            components: &components,
        };
        match admit(&envelope, &device, &RustCrypto) {
            Ok(admitted) if admitted.is_recovery() == self.recovery => {}
            Ok(_) => return Err(CeremonyError::Release("devices would not take it for what it is")),
            // A roll-back that is signed ahead is refused for nothing else,
            // and this is the last thing that is asked but for the news.
            Err(Refusal::RollbackEarly) if self.spec.rollback_of.is_some() => {}
            // The owner agrees to what the vendor has signed.
            Err(Refusal::OwnerMissing) if root.demands(device.product).owner => {}
            Err(refusal) => return Err(refusal.into()),
        }
        Ok(envelope)
    }
}

//! Delegations: keys that sign for a holder of the release role, for a while
//! and for little.
//!
//! What they may sign is asked of core before any key is used: before the
//! first image is signed, again when approvals have been waited for, and
//! once more when witnesses have told the time.

use firmseal_core::crypto::RustCrypto;
use firmseal_core::limits::ENVELOPE_MAX;
use firmseal_core::{Covered, Envelope, Manifest, Refusal, Role, Root, Trust, foresee};
use firmseal_fleet::{Release, Time};
use firmseal_manifest::{BirthProof, Delegation, ProductId};
use semver::Version;

use crate::error::PipelineError;
use crate::keys::Keys;
use crate::pipeline::Pipeline;

/// A release, as far as a delegation must cover it.
#[derive(Clone, Copy)]
pub(crate) struct Meant<'a> {
    pub(crate) product: &'a ProductId,
    pub(crate) version: &'a Version,
    pub(crate) epoch: u64,
}

impl Keys {
    /// The delegation member that envelopes by these keys carry.
    pub(crate) fn delegation(&self) -> Option<Delegation> {
        let chains: Vec<_> = self.delegations.iter().map(|chain| chain.links().to_vec()).collect();
        if chains.is_empty() { None } else { Some(Delegation { chains }) }
    }

    /// The delegation index of releases by these keys; 0 without delegation.
    /// Of chains that differ, core refuses all but one.
    pub(crate) fn delegation_index(&self) -> u64 {
        self.delegations.first().map_or(0, |chain| chain.index())
    }
}

impl Pipeline {
    /// Refuses keys that may not sign this release now, with what devices
    /// would say: strangers and too few of them, delegations that have
    /// expired, cover other releases, or go back behind the latest one.
    pub(crate) async fn check_entitled(
        &self,
        keys: &Keys,
        meant: Meant<'_>,
        latest: Option<&Release>,
        now: Time,
    ) -> Result<(), PipelineError> {
        let floor = match latest {
            // Devices commit the index of what they confirm.
            Some(release) => {
                let envelope = self.store().read_all(&release.envelope, ENVELOPE_MAX as u64).await?;
                index_of(&envelope)?
            }
            None => 0,
        };
        self.entitled(keys, meant, floor, now.millis() / 1000)
    }

    /// The same at the time that the witnesses of a proof have told: devices
    /// compare with that, whatever the clock here says.
    pub(crate) fn check_entitled_at(
        &self,
        keys: &Keys,
        meant: Meant<'_>,
        proof: &BirthProof,
    ) -> Result<(), PipelineError> {
        let told = proof.checkpoint.cosignatures.iter().map(|cosignature| cosignature.time).max();
        told.map_or(Ok(()), |told| self.entitled(keys, meant, 0, told))
    }

    fn entitled(&self, keys: &Keys, meant: Meant<'_>, floor: u64, now: u64) -> Result<(), PipelineError> {
        let signers: Vec<_> = keys.release.iter().map(|key| key.id()).collect();
        let version = meant.version.to_string();
        let covered = Covered {
            product: meant.product.as_str(),
            version: &version,
            epoch: meant.epoch,
            index: keys.delegation_index(),
        };
        let member = keys.delegation().map(|delegation| delegation.encode());
        let answer = self.trust().ask(|trust| {
            let time = firmseal_core::Time { clock: Some(now), ..trust.time };
            let trust = Trust { time, ..trust };
            foresee(&covered, member.as_deref(), &signers, &trust, floor, &RustCrypto)
        });
        let product = meant.product.clone();
        answer.map_err(|refusal| match refusal {
            Refusal::ThresholdNotMet { have, need } if self.demands_both_kinds(&product) => {
                PipelineError::BothKinds { product, have, need }
            }
            refusal => PipelineError::NotEntitled { product, refusal },
        })
    }

    fn demands_both_kinds(&self, product: &ProductId) -> bool {
        let root = self.root();
        let role = Root::decode(&root).and_then(|root| root.role(Role::Release, product.as_str()));
        role.is_ok_and(|role| role.both())
    }
}

/// The delegation index of a release that was verified when it was stored.
fn index_of(envelope: &[u8]) -> Result<u64, Refusal> {
    let manifest = Manifest::decode(&Envelope::decode(envelope)?, &RustCrypto)?;
    Ok(manifest.facts().ok_or(Refusal::FactsMissing)?.delegation)
}

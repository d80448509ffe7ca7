//! The keys of jobs: which key signs a file, and which may stand in for it.

use std::sync::Arc;

use firmseal_fleet::{Caller, Product, Time};
use firmseal_manifest::KeyName;

use crate::error::PipelineError;
use crate::key_rules::KeyPurpose;
use crate::pipeline::Pipeline;
use crate::signing_key::{Ask, SigningKey};

impl Pipeline {
    /// Every key that signs here, and the one that may stand in for it.
    pub fn job_keys(&self) -> Vec<(String, Option<String>)> {
        let fallback = |key: &SigningKey| key.rules().fallback.as_ref().map(ToString::to_string);
        self.keyring().all().map(|key| (key.name().to_string(), fallback(key))).collect()
    }

    /// The key of a name.
    pub(crate) fn job_key(&self, name: &str) -> Option<&Arc<SigningKey>> {
        self.keyring().key(&name.parse::<KeyName>().ok()?)
    }

    /// The key that signs files of a product: the one that is asked for by
    /// name, or the product's. Its rules are looked at here, and again when
    /// it is used.
    pub(crate) fn key_for(
        &self,
        product: &Product,
        asked: Option<&str>,
        caller: &str,
        now: Time,
    ) -> Result<&Arc<SigningKey>, PipelineError> {
        let key = match asked {
            Some(name) => self.job_key(name).ok_or_else(|| PipelineError::NoSuchKey(name.to_owned()))?,
            None => {
                let own = self.keys(&product.id).artifact.as_ref();
                own.ok_or_else(|| PipelineError::NoArtifactKey {
                    product: product.id.to_string(),
                    format: product.format.clone(),
                })?
            }
        };
        key.permit(Ask { purpose: KeyPurpose::Artifact, product, caller, now })?;
        if let Some(version) = self.trust().revokes_key(&key.id()) {
            return Err(PipelineError::KeyRevoked { key: key.id(), version });
        }
        Ok(key)
    }

    /// The key that stands in for another one: held against its rules, the
    /// revocations, and what the caller's credential is for.
    pub(crate) fn stand_in(
        &self,
        product: &Product,
        name: &str,
        caller: &Caller,
        now: Time,
    ) -> Result<&Arc<SigningKey>, PipelineError> {
        if !caller.scope.takes_key(name) {
            return Err(PipelineError::OutOfScope(format!("signing key `{name}`")));
        }
        self.key_for(product, Some(name), &caller.name, now)
    }
}

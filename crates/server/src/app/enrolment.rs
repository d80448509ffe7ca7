//! Enrolment: one-time tokens become devices, certificates become newer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use firmseal_api::Base64;
use firmseal_api::enrolment::{CreateToken, Enrol, Enrolled, Renew, Renewed, Token};
use firmseal_fleet::{Device, DeviceState, EnrolmentToken};
use firmseal_manifest::{DeviceId, Digest};
use firmseal_store::{Allowance, Enrolled as Came, StoreError};

use super::presence::Known;
use super::{App, fresh_secret};
use crate::ca::CaError;
use crate::error::ApiError;
use crate::metrics::Outcome;
use crate::tls::sha256;

/// How long an enrolment token works unless told, and at most.
const DEFAULT: u64 = 3600;
const LONGEST: u64 = 90 * 24 * 3600;
/// Devices one token may enrol.
const USES_MAX: u32 = 100_000;
/// Labels of a device, and bytes in each.
const LABELS_MAX: usize = 32;
const LABEL_MAX: usize = 64;

impl From<CaError> for ApiError {
    fn from(err: CaError) -> ApiError {
        match err {
            CaError::Issuing(_) | CaError::Files(_) => ApiError::Internal(err.to_string()),
            other => ApiError::Malformed(other.to_string()),
        }
    }
}

impl App {
    /// Makes an enrolment token. The secret is in the answer and nowhere
    /// else.
    pub(crate) async fn create_enrolment_token(
        &self,
        creator: &str,
        wish: CreateToken,
    ) -> Result<Token, ApiError> {
        let valid = wish.valid_for.unwrap_or(DEFAULT);
        if valid == 0 || valid > LONGEST {
            return Err(ApiError::Malformed(format!("valid_for: 1 to {LONGEST} seconds")));
        }
        let uses = wish.uses.unwrap_or(1);
        if uses == 0 || uses > USES_MAX {
            return Err(ApiError::Malformed(format!("uses: 1 to {USES_MAX}")));
        }
        check_labels(&wish.labels)?;
        let product = self.store.product(&wish.product).await?;
        let now = self.clock.now();
        let secret = fresh_secret("fsen_")?;
        let token = EnrolmentToken {
            hash: sha256(secret.as_bytes()),
            product: product.id.clone(),
            labels: wish.labels,
            expires: now.plus(Duration::from_secs(valid)),
            uses,
            created_by: creator.to_owned(),
            created: now,
        };
        let expires = token.expires;
        self.store.insert_token(token).await?;
        tracing::info!(product = %product.id, uses, creator, "enrolment token made");
        Ok(Token { token: secret, product: product.id, expires })
    }

    /// Exchanges a token for a device certificate.
    pub(crate) async fn enrol(&self, enrol: Enrol) -> Result<Enrolled, ApiError> {
        let outcome = self.try_enrol(enrol).await;
        let label = match &outcome {
            Ok(_) => "enrolled",
            Err(ApiError::BadToken) => "bad_token",
            Err(_) => "failed",
        };
        self.metrics.enrolments.get_or_create(&Outcome { outcome: label }).inc();
        outcome
    }

    async fn try_enrol(&self, enrol: Enrol) -> Result<Enrolled, ApiError> {
        let now = self.clock.now();
        let hash = sha256(enrol.token.as_bytes());
        let token = match self.store.token(&hash).await {
            Ok(token) => token,
            Err(StoreError::NotFound { .. }) => return Err(ApiError::BadToken),
            Err(other) => return Err(other.into()),
        };
        if now >= token.expires {
            return Err(ApiError::BadToken);
        }
        let id = DeviceId::new();
        let issued = self.ca.issue(&enrol.csr, id, &token.product, now)?;
        let device = Device {
            id,
            product: token.product.clone(),
            certificate: issued.record.clone(),
            state: DeviceState::Active,
            running: None,
            equipment: None,
            last_seen: None,
            labels: token.labels,
            held: BTreeSet::new(),
            created: now,
        };
        // The certificate leaves only after the store has said yes: token
        // and device change in one step, and a certificate that nobody
        // recorded opens nothing.
        let (id, chain) = match self.store.enrol(&hash, device, self.certificates()).await? {
            Came::New => (id, issued.chain),
            // The first answer was lost. The certificate just made names a
            // device that does not exist, so it stays here; the device gets
            // one that names itself.
            Came::Again(device) => {
                let again = self.ca.issue(&enrol.csr, device.id, &device.product, now)?;
                self.store.add_certificate(device.id, again.record, self.certificates()).await?;
                (device.id, again.chain)
            }
        };
        tracing::info!(device = %id, product = %token.product, "device enrolled");
        Ok(Enrolled {
            device: id,
            product: token.product,
            certificate: chain,
            root: Base64(self.root(1).unwrap_or_default().to_vec()),
            root_version: self.pipeline.trust().root_version(),
        })
    }

    /// How many certificates one device may get. The store counts with the
    /// insert; a certificate over it is made and thrown away unrecorded.
    fn certificates(&self) -> Allowance {
        Allowance { now: self.clock.now(), most: self.limits.certificates_per_day }
    }

    /// Ends an enrolment token: it enrols nobody from here on.
    pub(crate) async fn end_enrolment_token(
        &self,
        operator: &str,
        id: Digest,
    ) -> Result<EnrolmentToken, ApiError> {
        self.store.end_token(&id, self.clock.now()).await?;
        tracing::info!(token = %id, operator, "enrolment token ended");
        Ok(self.store.token(&id).await?)
    }

    /// Issues the next certificate of a device.
    pub(crate) async fn renew(&self, known: Arc<Known>, renew: Renew) -> Result<Renewed, ApiError> {
        let device = &known.device;
        let issued = self.ca.issue(&renew.csr, device.id, &device.product, self.clock.now())?;
        self.store.add_certificate(device.id, issued.record, self.certificates()).await?;
        self.presence.forget(device.id);
        tracing::info!(device = %device.id, "certificate renewed");
        Ok(Renewed { certificate: issued.chain })
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), ApiError> {
    let fits = |text: &str| {
        !text.is_empty() && text.len() <= LABEL_MAX && text.bytes().all(|b| b.is_ascii_graphic())
    };
    if labels.len() > LABELS_MAX || !labels.iter().all(|(key, value)| fits(key) && fits(value)) {
        return Err(ApiError::Malformed(format!(
            "labels: at most {LABELS_MAX}, of 1 to {LABEL_MAX} printable characters without spaces"
        )));
    }
    Ok(())
}

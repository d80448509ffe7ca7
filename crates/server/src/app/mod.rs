//! What the server can do, use case by use case.
//!
//! Handlers call these; these call the pure crates and the store.

pub(crate) mod access;
mod audit;
pub(crate) mod catalog;
pub(crate) mod counting;
pub(crate) mod delivery;
pub(crate) mod denials;
pub(crate) mod enrolment;
pub(crate) mod identities;
mod inspection;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod policies;
pub(crate) mod presence;
pub(crate) mod readiness;
mod records;
pub(crate) mod registry;
pub(crate) mod releases;
pub(crate) mod requests;
pub(crate) mod rollouts;
pub(crate) mod scope;
pub(crate) mod signatures;
pub(crate) mod trust;
pub(crate) mod updates;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use firmseal_fleet::{Caller, CallerKind, Environment, Role, Scope};
use firmseal_keys::DynLog;
use firmseal_sign::{Dispatcher, Pipeline};
use firmseal_store::Store;
use tracing::Instrument;

use crate::ca::DeviceCa;
use crate::clock::Clock;
use crate::config::Limits;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use catalog::Catalog;
use denials::Denials;
use identities::Identities;
use log::Published;
use presence::Presence;
use readiness::Readiness;

/// An operator who is known by a name in a client certificate.
#[derive(Clone, Debug)]
pub struct NamedOperator {
    /// The common name, DNS name or IP address.
    pub name: String,
    /// What it allows.
    pub roles: BTreeSet<Role>,
    /// The team that answers for it.
    pub team: Option<String>,
    /// What it is confined to.
    pub scope: Scope,
}

impl NamedOperator {
    /// Who it is that asks.
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            name: self.name.clone(),
            kind: CallerKind::Certificate,
            team: self.team.clone(),
            roles: self.roles.clone(),
            claims: BTreeMap::new(),
            scope: self.scope.clone(),
            source: None,
        }
    }
}

/// Everything a request can reach.
pub(crate) struct App {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) log: Arc<dyn DynLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ca: DeviceCa,
    /// What the root document that releases are signed under is for.
    pub(crate) environment: Environment,
    pub(crate) operators: Vec<NamedOperator>,
    pub(crate) identities: Identities,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) pulse: Arc<Pulse>,
    /// Carries jobs out.
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) presence: Presence,
    pub(crate) readiness: Readiness,
    pub(crate) published: Published,
    /// One change at a time of which rollouts there are: a revocation that
    /// comes in meanwhile must find them all.
    pub(crate) rollouts: tokio::sync::Mutex<()>,
    /// Who was denied what, until it is told.
    pub(crate) denials: Denials,
    /// One at a time puts on record what happened.
    pub(crate) recording: Arc<tokio::sync::Mutex<()>>,
}

impl App {
    /// A version of the root document.
    pub(crate) fn root(&self, version: u64) -> Option<Bytes> {
        self.pipeline.trust().version(version).cloned()
    }
}

/// A fresh secret of 256 bits in base64url, behind a prefix that secret
/// scanners can find.
pub(crate) fn fresh_secret(prefix: &str) -> Result<String, ApiError> {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let mut bytes = zeroize::Zeroizing::new([0u8; 32]);
    aws_lc_rs::rand::fill(bytes.as_mut()).map_err(|_| ApiError::Internal("no randomness".to_owned()))?;
    Ok(format!("{prefix}{}", Base64UrlUnpadded::encode_string(bytes.as_ref())))
}

/// Runs work to its end even if the caller goes away: a key that was asked
/// to sign has signed, and the result must be stored for whoever asks
/// again. Dropping it half-way would leave a claim that nobody holds.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::spawn(work.in_current_span()).await {
        Ok(result) => result,
        Err(err) => Err(ApiError::Internal(format!("a task ended early: {err}"))),
    }
}

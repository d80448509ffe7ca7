//! The conformance suite: what every engine must do, as tests.
//!
//! An engine's tests implement [`Engine`] and call each group; a failed
//! expectation panics with what was expected, as tests do. The suite needs
//! no executor of its own and sleeps nowhere.

// A test suite: its panics are its verdicts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod audit;
pub mod blobs;
pub mod continuity;
pub mod devices;
pub mod events;
pub mod habits;
pub mod jobs;
pub mod keys;
pub mod operators;
pub mod policies;
pub mod registry;
pub mod reports;
pub mod requests;
pub mod rollouts;
pub mod samples;
pub mod signing_requests;
pub mod tokens;
pub mod trust;
pub mod uploads;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Store, StoreError};

/// Makes stores for the suite.
#[async_trait]
pub trait Engine: Send + Sync {
    /// A new, empty store.
    async fn fresh(&self) -> Arc<dyn Store>;

    /// Closes a store and opens it again, as after a restart.
    async fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store>;
}

/// Runs every group.
pub async fn all(engine: &dyn Engine) {
    blobs::all(engine).await;
    uploads::all(engine).await;
    registry::all(engine).await;
    requests::all(engine).await;
    jobs::all(engine).await;
    keys::all(engine).await;
    devices::all(engine).await;
    reports::all(engine).await;
    rollouts::all(engine).await;
    operators::all(engine).await;
    policies::all(engine).await;
    signing_requests::all(engine).await;
    trust::all(engine).await;
    events::all(engine).await;
    audit::all(engine).await;
    habits::all(engine).await;
    continuity::all(engine).await;
    tokens::all(engine).await;
}

/// Expects a refusal of a kind.
macro_rules! refused {
    ($outcome:expr, $kind:pat) => {
        match $outcome {
            Err($kind) => {}
            other => panic!("expected {}, got {other:?}", stringify!($kind)),
        }
    };
}
pub(crate) use refused;

fn conflict<T: Debug>(outcome: Result<T, StoreError>) {
    refused!(outcome, StoreError::Conflict { .. });
}

fn not_found<T: Debug>(outcome: Result<T, StoreError>) {
    refused!(outcome, StoreError::NotFound { .. });
}

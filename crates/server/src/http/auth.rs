//! Who is asking, as types: a handler that names one of these cannot be
//! reached without it.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use firmseal_fleet::{CredentialKind, DeviceState, Role};
use http::header;
use http::request::Parts;

use crate::app::App;
use crate::app::presence::Known;
use crate::error::ApiError;
use crate::listen::Peer;
use crate::tls::sha256;

/// A role as a type.
pub(crate) trait Needs: Send + Sync {
    const ROLE: Role;
    const NAME: &'static str;
}

macro_rules! role {
    ($name:ident, $role:expr, $word:literal) => {
        #[derive(Debug)]
        pub(crate) struct $name;

        impl Needs for $name {
            const ROLE: Role = $role;
            const NAME: &'static str = $word;
        }
    };
}

role!(Viewer, Role::Viewer, "viewer");
role!(Engineer, Role::Engineer, "engineer");
role!(FleetOperator, Role::Operator, "operator");
role!(Admin, Role::Admin, "admin");

/// An operator with the role `R`.
#[derive(Debug)]
pub(crate) struct Operator<R> {
    /// The name that records show.
    pub(crate) name: String,
    role: PhantomData<R>,
}

impl<R: Needs> FromRequestParts<Arc<App>> for Operator<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let (name, roles) = identify(parts, app).await?;
        if !roles.contains(&R::ROLE) {
            tracing::warn!(operator = name, needs = R::NAME, "role missing");
            return Err(ApiError::RoleMissing(R::NAME));
        }
        Ok(Operator { name, role: PhantomData })
    }
}

/// Finds the operator behind a token or, without one, behind the client
/// certificate. A token that does not hold is an error even if a
/// certificate would: whoever sends one means it.
async fn identify(parts: &Parts, app: &App) -> Result<(String, Vec<Role>), ApiError> {
    let now = app.clock.now();
    let (kind, digest) = match parts.headers.get(header::AUTHORIZATION) {
        Some(value) => {
            let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
            let token = token.ok_or(ApiError::Unauthenticated)?;
            (CredentialKind::Token, sha256(token.trim().as_bytes()))
        }
        None => match certificate(parts) {
            Some(certificate) => (CredentialKind::Certificate, certificate.fingerprint),
            None => return Err(ApiError::Unauthenticated),
        },
    };
    if let Some(credential) = app.store.credential(kind, &digest).await? {
        // The store found it by this very digest; comparing again costs
        // nothing and keeps an engine's collation or prefix match out.
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(
            credential.digest.as_bytes(),
            digest.as_bytes(),
        );
        if same.is_err() || credential.kind != kind || !credential.is_live(now) {
            return Err(ApiError::Unauthenticated);
        }
        return Ok((credential.operator, credential.roles.into_iter().collect()));
    }
    let named = match kind {
        CredentialKind::Token => None,
        CredentialKind::Certificate => certificate(parts)
            .and_then(|found| app.operators.iter().find(|operator| found.has_name(&operator.name))),
    };
    named.map(|operator| (operator.name.clone(), operator.roles.clone())).ok_or(ApiError::Unauthenticated)
}

fn certificate(parts: &Parts) -> Option<&crate::tls::PeerCertificate> {
    parts.extensions.get::<Arc<Peer>>()?.certificate.as_ref()
}

/// A known, unrevoked device whose certificate is in date.
pub(crate) struct AuthenticatedDevice(pub(crate) Arc<Known>);

/// A known, unrevoked device; its certificate may have expired. For the
/// renewal and the root chain only.
pub(crate) struct RenewingDevice(pub(crate) Arc<Known>);

impl FromRequestParts<Arc<App>> for RenewingDevice {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        // The state is looked up for every request: a connection that was
        // open when its device was revoked is worth nothing from then on.
        let certificate = certificate(parts).ok_or(ApiError::NoDevice)?;
        let known = app.presence.find(app, &certificate.fingerprint).await?.ok_or(ApiError::NoDevice)?;
        match known.device.state {
            DeviceState::Active => Ok(RenewingDevice(known)),
            DeviceState::Revoked => Err(ApiError::DeviceRevoked),
        }
    }
}

impl FromRequestParts<Arc<App>> for AuthenticatedDevice {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let RenewingDevice(known) = RenewingDevice::from_request_parts(parts, app).await?;
        if app.clock.now() > known.certificate.not_after {
            return Err(ApiError::CertificateExpired);
        }
        Ok(AuthenticatedDevice(known))
    }
}

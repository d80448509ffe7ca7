//! Who is asking, as types: a handler that names one of these cannot be
//! reached without it.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use firmseal_fleet::{Caller, CredentialKind, DeviceState, Role};
use firmseal_identity::{TokenUse, Unverified, Verified};
use http::request::Parts;
use http::{Method, header};
use tracing::Span;

use crate::app::presence::Known;
use crate::app::{App, NamedOperator};
use crate::error::ApiError;
use crate::listen::Peer;
use crate::tls::sha256;

/// One role, or several of which each will do, as a type.
pub(crate) trait Needs: Send + Sync {
    const ROLES: &'static [Role];
}

macro_rules! needs {
    ($name:ident, $($role:ident),+) => {
        #[derive(Debug)]
        pub(crate) struct $name;

        impl Needs for $name {
            const ROLES: &'static [Role] = &[$(Role::$role),+];
        }
    };
}

needs!(Auditor, Auditor);
needs!(Signer, Signer);
needs!(Approver, Approver);
needs!(FleetOperator, Operator);
needs!(Officer, Officer);
needs!(Admin, Admin);
// Whoever takes part in signing reads what is signed: products, artifacts,
// requests, releases and trust documents.
needs!(Reader, Auditor, Signer, Approver);
// A security officer reads besides what was held.
needs!(Onlooker, Auditor, Signer, Approver, Officer);
// What was decided, for who looks and who writes the rules.
needs!(Overseer, Auditor, Officer);
// An alarm at night needs no second role (decision 18).
needs!(Alarm, Operator, Officer);

/// An operator with the role `R`, or one of those that `R` stands for. It is
/// the caller, and reads like one. Where it asks for a change, a token that
/// is good for one is used up: a handler that wants otherwise says so by
/// another type.
#[derive(Debug)]
pub(crate) struct Operator<R> {
    /// Who asks, as it was proven.
    pub(crate) caller: Caller,
    role: PhantomData<R>,
}

/// An operator who may ask for the same change again, since an answer may be
/// lost. Becomes the caller when the handler has said what would be the same.
pub(crate) struct Repeating<R> {
    caller: Caller,
    once: Option<TokenUse>,
    what: String,
    role: PhantomData<R>,
}

/// An operator who carries something in, which changes nothing that counts: a
/// job does so before its one request, in as many pieces as it takes.
pub(crate) struct Carrying<R> {
    caller: Caller,
    role: PhantomData<R>,
}

impl<R> Repeating<R> {
    /// The caller, whose token is good for this alone from now on if it is
    /// good for one change. What is the same on another route is another
    /// change.
    pub(crate) async fn bind(self, app: &App, purpose: &str) -> Result<Caller, ApiError> {
        app.spend(self.once.as_ref(), Some(&format!("{} {purpose}", self.what))).await?;
        Ok(self.caller)
    }
}

impl<R> Deref for Operator<R> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<R> Deref for Repeating<R> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<R> Deref for Carrying<R> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<R: Needs> FromRequestParts<Arc<App>> for Operator<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let Verified { caller, once } = with_role::<R>(parts, app).await?;
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            app.spend(once.as_ref(), None).await?;
        }
        Ok(Operator { caller, role: PhantomData })
    }
}

impl<R: Needs> FromRequestParts<Arc<App>> for Repeating<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let Verified { caller, once } = with_role::<R>(parts, app).await?;
        let what = format!("{} {}", parts.method, parts.uri.path());
        Ok(Repeating { caller, once, what, role: PhantomData })
    }
}

impl<R: Needs> FromRequestParts<Arc<App>> for Carrying<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let Verified { caller, .. } = with_role::<R>(parts, app).await?;
        Ok(Carrying { caller, role: PhantomData })
    }
}

async fn with_role<R: Needs>(parts: &Parts, app: &App) -> Result<Verified, ApiError> {
    let mut verified = identify(parts, app).await?;
    let caller = &mut verified.caller;
    caller.source = parts.extensions.get::<Arc<Peer>>().map(|peer| peer.address.ip().to_canonical());
    Span::current().record("who", caller.name.as_str());
    if !R::ROLES.iter().any(|role| caller.roles.contains(role)) {
        let needs = words(R::ROLES);
        tracing::warn!(operator = caller.name, needs, "role missing");
        return Err(ApiError::RoleMissing { needs, caller: Box::new(verified.caller) });
    }
    Ok(verified)
}

fn words(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ")
}

/// Finds the operator behind a token of ours or of an identity provider's or,
/// without one, behind the client certificate. A token that does not hold is an error even if a
/// certificate would: whoever sends one means it.
async fn identify(parts: &Parts, app: &App) -> Result<Verified, ApiError> {
    let now = app.clock.now();
    let mut shown = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (kind, digest) = match shown.next() {
        // Which of two is meant, we and whatever stands before us might see
        // differently.
        Some(_) if shown.next().is_some() => return Err(ApiError::Unauthenticated),
        Some(value) => {
            let token = value.to_str().ok().and_then(bearer).ok_or(ApiError::Unauthenticated)?;
            if Unverified::looks_like_one(token) {
                return app.identities.verify(token, now).await;
            }
            (CredentialKind::Token, sha256(token.as_bytes()))
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
        if same.is_err() || credential.kind != kind {
            return Err(ApiError::Unauthenticated);
        }
        if !credential.is_live(now) {
            return Err(ApiError::Over(Box::new(credential.caller())));
        }
        return Ok(Verified { caller: credential.caller(), once: None });
    }
    let named = match kind {
        CredentialKind::Token => None,
        CredentialKind::Certificate => certificate(parts)
            .and_then(|found| app.operators.iter().find(|operator| found.has_name(&operator.name))),
    };
    let caller = named.map(NamedOperator::caller).ok_or(ApiError::Unauthenticated)?;
    Ok(Verified { caller, once: None })
}

/// The token of a bearer; the scheme has no case (RFC 9110 §11.1).
fn bearer(text: &str) -> Option<&str> {
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
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
        Span::current().record("who", tracing::field::display(known.device.id));
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

//! Handlers, group by group. Each takes who is asking as a type, calls one
//! use case, and answers.

pub(crate) mod audit;
pub(crate) mod device;
pub(crate) mod fleet;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod operators;
pub(crate) mod policies;
pub(crate) mod public;
pub(crate) mod registry;
pub(crate) mod releases;
pub(crate) mod requests;
pub(crate) mod signatures;
pub(crate) mod trust;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::config::Serves;
use crate::error::ApiError;
use crate::http::request::observe;

/// Every route of a listener, documented. There is no other way to add
/// one, so the list of routes in spec/ is complete.
pub(crate) fn documented(serves: Serves) -> OpenApiRouter<Arc<App>> {
    match serves {
        Serves::Operator => OpenApiRouter::new()
            .merge(registry::routes())
            .merge(releases::routes())
            .merge(requests::routes())
            .merge(signatures::routes())
            .merge(keys::routes())
            .merge(policies::routes())
            .merge(fleet::routes())
            .merge(operators::routes())
            .merge(trust::operator_routes())
            .merge(audit::routes())
            .merge(log::operator_routes())
            .merge(health::operator_routes()),
        Serves::Device => device::routes().merge(trust::device_routes()).merge(log::device_routes()),
        Serves::Public => public::routes()
            .merge(trust::public_routes())
            .merge(log::public_routes())
            .merge(health::public_routes()),
        // A key host has routes of its own and nothing of a server's.
        Serves::Signing => OpenApiRouter::new(),
    }
}

/// The router of a listener.
pub(crate) fn router(serves: Serves, app: Arc<App>) -> Router {
    let (router, _) = documented(serves).split_for_parts();
    router
        // The path is the caller's text: it is not repeated.
        .fallback(async || ApiError::NotFound("such address on this listener".to_owned()))
        .method_not_allowed_fallback(async |request: Request| ApiError::Method(request.method().to_string()))
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

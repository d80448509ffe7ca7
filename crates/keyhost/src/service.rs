//! The host on HTTP. Whoever reaches it was let in by a client certificate,
//! and is believed nothing: the listener is the server crate's.
//!
//! [`ROUTES`] is all that there is; spec/keyhost-routes.txt has it, and a test
//! tries each as everybody who must not get in.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use firmseal_api::Base64;
use firmseal_manifest::{KeyName, Signature};
use firmseal_witness::Reply;
use firmseal_witness::service::{BODY_MAX as CHECKPOINT_MAX, answer};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};

use crate::error::HostError;
use crate::host::KeyHost;
use crate::wire::{ProblemKind, SIGN_MAX, Shown, Signed};

/// How long a body may take: it is a few MiB at most, and sent at once.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// A route.
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Its path, with names in braces.
    pub path: &'static str,
    /// What it answers.
    pub answer: &'static str,
    handler: fn() -> MethodRouter<Arc<KeyHost>>,
}

/// Every route.
pub const ROUTES: [Route; 4] = [
    Route { method: "GET", path: "/keys/{name}", answer: "its public key", handler: || get(show) },
    Route {
        method: "GET",
        path: "/keys/{name}/ready",
        answer: "whether it could sign now",
        handler: || get(ready),
    },
    Route {
        method: "POST",
        path: "/add-checkpoint",
        answer: "C2SP tlog-witness",
        handler: || post(add_checkpoint),
    },
    Route {
        method: "POST",
        path: "/sign",
        answer: "a signature under what the log announces",
        handler: || post(sign),
    },
];

/// The routes, for a listener that asks for client certificates.
pub fn router(host: Arc<KeyHost>) -> Router {
    let add = |router: Router<Arc<KeyHost>>, route: &Route| router.route(route.path, (route.handler)());
    ROUTES.iter().fold(Router::new(), add).with_state(host)
}

async fn show(State(host): State<Arc<KeyHost>>, Path(name): Path<KeyName>) -> Result<Json<Shown>, HostError> {
    let key = host.key(&name)?.signer.dyn_public_key();
    let public_key = key.to_pem().map_err(|_| HostError::Malformed("the key has no PEM"))?;
    Ok(Json(Shown { public_key, environment: host.environment() }))
}

async fn ready(State(host): State<Arc<KeyHost>>, Path(name): Path<KeyName>) -> Result<StatusCode, HostError> {
    host.key(&name)?.signer.dyn_ready().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn add_checkpoint(State(host): State<Arc<KeyHost>>, body: Body) -> Response {
    let Some(body) = whole(body, CHECKPOINT_MAX).await else {
        let body = "the request is too long, or broke off\n".to_owned();
        return answer(Reply { status: 400, content_type: "text/plain; charset=utf-8", body });
    };
    // A clock before 1970 is as good as none.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    match tokio::task::spawn_blocking(move || host.add_checkpoint(&body, now)).await {
        Ok(reply) => answer(reply),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn sign(State(host): State<Arc<KeyHost>>, body: Body) -> Result<Json<Signed>, HostError> {
    let body = whole(body, SIGN_MAX).await.ok_or(HostError::Malformed("too long, or broken off"))?;
    let request =
        serde_json::from_slice(&body).map_err(|_| HostError::Malformed("not what is signed here"))?;
    let Signature(signature) = host.sign(request).await?;
    Ok(Json(Signed { signature: Base64(signature) }))
}

/// A body, if it is no longer than that.
async fn whole(body: Body, max: usize) -> Option<Bytes> {
    let body = tokio::time::timeout(BODY_WAIT, Limited::new(body, max).collect()).await;
    body.ok()?.ok().map(|body| body.to_bytes())
}

impl IntoResponse for HostError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status = match (&self, problem.problem) {
            (HostError::NoKey(_), _) => StatusCode::NOT_FOUND,
            (HostError::Malformed(_), _) => StatusCode::BAD_REQUEST,
            (_, ProblemKind::Unseen) => StatusCode::CONFLICT,
            (_, ProblemKind::Refused) => StatusCode::FORBIDDEN,
            (_, ProblemKind::Unsupported) => StatusCode::UNPROCESSABLE_ENTITY,
            (_, ProblemKind::WrongPin | ProblemKind::Unfit | ProblemKind::Unavailable) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            (_, ProblemKind::BadSignature) => StatusCode::BAD_GATEWAY,
        };
        if problem.problem != ProblemKind::Unseen {
            tracing::warn!(why = problem.why, "nothing was signed");
        }
        (status, Json(problem)).into_response()
    }
}

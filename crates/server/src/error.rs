//! Errors of requests, and their one conversion to HTTP.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use firmseal_api::problem::{PROBLEM_TYPE, Problem};
use firmseal_api::signatures::Reason;
use firmseal_fleet::Caller;
use firmseal_manifest::Denial;
use firmseal_store::StoreError;
use http::{HeaderValue, StatusCode, header};

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{0}")]
    Malformed(String),
    #[error("the request carries no credential that this server knows")]
    Unauthenticated,
    /// Known, and revoked or expired: who shows it learns no more than who
    /// shows nothing.
    #[error("the request carries no credential that this server knows")]
    Over(Box<Caller>),
    #[error(transparent)]
    Token(firmseal_identity::TokenError),
    #[error("the token was used for another change; each is good for one")]
    TokenUsed,
    #[error("this needs the role `{needs}`")]
    RoleMissing { needs: String, caller: Box<Caller> },
    #[error("{what} lies outside what this credential is for")]
    OutOfScope { what: String, caller: Box<Caller> },
    #[error("this needs a device certificate of this server")]
    NoDevice,
    #[error("this device was revoked")]
    DeviceRevoked,
    #[error("the device's certificate has expired")]
    CertificateExpired,
    #[error("the enrolment token is not valid")]
    BadToken,
    #[error("there is no {0}")]
    NotFound(String),
    #[error("this address does not take {0}")]
    Method(String),
    #[error("{0}")]
    Conflict(String),
    #[error("the upload continues at offset {0}")]
    Offset(u64),
    #[error("the body must be {0}")]
    MediaType(&'static str),
    #[error("the body is longer than {0} bytes")]
    TooLong(u64),
    #[error("the request took too long to arrive or to answer")]
    TooSlow,
    #[error("the range lies outside the {0} bytes there are")]
    Range(u64),
    #[error("{why}")]
    Refused { why: String, hint: String },
    /// Rules say no: the gate's, or the policy's.
    #[error("{why}")]
    Ruled { why: String, reasons: Vec<Reason> },
    #[error("{0}")]
    Busy(String),
    #[error("{0}")]
    Quota(String),
    /// What could not be written and where, for the log.
    #[error("{0}")]
    Full(String),
    /// For the log; the caller only learns that it is our fault.
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for ApiError {
    fn from(err: StoreError) -> ApiError {
        let text = err.to_string();
        match err {
            StoreError::NotFound { what } => ApiError::NotFound(what),
            StoreError::Conflict { what } => ApiError::Conflict(what),
            StoreError::DigestMismatch { .. } | StoreError::SizeMismatch { .. } => {
                ApiError::Refused { why: text, hint: "begin a new upload".to_owned() }
            }
            StoreError::OffsetMismatch { have } => ApiError::Offset(have),
            StoreError::OutOfRange { size, .. } => ApiError::Range(size),
            StoreError::Full { .. } => ApiError::Full(text),
            StoreError::Quota { .. } => ApiError::Quota(text),
            StoreError::Busy { .. } => ApiError::Busy(text),
            StoreError::Source(_) => ApiError::Malformed(text),
            StoreError::Corrupt { .. }
            | StoreError::InUse { .. }
            | StoreError::Newer { .. }
            | StoreError::Unavailable { .. } => ApiError::Internal(text),
        }
    }
}

impl ApiError {
    /// Status, the last part of `type`, title, and hint.
    fn parts(&self) -> (StatusCode, &'static str, &'static str, Option<&str>) {
        use StatusCode as S;
        match self {
            ApiError::Malformed(_) => (S::BAD_REQUEST, "malformed", "Malformed request", None),
            ApiError::Unauthenticated | ApiError::Over(_) => (
                S::UNAUTHORIZED,
                "unauthenticated",
                "Not authenticated",
                Some("send `Authorization: Bearer TOKEN`, or use a client certificate that is known here"),
            ),
            ApiError::Token(firmseal_identity::TokenError::NoGrant) => (
                S::FORBIDDEN,
                "no-grant",
                "Nothing granted",
                Some("ask an administrator for an [[identity.grant]] that fits the token's claims"),
            ),
            ApiError::Token(_) => (
                S::UNAUTHORIZED,
                "token-refused",
                "Token refused",
                Some("get a fresh token from the identity provider, for the audience of this server"),
            ),
            ApiError::TokenUsed => (
                S::UNAUTHORIZED,
                "token-used",
                "Token used before",
                Some("get a fresh token for each change"),
            ),
            ApiError::RoleMissing { .. } => (
                S::FORBIDDEN,
                "role-missing",
                "Not allowed",
                Some("ask an administrator for a token with this role"),
            ),
            ApiError::OutOfScope { .. } => (
                S::FORBIDDEN,
                "out-of-scope",
                "Outside the scope",
                Some("ask an administrator for a credential with a wider scope"),
            ),
            ApiError::NoDevice => {
                (S::FORBIDDEN, "no-device", "Not a device", Some("enrol the device with a one-time token"))
            }
            ApiError::DeviceRevoked => (S::FORBIDDEN, "device-revoked", "Device revoked", None),
            ApiError::CertificateExpired => (
                S::FORBIDDEN,
                "certificate-expired",
                "Certificate expired",
                Some("renew it with POST /v1/renew over this certificate"),
            ),
            ApiError::BadToken => (
                S::FORBIDDEN,
                "bad-token",
                "Enrolment refused",
                Some("ask an operator for a new enrolment token; each works only for its uses and its time"),
            ),
            ApiError::NotFound(_) => (S::NOT_FOUND, "not-found", "Not found", None),
            ApiError::Method(_) => (S::METHOD_NOT_ALLOWED, "method", "Method not allowed", None),
            ApiError::Conflict(_) => (S::CONFLICT, "conflict", "Conflict", None),
            ApiError::Offset(_) => (
                S::CONFLICT,
                "upload-offset",
                "Upload continues elsewhere",
                Some("send the bytes from the offset in the upload-offset header"),
            ),
            ApiError::MediaType(_) => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "Wrong content type",
                Some("set the content-type header"),
            ),
            ApiError::TooLong(_) => (S::PAYLOAD_TOO_LARGE, "too-long", "Body too long", None),
            ApiError::TooSlow => (S::REQUEST_TIMEOUT, "too-slow", "Too slow", Some("try again")),
            ApiError::Range(_) => (S::RANGE_NOT_SATISFIABLE, "range", "Range outside", None),
            ApiError::Refused { hint, .. } => (S::UNPROCESSABLE_ENTITY, "refused", "Refused", Some(hint)),
            ApiError::Ruled { .. } => (
                S::UNPROCESSABLE_ENTITY,
                "refused",
                "Refused",
                Some("change the order or the artifact; nothing was signed"),
            ),
            ApiError::Busy(_) => (S::SERVICE_UNAVAILABLE, "busy", "Busy", Some("try again soon")),
            ApiError::Quota(_) => {
                (S::TOO_MANY_REQUESTS, "quota", "Enough for a day", Some("try again in some hours"))
            }
            ApiError::Full(_) => {
                (S::INSUFFICIENT_STORAGE, "full", "No space left", Some("an operator has to free some"))
            }
            ApiError::Internal(_) => (
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal error",
                Some("the server's log has the details under this request id"),
            ),
        }
    }

    /// Why an operator was denied what it asked for, what that was and who
    /// asked, as far as it is known; `None` for every other error.
    pub(crate) fn denial(&self) -> Option<(Denial, Option<&str>, Option<&Caller>)> {
        match self {
            ApiError::Unauthenticated | ApiError::Token(_) | ApiError::TokenUsed => {
                Some((Denial::SignIn, None, None))
            }
            ApiError::Over(caller) => Some((Denial::SignIn, None, Some(caller))),
            ApiError::RoleMissing { needs, caller } => Some((Denial::Role, Some(needs), Some(caller))),
            ApiError::OutOfScope { what, caller } => Some((Denial::Scope, Some(what), Some(caller))),
            _ => None,
        }
    }

    /// What the caller is told.
    pub(crate) fn problem(&self, request_id: &str) -> Problem {
        let (status, slug, title, hint) = self.parts();
        let detail = match self {
            // Paths, SQL and addresses of the inside stay inside.
            ApiError::Internal(_) => "the server could not do this".to_owned(),
            ApiError::Full(_) => "the server has no space left for this".to_owned(),
            other => other.to_string(),
        };
        let reasons = match self {
            ApiError::Ruled { reasons, .. } => reasons.clone(),
            _ => Vec::new(),
        };
        Problem {
            reasons,
            kind: format!("urn:firmseal:problem:{slug}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail,
            hint: hint.map(str::to_owned),
            request_id: request_id.to_owned(),
        }
    }

    /// The whole answer. This is the only place where an error becomes HTTP.
    pub(crate) fn respond(&self, request_id: &str) -> Response {
        let problem = self.problem(request_id);
        let status = self.parts().0;
        let mut response = Response::new(Body::from(serde_json::to_vec(&problem).unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            ApiError::Unauthenticated | ApiError::Over(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ApiError::Token(_) | ApiError::TokenUsed if status == StatusCode::UNAUTHORIZED => {
                let value = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(header::WWW_AUTHENTICATE, value);
            }
            ApiError::Offset(offset) => {
                headers.insert(firmseal_api::UPLOAD_OFFSET, HeaderValue::from(*offset));
            }
            ApiError::Range(size) => {
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
                    headers.insert(header::CONTENT_RANGE, value);
                }
            }
            ApiError::Quota(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("3600"));
            }
            ApiError::Busy(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// Leaves the error in the answer's extensions; the outermost layer, which
/// knows the request id, writes it out.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.parts().0;
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn no_answer_shows_where_the_server_keeps_things() {
        let path = "/srv/secret/store".to_owned();
        let errors = [
            StoreError::Full { what: path.clone() },
            StoreError::Corrupt { what: path.clone() },
            StoreError::InUse { path: path.clone(), holder: "process 7".to_owned() },
            StoreError::Unavailable { doing: format!("open {path}"), why: "no leave".to_owned() },
            StoreError::Unavailable { doing: "open".to_owned(), why: path.clone() },
            StoreError::Newer { found: 2, known: 1 },
        ];
        for error in errors {
            let kept = error.to_string();
            let answer = ApiError::from(error);
            assert_eq!(answer.to_string(), kept, "the log says it all");
            let response = answer.respond("request-1");
            assert!(response.status().is_server_error());
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(!text.contains("srv") && text.contains("request-1"), "{text}");
        }
        let why = firmseal_keys::SignError::Unavailable(format!("{path}/module.so could not be loaded"));
        let text = ApiError::from(firmseal_sign::PipelineError::Key(why)).to_string();
        assert!(!text.contains("srv"), "{text}");
    }
}

//! Client errors: who can fix what.

use std::error::Error;

use http::{StatusCode, Uri};

use crate::problem::Problem;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address cannot be used.
    #[error("`{0}` is not a server address: {1}")]
    Address(String, &'static str),
    /// The operator token cannot be sent.
    #[error("the operator token has characters that no token has; copy it again")]
    Token,
    /// There is no authority to check the server against.
    #[error("no certificate authority for the server; give the PEM file that `firmseal init` wrote")]
    NoAuthority,
    /// The authority file cannot be used.
    #[error("the authority file cannot be used: {0}")]
    Authority(String),
    /// The client's certificate or key cannot be used.
    #[error("the client certificate or key cannot be used: {0}")]
    Identity(String),
    /// There is no connection; trying later may help.
    #[error("cannot reach {server}: {why}")]
    Unreachable {
        /// The server.
        server: String,
        /// What the network or TLS said.
        why: String,
    },
    /// TLS failed: one side refused the other's certificate or settings.
    /// Trying again does not help.
    #[error("no trusted connection to {server}: {why}")]
    Tls {
        /// The server.
        server: String,
        /// What TLS said.
        why: String,
    },
    /// The server did not answer in time; trying later may help.
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// The connection broke in the middle of an answer.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer is longer than anything this call expects.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The answer is not what this version of the client understands.
    #[error("the answer was not understood: {0}")]
    Answer(String),
    /// The server says no, and why.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The server says no without saying why.
    #[error("the server answered {0}")]
    Status(StatusCode),
}

impl ClientError {
    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            ClientError::Refused(problem) => StatusCode::from_u16(problem.status).ok(),
            ClientError::Status(status) => Some(*status),
            _ => None,
        }
    }

    /// The server's hint, where it gave one.
    pub fn hint(&self) -> Option<&str> {
        match self {
            ClientError::Refused(problem) => problem.hint.as_deref(),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing
    /// anything.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } | ClientError::Timeout(_) | ClientError::Broken(_) => true,
            _ => self.status().is_some_and(|status| {
                status.is_server_error()
                    || status == StatusCode::TOO_MANY_REQUESTS
                    || status == StatusCode::REQUEST_TIMEOUT
            }),
        }
    }

    pub(super) fn unreachable(base: &Uri, err: &(dyn Error + 'static)) -> ClientError {
        let server = base.to_string();
        // The innermost cause is the one that helps ("connection refused",
        // "certificate expired"); what wraps it only says "connect error".
        let mut cause: &(dyn Error + 'static) = err;
        loop {
            if let Some(tls) = find_tls(cause) {
                return ClientError::Tls { server, why: tls.to_string() };
            }
            match cause.source() {
                Some(source) => cause = source,
                None => return ClientError::Unreachable { server, why: cause.to_string() },
            }
        }
    }
}

fn find_tls<'a>(err: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = err.downcast_ref::<rustls::Error>() {
        return Some(tls);
    }
    // An io::Error hides what it carries from `source`.
    err.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>()
}

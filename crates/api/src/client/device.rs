//! What devices call.

use bytes::Bytes;
use firmseal_manifest::ReleaseId;
use http::Method;

use super::{Client, ClientError};
use crate::enrolment::{Enrol, Enrolled, Renew, Renewed};
use crate::updates::{Poll, PollAnswer, Reports, ReportsAnswer};

/// The calls of a device, over its own certificate (all but `enrol`).
#[derive(Clone, Copy, Debug)]
pub struct DeviceClient<'a>(pub(super) &'a Client);

impl DeviceClient<'_> {
    /// Exchanges a one-time token for the first certificate. Repeating it
    /// after a lost answer fails: the token is spent.
    pub async fn enrol(&self, enrol: &Enrol) -> Result<Enrolled, ClientError> {
        self.0.call(Method::POST, "/v1/enrol", Some(enrol)).await
    }

    /// Gets the next certificate.
    pub async fn renew(&self, renew: &Renew) -> Result<Renewed, ClientError> {
        self.0.call(Method::POST, "/v1/renew", Some(renew)).await
    }

    /// Asks whether there is something to do.
    pub async fn poll(&self, poll: &Poll) -> Result<PollAnswer, ClientError> {
        self.0.call(Method::POST, "/v1/poll", Some(poll)).await
    }

    /// Sends reports. When it returns they are durable.
    pub async fn report(&self, reports: &Reports) -> Result<ReportsAnswer, ClientError> {
        self.0.call(Method::POST, "/v1/reports", Some(reports)).await
    }

    /// The newest revocation; not found where there is none.
    pub async fn revocation(&self) -> Result<Bytes, ClientError> {
        self.0.document("/v1/revocation").await
    }

    /// The newest freshness document; not found where there is none.
    pub async fn freshness(&self) -> Result<Bytes, ClientError> {
        self.0.document("/v1/freshness").await
    }

    /// A version of the root document.
    pub async fn root(&self, version: u64) -> Result<Bytes, ClientError> {
        self.0.document(&format!("/v1/roots/{version}")).await
    }

    /// A release's envelope.
    pub async fn envelope(&self, release: ReleaseId) -> Result<Bytes, ClientError> {
        self.0.document(&format!("/v1/releases/{release}/envelope")).await
    }
}

//! Enrolment: how a device gets its certificate, and gets the next one.

use std::collections::BTreeMap;
use std::fmt;

use firmseal_fleet::Time;
use firmseal_manifest::{ArtifactId, DeviceId, ProductId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoding::Base64;

/// A device asks for its first certificate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// The one-time token.
    pub token: String,
    /// A PKCS#10 request (RFC 2986) in PEM, signed by the device's own key.
    /// Only its key is used; the server writes the names.
    pub csr: String,
}

// The token opens one enrolment: it stays out of logs.
impl fmt::Debug for Enrol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrol").field("csr", &self.csr).finish_non_exhaustive()
    }
}

/// A device is enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Enrolled {
    /// The device's id, also in its certificate as `urn:uuid:`.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// Its product.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// Its certificate and the device CA's, in PEM.
    pub certificate: String,
    /// Root document version 1, for a device that was made without one; a
    /// device with an anchor of its own ignores this.
    pub root: Base64,
    /// Version of the newest root document.
    pub root_version: u64,
}

/// A device asks for its next certificate, over its present one, expired
/// or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// A PKCS#10 request in PEM; the key may be a new one.
    pub csr: String,
}

/// The next certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Renewed {
    /// The certificate and the device CA's, in PEM.
    pub certificate: String,
}

/// An operator asks for an enrolment token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// The product that the device will belong to.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// Labels that each device gets; cohorts match them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How many devices it enrols; one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// Valid for this many seconds; an hour if absent, 90 days at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<u64>,
}

/// A fresh enrolment token. It is shown once: only its hash is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// The token.
    pub token: String,
    /// The product it enrols for.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// When it stops working.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Time,
}

/// An enrolment token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenRecord {
    /// SHA-256 of the secret: names the token when it is revoked.
    #[schema(value_type = String)]
    pub id: ArtifactId,
    /// The product it enrols for.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// Labels that each device gets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How many devices it still enrols.
    pub uses: u32,
    /// When it stops working, or did.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Time,
    /// The operator who made it.
    pub created_by: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("product", &self.product)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

//! Enrolment tokens: how an unknown device becomes one of ours.

use std::collections::BTreeMap;

use firmseal_manifest::{Digest, ProductId};
use serde::{Deserialize, Serialize};

use crate::Time;

/// Permission to enrol a number of devices of one product.
///
/// The token itself is a random secret of 256 bits that is shown once; only
/// its hash is kept. With that much entropy a plain SHA-256 is as good as a
/// slow password hash, and can be looked up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EnrolmentToken {
    /// SHA-256 of the token.
    #[serde(with = "crate::hex")]
    pub hash: Digest,
    /// The product of the devices it enrols.
    pub product: ProductId,
    /// Labels that each of them gets.
    pub labels: BTreeMap<String, String>,
    /// When it stops working.
    pub expires: Time,
    /// How many devices it can still enrol.
    pub uses: u32,
    /// The operator who made it.
    pub created_by: String,
    /// When it was made.
    pub created: Time,
}

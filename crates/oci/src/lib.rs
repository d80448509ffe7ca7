//! Container images in registries (distribution-spec 1.1): their signatures,
//! brought there and verified before anything starts.
//!
//! A registry is a carrier like any other: what it answers is hashed here
//! before it is read, and whether an image is signed is decided from bundles
//! and keys, with [`firmseal_formats::attested`]. It may still answer with an
//! older image, or another one that the same keys have signed: what a
//! [`Policy`] demands of epoch and subject is against that.

mod attach;
mod credentials;
mod error;
mod reference;
mod referrers;
mod registry;
mod report;
mod verify;

pub use attach::{Attached, attach};
pub use credentials::Credentials;
pub use error::OciError;
pub use reference::Reference;
pub use referrers::Referrer;
pub use registry::{Image, Registry, Settings};
pub use report::{Receiver, Report};
pub use verify::{Policy, Signer, Verified, verify};

/// Media type of bundles, and the type of artifact that a manifest around one
/// is (cosign's BUNDLE_SPEC).
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

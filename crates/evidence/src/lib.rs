//! Build evidence: what is known about a build besides its bytes.
//!
//! Documents come in as bytes and leave as [`Facts`]: what a policy may
//! decide on. Pure: no I/O, no clock; keys and their verification are passed
//! in. Documents are hostile: every size, depth and count has a bound, and
//! what can be read in two ways (a name that stands twice, data behind the
//! end) is refused.

pub mod builder;
pub mod dsse;
pub mod error;
mod evaluation;
pub mod facts;
pub mod gather;
pub mod json;
mod junit;
pub mod materials;
mod member;
mod provenance;
pub mod reproduction;
pub mod scan;
mod spdx;
pub mod statement;
mod test_result;

pub use builder::{Attests, Builder, Builders, Verify};
pub use error::EvidenceError;
pub use facts::{Evaluation, Facts, Provenance, Sbom, Scan, TestRun};
pub use gather::Gathering;
pub use materials::Materials;
pub use reproduction::Reproduction;

//! Vectors: cases as files, as `spec/vectors/README.md` describes them.

pub mod cases;
mod format;
pub mod roots;
mod scene;

pub use format::{Knows, Measurable, Purpose, RootVector, Vector, VectorComponent, hex, unhex};
pub use scene::Scene;

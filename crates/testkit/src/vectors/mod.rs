//! Vectors: cases as files, as `spec/vectors/README.md` describes them.

pub mod attacks;
pub mod cases;
mod format;
pub mod roots;
mod scene;
mod told;

pub use format::{Knows, Measurable, Purpose, RootVector, Vector, VectorComponent, hex, unhex};
pub use scene::Scene;

//! Decides what may install and what may boot.
//!
//! One place decides: [`admit()`] before an install, [`boot`] at every boot.
//! Both are pure: bytes and device state in, a verdict out. There is no
//! I/O, no allocation, no unsafe code, no recursion on input, and nothing to
//! configure away. The bootloader, the Linux agent, the command line and the
//! server all call the same functions.
#![no_std]

pub mod action;
pub mod admit;
mod cbor;
pub mod command;
pub mod cose;
pub mod crypto;
pub mod digest;
pub mod envelope;
pub mod facts;
pub mod key;
pub mod limits;
pub mod machine;
pub mod manifest;
pub mod measure;
pub mod refusal;
pub mod role;
pub mod root;
pub mod tree;

pub use action::{Action, Identity, Outcome};
pub use admit::{Admitted, Bootable, Component, Device, admit, boot};
pub use cbor::Bstr;
pub use crypto::{Crypto, Hasher};
pub use digest::Digest;
pub use envelope::Envelope;
pub use facts::{ComponentFacts, Facts};
pub use key::{KeyId, PublicKey};
pub use machine::Machine;
pub use manifest::{Authenticated, Manifest, authenticate};
pub use measure::{Measured, Measurement};
pub use refusal::Refusal;
pub use role::{Role, RoleEntry};
pub use root::{ClosedLog, Demands, Environment, Root};
pub use tree::{Block, BlockSize, Tree, Verifier};

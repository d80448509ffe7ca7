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
pub mod checkpoint;
pub mod command;
pub mod cose;
pub mod crypto;
pub mod delegation;
pub mod device;
pub mod digest;
mod ecdsa;
pub mod envelope;
pub mod evidence;
pub mod facts;
pub mod foresee;
pub mod freshness;
mod intent;
mod judge;
pub mod key;
pub mod limits;
pub mod lms;
pub mod machine;
pub mod manifest;
pub mod measure;
pub mod merkle;
pub mod mldsa;
mod note;
pub mod refusal;
pub mod revocation;
pub mod role;
pub mod root;
pub mod rsa;
pub mod sshsig;
pub mod statement;
mod target;
pub mod time;
pub mod tree;
mod version;
mod webauthn;

pub use action::{Action, Identity, Outcome};
pub use admit::{Admitted, Bootable, Candidate, Image, admit, boot, consider};
pub use cbor::Bstr;
pub use checkpoint::Witnessed;
pub use crypto::{Crypto, Hasher};
pub use delegation::{Covered, Link};
pub use device::{Component, Device, Takes, Trust};
pub use digest::Digest;
pub use envelope::Envelope;
pub use facts::{ComponentFacts, Facts};
pub use foresee::foresee;
pub use freshness::Freshness;
pub use key::{KeyId, PublicKey};
pub use machine::Machine;
pub use manifest::{Authenticated, Manifest, authenticate};
pub use measure::{Measured, Measurement};
pub use refusal::Refusal;
pub use revocation::Revocation;
pub use role::{Role, RoleEntry};
pub use root::{ClosedLog, Demands, Environment, Root};
pub use statement::{Statement, StatementPurpose};
pub use time::Time;
pub use tree::{Block, BlockSize, Streamed, Tree, Verifier};

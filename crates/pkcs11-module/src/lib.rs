//! A PKCS#11 module (OASIS PKCS #11 v2.40) whose keys are the service's.
//!
//! OpenSSL, and whatever else takes a module, signs through it with no key on
//! disk. It is no way around the gate: `C_Sign` of a digest finds the
//! signature on record that the service made when the file was handed in with
//! `firmseal sign`. A digest that nobody had signed so is refused, unless the
//! key is marked `blind`, which never signs for production.
//!
//! `ffi` is the rim where pointers are; everything else is safe code.

#![allow(unreachable_pub, reason = "a module has no outside but its C functions")]

mod config;
mod fault;
mod ffi;
mod module;
mod object;
mod operation;
mod service;

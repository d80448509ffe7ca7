//! Documents about a build, as somebody hands them in.
#![no_main]

// The entry of the mutation test on stable, so that both ask the same.
#[path = "../../crates/evidence/tests/fuzz/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::run(bytes));

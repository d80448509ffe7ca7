//! Notes, proofs, policies, bundles and what witnesses are asked.
#![no_main]

// The entry of the mutation test on stable, so that both ask the same.
#[path = "../../crates/tlog/tests/fuzz/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::run(bytes));

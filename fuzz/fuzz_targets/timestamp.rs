//! Responses and tokens of timestamp authorities.
#![no_main]

// The entry of the mutation test on stable, so that both ask the same.
#[path = "../../crates/timestamp/tests/fuzz/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::run(bytes));

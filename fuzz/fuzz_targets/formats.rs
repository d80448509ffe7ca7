//! Firmware files as somebody uploads them, in every format.
#![no_main]

// The entry of the mutation test on stable, so that both ask the same.
#[path = "../../crates/formats/tests/fuzz/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::run(bytes));

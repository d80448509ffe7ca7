//! Bundles as they come on a stick.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| firmseal_testkit::fuzz::bundle(bytes));

//! Root documents as they come from a carrier.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| firmseal_testkit::fuzz::root(bytes));

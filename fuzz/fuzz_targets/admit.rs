//! Envelopes, and manifests that a trusted key has signed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| firmseal_testkit::fuzz::admit_and_boot(bytes));

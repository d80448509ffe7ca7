//! Whatever somebody asks to be shown.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| firmseal_testkit::fuzz::print(bytes));

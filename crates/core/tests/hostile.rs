//! Hostile bytes on stable: the entry points that `fuzz/` hands to libFuzzer.
//! `FIRMSEAL_FUZZ_ITERATIONS` says how long.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_testkit::fuzz::{self, Mutator, iterations};

fn try_all(seed: u64, usual: usize, entry: fn(&[u8])) {
    let mut mutator = Mutator::new(seed);
    for iteration in 0..iterations(usual) {
        let input = mutator.input();
        let guarded = std::panic::catch_unwind(|| entry(&input));
        if guarded.is_err() {
            let hex = firmseal_testkit::vectors::hex(&input);
            panic!("seed {seed}, iteration {iteration}: {hex}");
        }
    }
}

#[test]
fn no_bytes_break_the_envelope_decoder() {
    try_all(1, 100_000, fuzz::envelope);
}

#[test]
fn no_bytes_break_the_root_decoder() {
    try_all(2, 20_000, fuzz::root);
}

#[test]
fn no_bytes_break_admit_or_boot_signed_or_not() {
    try_all(3, 6_000, fuzz::admit_and_boot);
}

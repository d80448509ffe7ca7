//! Hostile bytes for the printer and the reader of bundles.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_manifest::{bundle, print};
use firmseal_testkit::fuzz::{self, Mutator, iterations};

fn try_all(seed: u64, usual: usize, entry: fn(&[u8])) {
    let mut mutator = Mutator::new(seed);
    for iteration in 0..iterations(usual) {
        let input = mutator.input();
        if std::panic::catch_unwind(|| entry(&input)).is_err() {
            panic!("seed {seed}, iteration {iteration}: {}", firmseal_testkit::vectors::hex(&input));
        }
    }
}

#[test]
fn no_bytes_break_the_printer() {
    try_all(4, 20_000, fuzz::print);
}

#[test]
fn no_bytes_break_the_bundle_reader() {
    try_all(5, 50_000, fuzz::bundle);
}

#[test]
fn nesting_of_every_kind_ends_in_an_error() {
    for head in [&[0xc1][..], &[0x81], &[0xa1, 0x00], &[0xd8, 107], &[0x9f], &[0xa1, 0x03, 0x41]] {
        let bytes = head.repeat(1 << 20);
        assert!(print::envelope(&bytes).is_err(), "{head:x?}");
    }
    // Sequences in byte strings in sequences: lengths must be right here.
    let mut nested = vec![0x80];
    for _ in 0..200 {
        nested = firmseal_testkit::Commands::of(&[(32, firmseal_testkit::item::bytes(&nested))]);
    }
    let mut craft = firmseal_testkit::vectors::Scene::default().craft;
    craft.manifest.set(7, firmseal_testkit::item::bytes(&nested));
    assert_eq!(print::envelope(&craft.seal(&[])).map(|_| ()), Err(print::PrintError::TooDeep));
}

#[test]
fn a_bundle_that_announces_much_allocates_little() {
    let magic = [&[0x71][..], bundle::MAGIC.as_bytes()].concat();
    for rest in [
        &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..],
        &[0x81, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x40, 0x40, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x40, 0x40, 0x58, 0x01, 0x00],
        &[0x80, 0x58, 0x01, 0x00],
        &[0x9f, 0xff],
        &[0xa0],
    ] {
        assert!(bundle::read_head(&mut &[&magic[..], rest].concat()[..]).is_err(), "{rest:x?}");
    }
    assert!(bundle::read_blob_head(&mut &[0x5b, 0, 0, 0, 1, 0, 0, 0, 0][..], 1 << 32).is_ok());
    assert!(
        bundle::read_blob_head(&mut &[0x5b, 0, 0, 0, 1, 0, 0, 0, 0][..], 0).is_err(),
        "truncated to 32 bits"
    );
}

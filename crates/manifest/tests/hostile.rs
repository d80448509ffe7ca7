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
        &[0x80, 0x58, 0x01, 0x00],
        &[0x9f, 0xff],
        &[0xa0],
        &[0x80, 0x40, 0x59, 0xff, 0xff],
        &[0x80, 0x40, 0x40, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x40, 0x40, 0x58, 0x01, 0x00],
        &[0x80, 0x59, 0xff, 0xff],
    ] {
        assert!(bundle::read_head(&mut &[&magic[..], rest].concat()[..]).is_err(), "{rest:x?}");
    }
    assert!(bundle::read_blob_head(&mut &[0x5b, 0, 0, 0, 1, 0, 0, 0, 0][..], 1 << 32).is_ok());
    assert!(
        bundle::read_blob_head(&mut &[0x5b, 0, 0, 0, 1, 0, 0, 0, 0][..], 0).is_err(),
        "truncated to 32 bits"
    );
}

#[test]
fn bundles_of_both_forms_are_read() {
    use bundle::{BundleWriter, News, read_head};
    let news = News { roots: vec![vec![1; 9], vec![2; 40]], revocation: Some(vec![3; 300]), freshness: None };
    let written = BundleWriter::begin(Vec::new(), &news, b"envelope").unwrap().finish().unwrap();
    let head = read_head(&mut &written[..]).unwrap();
    assert_eq!((&head.news, &head.envelope[..]), (&news, &b"envelope"[..]));
    assert_eq!(head.offset as usize, written.len());
    assert!(bundle::is_bundle(&written));
    for len in 0..written.len() {
        assert!(read_head(&mut &written[..len]).is_err(), "{len} bytes");
    }
    let first = [&[0x71][..], bundle::MAGIC_1.as_bytes(), &[0x81, 0x41, 7, 0x42, 8, 9]].concat();
    let head = read_head(&mut &first[..]).unwrap();
    assert_eq!(head.news, News { roots: vec![vec![7]], ..News::default() });
    assert_eq!(head.envelope, [8, 9]);
    assert!(bundle::is_bundle(&first));

    let many = News { roots: vec![vec![]; 1025], ..News::default() };
    assert!(BundleWriter::begin(Vec::new(), &many, b"").is_err());
    let large = News { roots: vec![vec![0; 32 * 1024]; 257], ..News::default() };
    assert!(BundleWriter::begin(Vec::new(), &large, b"").is_err());
}

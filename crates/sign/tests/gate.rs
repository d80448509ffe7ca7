//! The gate, asked about what a parser read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_fleet::product::{BlockSize, ComponentSpec, Environment};
use firmseal_fleet::{AddressMap, Product, Region, Time};
use firmseal_formats::Inspection;
use firmseal_sign::GateRefusal;
use firmseal_sign::gate::{self, Said};
use uuid::Uuid;

fn region(name: &str, start: u64, size: u64) -> Region {
    Region { name: name.to_owned(), start, size }
}

fn product(addresses: Option<AddressMap>) -> Product {
    Product {
        id: "gateway".parse().unwrap(),
        environment: Environment::Production,
        vendor: Uuid::from_u128(1),
        class: Uuid::from_u128(2),
        hardware: vec![],
        format: "mcuboot".to_owned(),
        components: vec![ComponentSpec {
            name: "app".to_owned(),
            capacity: 1 << 20,
            block_size: BlockSize::Page,
            addresses,
        }],
        created: Time::EPOCH,
    }
}

fn image(addresses: &[u64], size: u64) -> Inspection {
    Inspection {
        format: "mcuboot".to_owned(),
        version: Some("1.2.0".to_owned()),
        epoch: Some(3),
        load_addresses: addresses.to_vec(),
        loads: vec![],
        image_size: size,
        target: None,
        debug: None,
        encrypted: false,
        fields: vec![],
        notes: vec![],
        signatures: vec![],
    }
}

fn ask(product: &Product, image: &Inspection, size: u64) -> Result<(), GateRefusal> {
    let version = "1.2.0".parse().unwrap();
    gate::check_payload(Said { version: &version, epoch: 3 }, product, &product.components[0], image, size)
}

fn rule(told: Result<(), GateRefusal>) -> &'static str {
    told.err().map_or("", |refusal| refusal.rule())
}

#[test]
fn an_image_lies_where_the_product_says() {
    let map = AddressMap {
        allowed: vec![region("slot", 0x0800_0000, 0x10000)],
        protected: vec![region("boot indicators", 0x0800_f000, 0x100)],
        allow_unplaced: Some(false),
    };
    let product = product(Some(map));
    let cases: [(&[u64], u64, &str); 9] = [
        (&[], 0x1000, "gate-no-address"),
        (&[0x0800_0000], 0xf000, ""),
        (&[0x0800_0000], 0xf001, "gate-protected-region"),
        (&[0x0800_f000], 0, "gate-protected-region"),
        (&[0x0800_f100], 0xf00, ""),
        (&[0x0800_f100], 0xf01, "gate-address"),
        (&[0x0800_0000, 0x2000_0000], 0x1000, "gate-address"),
        (&[u64::MAX], 0x1000, "gate-address"),
        // Its end comes round to zero in 64 bits.
        (&[u64::MAX - 0xfff], 0x1001, "gate-address"),
    ];
    for (addresses, size, refused) in cases {
        assert_eq!(
            rule(ask(&product, &image(addresses, size), size)),
            refused,
            "{size:#x} at {addresses:x?}"
        );
    }
    // The header and what follows the image are loaded with it.
    let told = ask(&product, &image(&[0x0800_0000], 0xf000), 0xf001);
    assert_eq!(rule(told.clone()), "gate-protected-region");
    let said = told.unwrap_err().to_string();
    assert!(said.contains("61441 bytes at address 0x8000000 touch `boot indicators`"), "{said}");
    assert_eq!(ask(&self::product(None), &image(&[u64::MAX], 0x1000), 0x1000), Ok(()), "no map says nothing");
}

#[test]
fn a_file_by_itself_does_not_slip_past_by_a_component_without_a_map() {
    let allowed = vec![region("slot", 0x0800_0000, 0x10000)];
    let map = AddressMap { allowed, protected: vec![], allow_unplaced: Some(false) };
    let mut product = product(Some(map));
    product.components[0].capacity = 0x10000;
    let mut larger = product.components[0].clone();
    (larger.name, larger.capacity, larger.addresses) = ("assets".to_owned(), 1 << 20, None);
    product.components.push(larger);
    let version = "1.2.0".parse().unwrap();
    let file = |addresses: &[u64], size| {
        let said = Said { version: &version, epoch: 3 };
        rule(gate::check_file(said, &product, &image(addresses, size), size))
    };
    assert_eq!(file(&[0x0800_0000], 0x1000), "");
    assert_eq!(file(&[0x2000_0000], 0x1000), "gate-address");
    assert_eq!(file(&[0x0800_0000], 0x10001), "gate-size");
    assert_eq!(file(&[], 0x1000), "", "what names no address fits the one without a map");
    assert_eq!(file(&[], 0x20000), "");
    assert_eq!(file(&[], (1 << 20) + 1), "gate-size");
}

/// A file of a format, held against a map of regions that are allowed, and
/// one that is protected.
fn placed(format: &str, file: &[u8], allowed: &[(u64, u64)], protected: (u64, u64)) -> &'static str {
    let allowed = allowed.iter().map(|(start, size)| region("slot", *start, *size)).collect();
    let protected = vec![region("key store", protected.0, protected.1)];
    let mut product = product(Some(AddressMap { allowed, protected, allow_unplaced: Some(false) }));
    product.format = format.to_owned();
    let file = file.to_vec();
    let inspection = firmseal_formats::find(format).unwrap().inspect(&file).unwrap();
    let version = inspection.semver().unwrap_or("1.2.0".parse().unwrap());
    let said = Said { version: &version, epoch: inspection.epoch.unwrap_or(3) };
    rule(gate::check_payload(said, &product, &product.components[0], &inspection, file.len() as u64))
}

/// An Intel HEX file that fills these ranges.
fn hex(ranges: &[(u32, u32)]) -> Vec<u8> {
    let mut out = String::new();
    let mut record = |bytes: &[u8]| {
        let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        let digits = bytes.iter().chain([&sum]).map(|byte| format!("{byte:02X}"));
        out += &format!(":{}\n", digits.collect::<String>());
    };
    for (start, size) in ranges {
        for at in (*start..start + size).step_by(16) {
            let ([a, b, c, d], len) = (at.to_be_bytes(), (start + size - at).min(16) as u8);
            record(&[2, 0, 0, 4, a, b]);
            record(&[&[len, c, d, 0], vec![0x5a; usize::from(len)].as_slice()].concat());
        }
    }
    record(&[0, 0, 0, 1]);
    out.into_bytes()
}

#[test]
fn each_piece_of_a_file_is_held_against_the_map_with_its_own_size() {
    // Flash and option bytes of an STM32: 200 KiB and 16 bytes.
    let (flash, options) = ((0x0800_0000, 200 << 10), (0x1fff_7800, 16));
    let allowed = [(0x0800_0000, 256 << 10), (0x1fff_7800, 16)];
    let keys = (0x0803_2000, 0x1000);
    assert_eq!(placed("hex", &hex(&[flash, options]), &allowed, keys), "");
    for (ranges, refused) in [
        ([(flash.0, flash.1 + 1), options], "gate-protected-region"),
        ([flash, (options.0, 17)], "gate-address"),
        ([flash, (options.0 - 1, 17)], "gate-address"),
    ] {
        assert_eq!(placed("hex", &hex(&ranges), &allowed, keys), refused, "{ranges:x?}");
    }
}

#[test]
fn segments_of_an_esp32_are_held_against_the_map_one_by_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../formats/fixtures/esp32/esp32.bin");
    let file = std::fs::read(path).unwrap();
    let inspection = firmseal_formats::find("esp32").unwrap().inspect(&file).unwrap();
    let loads: Vec<_> = inspection.loads.iter().map(|own| (own.address, own.size.unwrap())).collect();
    let (last, size) = loads.iter().copied().max().unwrap();
    assert!(size < file.len() as u64, "a part of the file");
    // Room for the segments alone, and a protected region right behind.
    assert_eq!(placed("esp32", &file, &loads, (last + size, 16)), "");
    assert_eq!(placed("esp32", &file, &loads, (last + size - 1, 16)), "gate-protected-region");
    let short: Vec<_> = loads.iter().map(|(start, len)| (*start, len - u64::from(*start == last))).collect();
    assert_eq!(placed("esp32", &file, &short, (last + size, 16)), "gate-address");
}

#[test]
fn a_piece_of_unknown_size_may_be_the_whole_file() {
    let map = AddressMap { allowed: vec![region("slot", 0x1000, 0x1000)], ..AddressMap::default() };
    let product = product(Some(map));
    let mut packed = image(&[0x1000], 0x1000);
    let load = |size| firmseal_formats::Load { address: 0x1000, size };
    packed.loads = vec![load(Some(16)), load(None)];
    assert_eq!(ask(&product, &packed, 0x1000), Ok(()));
    assert_eq!(rule(ask(&product, &packed, 0x1001)), "gate-address", "the other one's size is not its own");
    // An address that no piece is told of.
    packed.load_addresses.push(0x1800);
    packed.loads.pop();
    assert_eq!(rule(ask(&product, &packed, 0x1000)), "gate-address");
}

#[test]
fn a_file_without_addresses_needs_a_word() {
    let slot = region("slot", 0x1000, 0x1000);
    let mut product =
        product(Some(AddressMap { allowed: vec![slot], protected: vec![], allow_unplaced: Some(false) }));
    let file = image(&[], 0x800);
    let said = ask(&product, &file, 0x800).unwrap_err();
    assert_eq!(said.rule(), "gate-no-address");
    assert!(said.to_string().contains("allow_unplaced = true"), "{said}");
    let version = "1.2.0".parse().unwrap();
    let alone = |product: &Product| {
        rule(gate::check_file(Said { version: &version, epoch: 3 }, product, &file, 0x800))
    };
    assert_eq!(alone(&product), "gate-no-address");
    // With the word, and as products from before it were stored.
    for word in [Some(true), None] {
        product.components[0].addresses.as_mut().unwrap().allow_unplaced = word;
        assert_eq!(ask(&product, &file, 0x800), Ok(()), "{word:?}");
        assert_eq!(alone(&product), "", "{word:?}");
        // What names an address keeps to the map all the same.
        assert_eq!(rule(ask(&product, &image(&[0x2000], 0x800), 0x800)), "gate-address", "{word:?}");
    }
}

#[test]
fn each_refusal_names_its_rule() {
    let product = product(None);
    let good = image(&[], 1000);
    assert_eq!(ask(&product, &good, 1000), Ok(()));
    let bad = |change: fn(&mut Inspection)| {
        let mut image = good.clone();
        change(&mut image);
        rule(ask(&product, &image, 1000))
    };
    assert_eq!(bad(|image| image.debug = Some(true)), "gate-debug");
    assert_eq!(bad(|image| image.epoch = Some(2)), "gate-artifact-epoch");
    assert_eq!(bad(|image| image.version = Some("1.1.0".to_owned())), "gate-artifact-version");
    assert_eq!(bad(|image| image.format = "raw".to_owned()), "gate-format");
    assert_eq!(rule(ask(&product, &good, (1 << 20) + 1)), "gate-size");
    let test = Product { environment: Environment::Test, ..product.clone() };
    let debug = Inspection { debug: Some(true), ..good.clone() };
    assert_eq!(ask(&test, &debug, 1000), Ok(()), "test products take debug builds");
}

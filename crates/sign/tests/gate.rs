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
    };
    let product = product(Some(map));
    let cases: [(&[u64], u64, &str); 9] = [
        (&[], 0x1000, ""),
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
    let map = AddressMap { allowed: vec![region("slot", 0x0800_0000, 0x10000)], protected: vec![] };
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
    assert_eq!(file(&[], 0x20000), "", "what names no address fits the other one");
    assert_eq!(file(&[], (1 << 20) + 1), "gate-size");
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

//! Products: what is silent about files without addresses, made now and made
//! before it could be said.

use firmseal_api::client::Client;
use firmseal_api::registry::{AddressMap, Product, Region};
use firmseal_api::signatures::{CreateSignature, SignatureRequest, SignatureState};
use firmseal_fleet::product::{BlockSize, ComponentSpec};
use firmseal_fleet::{self as fleet, Caller, Time};
use firmseal_store::Registry;
use http::StatusCode;
use uuid::Uuid;

use crate::bench::{Bench, product};
use crate::signatures::{WAIT, status, wish};

/// A product with an address map.
fn mapped(name: &str, allow_unplaced: Option<bool>) -> Product {
    let mut product = product(name);
    let slot = Region { name: "slot".to_owned(), start: 0x1000, size: 1 << 24 };
    product.components[0].addresses =
        Some(AddressMap { allowed: vec![slot], protected: vec![], allow_unplaced });
    product
}

/// What its map says of files without addresses.
fn said(product: &Product) -> Option<bool> {
    product.components[0].addresses.as_ref().unwrap().allow_unplaced
}

/// What becomes of a file that names no address.
async fn unplaced(bench: &Bench, admin: &Client, name: &str) -> SignatureRequest {
    let file = bench.upload(admin, b"some firmware").await;
    let wish = CreateSignature { product: name.parse().unwrap(), ..wish(file) };
    admin.operator().create_signature(name, &wish, WAIT).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_is_made_now_says_what_it_was_silent_about() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    let made = admin.operator().create_product(&mapped("silent", None)).await.unwrap();
    assert_eq!(said(&made), Some(false));
    assert_eq!(admin.operator().product(&made.id).await.unwrap(), made);
    assert_eq!(admin.operator().create_product(&mapped("silent", None)).await.unwrap(), made, "again");
    let other = admin.operator().create_product(&mapped("silent", Some(true))).await;
    assert_eq!(status(other), StatusCode::CONFLICT);
    let refused = unplaced(&bench, &admin, "silent").await;
    assert_eq!(refused.state, SignatureState::Refused);
    assert_eq!(refused.reasons[0].rule, "gate-no-address");

    let made = admin.operator().create_product(&mapped("told", Some(true))).await.unwrap();
    assert_eq!(said(&made), Some(true));
    assert_eq!(unplaced(&bench, &admin, "told").await.state, SignatureState::Signed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_from_before_stays_silent_and_signs_as_it_did() {
    let mut bench = Bench::start().await;
    let slot = fleet::Region { name: "slot".to_owned(), start: 0x1000, size: 1 << 24 };
    let old = fleet::Product {
        id: "old".parse().unwrap(),
        environment: fleet::Environment::Test,
        vendor: Uuid::from_u128(1),
        class: Uuid::from_u128(2),
        hardware: vec![],
        format: "raw".to_owned(),
        components: vec![ComponentSpec {
            name: "main".to_owned(),
            capacity: 1 << 24,
            block_size: BlockSize::Page,
            addresses: Some(fleet::AddressMap { allowed: vec![slot], ..fleet::AddressMap::default() }),
        }],
        created: Time::from_millis(1_700_000_000_000),
    };
    bench.store.insert_product(old.clone(), &Caller::local("before")).await.unwrap();
    bench.restart().await;
    let admin = bench.everything().await;
    let shown = admin.operator().product(&old.id).await.unwrap();
    assert_eq!(said(&shown), None);
    // An auditor finds what the log says of it in what the server shows.
    let shown_digest = crate::bench::sha256(&serde_json::to_vec(&shown).unwrap());
    assert_eq!(shown_digest, old.digest().unwrap());
    assert_eq!(unplaced(&bench, &admin, "old").await.state, SignatureState::Signed);
    // The file that it was made of still finds it. One that is strict is
    // another product.
    assert_eq!(admin.operator().create_product(&mapped("old", None)).await.unwrap(), shown);
    assert_eq!(admin.operator().create_product(&mapped("old", Some(true))).await.unwrap(), shown);
    let strict = admin.operator().create_product(&mapped("old", Some(false))).await;
    assert_eq!(status(strict), StatusCode::CONFLICT);
}

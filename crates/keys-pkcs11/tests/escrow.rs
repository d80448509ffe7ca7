//! Keys that leave one token wrapped and come back in another.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Bench, isolated, sign};
use firmseal_keys::conformance;
use firmseal_keys::pool::wait;
use firmseal_keys::wrapped::{Wrapped, WrappingKey};
use firmseal_keys::{SignError, Signer};
use firmseal_keys_pkcs11::escrow::{confine, discard, unwrap, wrap};
use firmseal_keys_pkcs11::{Options, Pkcs11Error, Pkcs11Key, Pkcs11Uri, generate, generate_escrowable};
use firmseal_manifest::KeyAlgorithm;

const KEK: fn() -> WrappingKey = || WrappingKey::draw().unwrap();

fn open(bench: &Bench, uri: &Pkcs11Uri) -> Pkcs11Key {
    Pkcs11Key::open(uri, bench.pin(), Options::default()).unwrap()
}

/// Makes an escrowable key and wraps it.
fn wrapped(bench: &Bench, uri: &Pkcs11Uri, algorithm: KeyAlgorithm) -> (WrappingKey, Wrapped) {
    let made = generate_escrowable(uri, bench.pin(), algorithm).unwrap();
    assert_eq!(made.protection.weakness(), Some("it is extractable"));
    let key = KEK();
    let wrapped = wrap(uri, bench.pin(), &key).unwrap();
    assert_eq!(Some(&wrapped.public), made.public_key.as_ref().ok());
    (key, wrapped)
}

#[test]
fn a_key_comes_back_in_another_token() {
    isolated("a_key_comes_back_in_another_token", |bench| {
        bench.init_token("spare");
        for algorithm in
            [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa(3072), KeyAlgorithm::Rsa(4096)]
        {
            let uri = bench.uri(&format!("token=test;object={algorithm}"));
            let (kek, wrapped) = wrapped(bench, &uri, algorithm);
            let spare = bench.uri(&format!("token=spare;object={algorithm}"));
            let made = unwrap(&spare, bench.pin(), &kek, &wrapped).unwrap();
            assert_eq!(made.public_key.as_ref().ok(), Some(&wrapped.public));
            let kept = made.protection;
            assert!(kept.sensitive && !kept.extractable && kept.sign && !kept.local, "{kept:?}");
            let key = open(bench, &spare);
            assert_eq!(key.public_key(), &wrapped.public);
            wait(conformance::run(&key));
            // It does not leave a second time.
            assert!(matches!(wrap(&spare, bench.pin(), &KEK()), Err(Pkcs11Error::CannotLeave)));
            let again = unwrap(&spare, bench.pin(), &kek, &wrapped);
            assert!(matches!(again, Err(Pkcs11Error::Exists(_))), "{again:?}");
        }
    });
}

#[test]
fn when_its_shares_are_safe_a_key_stays() {
    isolated("when_its_shares_are_safe_a_key_stays", |bench| {
        let uri = bench.uri("token=test;object=release");
        wrapped(bench, &uri, KeyAlgorithm::P256);
        confine(&uri, bench.pin()).unwrap();
        assert!(matches!(wrap(&uri, bench.pin(), &KEK()), Err(Pkcs11Error::CannotLeave)));
        let key = open(bench, &uri);
        assert_eq!(key.protection().weakness(), Some("it was extractable once"));
        assert!(sign(&key).is_ok());
        // One that was made to stay says so at once.
        let other = bench.uri("token=test;object=other");
        generate(&other, bench.pin(), KeyAlgorithm::P256).unwrap();
        assert!(matches!(wrap(&other, bench.pin(), &KEK()), Err(Pkcs11Error::CannotLeave)));
    });
}

#[test]
fn what_a_token_cannot_wrap_is_said() {
    isolated("what_a_token_cannot_wrap_is_said", |bench| {
        // SoftHSM 2.6 makes keys of this curve, and has no form to wrap them.
        let uri = bench.uri("token=test;object=release");
        generate_escrowable(&uri, bench.pin(), KeyAlgorithm::Ed25519).unwrap();
        let answer = wrap(&uri, bench.pin(), &KEK());
        assert!(matches!(answer, Err(Pkcs11Error::CannotWrap(_))), "{answer:?}");
        assert!(sign(&open(bench, &uri)).is_ok(), "nothing was changed");
    });
}

#[test]
fn what_was_changed_does_not_come_back() {
    isolated("what_was_changed_does_not_come_back", |bench| {
        let uri = bench.uri("token=test;object=release");
        let (kek, good) = wrapped(bench, &uri, KeyAlgorithm::P256);
        let back = bench.uri("token=test;object=back");
        let none = || {
            let found = Pkcs11Key::open(&back, bench.pin(), Options::default());
            assert!(matches!(found, Err(Pkcs11Error::NoKey { .. })), "{found:?}");
        };
        let other = unwrap(&back, bench.pin(), &KEK(), &good);
        assert!(matches!(other, Err(Pkcs11Error::CannotUnwrap(_))), "{other:?}");
        none();
        let mut flipped = good.clone();
        flipped.bytes[20] ^= 1;
        let other = unwrap(&back, bench.pin(), &kek, &flipped);
        assert!(matches!(other, Err(Pkcs11Error::CannotUnwrap(_))), "{other:?}");
        none();
        // Another key's public half: what was unwrapped does not sign for it.
        let stranger = bench.uri("token=test;object=stranger");
        let made = generate(&stranger, bench.pin(), KeyAlgorithm::P256).unwrap();
        let swapped = Wrapped { public: made.public_key.unwrap(), ..good };
        unwrap(&back, bench.pin(), &kek, &swapped).unwrap();
        assert!(matches!(sign(&open(bench, &back)), Err(SignError::BadSignature)));
        discard(&back, bench.pin()).unwrap();
        none();
        // Both halves are gone: the name is free again.
        generate(&back, bench.pin(), KeyAlgorithm::P256).unwrap();
    });
}

//! Keys in SoftHSM2: the conformance suite, look-up, generation, listing.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{Bench, PIN, isolated, run, sign};
use firmseal_keys::conformance::{self, MemoryLog, covering};
use firmseal_keys::pool::wait;
use firmseal_keys::{SecretSource, Signer};
use firmseal_keys_pkcs11::{Options, Pkcs11Error, Pkcs11Key, Pkcs11Uri, SCHEME, generate, list, read_pin};
use firmseal_manifest::{KeyAlgorithm, Tbs};

const ALGORITHMS: [KeyAlgorithm; 6] = [
    KeyAlgorithm::P256,
    KeyAlgorithm::P384,
    KeyAlgorithm::Ed25519,
    KeyAlgorithm::Rsa(2048),
    KeyAlgorithm::Rsa(3072),
    KeyAlgorithm::Rsa(4096),
];

#[test]
fn every_algorithm_conforms() {
    isolated("every_algorithm_conforms", |bench| {
        for algorithm in ALGORITHMS {
            let uri = bench.uri(&format!("token=test;object={algorithm}"));
            let made = generate(&uri, bench.pin(), algorithm).unwrap();
            assert_eq!(made.protection.weakness(), None);
            // The URI that comes back names the key, once a module is added.
            let found = Pkcs11Uri { module_path: uri.module_path.clone(), ..made.uri };
            let key = Pkcs11Key::open(&found, bench.pin(), Options::default()).unwrap();
            assert_eq!(Some(key.public_key()), made.public_key.as_ref().ok());
            assert!(key.describe().contains("cannot leave the token"), "{}", key.describe());
            wait(conformance::run(&key));
            conformance::run_threads(&key, 8);
            if let KeyAlgorithm::Rsa(3072 | 4096) = algorithm {
                // What comes back was verified, as each signature is.
                let tbs = Tbs::PssMax([7; 32]);
                let intent = wait(covering(&MemoryLog::default(), key.public_key(), &tbs));
                assert!(wait(key.sign(intent, tbs)).is_ok(), "the longest salt");
            }
        }
    });
}

#[test]
fn a_bare_ec_point_is_the_same_key() {
    isolated("a_bare_ec_point_is_the_same_key", |bench| {
        for algorithm in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Ed25519] {
            let uri = bench.uri(&format!("token=test;object={algorithm}"));
            let made = generate(&uri, bench.pin(), algorithm).unwrap();
            bench.fault("rawpoint", "");
            let key = Pkcs11Key::open(&uri, bench.pin(), Options::default()).unwrap();
            assert_eq!(Some(key.public_key()), made.public_key.as_ref().ok());
            assert!(sign(&key).is_ok());
            bench.clear("rawpoint");
        }
    });
}

#[test]
fn look_up_finds_exactly_one_key() {
    isolated("look_up_finds_exactly_one_key", |bench| {
        let p256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
        bench.import("twin", "0a", &p256);
        bench.import("twin", "0b", &p256);
        bench.import("other", "0c", &p256);
        let open = |path: &str| Pkcs11Key::open(&bench.uri(path), bench.pin(), Options::default());

        let Err(Pkcs11Error::AmbiguousKey { candidates }) = open("token=test;object=twin") else {
            panic!("two keys match")
        };
        assert!(candidates.contains("id=%0A") && candidates.contains("id=%0B"), "{candidates}");
        let Err(Pkcs11Error::NoKey { present }) = open("token=test;object=nobody") else {
            panic!("no key matches")
        };
        assert!(present.contains("object=other"), "{present}");
        assert!(matches!(open("token=test"), Err(Pkcs11Error::AmbiguousKey { .. })));

        let first = open("token=test;object=twin;id=%0a").unwrap();
        let second = open("token=test;id=%0b;type=private").unwrap();
        assert_ne!(first.public_key(), second.public_key());
        assert!(sign(&first).is_ok() && sign(&second).is_ok());
        assert!(matches!(open("token=test;id=%0b;type=public"), Err(Pkcs11Error::NotForSigning(_))));
        // Imported: it exists elsewhere too, and that is said.
        assert!(first.describe().contains("weakly kept"), "{}", first.describe());
    });
}

#[test]
fn look_up_finds_exactly_one_token() {
    isolated("look_up_finds_exactly_one_token", |bench| {
        bench.init_token("test");
        bench.init_token("other");
        let open = |path: &str| Pkcs11Key::open(&bench.uri(path), bench.pin(), Options::default());
        let Err(Pkcs11Error::AmbiguousToken { candidates }) = open("token=test") else {
            panic!("two tokens match")
        };
        let serials: Vec<&str> = candidates
            .split("serial=")
            .skip(1)
            .map(|rest| &rest[..rest.find(',').unwrap_or(rest.len())])
            .collect();
        assert_eq!(serials.len(), 2, "{candidates}");
        let one = bench.uri(&format!("token=test;object=release;serial={}", serials[0]));
        generate(&one, bench.pin(), KeyAlgorithm::P256).unwrap();
        assert!(Pkcs11Key::open(&one, bench.pin(), Options::default()).is_ok());

        let Err(Pkcs11Error::NoToken { present }) = open("token=nobody") else { panic!("no token matches") };
        assert!(present.contains("token=other"), "{present}");
        for elsewhere in [
            "slot-id=99999",
            "library-manufacturer=Nobody",
            "slot-description=x",
            "model=x",
            "manufacturer=x",
        ] {
            assert!(matches!(open(elsewhere), Err(Pkcs11Error::NoToken { .. })), "{elsewhere}");
        }
    });
}

#[test]
fn several_tokens_sign_at_once() {
    isolated("several_tokens_sign_at_once", |bench| {
        bench.init_token("second");
        bench.init_token("third");
        // One label in three tokens: three keys, each in its own slot.
        let keys: Vec<Pkcs11Key> = ["test", "second", "third"]
            .into_iter()
            .map(|token| {
                let uri = bench.uri(&format!("token={token};object=release"));
                let uri = Pkcs11Uri { sessions: Some(2), ..uri };
                let made = generate(&uri, bench.pin(), KeyAlgorithm::P256).unwrap();
                let key = Pkcs11Key::open(&uri, bench.pin(), Options::default()).unwrap();
                assert_eq!(Some(key.public_key()), made.public_key.as_ref().ok());
                key
            })
            .collect();
        assert_ne!(keys[0].public_key(), keys[1].public_key());
        std::thread::scope(|scope| {
            for key in &keys {
                scope.spawn(|| conformance::run_threads(key, 4));
            }
        });
    });
}

#[test]
fn a_module_that_is_none_is_refused() {
    isolated("a_module_that_is_none_is_refused", |bench| {
        let open = |uri: &str| Pkcs11Key::open(&uri.parse().unwrap(), bench.pin(), Options::default());
        assert!(matches!(open("pkcs11:token=test"), Err(Pkcs11Error::NoModulePath)));
        let text = bench.dir.join("softhsm2.conf");
        let libc = run(Command::new("cc").arg("-print-file-name=libm.so.6"));
        let libc = String::from_utf8(libc).unwrap();
        for path in ["/nonexistent.so", text.to_str().unwrap(), libc.trim()] {
            let answer = open(&format!("pkcs11:token=test?module-path={path}"));
            assert!(matches!(answer, Err(Pkcs11Error::Module { .. })), "{path}: {answer:?}");
        }
    });
}

#[test]
fn a_new_key_stands_alone() {
    isolated("a_new_key_stands_alone", |bench| {
        let uri = bench.uri("token=test;object=release");
        let made = generate(&uri, bench.pin(), KeyAlgorithm::P256).unwrap();
        let again = generate(&uri, bench.pin(), KeyAlgorithm::P256);
        assert!(matches!(again, Err(Pkcs11Error::Exists(_))), "{again:?}");
        let same_id =
            Pkcs11Uri { object: Some("another".to_owned()), id: made.uri.id.clone(), ..uri.clone() };
        let again = generate(&same_id, bench.pin(), KeyAlgorithm::P256);
        assert!(matches!(again, Err(Pkcs11Error::Exists(_))), "{again:?}");
        let unnamed = generate(&bench.uri("token=test"), bench.pin(), KeyAlgorithm::P256);
        assert!(matches!(unnamed, Err(Pkcs11Error::NotForSigning(_))), "{unnamed:?}");
        let small = generate(&bench.uri("token=test;object=small"), bench.pin(), KeyAlgorithm::Rsa(1024));
        assert!(matches!(small, Err(Pkcs11Error::NotForSigning(_))), "{small:?}");

        let listed = list(&bench.uri("token=test"), bench.pin()).unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].uri, made.uri);
        assert_eq!(listed[0].protection.weakness(), None);
    });
}

#[test]
fn keys_that_are_not_used_here_are_listed_and_refused() {
    isolated("keys_that_are_not_used_here_are_listed_and_refused", |bench| {
        bench.import("small", "01", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
        bench.import("odd", "02", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"]);
        let listed = list(&bench.uri("token=test"), bench.pin()).unwrap();
        assert_eq!(listed.len(), 2);
        for key in listed {
            assert!(matches!(key.public_key, Err(Pkcs11Error::UnsupportedKey(_))), "{key:?}");
            let uri = Pkcs11Uri { module_path: bench.uri("").module_path, ..key.uri };
            let opened = Pkcs11Key::open(&uri, bench.pin(), Options::default());
            assert!(matches!(opened, Err(Pkcs11Error::UnsupportedKey(_))), "{opened:?}");
        }
    });
}

#[test]
fn openssl_verifies_what_the_token_signs() {
    // RSA has no second verifier of ours: OpenSSL is the judge.
    isolated("openssl_verifies_what_the_token_signs", |bench: &Bench| {
        let key = bench.key(KeyAlgorithm::Rsa(3072), Options::default());
        std::fs::write(bench.dir.join("spki.der"), key.public_key().spki()).unwrap();
        std::fs::write(bench.dir.join("signature"), sign(&key).unwrap().0).unwrap();
        std::fs::write(bench.dir.join("message"), b"firmware").unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]);
        openssl.args(["-keyform", "DER", "-verify", "spki.der", "-signature", "signature", "message"]);
        run(openssl.current_dir(&bench.dir));
    });
}

#[test]
fn the_pin_comes_from_where_the_uri_says() {
    isolated("the_pin_comes_from_where_the_uri_says", |bench| {
        let _ = bench.key(KeyAlgorithm::P256, Options::default());
        let pin = bench.dir.join("pin");
        std::fs::write(&pin, format!("{PIN}\n")).unwrap();
        std::fs::set_permissions(&pin, PermissionsExt::from_mode(0o600)).unwrap();
        let module = bench.dir.join("shim.so");
        let uri = format!(
            "pkcs11:token=test;object=release?pin-source=file:{}&module-path={}",
            pin.display(),
            module.display()
        );
        let uri: Pkcs11Uri = uri.parse().unwrap();
        let secret = read_pin(&uri).unwrap();
        assert!(sign(&Pkcs11Key::open(&uri, secret, Options::default()).unwrap()).is_ok());
        let without = bench.uri("token=test;object=release");
        assert!(read_pin(&without).unwrap().is_none());
    });
}

#[test]
fn a_key_lives_where_its_uri_says() {
    isolated("a_key_lives_where_its_uri_says", |bench| {
        let pin = bench.dir.join("pin");
        std::fs::write(&pin, format!("{PIN}\n")).unwrap();
        std::fs::set_permissions(&pin, PermissionsExt::from_mode(0o600)).unwrap();
        let uri = bench.uri("token=test;object=release").to_string();
        conformance::run_home(&SCHEME, &uri, &SecretSource::File(pin));
    });
}

#[test]
fn a_key_that_was_destroyed_is_gone() {
    isolated("a_key_that_was_destroyed_is_gone", |bench| {
        let uri = bench.uri("token=test;object=old");
        let id = generate(&uri, bench.pin(), KeyAlgorithm::P256).unwrap().public_key.unwrap().id();
        let kept = bench.uri("token=test;object=new");
        let other = generate(&kept, bench.pin(), KeyAlgorithm::P256).unwrap().public_key.unwrap().id();
        // The URI names another key by now: that one stays.
        assert!(!firmseal_keys_pkcs11::destroy(&kept, bench.pin(), &id).unwrap());
        let open = Pkcs11Key::open(&uri, bench.pin(), Options::default()).unwrap();
        assert!(firmseal_keys_pkcs11::destroy(&uri, bench.pin(), &id).unwrap());
        assert!(sign(&open).is_err(), "a session that was open has it no more");
        let gone = Pkcs11Key::open(&uri, bench.pin(), Options::default());
        assert!(matches!(gone, Err(Pkcs11Error::NoKey { .. })));
        // The public half is gone too: its label is free again.
        generate(&uri, bench.pin(), KeyAlgorithm::P256).unwrap();
        assert!(!firmseal_keys_pkcs11::destroy(&uri, bench.pin(), &id).unwrap(), "twice is no error");
        let left = Pkcs11Key::open(&kept, bench.pin(), Options::default()).unwrap();
        assert_eq!(left.public_key().id(), other);
        assert!(sign(&left).is_ok());
    });
}

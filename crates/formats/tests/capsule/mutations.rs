//! Mutations: what we accept, edk2's library reads alike, and OpenSSL verifies
//! what it cuts out.

use firmseal_formats::inspect;

use crate::common::{OpenSsl, Random, TestKey, accepted, flip_each, mutate};
use crate::make;
use crate::peer::{GUID, edk2, payload, smime};

/// A capsule as edk2's tools make it, with our signature.
fn good(openssl: &OpenSsl, key: &TestKey) -> Vec<u8> {
    openssl.write("build.bin", &payload());
    edk2(openssl, &[serde_json::json!(["build.bin", GUID, 3, 9, 21, 7, 5, ""])]);
    let certificate = openssl.text("p256.crt");
    make(&openssl.read("build.bin.cap"), key, 21, &[("certificate", &certificate)]).unwrap()
}

#[test]
fn what_we_accept_edk2_and_openssl_accept() {
    let count = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"));
    let openssl = OpenSsl::new(&["p256"]);
    let key = TestKey::load("p256");
    let good = good(&openssl, &key);
    // The certificate says which key signed, and is not what is believed here.
    openssl.ok("x509 -in p256.crt -outform DER -out p256.der");
    let der = openssl.read("p256.der");
    let start = good.windows(der.len()).position(|window| window == der).unwrap();
    let all = std::cell::RefCell::new(vec![good.clone()]);
    flip_each(&good, start..start + der.len(), |bytes, _| all.borrow_mut().push(bytes.to_vec()));
    // Each length and each place, and what is beside it.
    for at in [16, 24, 32, 36, 38, 40, 48, 52, 68, 72, 76, 80, 88, 92, 96, 100] {
        for value in [0u32, 1, 2, 15, 16, 24, 27, 28, 31, 32, 33, 40, 48, 0x7fff_ffff, 0xffff_ffff] {
            for by in [0, u32::from_le_bytes(good[at..at + 4].try_into().unwrap())] {
                let mut bytes = good.clone();
                bytes[at..at + 4].copy_from_slice(&value.wrapping_add(by).to_le_bytes());
                all.borrow_mut().push(bytes);
            }
        }
    }
    for seed in 0..count {
        let mut random = Random(seed);
        let mut bytes = good.clone();
        // The headers, or the signature and the payload.
        let at = [0, 88][random.below(2)];
        let mut piece = bytes.split_off(at);
        mutate(&mut piece, &mut random);
        bytes.extend(piece);
        all.borrow_mut().push(bytes);
    }
    let digest = inspect(&good).unwrap().digest();
    let mut files = Vec::new();
    for bytes in all.into_inner().into_iter().filter(|bytes| accepted(bytes, &key.public)) {
        // Whatever is signed is still what it was.
        let same = bytes[88..96] == good[88..96] && bytes.ends_with(&good[good.len() - 216..]);
        assert!(same && inspect(&bytes).unwrap().digest() == digest, "{bytes:02x?}");
        // What a certificate says is OpenSSL's to judge, and not believed here.
        if bytes.windows(der.len()).any(|window| window == der) {
            openssl.write(&format!("{}.cap", files.len()), &bytes);
            files.push(bytes);
        }
    }
    // Bits of the type, the index, the instance and the maker's flags.
    assert!(files.len() > 60, "{}", files.len());
    let wishes: Vec<_> = (0..files.len()).map(|index| serde_json::json!(format!("{index}.cap"))).collect();
    for (index, answer) in edk2(&openssl, &wishes).iter().enumerate() {
        let file = &files[index];
        let told = |name: &str| {
            let notes = inspect(file).unwrap().notes;
            notes.iter().find(|own| own.name == name).unwrap().value.clone()
        };
        assert_eq!(answer[0].as_str(), Some(told("image type").as_str()), "{file:02x?}");
        assert_eq!(answer[1].to_string(), told("image index"), "{file:02x?}");
        assert_eq!(answer[3], 21, "{file:02x?}");
        let (signed, signature) =
            (openssl.read(&format!("{index}.cap.tbs")), openssl.read(&format!("{index}.cap.p7")));
        assert!(smime(&openssl, &signature, &signed, "p256"), "{file:02x?}");
    }
}

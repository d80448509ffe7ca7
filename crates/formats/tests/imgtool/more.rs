//! What imgtool does with an image besides: it compresses, and pads to slots.
//! And what it does not: it wraps no content key in one that is shared.

use crate::common::{self, TestKey, accepted, decrypted, fixture, sign};
use crate::peer::Imgtool;

/// Seals an image of `imgtool --clear` for a shared key: its wrapped key is
/// replaced, and its payload encrypted.
const SEAL: &str = r#"
import base64, struct, sys
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
for line in sys.stdin:
    path, out, shared, content = line.split()
    image, shared, content = open(path, 'rb').read(), base64.b64decode(shared), bytes.fromhex(content)
    header, protected, size = struct.unpack('<HHI', image[8:16])
    at = header + size + protected
    entries, end, area = b'', at + struct.unpack('<H', image[at + 2:at + 4])[0], at + 4
    while area < end:
        kind, length = struct.unpack('<HH', image[area:area + 4])
        value = image[area + 4:area + 4 + length]
        if kind == 0x33:
            kind, value = 0x31, aes_key_wrap(shared, content)
        entries += struct.pack('<HH', kind, len(value)) + value
        area += 4 + length
    stream = Cipher(algorithms.AES(content), modes.CTR(bytes(16))).encryptor()
    sealed = stream.update(image[header:header + size]) + stream.finalize()
    whole = image[:header] + sealed + image[header + size:at]
    open(out, 'wb').write(whole + struct.pack('<HH', 0x6907, 4 + len(entries)) + entries)
"#;

#[test]
fn images_for_a_shared_key_are_opened_with_it() {
    let imgtool = Imgtool::new();
    let key = TestKey::load("ed25519");
    let recipient = imgtool.public("x25519");
    for (bits, shared, other) in [
        ("128", "AAECAwQFBgcICQoLDA0ODw==", "AQECAwQFBgcICQoLDA0ODw=="),
        (
            "256",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
    ] {
        let parameters = [
            ("header-size", "64"),
            ("slot-size", "0x2000"),
            ("encrypt", recipient.as_str()),
            ("encrypt-keylen", bits),
            ("clear", "true"),
        ];
        let clear = sign(&fixture("firmware.bin"), &key, "1.2.3+4", 7, &parameters).unwrap();
        let (path, out) = (imgtool.write("clear.bin", &clear), imgtool.path("sealed.bin"));
        let content = "5a".repeat(bits.parse::<usize>().unwrap() / 8);
        let line = format!("{} {} {shared} {content}\n", path.display(), out.display());
        imgtool.python(SEAL, &[], &line);
        let sealed = std::fs::read(out).unwrap();
        let inspection = firmseal_formats::inspect(&sealed).unwrap();
        assert!(inspection.notes.iter().any(|own| own.value == "aes key wrap"));
        assert!(inspection.encrypted && !accepted(&sealed, &key.public));
        let plain = decrypted(&sealed, &format!("{shared}\n")).unwrap();
        assert!(accepted(&plain, &key.public));
        assert_eq!(imgtool.verify_all("ed25519", std::slice::from_ref(&plain)), [true]);
        // Another's, one of the other length, and of the wrapped key any byte.
        let short = if bits == "128" {
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
        } else {
            "AAECAwQFBgcICQoLDA0ODw=="
        };
        assert!(decrypted(&sealed, other).is_none() && decrypted(&sealed, short).is_none());
        for back in 1..=24 {
            let mut altered = sealed.clone();
            let at = altered.len() - back;
            altered[at] ^= 1;
            assert!(decrypted(&altered, shared).is_none(), "{back}");
        }
    }
}

#[test]
fn compressed_images_say_what_they_are_compressed_from() {
    let imgtool = Imgtool::new();
    let firmware: Vec<u8> = (0..6000u32).map(|at| if at < 64 { 0 } else { (at / 100) as u8 }).collect();
    let path = imgtool.write("firmware.bin", &firmware);
    let slot = ["-H", "64", "-S", "0x4000"];
    for name in common::ALGORITHMS {
        let key = TestKey::load(name).public;
        let whole = imgtool.sign(name, "1.2.3+4", "7", &slot, &path);
        let digest = |image: &Vec<u8>| {
            let notes = firmseal_formats::inspect(image).unwrap().notes;
            notes.into_iter().find(|own| own.name == "digest").unwrap().value
        };
        for (how, flags) in
            [("lzma2", "compressed-lzma2"), ("lzma2armthumb", "compressed-lzma2, compressed-arm-thumb")]
        {
            let args = [&slot[..], &["--compression", how]].concat();
            let image = imgtool.sign(name, "1.2.3+4", "7", &args, &path);
            assert!(image.len() < firmware.len(), "{name} {how}: it was compressed");
            assert!(accepted(&image, &key), "{name} {how}");
            assert_eq!(imgtool.verify_all(name, std::slice::from_ref(&image)), [true], "{name} {how}");
            let inspection = firmseal_formats::inspect(&image).unwrap();
            let field = |name: &str| {
                inspection.fields.iter().find(|own| own.name == name).map(|own| own.value.clone())
            };
            assert_eq!(field("flags").as_deref(), Some(flags));
            assert_eq!(field("decompressed size").as_deref(), Some("5936"), "without its header");
            assert_eq!(field("decompressed digest"), Some(digest(&whole)), "{name} {how}");
            assert!(field("decompressed signature").is_some());
            // Each of the entries belongs to the flags, and the flags to them.
            let mut flagless = image.clone();
            flagless[17] = 0;
            let mut filtered = image.clone();
            filtered[17] = 8;
            for bad in [flagless, filtered] {
                assert!(firmseal_formats::inspect(&bad).is_err());
            }
        }
        if name == "ed25519" {
            let device = imgtool.path("x25519.pub.pem");
            let args = [&slot[..], &["--compression", "lzma2", "-E", device.to_str().unwrap()]].concat();
            let sealed = imgtool.sign(name, "1.2.3+4", "7", &args, &path);
            let plain = decrypted(&sealed, &imgtool.private("x25519")).unwrap();
            assert!(accepted(&plain, &key));
            let inspection = firmseal_formats::inspect(&plain).unwrap();
            assert!(inspection.fields.iter().any(|own| own.name == "size before encryption"));
        }
    }
}

/// The key gets the whole image, up to what is passed to keys whole.
#[test]
fn pure_signatures_are_over_images_of_up_to_two_mib() {
    let imgtool = Imgtool::new();
    let (key, other) = (TestKey::load("ed25519"), TestKey::load("other-ed25519"));
    let args = ["-H", "64", "-S", "0x400000", "--pure"];
    let parameters = [("header-size", "64"), ("slot-size", "0x400000"), ("pure", "true")];
    // A header, 200 bytes or more, and the protected area of 12.
    let longest = (2 << 20) - 12;
    for (len, fits) in [(70_000, true), (1_500_000, true), (longest, true), (longest + 1, false)] {
        let firmware: Vec<u8> = (0..len).map(|at| if at < 64 { 0 } else { (at % 251) as u8 }).collect();
        let path = imgtool.write("firmware.bin", &firmware);
        let theirs = imgtool.sign("ed25519", "1.2.3+4", "7", &args, &path);
        let ours = sign(&firmware, &key, "1.2.3+4", 7, &parameters);
        assert_eq!(accepted(&theirs, &key.public), fits, "{len}");
        if !fits {
            let error = ours.unwrap_err().to_string();
            assert!(error.contains("goes up to 2097152 bytes"), "{error}");
            let told = firmseal_formats::inspect(&theirs).unwrap().signatures.remove(0).covered;
            assert!(matches!(told, firmseal_formats::Covered::Unknown(why) if why.contains("too long")));
            continue;
        }
        let mut ours = ours.unwrap();
        assert_eq!(ours, theirs, "{len}");
        assert!(!accepted(&ours, &other.public));
        assert_eq!(imgtool.verify_all("ed25519", std::slice::from_ref(&ours)), [true], "{len}");
        ours[len as usize - 1] ^= 1;
        assert!(!accepted(&ours, &key.public), "{len}");
    }
}

/// A padded image is signed again for its owner's key, with a trailer of the
/// new order; without one it is refused.
#[test]
fn padded_images_are_signed_again_with_a_trailer_of_their_own() {
    let imgtool = Imgtool::new();
    let firmware = common::fixture_path("firmware.bin");
    let args = ["-H", "64", "-S", "0x1000", "--confirm"];
    let theirs = imgtool.sign("p256", "1.2.3+4", "7", &args, &firmware);
    let key = TestKey::load("ed25519");
    let slot = [("slot-size", "0x1000"), ("pad", "true")];
    let ours = sign(&theirs, &key, "1.2.3+4", 7, &slot).unwrap();
    assert_eq!(ours.len(), 0x1000);
    assert!(accepted(&ours, &key.public));
    assert_eq!(imgtool.verify_all("ed25519", std::slice::from_ref(&ours)), [true]);
    let wanted = imgtool.sign("ed25519", "1.2.3+4", "7", &["-H", "64", "-S", "0x1000", "--pad"], &firmware);
    assert_eq!(ours, wanted);
    let note = |image: &Vec<u8>, name: &str| {
        let notes = firmseal_formats::inspect(image).unwrap().notes;
        notes.into_iter().find(|own| own.name == name).unwrap().value
    };
    assert_eq!(note(&theirs, "trailer"), "says the image is confirmed; no signature covers it");
    assert_eq!(note(&ours, "trailer"), "asks for a trial boot; no signature covers it");
    assert_eq!((note(&theirs, "image_ok"), note(&ours, "image_ok")), ("set".to_owned(), "unset".to_owned()));
}

//! Capsules that are refused, each named for what is wrong with it, and what is
//! read without being believed.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use firmseal_formats::{Covered, Source, find, inspect};

use crate::common::{OpenSsl, TestKey, accepted, fixture};
use crate::make;
use crate::peer::{GUID, mkeficapsule, payload};

/// In the fixture: FMP header at 28, the list at 36, the image header at 44,
/// the authentication at 92, the signature at 124.
type Edit<'a> = (&'a str, usize, &'a [u8], &'a str);

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let signed = fixture("capsule/p256.bin");
    let edits: [Edit<'_>; 27] = [
        ("a short header", 16, &[27], "shorter than 28"),
        ("a header beyond the file", 16, &[0xff, 0x0f], "longer than the file"),
        ("a header with fields", 16, &[32], "fields that only their maker knows"),
        ("a flag of other capsules", 22, &[3], "system table"),
        ("a size beyond the file", 24, &[0xff], "not that of the file"),
        ("FMP of another version", 28, &[2], "another version than 1"),
        ("no item", 34, &[0], "no driver and no payload"),
        ("many items", 34, &[65], "more than 64"),
        ("a payload that is not there", 34, &[2], "overlap"),
        ("a driver that is not there", 32, &[1], "overlap"),
        ("an item behind the end", 36, &[0, 0x10], "begins behind its end"),
        ("an item far behind the end", 36, &[0xff; 8], "begins behind its end"),
        ("a gap before the item", 36, &[17], "something stands before"),
        ("an item in the list", 36, &[15], "overlap"),
        ("a header of version 0", 44, &[0], "no known version"),
        ("a header of version 4", 44, &[4], "no known version"),
        ("a header of another version", 44, &[2], "does not end where"),
        ("an index of zero", 64, &[0], "images count from 1"),
        ("reserved bytes", 65, &[1], "reserved bytes"),
        ("an image without bytes", 68, &[0; 4], "empty"),
        ("a shorter image", 68, &[0x87], "does not end where"),
        ("vendor code that is not there", 72, &[1], "does not end where"),
        ("an authentication that is denied", 84, &[0], "says that it has none"),
        ("a certificate of another kind", 106, &[0xf0], "something else than PKCS #7"),
        ("a certificate of another type", 108, &[0], "something else than PKCS #7"),
        ("an empty signature", 100, &[24, 0], "or there is none"),
        ("a signature without a payload", 100, &[0x80, 0x03], "does not end before its payload"),
    ];
    for (name, at, bytes, why) in edits {
        let mut file = signed.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        let error = find("capsule").unwrap().inspect(&file).expect_err(name).to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
    let with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut file = signed.clone();
        edit(&mut file);
        find("capsule").unwrap().inspect(&file)
    };
    assert!(with(&|file| file.extend([0; 8])).is_err(), "bytes behind it");
    for len in 0..signed.len() {
        assert!(with(&|file| file.truncate(len)).is_err(), "cut to {len}");
    }
    // The signature with a byte behind it, in a certificate with room for it.
    let padded = with(&|file| {
        let end = 100 + usize::from(u16::from_le_bytes([file[100], file[101]]));
        file.insert(end, 0);
        for at in [24, 68, 100] {
            let len = u16::from_le_bytes([file[at], file[at + 1]]) + 1;
            file[at..at + 2].copy_from_slice(&len.to_le_bytes());
        }
    });
    assert!(padded.unwrap_err().to_string().contains("its signature"));
}

/// Whatever a signature does not cover and a device acts on.
#[test]
fn a_signature_is_believed_for_one_payload_alone() {
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let good = fixture("capsule/p256.bin");
    assert!(accepted(&good, &key.public));
    let item = &good[44..];
    let around = |drivers: u8, payloads: u8, items: &[&[u8]]| {
        let mut file = good[..32].to_vec();
        file.extend([drivers, 0, payloads, 0]);
        let mut offset = 8 + 8 * items.len() as u64;
        for item in items {
            file.extend(offset.to_le_bytes());
            offset += (*item).len() as u64;
        }
        items.iter().for_each(|item| file.extend(*item));
        let len = file.len() as u32;
        file[24..28].copy_from_slice(&len.to_le_bytes());
        file
    };
    assert_eq!(around(0, 1, &[item]), good);
    let mut coded = item.to_vec();
    coded[28] = 4;
    coded.extend(*b"code");
    for (name, file, note, why) in [
        ("two payloads", around(0, 2, &[item, item]), "payloads", "none or several"),
        ("a driver", around(1, 1, &[b"MZ", item]), "drivers", "drivers"),
        ("vendor code", around(0, 1, &[&coded]), "vendor code", "vendor code"),
    ] {
        let read = inspect(&file).unwrap();
        assert!(read.notes.iter().any(|own| own.name == note), "{name}");
        assert!(read.fields.is_empty() && read.epoch.is_none(), "{name}");
        assert!(
            read.signatures.iter().all(|own| matches!(own.covered, Covered::Unknown(_))),
            "{name}: {why}"
        );
        assert!(!read.signatures.is_empty() && !accepted(&file, &key.public), "{name}");
        let error = make(&file, &key, 7, &[("certificate", &certificate)]).unwrap_err().to_string();
        assert!(error.contains("exactly one payload"), "{name}: {error}");
    }
    let drivers = inspect(&around(1, 0, &[b"MZ"])).unwrap();
    assert!(drivers.signatures.is_empty());
    // Dependencies are before the payload, and signed with it.
    for (bits, why) in [(3u8, "dependencies"), (5, "not known here")] {
        let mut file = good.clone();
        file[84] = bits;
        let read = inspect(&file).unwrap();
        assert!(read.notes.len() > inspect(&good).unwrap().notes.len());
        let error = make(&file, &key, 7, &[("certificate", &certificate)]).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn u_boots_capsules_without_an_image_are_refused_by_name() {
    let openssl = OpenSsl::new(&["p256"]);
    for line in [format!("--fw-accept --guid {GUID}"), "--fw-revert".to_owned()] {
        let made = mkeficapsule(&openssl, &line);
        assert_eq!(firmseal_formats::detect(&made).unwrap().name(), "capsule", "{line}");
        let error = inspect(&made).unwrap_err().to_string();
        assert!(error.contains("holds no image and no signature"), "{line}: {error}");
        let certificate = openssl.text("p256.crt");
        assert!(make(&made, &TestKey::load("p256"), 0, &[("certificate", &certificate)]).is_err(), "{line}");
    }
}

/// Zeros of this length, and how many were read.
struct Zeros(u64, AtomicU64);

impl Source for Zeros {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0)
    }

    fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.1.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        buffer.fill(0);
        Ok(())
    }
}

#[test]
fn a_payload_that_headers_cannot_tell_is_refused_before_it_is_read() {
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let parameters = [("certificate", certificate.as_str()), ("guid", GUID)].into_iter().collect();
    let version = semver::Version::new(1, 0, 0);
    let wanted = firmseal_formats::Wanted { version, epoch: 0, key: &key.public, parameters: &parameters };
    for len in [u64::from(u32::MAX), 1 << 40, u64::MAX] {
        let zeros = Zeros(len, AtomicU64::new(0));
        let error = firmseal_formats::lay_out(find("capsule").unwrap(), &zeros, &wanted).err().unwrap();
        assert!(zeros.1.into_inner() < 1 << 20, "read before it was known to fit");
        assert!(error.to_string().contains("longer than 4 GiB"), "{len}: {error}");
    }
    // What is no payload.
    for (name, file) in
        [("nothing", Vec::new()), ("an authentication", fixture("capsule/p256.bin")[92..].to_vec())]
    {
        let error = make(&file, &key, 0, &[("certificate", &certificate), ("guid", GUID)]).unwrap_err();
        assert!(error.to_string().contains("it is no payload"), "{name}: {error}");
    }
    assert!(make(&payload(), &key, 0, &[("certificate", &certificate), ("guid", GUID)]).is_ok());
}

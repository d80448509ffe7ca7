//! Signing: what is refused, what is kept, and how much is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{TestKey, accepted, fixture, sign};
use firmseal_formats::{FormatError, Parameters, Source, Wanted};
use firmseal_manifest::{PublicKey, Signature};

type Pairs = &'static [(&'static str, &'static str)];

const SLOT: Pairs = &[("header-size", "64"), ("slot-size", "0x1000")];

#[test]
fn a_raw_binary_is_wrapped_and_signed() {
    let firmware = fixture("firmware.bin");
    for name in common::ALGORITHMS {
        let key = TestKey::load(name);
        let signed = sign(&firmware, &key, "1.2.3+4", 7, SLOT).unwrap();
        assert!(accepted(&signed, &key.public), "{name}");
        assert!(!accepted(&signed, &TestKey::load(&format!("other-{name}")).public), "{name}");
        let inspection = firmseal_formats::inspect(&signed).unwrap();
        assert_eq!((inspection.version.as_deref(), inspection.epoch), (Some("1.2.3+4"), Some(7)));
        assert_eq!(inspection.semver(), semver::Version::parse("1.2.3+4").ok());
    }
}

#[test]
fn a_signed_image_is_signed_again_and_only_the_attestation_changes() {
    let by_imgtool = fixture("mcuboot/rsa3072.bin");
    let key = TestKey::load("ed25519");
    let again = sign(&by_imgtool, &key, "1.2.3+4", 7, &[]).unwrap();
    assert_eq!(again, fixture("mcuboot/ed25519.bin"), "as if imgtool had signed it with this key");
    // And from an image that was built without a key, or without any TLVs.
    assert!(accepted(
        &sign(&fixture("mcuboot/digest_only.bin"), &key, "1.2.3+4", 0, &[]).unwrap(),
        &key.public
    ));
    assert_eq!(sign(&by_imgtool[..276].to_vec(), &key, "1.2.3+4", 7, &[]).unwrap(), again);
}

#[test]
fn what_the_image_says_and_what_is_asked_must_agree() {
    let cases: &[(&str, &str, u64, Pairs, &str)] = &[
        ("ed25519", "1.2.3+5", 7, &[], "the file says version 1.2.3+4, the request says 1.2.3+5"),
        ("ed25519", "1.2.3", 7, &[], "version"),
        ("ed25519", "1.2.3+4", 8, &[], "the file says security epoch 7"),
        ("ed25519", "1.2.3+4", 6, &[], "security epoch"),
        ("no_counter", "1.2.3+4", 1, &[], "the file says security epoch 0"),
        ("ed25519", "1.2.3+4", 7, &[("header-size", "0x200")], "header size"),
        ("ed25519", "1.2.3+4", 7, &[("load-addr", "0x20000000")], "load address none"),
        ("ram_load", "1.2.3+4", 7, &[("load-addr", "0x20000004")], "load address 0x20000000"),
        ("ed25519", "1.2.3+4", 7, &[("vid", "12345678-1234-5678-1234-567812345678")], "vendor id none"),
        ("ed25519", "1.2.3+4", 7, &[("non-bootable", "true")], "bootable"),
        ("ed25519", "1.2.3+4", 7, &[("pad-header", "true")], "has a header already"),
        ("ed25519", "1.2.3+4", 7, &[("slot-size", "0x200")], "the slot has 512"),
        ("ed25519", "1.2.3+4", 7, &[("slotsize", "0x1000")], "not known here"),
        ("ed25519", "1.2.3+4", 7, &[("dependencies", "(1, 1.0.0)")], "the file says dependencies none"),
        ("ed25519", "1.2.3+4", 7, &[("boot-record", "SPE")], "boot record none"),
        ("ed25519", "1.2.3+4", 7, &[("custom-tlv", "0xa1:0x00")], "custom tlv none"),
        ("big_endian", "1.2.3+4", 7, &[("endian", "little")], "says byte order big endian"),
        ("p256", "1.2.3+4", 7, &[("endian", "big")], "says byte order little endian"),
        ("encrypted", "1.2.3+4", 7, &[], "encrypted"),
        ("encryptable_in_the_clear", "1.2.3+4", 7, &[], "encrypted"),
        ("trailer_trial", "1.2.3+4", 7, &[], "padded to its slot"),
        ("compressed", "1.2.3+4", 7, &[], "is compressed"),
    ];
    let key = TestKey::load("ed25519");
    for (name, version, epoch, parameters, expected) in cases {
        let source = fixture(&format!("mcuboot/{name}.bin"));
        let error = sign(&source, &key, version, *epoch, parameters).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn a_boot_record_must_name_the_signer() {
    let source = fixture("mcuboot/everything_protected.bin");
    let key = TestKey::load("ed25519");
    assert_eq!(sign(&source, &key, "1.2.3+4", 0xffff_fffe, &[]).unwrap(), source);
    let error = sign(&source, &TestKey::load("other-ed25519"), "1.2.3+4", 0xffff_fffe, &[]).unwrap_err();
    assert!(error.to_string().contains("another signer"), "{error}");
}

#[test]
fn a_damaged_image_is_not_signed_again() {
    let mut source = fixture("mcuboot/ed25519.bin");
    source[100] ^= 1;
    let error = sign(&source, &TestKey::load("ed25519"), "1.2.3+4", 7, &[]).unwrap_err();
    assert!(matches!(error, FormatError::DigestMismatch { .. }));
}

#[test]
fn what_is_no_binary_or_does_not_fit_is_not_wrapped() {
    let code = vec![0x41; 300];
    let zeros = vec![0; 300];
    let elf = [b"\x7fELF".as_slice(), &code].concat();
    type Case<'a> = (&'a str, &'a [u8], &'a str, u64, Pairs, &'a str);
    let cases: &[Case<'_>] = &[
        ("elf", &elf, "1.0.0", 0, SLOT, "an ELF file"),
        ("hex", b":10010000214601360121470136007EFE09D2190140\n", "1.0.0", 0, SLOT, "an Intel HEX file"),
        (
            "hex larger than the slot",
            &[b":10010000", &[b'0'; 5000][..]].concat(),
            "1.0.0",
            0,
            SLOT,
            "an Intel HEX file",
        ),
        ("srec", b"S00F000068656C6C6F202020202000003C\n", "1.0.0", 0, SLOT, "S-record"),
        ("code where the header goes", &code, "1.0.0", 0, SLOT, "does not begin with zeros"),
        ("nothing behind the header", &zeros[..64], "1.0.0", 0, SLOT, "needs 65 bytes"),
        ("no slot size", &zeros, "1.0.0", 0, &[("header-size", "64")], "slot-size"),
        ("no header size", &zeros, "1.0.0", 0, &[("slot-size", "4096")], "header-size"),
        ("header size below 32", &zeros, "1.0.0", 0, &[("header-size", "31")], "at least 32"),
        ("pre-release", &zeros, "1.0.0-rc.1", 0, SLOT, "pre-release"),
        ("major of 256", &zeros, "256.0.0", 0, SLOT, "major"),
        ("epoch of 33 bits", &zeros, "1.0.0", 1 << 32, SLOT, "4294967295"),
        ("unknown alignment", &zeros, "1.0.0", 0, &[("align", "3")], "use one of"),
        ("vendor misspelt", &zeros, "1.0.0", 0, &[("vid", "12345678-1234")], "use a UUID"),
        ("class without vendor", &zeros, "1.0.0", 0, &[("cid", "board-7")], "use a UUID"),
        ("dependency of no form", &zeros, "1.0.0", 0, &[("dependencies", "1, 1.0.0")], "(IMAGE, VERSION)"),
        ("role of 13 characters", &zeros, "1.0.0", 0, &[("boot-record", "thirteen-long")], "12 characters"),
        ("type with a meaning", &zeros, "1.0.0", 0, &[("custom-tlv", "0x50:0x00")], "from 0x00a0"),
        ("sha 384 with ed25519", &zeros, "1.0.0", 0, &[("sha", "384")], "256 or 512"),
        ("pure beside sha 256", &zeros, "1.0.0", 0, &[("sha", "256"), ("pure", "true")], "sha512"),
        ("padding of ed25519", &zeros, "1.0.0", 0, &[("pad-sig", "true")], "one length"),
        ("no slot to pad to", &zeros, "1.0.0", 0, &[("header-size", "64"), ("pad", "true")], "slot-size"),
        (
            "a slot of more than 32 bits",
            &zeros,
            "1.0.0",
            0,
            &[("header-size", "64"), ("slot-size", "0x100000000"), ("pad", "true")],
            "4294967295",
        ),
        (
            "confirmed where nothing is swapped",
            &zeros,
            "1.0.0",
            0,
            &[("slot-size", "4096"), ("confirm", "true"), ("overwrite-only", "true")],
            "no image_ok",
        ),
        ("unknown byte order", &zeros, "1.0.0", 0, &[("endian", "middle")], "little or big"),
        (
            "a type that reads as another",
            &zeros,
            "1.0.0",
            0,
            &[("header-size", "64"), ("slot-size", "4096"), ("endian", "big"), ("custom-tlv", "0x0100:text")],
            "reads as another",
        ),
        ("two places", &zeros, "1.0.0", 0, &[("load-addr", "1"), ("rom-fixed", "1")], "leave one out"),
    ];
    let key = TestKey::load("ed25519");
    for (name, source, version, epoch, parameters, expected) in cases {
        let error = sign(&source.to_vec(), &key, version, *epoch, parameters).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn signatures_of_another_shape_are_not_attached() {
    let parameters: Parameters = SLOT.iter().copied().collect();
    let firmware = fixture("firmware.bin");
    for name in common::ALGORITHMS {
        let key = TestKey::load(name);
        let wanted = Wanted {
            version: semver::Version::new(1, 0, 0),
            epoch: 0,
            key: &key.public,
            parameters: &parameters,
        };
        let format = firmseal_formats::find("mcuboot").unwrap();
        let unsigned = format.embedding().unwrap().prepare(&firmware, &wanted).unwrap();
        let good = key.sign(unsigned.tbs()).0.len();
        // Mender compared with `>` where `!=` was meant (THREATS 4).
        for len in (0..600).filter(|len| *len != good) {
            assert!(unsigned.attach(&Signature(vec![1; len])).is_err(), "{name}: {len} bytes");
        }
    }
    let rsa4096 = PublicKey::from_rsa(&[0xff; 512], &[1, 0, 1]).unwrap();
    let wanted =
        Wanted { version: semver::Version::new(1, 0, 0), epoch: 0, key: &rsa4096, parameters: &parameters };
    let refused = firmseal_formats::find("mcuboot").unwrap().embedding().unwrap().prepare(&firmware, &wanted);
    assert!(matches!(refused, Err(FormatError::KeyAlgorithm { .. })));
    assert!(firmseal_formats::find("raw").unwrap().embedding().is_none());
}

/// A file of zeros with one byte set, that is never in memory.
struct Huge {
    len: u64,
    one_at: u64,
    read: AtomicU64,
}

impl Huge {
    fn new(len: u64, one_at: u64) -> Huge {
        Huge { len, one_at, read: AtomicU64::new(0) }
    }
}

impl Source for Huge {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        assert!(buffer.len() <= 1 << 20 && offset + buffer.len() as u64 <= self.len);
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        buffer.fill(0);
        if let Some(byte) = self.one_at.checked_sub(offset).and_then(|at| buffer.get_mut(at as usize)) {
            *byte = 1;
        }
        Ok(())
    }
}

fn prepare(source: &Huge, slot: &str) -> Result<firmseal_manifest::Tbs, FormatError> {
    let key = TestKey::load("ed25519");
    let parameters: Parameters =
        [("header-size", "64"), ("slot-size", slot), ("pad-header", "true")].into_iter().collect();
    let wanted = Wanted {
        version: semver::Version::new(1, 0, 0),
        epoch: 0,
        key: &key.public,
        parameters: &parameters,
    };
    let format = firmseal_formats::find("mcuboot")?;
    Ok(format.embedding().unwrap().prepare(source, &wanted)?.tbs().clone())
}

/// THREATS 2: RAUC signed only the first bytes of a bundle above 2 GiB.
#[test]
fn the_last_byte_counts_above_2_gib() {
    let len = (1 << 31) + 1;
    let last = prepare(&Huge::new(len, len - 1), "0x100000000").unwrap();
    let last_but_one = prepare(&Huge::new(len, len - 2), "0x100000000").unwrap();
    assert_ne!(last, last_but_one);
}

/// THREATS 9: work is bounded by the slot, before anything is hashed.
#[test]
fn what_does_not_fit_is_refused_unread() {
    for (len, slot) in [(1 << 31, "0x100000"), (1 << 32, "0x200000000"), (u64::MAX, "0xffffffffffffffff")] {
        let source = Huge::new(len, 0);
        assert!(prepare(&source, slot).is_err());
        assert!(source.read.load(Ordering::Relaxed) < 4096);
    }
    // A header of a few bytes that promises gigabytes.
    let mut bytes = fixture("mcuboot/ed25519.bin");
    bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(firmseal_formats::inspect(&bytes), Err(FormatError::Truncated { .. })));
}

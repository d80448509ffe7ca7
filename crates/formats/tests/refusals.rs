//! Images that are refused, one by one named for what is wrong with them,
//! and every single byte of the accepted ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{TestKey, accepted, fixture};

/// A taken-apart image of `fixtures/mcuboot/ed25519.bin`'s layout: header
/// of 64 bytes, 200 of image, a protected area with a security counter.
struct Parts {
    head: Vec<u8>,
    protected: Vec<(u16, Vec<u8>)>,
    unprotected: Vec<(u16, Vec<u8>)>,
    tail: Vec<u8>,
}

const SIGNED_END: usize = 276;
const SHA256: u16 = 0x10;
const KEYHASH: u16 = 0x01;
const ED25519: u16 = 0x24;
const COUNTER: u16 = 0x50;

impl Parts {
    fn load() -> Parts {
        let bytes = fixture("mcuboot/ed25519.bin");
        let tlv = |at: usize, len: usize| bytes[at + 4..at + 4 + len].to_vec();
        Parts {
            head: bytes[..264].to_vec(),
            protected: vec![(COUNTER, tlv(268, 4))],
            unprotected: vec![(SHA256, tlv(280, 32)), (KEYHASH, tlv(316, 32)), (ED25519, tlv(352, 64))],
            tail: Vec::new(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = self.head.clone();
        for (magic, area) in [(0x6908u16, &self.protected), (0x6907, &self.unprotected)] {
            if area.is_empty() {
                continue;
            }
            let total: usize = 4 + area.iter().map(|(_, value)| 4 + value.len()).sum::<usize>();
            out.extend(magic.to_le_bytes());
            out.extend((total as u16).to_le_bytes());
            for (kind, value) in area {
                out.extend(kind.to_le_bytes());
                out.extend((value.len() as u16).to_le_bytes());
                out.extend(value);
            }
        }
        out.extend(&self.tail);
        out
    }

    /// Sizes that go with the protected TLVs as they are.
    fn fix_size(&mut self) {
        let total: usize = 4 + self.protected.iter().map(|(_, value)| 4 + value.len()).sum::<usize>();
        self.head[10..12].copy_from_slice(&(total as u16).to_le_bytes());
    }
}

#[test]
fn the_parts_make_the_fixture() {
    assert_eq!(Parts::load().bytes(), fixture("mcuboot/ed25519.bin"));
}

type Edit = fn(&mut Parts);

/// What is done to the image, and what must be said about it.
const STRUCTURE: &[(&str, Edit, &str)] = &[
    ("header size below 32", |p| p.head[8] = 31, "at least 32"),
    ("header size beyond the file", |p| p.head[8..10].copy_from_slice(&[0xff, 0xff]), "the file has 420"),
    ("image size beyond the file", |p| p.head[12..16].copy_from_slice(&[0xff; 4]), "the file has 420"),
    ("sizes that overflow 32 bits", |p| p.head[8..16].copy_from_slice(&[0xff; 8]), "the file has 420"),
    ("image size one too small", |p| p.head[12] -= 1, "begin with"),
    ("image size one too large", |p| p.head[12] += 1, "begin with"),
    ("empty image", |p| p.head[12..16].copy_from_slice(&[0; 4]), "empty"),
    ("sizes of the other byte order", |p| p.head[..4].reverse(), "the file has 420"),
    ("old format", |p| p.head[0] = 0x3c, "before MCUboot 1.0"),
    ("ram-load and rom-fixed", |p| p.head[16..18].copy_from_slice(&[0x20, 1]), "both ram-load"),
    ("two ciphers", |p| p.head[16] = 0x0c, "two ciphers"),
    ("two compressions", |p| p.head[17] = 0x06, "two methods"),
    ("encrypted without a content key", |p| p.head[16] = 4, "do not belong together"),
    ("compressed without a size", |p| p.head[17] = 4, "do not belong together"),
    ("protected TLVs the header denies", |p| p.head[10] = 0, "does not mention"),
    ("protected size one too large", |p| p.head[10] += 1, "disagree"),
    ("protected size one too small", |p| p.head[10] -= 1, "disagree"),
    ("protected TLVs that are not there", |p| p.protected.clear(), "disagree"),
    (
        "two security counters",
        |p| {
            p.protected.push((COUNTER, vec![9, 0, 0, 0]));
            p.fix_size();
        },
        "twice",
    ),
    (
        "security counter of two bytes",
        |p| {
            p.protected = vec![(COUNTER, vec![7, 0])];
            p.fix_size();
        },
        "has 2 bytes",
    ),
    (
        "signature among the protected",
        |p| {
            p.protected.push((ED25519, vec![0; 64]));
            p.fix_size();
        },
        "must not be protected",
    ),
    (
        "erased TLV",
        |p| {
            p.protected.push((0xffff, vec![]));
            p.fix_size();
        },
        "no meaning",
    ),
    ("a byte behind the TLVs", |p| p.tail = vec![1], "fresh slot trailer"),
    ("code behind erased bytes", |p| p.tail = vec![0xff, 0xff, 1, 0xff], "fresh slot trailer"),
    ("mixed erased values", |p| p.tail = vec![0xff, 0], "fresh slot trailer"),
];

const ATTESTATION: &[(&str, Edit, &str)] = &[
    (
        "security counter outside the signature",
        |p| p.unprotected.push((COUNTER, vec![9, 0, 0, 0])),
        "outside",
    ),
    ("dependency outside the signature", |p| p.unprotected.push((0x40, vec![0; 12])), "outside"),
    ("vendor TLV outside the signature", |p| p.unprotected.push((0xa0, vec![])), "outside"),
    // imgtool reads types as one byte here and would see a SHA-256.
    ("type with a high byte", |p| p.unprotected.insert(0, (0x0110, vec![0; 32])), "outside"),
    ("no digest", |p| p.unprotected.truncate(0), ""),
    ("signature alone", |p| drop(p.unprotected.drain(..2)), "before the digest"),
    ("two digests", |p| p.unprotected.insert(1, (0x12, vec![0; 64])), "two digests"),
    ("digest of another length", |p| p.unprotected[0].1.truncate(31), "length"),
    ("digest of something else", |p| p.unprotected[0].1[0] ^= 1, "own digest"),
    ("signature before the digest", |p| p.unprotected.rotate_right(1), "before the digest"),
    ("key without a signature", |p| drop(p.unprotected.pop()), "without a signature"),
    (
        "two keys for one signature",
        |p| p.unprotected.insert(1, (KEYHASH, vec![0; 32])),
        "without a signature",
    ),
    ("key hash cut short", |p| p.unprotected[1].1.truncate(20), "key hash"),
    ("unreadable key", |p| p.unprotected[1] = (0x02, vec![0x30, 0]), "cannot be used"),
    ("signature one byte short", |p| p.unprotected[2].1.truncate(63), "malformed ed25519"),
    ("signature one byte long", |p| p.unprotected[2].1.push(0), "malformed ed25519"),
    ("endless signatures", |p| p.unprotected.extend(vec![(ED25519, vec![0; 64]); 9]), "more than 8"),
    ("rsa beside ed25519's digest", |p| p.unprotected[2] = (0x20, vec![0; 255]), "malformed rsa2048"),
    ("ecdsa that is not DER", |p| p.unprotected[2] = (0x22, vec![0; 70]), "malformed p256"),
    ("pure mark over a digest", |p| p.unprotected.insert(1, (0x25, vec![1])), "pure"),
    ("pure mark that says no", |p| p.unprotected.insert(1, (0x25, vec![0])), "pure"),
    ("content key in a plain image", |p| p.unprotected.push((0x33, vec![0; 80])), "do not belong together"),
];

#[test]
fn each_wrong_image_is_refused_for_what_is_wrong() {
    let key = TestKey::load("ed25519").public;
    for (name, edit, expected) in STRUCTURE.iter().chain(ATTESTATION) {
        let mut parts = Parts::load();
        edit(&mut parts);
        let bytes = parts.bytes();
        assert!(!accepted(&bytes, &key), "{name} was accepted");
        // An image without TLVs is just not signed.
        if *name == "no digest" {
            assert!(firmseal_formats::inspect(&bytes).unwrap().signatures.is_empty());
            continue;
        }
        let error = firmseal_formats::inspect(&bytes).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn area_lengths_that_do_not_end_with_an_entry_are_refused() {
    let good = fixture("mcuboot/ed25519.bin");
    let total = u16::from_le_bytes([good[SIGNED_END + 2], good[SIGNED_END + 3]]);
    for wrong in (0..total + 64).chain([0x7fff, 0xffff]).filter(|wrong| *wrong != total) {
        for tail in [0, 64] {
            let mut bytes = good.clone();
            bytes[SIGNED_END + 2..SIGNED_END + 4].copy_from_slice(&wrong.to_le_bytes());
            bytes.extend(vec![0xff; tail]);
            assert!(firmseal_formats::inspect(&bytes).is_err(), "{wrong} of {total}");
        }
    }
}

#[test]
fn an_image_cut_anywhere_is_not_accepted() {
    for name in common::ALGORITHMS {
        let (good, key) = (fixture(&format!("mcuboot/{name}.bin")), TestKey::load(name).public);
        for len in 0..good.len() {
            assert!(!accepted(&good[..len].to_vec(), &key), "{name} cut to {len}");
        }
    }
}

/// THREATS 8: nothing outside the signature can be changed, or it is shown
/// to mean nothing.
#[test]
fn every_byte_of_a_signed_image_is_refused_when_changed() {
    for name in
        common::ALGORITHMS.iter().chain(&["padded_signature", "key_in_full_p256", "everything_protected"])
    {
        let good = fixture(&format!("mcuboot/{name}.bin"));
        let signer = match *name {
            "padded_signature" | "key_in_full_p256" => "p256",
            "everything_protected" => "ed25519",
            name => name,
        };
        let key = TestKey::load(signer).public;
        assert!(accepted(&good, &key));
        for at in 0..good.len() {
            for mask in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= mask;
                assert!(!accepted(&bytes, &key), "{name}: byte {at} ^ {mask:#x}");
            }
        }
    }
}

/// Where there is room for the magic alone, a bootloader reads `image_ok` and
/// `copy_done` from the TLVs.
#[test]
fn a_slot_trailer_does_not_lie_in_tlvs() {
    let (image, padded) = (fixture("mcuboot/ed25519.bin"), fixture("mcuboot/trailer_trial.bin"));
    let with = |erased: usize| {
        let file = [&image[..], &vec![0xff; erased], &padded[padded.len() - 16..]].concat();
        firmseal_formats::inspect(&file)
    };
    for erased in 1..16 {
        let error = with(erased).unwrap_err().to_string();
        assert!(error.contains("slot trailer overlaps its TLVs"), "{erased}: {error}");
    }
    assert!(with(16).is_ok());
}

/// The slot trailer is the bootloader's. One byte of it may differ: whether
/// the image starts out confirmed; that is shown, and no signature says it.
#[test]
fn a_slot_trailer_is_fresh_or_refused() {
    let key = TestKey::load("ed25519").public;
    for (name, image_ok) in [("trailer_trial", 4096 - 24), ("trailer_confirmed_aligned", 4096 - 64)] {
        let good = fixture(&format!("mcuboot/{name}.bin"));
        assert!(accepted(&good, &key));
        let before = firmseal_formats::inspect(&good).unwrap();
        for at in 420..good.len() {
            for value in [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff] {
                if good[at] == value {
                    continue;
                }
                let mut bytes = good.clone();
                bytes[at] = value;
                let after = firmseal_formats::inspect(&bytes);
                if at == image_ok && matches!(value, 1 | 0xff) {
                    let after = after.unwrap();
                    assert_eq!(after.digest(), before.digest());
                    assert_ne!(after.notes, before.notes);
                } else {
                    assert!(after.is_err(), "{name}: byte {at} = {value:#x}");
                }
            }
        }
    }
}

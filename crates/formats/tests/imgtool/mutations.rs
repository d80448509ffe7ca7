//! Mutations: we never accept what imgtool refuses (THREATS 16: two parsers
//! disagree).

use aws_lc_rs::digest::{SHA256, digest};

use crate::common::{self, Random, TestKey, accepted, fixture, mutate, sign};
use crate::peer::Imgtool;

/// THREATS 16: two parsers disagree. We never accept what imgtool refuses.
#[test]
fn we_never_accept_what_imgtool_refuses() {
    let rounds =
        std::env::var("FIRMSEAL_FUZZ_ITERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let imgtool = Imgtool::new();
    for name in common::ALGORITHMS {
        let key = TestKey::load(name);
        let good = fixture(&format!("mcuboot/{name}.bin"));
        let mut images = vec![good.clone()];
        for seed in 0..rounds / 100 {
            let mut bytes = good.clone();
            mutate(&mut bytes, &mut Random(seed));
            // Mutants that keep their digest get further than the rest.
            if seed % 2 == 0 && bytes.len() == good.len() {
                bytes[..276].copy_from_slice(&good[..276]);
            }
            images.push(bytes);
        }
        let verdicts = imgtool.verify_all(name, &images);
        assert_eq!(verdicts.len(), images.len());
        assert!(verdicts[0] && accepted(&images[0], &key.public));
        for (image, theirs) in images.iter().zip(verdicts) {
            assert!(theirs || !accepted(image, &key.public), "{name}: imgtool refuses {image:02x?}");
        }
    }
}

/// Images with every entry that can stand in one: who signed, how, and what
/// it is made of.
const RICH: &[(&str, &[(&str, &str)])] = &[
    (
        "ed25519",
        &[
            ("dependencies", "(1, 2.3.4+5), (2, 0.0.1)"),
            ("boot-record", "CoFM"),
            ("vid", "example.com"),
            ("cid", "board-7"),
            ("custom-tlv", "0x00a1:0x0102030405,0x0100:text"),
        ],
    ),
    ("ed25519", &[("pure", "true"), ("dependencies", "(1, 2.3.4+5)")]),
    ("ed25519", &[("sha", "512"), ("public-key-format", "full")]),
    ("p256", &[("pad-sig", "true"), ("public-key-format", "full")]),
    ("rsa3072", &[("public-key-format", "full")]),
    ("p256", &[("confirm", "true"), ("align", "16"), ("max-sectors", "4")]),
    ("ed25519", &[("endian", "big"), ("dependencies", "(1, 2.3.4+5)"), ("custom-tlv", "0x00a1:0x01")]),
    ("p256", &[("endian", "big"), ("pad", "true"), ("max-align", "32")]),
];

/// Each field, each length and each boundary, one at a time: fields at their
/// ends and beside what they are, entries that are gone, doubled, swapped or
/// reach a byte further, cuts and additions at each boundary.
pub(crate) fn boundaries(image: &[u8]) -> Vec<Vec<u8>> {
    let big = image[0] == 0x96;
    let bytes_of = |value: u64, len: usize| {
        if big { value.to_be_bytes()[8 - len..].to_vec() } else { value.to_le_bytes()[..len].to_vec() }
    };
    let read = |bytes: &[u8]| {
        let ordered: Vec<u8> = if big { bytes.to_vec() } else { bytes.iter().rev().copied().collect() };
        ordered.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let u16_at = |at: usize| read(&image[at..at + 2]) as usize;
    let protected = u16_at(8) + read(&image[12..16]) as usize;
    let area = protected + u16_at(10);
    let mut entries = Vec::new();
    for (start, end) in [(protected, area), (area, area + u16_at(area + 2))] {
        let mut at = start + 4;
        while at < end {
            let next = at + 4 + u16_at(at + 2);
            entries.push((at, next));
            at = next;
        }
    }
    let mut out = Vec::new();
    let mut edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = image.to_vec();
        edit(&mut bytes);
        if bytes != image {
            out.push(bytes);
        }
    };
    let mut fields: Vec<(usize, usize)> =
        vec![(0, 4), (4, 4), (8, 2), (10, 2), (12, 4), (16, 4), (20, 1), (21, 1), (22, 2), (24, 4), (28, 4)];
    fields.extend([(protected, 2), (protected + 2, 2), (area, 2), (area + 2, 2)]);
    fields.extend(entries.iter().flat_map(|(at, _)| [(*at, 1), (*at + 1, 1), (*at + 2, 2)]));
    for (at, len) in fields {
        let now = read(&image[at..at + len]);
        let all = [now ^ 1, now.wrapping_add(1), now.wrapping_sub(1), 0, 1, 0x7fff_ffff, u64::MAX, now << 1];
        for value in all {
            edited(&|bytes| bytes[at..at + len].copy_from_slice(&bytes_of(value, len)));
        }
    }
    let boundaries = entries.iter().map(|(at, _)| *at).chain([0, 32, u16_at(8), protected, area]);
    for at in boundaries.chain([image.len()]) {
        edited(&|bytes| bytes.truncate(at));
        edited(&|bytes| bytes.insert(at, 0));
        edited(&|bytes| bytes.insert(at, 0xff));
    }
    for (index, (start, end)) in entries.iter().copied().enumerate() {
        let total = if start < area { protected + 2 } else { area + 2 };
        let resized = |bytes: &mut Vec<u8>, by: isize| {
            let now = read(&bytes[total..total + 2]).wrapping_add_signed(by as i64);
            bytes[total..total + 2].copy_from_slice(&bytes_of(now, 2));
            if start < area {
                bytes[10..12].copy_from_slice(&bytes_of(now, 2));
            }
        };
        let len = (end - start) as isize;
        edited(&|bytes| {
            resized(bytes, -len);
            drop(bytes.drain(start..end));
        });
        edited(&|bytes| {
            resized(bytes, len);
            let copy = bytes[start..end].to_vec();
            drop(bytes.splice(end..end, copy));
        });
        // The value a byte longer and a byte shorter, with all that depends on it.
        edited(&|bytes| {
            resized(bytes, 1);
            let longer = (end - start - 4 + 1) as u64;
            bytes[start + 2..start + 4].copy_from_slice(&bytes_of(longer, 2));
            bytes.insert(end, 0);
        });
        edited(&|bytes| {
            resized(bytes, -1);
            let shorter = (end - start - 4).wrapping_sub(1) as u64;
            bytes[start + 2..start + 4].copy_from_slice(&bytes_of(shorter, 2));
            bytes.remove(end - 1);
        });
        edited(&|bytes| bytes[start + 4] ^= 1);
        edited(&|bytes| bytes[end - 1] ^= 0x80);
        if let Some((next, after)) = entries.get(index + 1).copied()
            && next == end
        {
            edited(&|bytes| bytes[start..after].rotate_left(end - start));
        }
    }
    out
}

#[test]
fn each_field_length_and_boundary() {
    let imgtool = Imgtool::new();
    let long = std::env::var_os("FIRMSEAL_FUZZ_ITERATIONS").is_some();
    for (name, parameters) in RICH {
        let key = TestKey::load(name);
        let parameters = [&[("header-size", "64"), ("slot-size", "0x2000")], *parameters].concat();
        let good = sign(&fixture("firmware.bin"), &key, "1.2.3+4", 7, &parameters).unwrap();
        let mut images = boundaries(&good);
        assert!(images.len() > 200, "{}", images.len());
        if !long {
            // Another twenty and more of each kind for each image.
            images = images.into_iter().step_by(9).collect();
        }
        images.push(good);
        let verdicts = imgtool.verify_as_built(name, &images);
        assert!(verdicts.last() == Some(&true) && accepted(images.last().unwrap(), &key.public));
        for (image, theirs) in images.iter().zip(verdicts) {
            assert!(theirs || !accepted(image, &key.public), "{name}: imgtool refuses {image:02x?}");
        }
    }
}

/// What imgtool answers wrongly, and why we say otherwise: it reads all
/// images as the machine's own, so it takes no big-endian one for an image
/// (`verify_as_built` has it run on such a machine); it hashes encrypted images as they are, though their digest is of the
/// plaintext, so it takes none of them for whole (`encryption` opens them); and it
/// verifies by the key that it is given without a look at the hash of the
/// signer's, by which a bootloader finds its key: with another one there is none,
/// and the image does not start (bootutil, `bootutil_find_key`).
#[test]
fn known_wrong_answers() {
    let imgtool = Imgtool::new();
    let big = fixture("mcuboot/big_endian.bin");
    assert!(accepted(&big, &TestKey::load("ed25519").public));
    assert!(!accepted(&big, &TestKey::load("other-ed25519").public));
    let encrypted = fixture("mcuboot/encrypted.bin");
    let device = imgtool.private("x25519");
    let plain = common::decrypted(&encrypted, &device).unwrap();
    assert!(accepted(&plain, &TestKey::load("ed25519").public));
    assert_eq!(imgtool.verify_all("ed25519", &[big.clone(), encrypted, plain]), [false, false, true]);
    assert_eq!(imgtool.verify_as_built("ed25519", &[big]), [true]);
    let (own, other) = (TestKey::load("p256"), TestKey::load("other-p256"));
    let hash = |key: &TestKey| digest(&SHA256, key.public.spki()).as_ref().to_vec();
    let good = fixture("mcuboot/p256.bin");
    let at = good.windows(32).position(|window| window == hash(&own)).unwrap();
    let mut spoilt = good.clone();
    spoilt[at] ^= 1;
    let mut others = good.clone();
    others[at..at + 32].copy_from_slice(&hash(&other));
    for image in [&spoilt, &others] {
        assert!(!accepted(image, &own.public) && !accepted(image, &other.public));
    }
    let all = [good, spoilt, others];
    assert_eq!(imgtool.verify_all("p256", &all), [true; 3]);
    assert_eq!(imgtool.verify_all("other-p256", &all), [false; 3]);
}

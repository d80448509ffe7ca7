//! Mutations: we never accept what imgtool refuses (THREATS 16: two parsers
//! disagree).

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
];

/// Each field, each length and each boundary, one at a time: fields at their
/// ends and beside what they are, entries that are gone, doubled, swapped or
/// reach a byte further, cuts and additions at each boundary.
pub(crate) fn boundaries(image: &[u8]) -> Vec<Vec<u8>> {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([image[at], image[at + 1]]));
    let image_size = u32::from_le_bytes([image[12], image[13], image[14], image[15]]) as usize;
    let protected = u16_at(8) + image_size;
    let area = protected + u16_at(10);
    let mut entries = Vec::new();
    for (start, end) in [(protected, area), (area, image.len())] {
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
        let now = image[at..at + len].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let all = [now ^ 1, now.wrapping_add(1), now.wrapping_sub(1), 0, 1, 0x7fff_ffff, u64::MAX, now << 1];
        for value in all {
            edited(&|bytes| bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]));
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
            let now = u16::from_le_bytes([bytes[total], bytes[total + 1]]);
            bytes[total..total + 2].copy_from_slice(&(now as isize + by).to_le_bytes()[..2]);
            if start < area {
                bytes[10..12].copy_from_slice(&(now as isize + by).to_le_bytes()[..2]);
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
            let longer = (end - start - 4 + 1) as u16;
            bytes[start + 2..start + 4].copy_from_slice(&longer.to_le_bytes());
            bytes.insert(end, 0);
        });
        edited(&|bytes| {
            resized(bytes, -1);
            let shorter = (end - start - 4).wrapping_sub(1) as u16;
            bytes[start + 2..start + 4].copy_from_slice(&shorter.to_le_bytes());
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
        let verdicts = imgtool.verify_all(name, &images);
        assert!(verdicts.last() == Some(&true) && accepted(images.last().unwrap(), &key.public));
        for (image, theirs) in images.iter().zip(verdicts) {
            assert!(theirs || !accepted(image, &key.public), "{name}: imgtool refuses {image:02x?}");
        }
    }
}

/// What imgtool answers wrongly, and why we say otherwise: it reads all
/// images as the machine's own, so it takes no big-endian one for an image;
/// and it hashes encrypted images as they are, though their digest is of the
/// plaintext, so it takes none of them for whole (`encryption` opens them).
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
    assert_eq!(imgtool.verify_all("ed25519", &[big, encrypted, plain]), [false, false, true]);
}

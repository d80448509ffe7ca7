//! Mutations: we never accept what libavb or avbtool refuses.

use aws_lc_rs::digest::{SHA256, digest};
use firmseal_formats::inspect;
use firmseal_manifest::Tbs;

use crate::common::{Random, TestKey, accepted, fixture, mutate};
use crate::peer::{keys, verify_all};

/// An image whose vbmeta was edited, with hash and signature made anew where
/// avbtool puts them, if it can be found.
pub(crate) fn resigned(image: &[u8], key: &TestKey) -> Vec<u8> {
    try_resigned(image, key).unwrap_or_else(|| image.to_vec())
}

fn try_resigned(image: &[u8], key: &TestKey) -> Option<Vec<u8>> {
    let number = |at: usize| {
        let bytes = image.get(at..at.checked_add(8)?)?;
        usize::try_from(u64::from_be_bytes(bytes.try_into().ok()?)).ok().filter(|number| *number < 1 << 32)
    };
    let at = if image.starts_with(b"AVB0") { 0 } else { number(image.len().checked_sub(44)?)? };
    let (authentication, auxiliary) = (number(at + 12)?, number(at + 20)?);
    let behind = at + 256 + authentication;
    let signed = [image.get(at..at + 256)?, image.get(behind..behind + auxiliary)?].concat();
    let hash: [u8; 32] = digest(&SHA256, &signed).as_ref().try_into().unwrap();
    let mut out = image.to_vec();
    let place = out.get_mut(at + 256..behind)?.get_mut(..288)?;
    place[..32].copy_from_slice(&hash);
    place[32..].copy_from_slice(&key.sign(&Tbs::Pkcs1(hash)).0);
    Some(out)
}

/// What they take and we do not, by intent: zeros that are none, names and texts
/// that are not plain, two descriptors for one thing, flags of a later libavb, a
/// footer that tells something else than what is signed, data that a hash does
/// not reach. What libavb does with flags that switch verification off has a test
/// of its own.
#[test]
fn we_never_accept_what_libavb_or_avbtool_refuses() {
    let count = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"));
    let (openssl, key) = (keys(), TestKey::load("rsa2048"));
    for (name, vbmeta) in [("vbmeta", 0), ("boot", 4096)] {
        let good = fixture(&format!("avb/{name}.bin"));
        let mut images = vec![good.clone()];
        let mut add = |at: usize, byte: u8| {
            let mut image = good.clone();
            image[at] = byte;
            images.push(resigned(&image, &key));
            images.push(image);
        };
        // The last byte of each field of the header, then descriptors and key.
        let header =
            [0, 7, 11, 19, 27, 31, 39, 47, 55, 63, 71, 79, 87, 95, 103, 111, 119, 123, 127, 140, 175, 180];
        for at in header {
            for bit in [1, 2, 0x80] {
                add(vbmeta + at, good[vbmeta + at] ^ bit);
            }
        }
        let fields = [7, 15, 19, 23, 24, 27, 31, 39, 47, 59, 63, 67, 71, 80, 100, 132, 140, 150, 160];
        for at in fields.into_iter().chain((200..650).step_by(if count > 20 { 3 } else { 29 })) {
            let at = vbmeta + 576 + at;
            add(at, good[at] ^ 1);
            add(at, good[at] ^ 0x80);
        }
        if name == "boot" {
            for at in [0, 263, 264, 4095, 12223].into_iter().chain(12224..12288) {
                add(at, good[at] ^ 1);
            }
        }
        for cut in [0, 3, 255, 256, 576, good.len() - 64, good.len() - 1] {
            images.push(good[..cut].to_vec());
        }
        for seed in 0..count {
            let mut random = Random(seed);
            let mut image = good.clone();
            let from = [0, vbmeta, vbmeta + 576][random.below(3)];
            let mut piece = image.split_off(from);
            mutate(&mut piece, &mut random);
            image.extend(piece);
            image.resize(good.len(), 0);
            images.push(resigned(&image, &key));
            images.push(image);
        }
        let verdicts = verify_all(&openssl, "rsa2048", 0, &images);
        assert!(verdicts[0] && accepted(&images[0], &key.public), "{name}");
        let mut taken = 0;
        for (image, theirs) in images.iter().zip(verdicts) {
            let ours = accepted(image, &key.public);
            taken += usize::from(ours && *image != good);
            // Of another partition they would have to be given the image.
            let told = inspect(image).ok().filter(|own| own.debug == Some(false));
            let is_asked = told.is_some_and(|own| own.target.is_none_or(|target| target == "boot"));
            let places =
                || image.iter().zip(&good).enumerate().filter(|(_, (one, two))| one != two).map(|(at, _)| at);
            assert!(!ours || theirs || !is_asked, "{name}: they refuse {:?}", places().collect::<Vec<_>>());
        }
        // Other numbers, names and digests that somebody with the key signed.
        assert!(taken >= 10, "{name}: {taken}");
    }
}

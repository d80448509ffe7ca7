//! Mutations: we never accept what espsecure or esptool refuses.

use crate::common::{Random, TestKey, accepted, fixture, mutate};
use crate::keys;
use crate::peer::{KEYS, verify_all};
use crate::refusals::crc32;

/// What espsecure takes and we do not, by intent: blocks after broken ones,
/// bytes behind the blocks and in unused parts of a block, a key in the block
/// that is not the one that verifies, numbers beside an RSA key that are not its
/// own, sectors that are not where the image ends. None of them is here because
/// the other direction counts.
#[test]
fn we_never_accept_what_espsecure_refuses() {
    let count = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"));
    let openssl = keys();
    for (name, _) in KEYS {
        let key = TestKey::load(name);
        let good = fixture(&format!("esp32/{name}.bin"));
        let mut images = vec![good.clone()];
        let mut add = |at: usize, bytes: &[u8], mend: bool| {
            let mut image = good.clone();
            image[at..at + bytes.len()].copy_from_slice(bytes);
            if mend {
                let crc = crc32(&image[4096..4096 + 1196]).to_le_bytes();
                image[4096 + 1196..4096 + 1200].copy_from_slice(&crc);
            }
            images.push(image);
        };
        // Each field of the headers and of the block, and each boundary.
        for at in (0..40).chain([286, 287, 288, 292, 295, 496, 500, 527, 528, 559, 560, 4095]) {
            for value in [good[at] ^ 1, good[at] ^ 0x80, 0, 0xff] {
                add(at, &[value], false);
            }
        }
        let fields = [0, 1, 2, 3, 4, 35, 36, 37, 51, 52, 53, 68, 100, 101, 132, 148, 149, 164, 165, 244, 245];
        for at in
            fields.into_iter().chain([419, 420, 423, 424, 807, 808, 811, 812, 1000, 1195, 1196, 1200, 1215])
        {
            for value in [good[4096 + at] ^ 1, good[4096 + at] ^ 0x80] {
                add(4096 + at, &[value], false);
                add(4096 + at, &[value], true);
            }
        }
        // A second block: the same, broken, of nothing.
        add(4096 + 1216, &good[4096..4096 + 1216], false);
        add(4096 + 2432, &good[4096..4096 + 1216], false);
        add(4096 + 1216, &[0; 1216], false);
        add(4096 + 3648, &[0], false);
        for cut in [0, 24, 559, 560, 4095, 4096, 4097, 5312, 8191] {
            images.push(good[..cut].to_vec());
        }
        for seed in 0..count {
            let mut random = Random(seed);
            let mut bytes = good.clone();
            let at = [0, 280, 4096][random.below(3)];
            let mut piece = bytes.split_off(at);
            mutate(&mut piece, &mut random);
            bytes.extend(piece);
            // One that keeps its length gets further.
            bytes.resize(8192, 0xff);
            images.push(bytes);
        }
        let verdicts = verify_all(&openssl, name, &images);
        assert!(verdicts[0] && accepted(&images[0], &key.public));
        let mut taken = 0;
        for (image, theirs) in images.iter().zip(verdicts) {
            let ours = accepted(image, &key.public);
            taken += usize::from(ours);
            assert!(theirs || !ours, "{name}: espsecure refuses {image:02x?}");
            // What is signed is still what it was.
            assert!(!ours || image[..4096] == good[..4096], "{name}: {image:02x?}");
        }
        assert!(taken >= 2, "{name}: {taken}");
    }
}

//! Mutations of a signed FIT, given to U-Boot and to us.

use crate::common::{Random, TestKey, accepted, flip_each, make, mutate};
use crate::peer::Uboot;

#[test]
fn what_we_accept_uboot_accepts() {
    let count = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"));
    let uboot = Uboot::new();
    uboot.signed("rsa3072", "", "");
    let key = TestKey::load("rsa3072");
    for layout in ["", "-E", "-E -p 0x2000"] {
        let good = make("fit", &uboot.make("", "", layout), &key, &[]).unwrap();
        assert!(accepted(&good, &key.public) && uboot.accepts(&good, "rsa3072.dtb"));
        let judge = |bytes: &[u8], what: &str| {
            if accepted(&bytes, &key.public) {
                // By name: what no default names, fit_check_sign without one
                // falls over, and so does a file that names none.
                assert!(uboot.accepts_configuration(bytes, "rsa3072.dtb", "conf-1"), "{layout} {what}");
            }
        };
        // Every byte of the tree, all of which are looked at; the gap before
        // images at a place of their own is nobody's.
        let tree = u32::from_be_bytes(good[4..8].try_into().unwrap()) as usize;
        flip_each(&good, tree..good.len(), judge);
        for seed in 0..count {
            let mut random = Random(seed);
            let mut bytes = good.clone();
            // The header and the images, or what stands at the end of the tree.
            let at = [0, tree - tree / 3][random.below(2)];
            let mut piece = bytes.split_off(at);
            mutate(&mut piece, &mut random);
            bytes.extend(piece);
            judge(&bytes, &format!("seed {seed}"));
        }
    }
}

/// What our reader takes as the same file after a change is known by kind.
#[test]
fn every_byte_that_is_not_covered_is_of_a_known_kind() {
    let uboot = Uboot::new();
    let key = TestKey::load("rsa3072");
    let good = make("fit", &uboot.make("", "", "-E"), &key, &[]).unwrap();
    uboot.write("known.itb", &good);
    let word = |at: usize| u32::from_be_bytes(good[at..at + 4].try_into().unwrap()) as usize;
    let node = b"signature-1\0";
    let start = good.windows(node.len()).position(|window| window == node).unwrap();
    let end = word(8) + word(36);
    let mut free = Vec::new();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        if accepted(&bytes, &key.public) {
            free.push(at);
        }
    }
    for at in free {
        // Who boots; the signature's node, which describes itself; images
        // that nothing uses; padding behind the strings and between images.
        let boot_cpu = (28..32).contains(&at);
        let in_node = (start..end).contains(&at);
        let padding = at >= word(12) + word(32);
        let unused = b"other tree";
        let place = good.windows(unused.len()).position(|window| window == unused).unwrap();
        let in_unused = (place.saturating_sub(80)..place + 400).contains(&at);
        assert!(boot_cpu || in_node || padding || in_unused, "byte {at}");
    }
}

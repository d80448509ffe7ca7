//! Mutations: we never accept what OpenSSL refuses.

use aws_lc_rs::digest::{SHA256, digest};
use firmseal_manifest::{Tbs, ecdsa};

use crate::common::{Random, TestKey, accepted, fixture, flip_each, mutate};
use crate::peer::{keys, taken};

/// Length of tag and length of an element, and of its content.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let digits = match *bytes.get(1)? {
        short @ 0..=0x7f => return Some((2, short.into())),
        long => usize::from(long & 0x7f),
    };
    let len = bytes.get(2..2 + digits).filter(|digits| digits.len() <= 3)?;
    Some((2 + digits, len.iter().fold(0, |len, digit| len << 8 | usize::from(*digit))))
}

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len = parts.concat().len() as u16;
    let [high, low] = len.to_be_bytes();
    let head = match len {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, parts.concat()].concat()
}

/// A certificate of which something was edited, signed anew: the algorithm beside
/// the signature stays.
pub(crate) fn resigned(file: &[u8], key: &TestKey) -> Option<Vec<u8>> {
    let inner = file.get(header(file)?.0..)?;
    let (head, content) = header(inner)?;
    let (tbs, rest) = inner.split_at_checked(head.checked_add(content)?)?;
    let (head, content) = header(rest)?;
    let algorithm = rest.get(..head.checked_add(content)?)?;
    let hash: [u8; 32] = digest(&SHA256, tbs).as_ref().try_into().unwrap();
    let made = key.sign(&Tbs::Sha256(hash)).0;
    let made = if key.name.ends_with("p256") { ecdsa::to_der(&made).unwrap() } else { made };
    Some(element(0x30, &[tbs, algorithm, &element(3, &[&[0], &made])]))
}

#[test]
fn no_byte_can_change() {
    for (name, key) in [("soc", "p256"), ("trusted_key", "p256"), ("soc_rsa2048", "rsa2048")] {
        let (file, key) = (fixture(&format!("tfa/{name}.bin")), TestKey::load(key));
        flip_each(&file, 0..0, |bad, place| {
            assert!(!accepted(&bad.to_vec(), &key.public), "{name}: {place}")
        });
        for cut in 0..file.len() {
            assert!(!accepted(&file[..cut].to_vec(), &key.public), "{name}: cut at {cut}");
        }
        assert!(!accepted(&[&file[..], &[0]].concat(), &key.public));
    }
}

#[test]
fn we_never_accept_what_openssl_refuses() {
    let count = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"));
    let openssl = keys();
    for (name, key) in [("soc", "p256"), ("trusted_key", "p256"), ("soc_rsa2048", "rsa2048")] {
        let (good, key) = (fixture(&format!("tfa/{name}.bin")), TestKey::load(key));
        let mut files = vec![resigned(&good, &key).unwrap()];
        // Every byte up to the key's own, and of the extensions, signed anew.
        let step = if count > 20 { 1 } else { 7 };
        for at in (0..good.len() - 70).step_by(step) {
            for bit in [1, 0x20, 0x80] {
                let mut file = good.clone();
                file[at] ^= bit;
                files.extend(resigned(&file, &key));
            }
        }
        for seed in 0..count {
            let mut file = good.clone();
            mutate(&mut file, &mut Random(seed));
            files.extend(resigned(&file, &key));
            files.push(file);
        }
        assert!(accepted(&files[0], &key.public), "{name}");
        let mut both = 0;
        for file in files.iter().filter(|file| accepted(*file, &key.public)) {
            both += usize::from(*file != good);
            assert!(taken(&openssl, file), "{name}: openssl refuses {file:02x?}");
        }
        // Other serials, dates, hashes and counters that somebody with the key signed.
        assert!(both >= 10, "{name}: {both}");
    }
}

//! Mutations, given to rauc and to us: we take nothing that rauc refuses.

use super::{Rauc, VERSION, cms_at, sign, tree_at};
use crate::common::{Random, TestKey, accepted, flip_each, mutate};

#[test]
fn what_we_accept_rauc_accepts() {
    let count: u64 = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"));
    let rauc = Rauc::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), rauc.certificate("p256"));
    rauc.openssl.ok("x509 -in p256.crt -outform DER -out p256.der");
    let der = rauc.openssl.read("p256.der");
    for format in ["verity", "crypt", "plain"] {
        let wish = [("certificate", certificate.as_str()), ("plain", "true")];
        let good = sign(&rauc.bundle(format, "p256"), &key, VERSION, &wish).unwrap();
        let (tree, cms) = (tree_at(&good), cms_at(&good));
        // The certificate says which key signed, and is not what is believed
        // here: rauc is asked about everything else.
        let start = good.windows(der.len()).position(|own| own == der).unwrap();
        let outside =
            |bytes: &[u8]| [&bytes[..start], &bytes[bytes.len() + start + der.len() - good.len()..]].concat();
        let judge = |bytes: &[u8], what: &str| {
            if accepted(&bytes.to_vec(), &key.public) && !rauc.extracts(bytes, "p256") {
                assert_eq!(outside(bytes), outside(&good), "{format} {what}");
            }
        };
        // Every byte of the CMS; the payload is hashed anew for each.
        let small: Vec<u8> = good[cms..].to_vec();
        flip_each(&small, start - cms..start - cms + der.len(), |tail, what| {
            let whole = [&good[..cms], tail].concat();
            judge(&whole, what);
        });
        for seed in 0..count {
            let mut random = Random(seed);
            // Header, tree, or CMS.
            let at = [0, tree, cms][random.below(3)];
            let end = if at == cms { good.len() } else { at + 4096.min(good.len() - at) };
            let mut piece = good[at..end].to_vec();
            mutate(&mut piece, &mut random);
            judge(&[&good[..at], &piece, &good[end..]].concat(), &format!("seed {seed}"));
        }
    }
}

/// The same under a signature that holds: what differs is what a manifest
/// means.
#[test]
fn manifests_that_we_read_rauc_reads() {
    let count: u64 = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"));
    let rauc = Rauc::new(&["p256"]);
    let key = TestKey::load("p256");
    let good = rauc.bundle("verity", "p256");
    let (payload, manifest) = (&good[..cms_at(&good)], rauc.manifest_of(&good));
    let (mut taken, mut compared) = (0, 0);
    for seed in 0..count * 4 {
        let mut random = Random(seed);
        let mut text = manifest.clone().into_bytes();
        // Lines that are moved, doubled and left out, and bytes within them.
        if random.below(2) == 0 {
            let mut lines: Vec<_> = manifest.split('\n').collect();
            let (from, to) = (random.below(lines.len()), random.below(lines.len()));
            match random.below(3) {
                0 => lines.swap(from, to),
                1 => lines.insert(to, lines[from]),
                _ => drop(lines.remove(from)),
            }
            text = lines.join("\n").into_bytes();
        } else {
            mutate(&mut text, &mut random);
        }
        let bundle = rauc.signed(payload, &text, "");
        compared += 1;
        if !accepted(&bundle, &key.public) {
            continue;
        }
        taken += 1;
        // A key or group that this rauc does not know may be one of a later
        // one; devices refuse it, and it is shown to whoever signs.
        let unknown = ["Invalid key '", "Invalid group '", "not supported", "no hook 'filename' defined"];
        if let Err(why) = rauc.extracted(&bundle, "p256") {
            let text = String::from_utf8_lossy(&text);
            assert!(unknown.iter().any(|own| why.contains(own)), "seed {seed}: {why}\n{text}");
        }
    }
    assert!(taken > 0 && taken < compared, "{taken} of {compared}");
}

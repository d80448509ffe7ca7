//! Mutations: we never accept what the kernel's rules refuse (THREATS 16: two
//! parsers disagree).

use crate::common::{OpenSsl, Random, TestKey, accepted, fixture, flip_each, make, mutate};
use crate::peer::takes;

#[test]
fn what_we_accept_the_kernels_rules_accept() {
    let count = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"));
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let plain = fixture("kmod/unsigned.bin");
    let good = make("kmod", &plain, &key, &[("certificate", &certificate)]).unwrap();
    let judge = |bytes: &[u8], what: &str| {
        if accepted(&bytes, &key.public) {
            assert!(takes(&openssl, bytes, "p256") || names_another(&good, bytes, plain.len()), "{what}");
        }
    };
    assert!(takes(&openssl, &good, "p256"));
    flip_each(&good, 0..0, judge);
    for seed in 0..50 * count {
        let mut random = Random(seed);
        let mut bytes = good.clone();
        // The module, or the signature.
        let at = [0, plain.len(), good.len() - 40][random.below(3)];
        let mut piece = bytes.split_off(at);
        mutate(&mut piece, &mut random);
        bytes.extend(piece);
        judge(&bytes, &format!("seed {seed}"));
    }
}

/// The signer's name says to the kernel which key to take, and is not what is
/// believed here: a key that made the signature made it.
fn names_another(good: &[u8], bytes: &[u8], module: usize) -> bool {
    let signer = |file: &[u8]| {
        let mut out = file.to_vec();
        // From the signers' set to the first signer's hash.
        let hash = [0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48];
        let ends: Vec<_> = (module..file.len()).filter(|at| file[*at..].starts_with(&hash)).collect();
        if let [first, .., second] = ends.as_slice() {
            out.drain(first + 13..*second);
        }
        out
    };
    signer(good) == signer(bytes)
}

//! Mutations: we never accept what pycose refuses (THREATS 16: two parsers
//! disagree).

use crate::common::{Random, TestKey, accepted, flip_each, mutate};
use crate::peer::{Made, sign};
use std::cell::RefCell;

#[test]
fn what_we_accept_pycose_accepts() {
    let count = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"));
    let made = Made::new();
    let (maker, owner) = (TestKey::load("p256"), TestKey::load("ed25519"));
    let files = [
        ("p256", made.read("p256"), &maker),
        ("severable", made.read("severable"), &maker),
        ("all_kinds", made.read("all_kinds"), &owner),
        ("ours", sign(&made.read("p256"), &owner, &[("algorithm-id", "older")]).unwrap(), &owner),
        ("ours, specified", sign(&made.read("p256"), &owner, &[]).unwrap(), &owner),
    ];
    let taken = RefCell::new(Vec::new());
    let mut all = 0;
    for (name, good, key) in &files {
        let judge = |bytes: &[u8], what: &str| {
            if accepted(&bytes, &key.public) {
                taken.borrow_mut().push((format!("{name}, {what}"), &key.public, bytes.to_vec()));
            }
        };
        assert!(accepted(good, &key.public) && made.takes(&key.public, good), "{name}");
        flip_each(good, 0..0, judge);
        for seed in 0..50 * count {
            let mut random = Random(seed);
            let mut bytes = good.clone();
            // Anything, or the wrapper, which no digest covers.
            let start = if random.below(2) == 0 { 0 } else { random.below(good.len().min(160)) };
            let mut piece = bytes.split_off(start);
            mutate(&mut piece, &mut random);
            bytes.extend(piece);
            all += 1;
            judge(&bytes, &format!("seed {seed}"));
        }
    }
    let taken = taken.into_inner();
    let cases: Vec<_> = taken.iter().map(|(_, key, bytes)| (*key, bytes.as_slice())).collect();
    let verdicts = made.verdicts(&cases);
    assert_eq!(verdicts.len(), cases.len());
    for ((what, ..), verdict) in taken.iter().zip(&verdicts) {
        assert_eq!(verdict, "good", "{what}");
    }
    // Key ids, members of other makers, other people's signatures: not nothing.
    assert!(taken.len() > 100 && taken.len() < all, "{} of {all}", taken.len());
}

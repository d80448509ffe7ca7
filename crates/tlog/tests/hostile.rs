//! Hostile bytes: mutations of good texts never panic a parser, and none is
//! accepted that would be written otherwise.
//!
//! `FIRMSEAL_FUZZ_ITERATIONS` sets how many.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "fuzz/entry.rs"]
mod entry;

use common::{Party, grown};
use firmseal_tlog::{Kind, LogProof, Prover, Request};

#[test]
fn mutations() {
    let (tiles, edge) = grown(&[300]);
    let (log, witness) = (Party::log("example.org/log"), Party::new("w1", Kind::Cosignature, 3));
    let mut checkpoint = log.checkpoint(300, edge.root());
    checkpoint.push(witness.cosign(checkpoint.text(), 5)).unwrap();
    let prover = Prover::new(&tiles, 300);
    let proof = LogProof {
        extra: Some(vec![1, 2]),
        index: 7,
        hashes: prover.inclusion(7).unwrap(),
        checkpoint: checkpoint.clone(),
    };
    let request = Request { old: 5, proof: prover.consistency(5).unwrap(), checkpoint: checkpoint.clone() };
    let policy = format!("log {}\nwitness w {}\ngroup g any w\nquorum g\n", log.key, witness.key);
    let seeds = [
        checkpoint.to_string(),
        proof.to_string(),
        request.to_string(),
        policy,
        log.key.to_string(),
        "tile/0/x001/x234/067.p/8".to_owned(),
        "\0\u{1}a\0\u{2}bc".to_owned(),
    ];
    let iterations =
        std::env::var("FIRMSEAL_FUZZ_ITERATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000u64);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for seed in &seeds {
        entry::run(seed.as_bytes());
    }
    for _ in 0..iterations {
        let mut bytes = seeds[random(seeds.len())].clone().into_bytes();
        for _ in 0..=random(3) {
            let at = random(bytes.len().max(1));
            match random(6) {
                _ if bytes.is_empty() => {}
                0 => bytes[at] ^= 1 << random(8),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\n +/=\x000x9"[random(9)]),
                3 => bytes.truncate(at),
                4 => {
                    let end = at + random(bytes.len() - at + 1);
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => {
                    let other = seeds[random(seeds.len())].as_bytes();
                    bytes.extend_from_slice(&other[random(other.len())..]);
                }
            }
        }
        entry::run(&bytes);
    }
}

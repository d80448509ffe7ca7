//! Trees and proofs, against the definition of RFC 6962 written down again
//! and against ct-merkle.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::{entry, grown};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use firmseal_core::Digest;
use firmseal_tlog::{
    Edge, Error, Prover, Tile, empty_root, leaf_hash, node_hash, verify_consistency, verify_inclusion,
    written,
};
use proptest::prelude::*;
use sha2::Sha256;

/// MTH of RFC 6962 §2.1, as it stands there.
fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

fn leaves(size: u64) -> Vec<Digest> {
    (0..size).map(|index| leaf_hash(&entry(index))).collect()
}

#[test]
fn small_trees_in_full() {
    const SIZE: u64 = 40;
    let leaves = leaves(SIZE);
    for size in 0..=SIZE {
        let (tiles, edge) = grown(&[size]);
        let prover = Prover::new(&tiles, size);
        let root = naive_root(&leaves[..size as usize]);
        assert_eq!((edge.root(), prover.root().unwrap()), (root, root));
        for index in 0..size {
            let proof = prover.inclusion(index).unwrap();
            for other in 0..size {
                let verdict = verify_inclusion(&leaves[other as usize], index, size, &proof, &root);
                assert_eq!(verdict.is_ok(), other == index);
            }
        }
        for old in 0..=size {
            let proof = prover.consistency(old).unwrap();
            let old_root = naive_root(&leaves[..old as usize]);
            verify_consistency(old, size, &proof, &old_root, &root).unwrap();
            if old > 0 && old < size {
                assert!(verify_consistency(old, size, &proof, &root, &root).is_err());
                assert!(verify_consistency(old, size, &proof, &old_root, &old_root).is_err());
            }
        }
        assert!(matches!(prover.inclusion(size), Err(Error::OutOfRange { .. })));
        assert!(matches!(prover.consistency(size + 1), Err(Error::OutOfRange { .. })));
    }
}

#[test]
fn ct_merkle_makes_the_same_proofs() {
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let sizes = [1, 2, 3, 255, 256, 257, 511, 513, 1000];
    for size in sizes {
        while theirs.len() < size {
            theirs.push(entry(theirs.len()));
        }
        let (tiles, edge) = grown(&[size]);
        let prover = Prover::new(&tiles, size);
        assert_eq!(edge.root().0[..], theirs.root().as_bytes()[..]);
        let flat = |proof: Vec<Digest>| proof.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>();
        for index in (0..size).step_by(1 + size as usize / 50).chain([size - 1]) {
            let own = flat(prover.inclusion(index).unwrap());
            assert_eq!(own, theirs.prove_inclusion(index as usize).as_bytes(), "{index} of {size}");
        }
        for old in (1..size).step_by(1 + size as usize / 50) {
            let own = flat(prover.consistency(old).unwrap());
            assert_eq!(own, theirs.prove_consistency((size - old) as usize).as_bytes(), "{old} of {size}");
        }
    }
}

#[test]
fn seventy_thousand_entries_in_the_tiles_of_the_specification() {
    // tlog-tiles, "Merkle Tree": 273 full tiles of level 0 and one of
    // width 112, one full of level 1 and one of width 17, one of width 1.
    let tiles: Vec<Tile> = written(0, 70_000).collect();
    let count =
        |level, full| tiles.iter().filter(|tile| tile.level == level && tile.is_full() == full).count();
    assert_eq!([0, 1, 2].map(|level| (count(level, true), count(level, false))), [(273, 1), (1, 1), (0, 1)]);
    let widths: Vec<u64> = tiles.iter().filter(|tile| !tile.is_full()).map(|tile| tile.width).collect();
    assert_eq!((widths, tiles.len()), (vec![112, 17, 1], 277));
    let small: Vec<String> = written(0, 256).map(|tile| tile.path()).collect();
    assert_eq!(small, ["tile/0/000", "tile/1/000.p/1"]);
}

#[test]
fn the_largest_trees_do_not_overflow() {
    for size in [u64::MAX, 1 << 63, i64::MAX as u64] {
        let tiles: Vec<Tile> = written(size - 1, size).collect();
        assert!((1..=8).contains(&tiles.len()));
        let nothing = common::Memory::default();
        assert!(Prover::new(&nothing, size).inclusion(size - 1).is_err());
        assert!(Prover::new(&nothing, size).consistency(size / 3).is_err());
        let hashes = vec![empty_root(); 64];
        assert!(verify_inclusion(&hashes[0], size - 1, size, &hashes, &hashes[0]).is_err());
        assert!(verify_consistency(size / 3, size, &hashes, &hashes[0], &hashes[0]).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn growth_in_steps_writes_what_one_step_writes(mut sizes in prop::collection::vec(0u64..1500, 1..6)) {
        sizes.sort_unstable();
        let last = sizes[sizes.len() - 1];
        let (tiles, edge) = grown(&sizes);
        prop_assert_eq!(edge.root(), naive_root(&leaves(last)));
        let mut named = BTreeSet::new();
        let mut before = 0;
        for size in &sizes {
            named.extend(written(before, *size));
            before = *size;
        }
        prop_assert_eq!(tiles.0.keys().copied().collect::<BTreeSet<_>>(), named);
        let (whole, _) = grown(&[last]);
        for (tile, bytes) in &whole.0 {
            prop_assert_eq!(tiles.0.get(tile), Some(bytes));
        }
        // Every size it had still has its proofs.
        for size in sizes.iter().copied().filter(|size| *size > 0) {
            let prover = Prover::new(&tiles, last);
            let proof = prover.consistency(size).unwrap();
            let old = Prover::new(&tiles, size).root().unwrap();
            verify_consistency(size, last, &proof, &old, &edge.root()).unwrap();
        }
    }

    #[test]
    fn a_changed_proof_does_not_verify(
        (size, index) in (2u64..800).prop_flat_map(|size| (Just(size), 0..size)),
        at in any::<prop::sample::Index>(), bit in 0usize..256,
    ) {
        let (tiles, edge) = grown(&[size]);
        let prover = Prover::new(&tiles, size);
        let (leaf, root) = (leaf_hash(&entry(index)), edge.root());
        let good = prover.inclusion(index).unwrap();
        prop_assert!(verify_inclusion(&leaf, index, size, &good, &root).is_ok());
        let mut bad = good.clone();
        let flipped = at.index(bad.len());
        bad[flipped].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_inclusion(&leaf, index, size, &bad, &root).is_err());
        for (from, to) in [(1, good.len()), (0, good.len() - 1)] {
            prop_assert!(verify_inclusion(&leaf, index, size, &good[from..to], &root).is_err());
        }
        let longer: Vec<Digest> = good.iter().copied().chain([root]).collect();
        prop_assert!(verify_inclusion(&leaf, index, size, &longer, &root).is_err());
        let old = index.max(1);
        let good = prover.consistency(old).unwrap();
        let old_root = naive_root(&leaves(old));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at].0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(verify_consistency(old, size, &bad, &old_root, &root).is_err());
        }
        let longer: Vec<Digest> = good.iter().copied().chain([root]).collect();
        prop_assert!(verify_consistency(old, size, &longer, &old_root, &root).is_err());
    }

    #[test]
    fn paths_of_tiles_come_back(level in 0u8..8, index in 0u64..=u64::MAX / 256, width in 1u64..=256) {
        let tile = Tile { level, index, width };
        prop_assert_eq!(Tile::parse(&tile.path()), Ok((tile, false)));
        let entries = Tile { level: 0, ..tile };
        prop_assert_eq!(Tile::parse(&entries.entries_path()), Ok((entries, true)));
    }
}

#[test]
fn an_edge_is_empty_at_first() {
    assert_eq!((Edge::new().root(), Edge::new().take()), (empty_root(), vec![]));
}

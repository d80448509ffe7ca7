//! Block trees against veritysetup and against a second builder, at every
//! size where a length has ever been cut off or rounded wrongly.
//!
//! RAUC CVE-2026-34155: above 2 GiB only the first bytes were signed. Sizes
//! up to 2^32 + 1 are tried here without writing them: payloads of zeros
//! whose last byte is one have few different blocks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{BlockSize, Digest, Refusal, Tree, Verifier};
use firmseal_manifest::TreeBuilder;
use firmseal_testkit::world::firmware;

const SIZES: [BlockSize; 2] = [BlockSize::B1024, BlockSize::B4096];

/// The tree of a payload of zeros that ends in a one, by run lengths: each
/// level is some equal digests and one other, last digest.
struct ZeroTree {
    block: usize,
    /// From the data up: how many digests, the common one, the last one.
    levels: Vec<(u64, [u8; 32], [u8; 32])>,
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    RustCrypto.digest(bytes).0
}

impl ZeroTree {
    fn new(size: u64, block: usize) -> ZeroTree {
        let count = size.div_ceil(block as u64);
        let mut last = vec![0; block];
        last[((size - 1) % block as u64) as usize] = 1;
        let mut tree = ZeroTree { block, levels: vec![(count, hash(&vec![0; block]), hash(&last))] };
        while tree.levels[tree.levels.len() - 1].0 > 1 {
            let level = tree.levels.len() - 1;
            let above = tree.levels[level].0.div_ceil((block / 32) as u64);
            let entry = (above, hash(&tree.hash_block(level, 0)), hash(&tree.hash_block(level, above - 1)));
            tree.levels.push(entry);
        }
        tree
    }

    /// The hash block that holds digests of a level.
    fn hash_block(&self, level: usize, index: u64) -> Vec<u8> {
        let (count, common, last) = self.levels[level];
        let fan_out = (self.block / 32) as u64;
        let mut out = Vec::with_capacity(self.block);
        for entry in index * fan_out..((index + 1) * fan_out).min(count) {
            out.extend(if entry + 1 == count { last } else { common });
        }
        out.resize(self.block, 0);
        out
    }

    fn root(&self) -> Digest {
        // One digest is left: the last one, being the only one.
        Digest(self.levels[self.levels.len() - 1].2)
    }

    /// Bytes of all hash blocks.
    fn hash_bytes(&self) -> u64 {
        self.levels[1..].iter().map(|(count, ..)| count * self.block as u64).sum()
    }

    /// Where a level of hash blocks is stored: the top one first.
    fn offset(&self, level: usize) -> u64 {
        self.levels[level + 2..].iter().map(|(count, ..)| count * self.block as u64).sum()
    }
}

/// Checks one block of a zero payload through a verifier.
fn check(verifier: &mut Verifier<'_, RustCrypto>, model: &ZeroTree, size: u64, index: u64) {
    while let Some(want) = verifier.wants(index) {
        assert_eq!(
            want.offset,
            model.offset(want.level) + want.index * model.block as u64,
            "{size} {want:?}"
        );
        assert!(want.offset + model.block as u64 <= model.hash_bytes());
        verifier.supply(want, &model.hash_block(want.level, want.index)).unwrap();
    }
    let start = index * model.block as u64;
    let mut bytes = vec![0; (size - start).min(model.block as u64) as usize];
    if start + bytes.len() as u64 == size {
        *bytes.last_mut().unwrap() = 1;
    }
    let block = verifier.check(index, &bytes).unwrap();
    assert_eq!((block.offset(), block.bytes().len()), (start, bytes.len()));
    // Short, long and changed: none passes.
    for wrong in [&bytes[1..], &[&bytes[..], &[0]].concat()] {
        assert_eq!(verifier.check(index, wrong).map(|_| ()), Err(Refusal::BlockGeometry));
    }
    bytes[0] ^= 2;
    assert_eq!(verifier.check(index, &bytes).map(|_| ()), Err(Refusal::BlockMismatch(index)));
}

#[test]
fn sizes_around_every_boundary_verify() {
    for block in SIZES {
        let bytes = block.bytes() as u64;
        let mut sizes = vec![1, 2];
        for boundary in [
            bytes,
            2 * bytes,
            32 * bytes,
            128 * bytes,
            1024 * bytes,
            16384 * bytes,
            1 << 31,
            1 << 32,
            1 << 48,
        ] {
            sizes.extend([boundary - 1, boundary, boundary + 1]);
        }
        for size in sizes {
            let model = ZeroTree::new(size, block.bytes());
            let Ok(tree) = Tree::new(size, block, model.root()) else {
                assert!(size > 1 << 48, "{size}");
                continue;
            };
            let geometry = (tree.blocks(), tree.levels() + 1, tree.hash_bytes());
            assert_eq!(geometry, (model.levels[0].0, model.levels.len(), model.hash_bytes()), "{size}");
            let mut memory = vec![0; tree.memory()];
            let mut verifier = Verifier::new(tree, RustCrypto, &mut memory).unwrap();
            let (last, middle) = (tree.blocks() - 1, tree.blocks() / 2);
            for index in [last, 0, middle, middle.saturating_sub(1), last, last.saturating_sub(1)] {
                check(&mut verifier, &model, size, index);
            }
            for beyond in [last + 1, u64::MAX, u64::MAX / bytes, u64::MAX / bytes + 1] {
                assert_eq!(verifier.wants(beyond), None);
                assert_eq!(verifier.check(beyond, &[0]).map(|_| ()), Err(Refusal::BlockGeometry));
            }
        }
    }
}

#[test]
fn both_builders_agree() {
    for block in SIZES {
        for size in [1, 1023, 1024, 1025, 4095, 4096, 4097, 128 * 4096 - 1, 128 * 4096, 128 * 4096 + 1] {
            let mut payload = vec![0; size];
            payload[size - 1] = 1;
            let mut builder = TreeBuilder::new(block);
            // In pieces of odd sizes: how bytes arrive must not matter.
            payload.chunks(4099).for_each(|piece| builder.update(piece));
            let built = builder.finish().unwrap();
            let model = ZeroTree::new(size as u64, block.bytes());
            assert_eq!(*built.tree.root(), model.root(), "{size}");
            assert_eq!(built.hash_blocks.len() as u64, model.hash_bytes(), "{size}");
            assert_eq!(built.digest, RustCrypto.digest(&payload));
        }
    }
}

#[test]
fn a_hash_block_counts_only_in_its_place() {
    let payload = firmware(1024 * 32 * 40, 3);
    let mut builder = TreeBuilder::new(BlockSize::B1024);
    builder.update(&payload);
    let built = builder.finish().unwrap();
    let mut memory = vec![0; built.tree.memory()];
    assert!(Verifier::new(built.tree, RustCrypto, &mut memory[1..]).is_err(), "too little memory");
    let mut verifier = Verifier::new(built.tree, RustCrypto, &mut memory).unwrap();
    let first = &payload[..1024];
    assert_eq!(verifier.check(0, first).map(|_| ()), Err(Refusal::BlockGeometry), "nothing was supplied");
    let at = |offset: u64| &built.hash_blocks[offset as usize..][..1024];
    let top = verifier.wants(0).unwrap();
    assert_eq!((top.level, top.index, top.offset), (2, 0, 0));
    // Below a parent that is not there, in place of another, beyond the end.
    let mut below = top;
    below.level = 1;
    assert_eq!(verifier.supply(below, at(1024)), Err(Refusal::BlockGeometry));
    assert!(verifier.supply(top, at(1024)).is_err());
    assert_eq!(verifier.supply(top, &at(0)[1..]), Err(Refusal::BlockGeometry));
    verifier.supply(top, at(0)).unwrap();
    let next = verifier.wants(0).unwrap();
    let mut other = next;
    other.index = 1;
    assert!(verifier.supply(other, at(next.offset)).is_err(), "a sibling's place");
    other.index = built.tree.level_blocks(1);
    assert_eq!(verifier.supply(other, &[0; 1024]), Err(Refusal::BlockGeometry), "padding of its parent");
    other.level = usize::MAX;
    assert_eq!(verifier.supply(other, &[0; 1024]), Err(Refusal::BlockGeometry));
}

#[test]
fn a_payload_of_nothing_has_no_tree() {
    assert!(TreeBuilder::new(BlockSize::B4096).finish().is_err());
    for block in SIZES {
        assert!(Tree::new(0, block, Digest([0; 32])).is_err());
        assert!(Tree::new(1 << 48, block, Digest([0; 32])).is_ok());
        assert!(Tree::new((1 << 48) + 1, block, Digest([0; 32])).is_err());
        assert!(Tree::new(u64::MAX, block, Digest([0; 32])).is_err());
    }
}

/// Runs veritysetup, which is the judge.
fn veritysetup(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("veritysetup");
    // Debian keeps it where ordinary users do not look.
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    let output = command.args(arguments).output().expect("veritysetup is missing: run `cargo xtask setup`");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Has the judge format a data file and returns its root hash.
fn formatted(data: &Path, hashes: &Path, block: BlockSize) -> String {
    let size = block.bytes().to_string();
    let (ok, said) = veritysetup(&[
        "format",
        "--no-superblock",
        "--salt=-",
        &format!("--data-block-size={size}"),
        &format!("--hash-block-size={size}"),
        data.to_str().unwrap(),
        hashes.to_str().unwrap(),
    ]);
    assert!(ok, "{said}");
    let root = said.lines().find_map(|line| line.strip_prefix("Root hash:")).expect("a root hash");
    root.trim().to_owned()
}

fn verified(data: &Path, hashes: &Path, block: BlockSize, blocks: u64, root: &str) -> bool {
    let size = block.bytes().to_string();
    veritysetup(&[
        "verify",
        "--no-superblock",
        "--salt=-",
        &format!("--data-block-size={size}"),
        &format!("--hash-block-size={size}"),
        &format!("--data-blocks={blocks}"),
        data.to_str().unwrap(),
        hashes.to_str().unwrap(),
        root,
    ])
    .0
}

#[test]
fn veritysetup_builds_and_verifies_the_same_tree() {
    let folder = tempfile::tempdir().unwrap();
    let (data, ours, theirs) =
        (folder.path().join("data"), folder.path().join("ours"), folder.path().join("theirs"));
    for block in SIZES {
        for size in
            [1, 1024, 1025, 4096, 4097, 100_000, 128 * 4096 - 1, 128 * 4096, 128 * 4096 + 1, 3_000_000]
        {
            let payload = firmware(size, 5);
            let mut builder = TreeBuilder::new(block);
            builder.update(&payload);
            let built = builder.finish().unwrap();
            let mut padded = payload.clone();
            padded.resize(size.next_multiple_of(block.bytes()), 0);
            fs::write(&data, &padded).unwrap();
            fs::write(&ours, &built.hash_blocks).unwrap();
            // A file that is there already is not cut.
            let _ = fs::remove_file(&theirs);
            let root = built.tree.root().to_string();
            assert_eq!(formatted(&data, &theirs, block), root, "{size}");
            assert!(fs::read(&theirs).unwrap() == built.hash_blocks, "{size}");
            assert!(verified(&data, &ours, block, built.tree.blocks(), &root), "{size}");
            padded[size / 2] ^= 1;
            fs::write(&data, &padded).unwrap();
            assert!(!verified(&data, &ours, block, built.tree.blocks(), &root), "{size}");
        }
    }
}

#[test]
fn veritysetup_agrees_beyond_two_gibibytes() {
    let folder = tempfile::tempdir().unwrap();
    let (data, hashes) = (folder.path().join("data"), folder.path().join("hashes"));
    let (size, block) = ((1 << 31) + 1, BlockSize::B4096);
    let model = ZeroTree::new(size, block.bytes());
    // Sparse: it takes one block on the disk.
    let mut file = File::create(&data).unwrap();
    file.seek(SeekFrom::Start(size - 1)).unwrap();
    file.write_all(&[1]).unwrap();
    file.set_len(size.next_multiple_of(block.bytes() as u64)).unwrap();
    assert_eq!(formatted(&data, &hashes, block), model.root().to_string());
    let stored = fs::read(&hashes).unwrap();
    assert_eq!(stored.len() as u64, model.hash_bytes());
    for level in 0..model.levels.len() - 1 {
        for index in [0, model.levels[level + 1].0 - 1] {
            let at = (model.offset(level) + index * 4096) as usize;
            assert_eq!(stored[at..at + 4096], model.hash_block(level, index), "level {level}, {index}");
        }
    }
}

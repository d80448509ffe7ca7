//! Mutations: we never accept what mender-artifact refuses (THREATS 16: two
//! parsers disagree).

use crate::common::{OpenSsl, Random, TestKey, accepted, fixture, mutate};
use crate::peer::{Artifact, Files, summed, takes, tar};
use crate::signed;

fn count() -> usize {
    std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"))
}

/// Judges files by both, some of them if there are many.
fn judge(files: Vec<Vec<u8>>, what: &str) {
    let openssl = OpenSsl::new(&["p256"]);
    let key = TestKey::load("p256");
    let mut asked = 0;
    for (index, file) in files.iter().enumerate() {
        if accepted(file, &key.public) && asked < 10 * count() {
            asked += 1;
            assert!(takes(&openssl, file, "p256"), "{what} {index}");
        }
    }
    assert!(asked > 0, "{what}: the good one at least");
}

#[test]
fn what_we_accept_mender_artifact_accepts() {
    let key = TestKey::load("p256");
    for name in ["unsigned", "module"] {
        let good = signed(&fixture(&format!("mender/{name}.bin")), &key, "1.2.3").unwrap();
        let flips = (0..good.len()).flat_map(|at| [(at, 1), (at, 0x80)]);
        let flipped = flips.map(|(at, bit)| {
            let mut bytes = good.clone();
            bytes[at] ^= bit;
            bytes
        });
        judge(flipped.chain([good.clone()]).collect(), name);
        let mutated = (0..50 * count() as u64).map(|seed| {
            let mut random = Random(seed);
            let at = 512 * random.below(good.len() / 512);
            let mut bytes = good.clone();
            let mut piece = bytes.split_off(at);
            mutate(&mut piece, &mut random);
            bytes.extend(piece);
            bytes
        });
        judge(mutated.chain([good.clone()]).collect(), name);
    }
}

/// Each field of each header, with a right checksum; headers of the archive,
/// and of those in it.
#[test]
fn headers_of_tar_are_read_alike() {
    const FIELDS: [(usize, usize); 16] = [
        (0, 100),
        (100, 8),
        (108, 8),
        (116, 8),
        (124, 12),
        (136, 12),
        (148, 8),
        (156, 1),
        (157, 100),
        (257, 6),
        (263, 2),
        (265, 32),
        (297, 32),
        (329, 8),
        (337, 8),
        (345, 155),
    ];
    let good = signed(&Artifact::new().build(), &TestKey::load("p256"), "1.0.0").unwrap();
    let headers: Vec<usize> =
        (0..good.len()).step_by(512).filter(|at| good[at + 257..].starts_with(b"ustar")).collect();
    assert!(headers.len() > 8, "those inside are among them");
    let mut files = Vec::new();
    for start in headers {
        for (at, len) in FIELDS {
            let values: [&[u8]; 8] = [b"\0", b"7", b" ", b"/", b"x", b"\x80", b"\xff", b"0000010"];
            for (offset, value) in
                values.iter().flat_map(|value| [(0, value), (len - 1, value), (len / 2, value)])
            {
                let mut file = good.clone();
                let end = (start + at + offset + value.len()).min(start + 512);
                let field = &mut file[start + at + offset..end];
                field.copy_from_slice(&value[..field.len()]);
                if at != 148 {
                    summed(&mut file[start..start + 512]);
                }
                files.push(file);
            }
        }
    }
    judge(files, "header");
}

/// Members and files that are gone, doubled, moved and renamed, under a
/// signature that is right.
#[test]
fn members_are_read_alike() {
    let key = TestKey::load("p256");
    let plain = Artifact::new();
    let good = signed(&plain.build(), &key, "1.0.0").unwrap();
    let signature = ("manifest.sig".to_owned(), good[2560..2648].to_vec());
    let mut members = plain.members();
    members.insert(2, signature);
    let mut files: Vec<Vec<u8>> = moved(&members).iter().map(|all| tar(all)).collect();
    assert!(files.contains(&good));
    // Inside, where the manifest is made anew for whatever is there.
    let mut inside = Vec::new();
    inside.extend(moved(&plain.header).into_iter().map(|header| Artifact { header, ..plain.clone() }));
    inside
        .extend(moved(&plain.data[0]).into_iter().map(|data| Artifact { data: vec![data], ..plain.clone() }));
    files.extend(inside.iter().filter_map(|artifact| signed(&artifact.build(), &key, "1.0.0").ok()));
    judge(files, "members");
}

fn moved(all: &Files) -> Vec<Files> {
    let mut out = vec![all.clone()];
    for index in 0..all.len() {
        let mut edited = |edit: &dyn Fn(&mut Files)| {
            let mut files = all.clone();
            edit(&mut files);
            out.push(files);
        };
        edited(&|files| drop(files.remove(index)));
        edited(&|files| files.insert(index, files[index].clone()));
        edited(&|files| files.push(files[index].clone()));
        edited(&|files| files.rotate_left(index));
        edited(&|files| files.swap(index, 0));
        edited(&|files| files[index].1.clear());
        for name in
            ["", "x", ".", "../x", "header.tar", "data/0001.tar", "scripts/x", "version", "manifest-augment"]
        {
            edited(&|files| files[index].0 = name.to_owned());
        }
        edited(&|files| files[index].0.insert_str(0, "./"));
        edited(&|files| files[index].0.push('/'));
        edited(&|files| files[index].0.push_str(".gz"));
    }
    out
}

//! Our log and our proofs, judged by the reference implementation of notes
//! and tiles, golang.org/x/mod/sumdb (Debian: golang-golang-x-mod-dev).
//! Without Go the test says so and proves nothing.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use firmseal_keys::Log;
use firmseal_manifest::Digest;
use firmseal_store_local::IntentLog;
use firmseal_tlog::{Checkpoint, leaf_hash};

/// Builds the judge once; `None` where it cannot be built.
fn judge(into: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tlog/judges/log.go");
    let program = into.join("judge");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(source);
    go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOFLAGS", "");
    go.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go"));
    go.status().is_ok_and(|status| status.success()).then_some(program)
}

fn judged(judge: &Path, dir: &Path, key: &str, proofs: &[String]) -> Vec<String> {
    let mut child =
        Command::new(judge).arg(dir).arg(key).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(proofs.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn line(words: &[&str], hashes: &[Digest]) -> String {
    let hashes: Vec<String> = hashes.iter().map(Digest::to_string).collect();
    format!("{} {}", words.join(" "), hashes.join(" ")).trim_end().to_owned()
}

#[tokio::test]
async fn the_reference_implementation_accepts_ours_and_refuses_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let Some(judge) = judge(dir.path()) else {
        return eprintln!("skipped: Go or golang.org/x/mod is missing");
    };
    let log = IntentLog::open(&dir.path().join("intents.log")).unwrap();
    let key = log.verifier().to_string();
    let leaf = |index: u64| format!("intent {index}").into_bytes();
    let mut known: Vec<(u64, Digest)> = Vec::new();
    for size in [1u64, 2, 255, 256, 257, 1000] {
        for index in log.len()..size {
            log.append(&leaf(index)).await.unwrap();
        }
        let bytes = log.checkpoint().await.unwrap();
        let root = Checkpoint::open(&bytes, log.verifier(), log.verifier().name()).unwrap().0.root;
        known.push((size, root));
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (old, old_root) in &known {
            let proof = log.consistency(*old, size).await.unwrap();
            let (old_size, new_size) = (old.to_string(), size.to_string());
            // The reference wants a hash even where nothing is to prove.
            if *old < size {
                let words = ["tree", &old_size, &old_root.to_string(), &new_size, &root.to_string()];
                good.push(line(&words, &proof));
                let words = ["tree", &old_size, &root.to_string(), &new_size, &root.to_string()];
                bad.push(line(&words, &proof));
            }
            for index in [0, old / 3, old - 1] {
                let proof = log.proof(index, *old).await.unwrap();
                let (at, root) = (index.to_string(), old_root.to_string());
                let [leaf, other] = [index, index + 1].map(|index| leaf_hash(&leaf(index)).to_string());
                good.push(line(&["record", &at, &old_size, &root, &leaf], &proof));
                bad.push(line(&["record", &at, &old_size, &root, &other], &proof));
            }
        }
        assert!(judged(&judge, log.tiles(), &key, &good).iter().all(|word| word == "good"), "{good:#?}");
        let refused = judged(&judge, log.tiles(), &key, &bad);
        assert_eq!((refused.len(), refused[0].as_str()), (bad.len() + 1, "good"));
        assert!(refused[1..].iter().all(|word| word != "good"), "{refused:#?} {bad:#?}");
    }
    // The judge can see a difference in the directory, too.
    let checkpoint = log.tiles().join("checkpoint");
    let good = std::fs::read_to_string(&checkpoint).unwrap();
    std::fs::write(&checkpoint, good.replacen("\n1000\n", "\n1001\n", 1)).unwrap();
    assert_ne!(judged(&judge, log.tiles(), &key, &[]), ["good"]);
    std::fs::write(&checkpoint, &good).unwrap();
    assert_eq!(judged(&judge, log.tiles(), &key, &[]), ["good"]);
    let bundle = log.tiles().join("tile/entries/003.p/232");
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    assert_ne!(judged(&judge, log.tiles(), &key, &[]), ["good"]);
}

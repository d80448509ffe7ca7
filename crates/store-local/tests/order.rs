//! Power cuts: what the kernel was asked to make durable, before each
//! acknowledgement.
//!
//! A kill leaves the page cache alone, so it cannot show a missing sync. This
//! test reads the system calls instead: a child writes one thing after the
//! other under `strace`, and between two acknowledgements the syncs that the
//! second rests on must be there, in their order. Where there is no strace,
//! or no leave to trace, the test says so and proves nothing.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use firmseal_fleet::Phase;
use firmseal_keys::Log;
use firmseal_manifest::UploadId;
use firmseal_store::conformance::samples;
use firmseal_store::{Begin, Blobs, Fleet, NewUpload, Observation, Registry, Requests, Uploads};
use firmseal_store_local::LocalStore;

const INTO: &str = "FIRMSEAL_TRACED_INTO";

/// What must have happened since the acknowledgement before: substrings of
/// system calls, in order.
const WRITES: [(&str, &[&str]); 9] = [
    ("opened", &["fsync(blobs)", "fsync(.)"]),
    ("blob", &["fsync(tmp/", "rename tmp/", "fsync(blobs/", "sync(store.db-wal)"]),
    ("first piece", &["sync(uploads/upl-", "fsync(uploads)", "sync(store.db-wal)"]),
    ("second piece", &["sync(uploads/upl-", "sync(store.db-wal)"]),
    ("upload", &["fsync(tmp/", "rename tmp/", "fsync(blobs/", "sync(store.db-wal)"]),
    ("intent", &["sync(intents.log)"]),
    // Entries and hashes before the checkpoint that covers them, all of them
    // and their names before its own.
    (
        "checkpoint",
        &[
            "fsync(intents.new)",
            "rename intents.new",
            "fsync(intents.tiles/tile/0",
            "fsync(intents.new)",
            "rename intents.new",
            "fsync(intents.tiles)",
        ],
    ),
    ("release", &["sync(store.db-wal)"]),
    ("report", &["sync(store.db-wal)"]),
];

async fn write_into(dir: &Path) {
    let said = |what: &str| println!("\nack {what}");
    let store = LocalStore::open(dir).unwrap();
    said("opened");
    let id = store.put_bytes(vec![1; 100_000].into()).await.unwrap();
    said("blob");
    let upload = NewUpload {
        id: UploadId::new(),
        size: 100_000,
        digest: id,
        owner: "ci".to_owned(),
        expires: samples::later(60),
    };
    store.create(upload.clone()).await.unwrap();
    store.append(upload.id, 0, vec![1; 60_000].into()).await.unwrap();
    said("first piece");
    store.append(upload.id, 60_000, vec![1; 40_000].into()).await.unwrap();
    said("second piece");
    store.complete(upload.id).await.unwrap();
    said("upload");
    store.intents().append(b"an intent").await.unwrap();
    said("intent");
    store.intents().checkpoint().await.unwrap();
    said("checkpoint");
    let mut release = samples::release(&store, "gateway", "1.0.0", 1).await;
    let Begin::Fresh(claim) = store.begin(samples::request("key", samples::digest())).await.unwrap() else {
        panic!("the key is fresh")
    };
    release.request = claim.request;
    store.reserve(&claim, samples::reservation(&release), samples::NOW).await.unwrap();
    store.finish(&claim, Vec::new(), Some(release.clone())).await.unwrap();
    said("release");
    let device = samples::enrolled(&store, "gateway").await;
    let reports = vec![samples::report(device.id, Some(release.id), Phase::Confirmed)];
    let observation = Observation {
        device: device.id,
        now: samples::NOW,
        running: None,
        equipment: None,
        reports,
        most: 9,
    };
    store.observe(observation).await.unwrap();
    said("report");
    store.release(release.id).await.unwrap();
}

/// System calls that succeeded, in the order of their return, as
/// `fsync(path)`, `rename path`, or `ack what`; paths relative to the store.
fn calls(trace: &str, dir: &Path) -> Vec<String> {
    let root = dir.to_str().unwrap();
    let relative = |path: &str| match path.strip_prefix(root) {
        Some("") => ".".to_owned(),
        Some(rest) => rest.trim_start_matches('/').to_owned(),
        None => path.to_owned(),
    };
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, String> = HashMap::new();
    for line in trace.lines() {
        let Some((pid, line)) = line.trim_start().split_once(' ') else { continue };
        let line = line.trim_start();
        // A call that another thread's call interrupts takes two lines.
        let whole = if let Some(begun) = line.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, begun.to_owned());
            continue;
        } else if line.starts_with("<... ") {
            let end = line.split_once("resumed>").map(|(_, end)| end).unwrap_or_default();
            unfinished.remove(pid).unwrap_or_default() + end
        } else {
            line.to_owned()
        };
        if let Some(at) = whole.find("ack ").filter(|_| whole.starts_with("write(1")) {
            calls.push(whole[at..].split(['\\', '"']).next().unwrap().to_owned());
        } else if !whole.trim_end().ends_with("= 0") {
            continue;
        } else if let Some((name, rest)) = whole.split_once('(') {
            match name {
                "fsync" | "fdatasync" => {
                    let path = rest.split(['<', '>']).nth(1).unwrap_or_default();
                    calls.push(format!("{name}({})", relative(path)));
                }
                "rename" | "renameat" | "renameat2" => {
                    let path = rest.split('"').nth(1).unwrap_or_default();
                    calls.push(format!("rename {}", relative(path)));
                }
                _ => {}
            }
        }
    }
    calls
}

#[tokio::test]
async fn every_acknowledgement_follows_its_syncs() {
    if let Some(dir) = std::env::var_os(INTO) {
        return write_into(Path::new(&dir)).await;
    }
    let temporary = tempfile::tempdir().unwrap();
    let (dir, trace) =
        (temporary.path().canonicalize().unwrap().join("store"), temporary.path().join("trace"));
    let traced = Command::new("strace")
        .args(["-f", "-y", "-qq", "-e", "trace=fsync,fdatasync,/^rename,write", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "every_acknowledgement_follows_its_syncs", "--nocapture"])
        .env(INTO, &dir)
        .output();
    let trace = match (&traced, std::fs::read_to_string(&trace)) {
        (Ok(output), Ok(trace)) if output.status.success() => trace,
        (Ok(output), Ok(trace)) if trace.contains("ack ") => panic!("the child failed: {output:?}"),
        _ => return eprintln!("skipped: strace is missing or may not trace here"),
    };
    let calls = calls(&trace, &dir);
    let mut since = calls.iter();
    for (what, needed) in WRITES {
        let ack = format!("ack {what}");
        let before: Vec<_> = since.by_ref().take_while(|call| **call != ack).collect();
        let mut left = before.iter();
        for need in needed {
            assert!(
                left.any(|call| call.contains(need)),
                "{what} was acknowledged without {need} in its place: {before:#?}"
            );
        }
    }
}

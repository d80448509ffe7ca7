//! The witness: every answer of the specification over HTTP, and that
//! neither a kill nor two processes make it cosign two histories.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use common::{FakeLog, Serving, add_log};
use firmseal_outbound::{Endpoint, Fetched};
use firmseal_tlog::{Answer, Checkpoint, Note, NoteSignature};
use firmseal_witness::{Witness, WitnessError};

const CHILD: &str = "FIRMSEAL_WITNESS_DIR";

async fn post(endpoint: &Endpoint, body: String) -> Fetched {
    endpoint.post("add-checkpoint", Bytes::from(body), 64 * 1024).await.unwrap()
}

fn line(fetched: &Fetched) -> NoteSignature {
    let Ok(Answer::Cosigned(lines)) = Answer::read(fetched.status, None, &fetched.body) else {
        panic!("{fetched:?}")
    };
    lines[0].clone()
}

#[tokio::test]
async fn every_answer_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("w");
    let key = Witness::create(&home, "w.example/1").unwrap();
    let mode = std::fs::metadata(home.join("witness.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (log, fork) = (FakeLog::new("example.com/log", 1, "a"), FakeLog::new("example.com/log", 1, "b"));
    add_log(&home, &log);
    let witness = Serving::start(&home).await;
    let at = &witness.endpoint;

    let monitoring = format!("{}/checkpoint", log.name());
    assert_eq!(at.get(&monitoring, 9999).await.unwrap().status, 404, "nothing seen yet");
    assert_eq!(at.get("x/checkpoint", 9999).await.unwrap().status, 404);
    // 200, and again for the same tree.
    for (old, size) in [(0, 3), (3, 3), (3, 300), (300, 301)] {
        let answer = post(at, log.request(old, size)).await;
        assert_eq!(answer.status, 200, "{old} {size} {answer:?}");
        let mut note = Note::parse(log.note(size).as_bytes()).unwrap();
        note.push(line(&answer)).unwrap();
        assert!(note.verify(std::slice::from_ref(&key)).unwrap()[0].time.unwrap() > 1_700_000_000);
    }
    // The monitoring address has the last one, with both signatures.
    let seen = at.get(&monitoring, 9999).await.unwrap();
    let note = Note::parse(&seen.body).unwrap();
    assert_eq!(Checkpoint::parse(note.text()).unwrap().size, 301);
    assert_eq!(note.verify(&[key.clone(), log.verifier()]).unwrap().len(), 2);
    assert_eq!(seen.content_type(), Some("text/plain; charset=utf-8"));
    // What is refused, and how.
    let stranger = FakeLog::new("example.com/log", 2, "a");
    for (want, body) in [
        (400, "old x\n\n".to_owned()),
        (400, log.request_as(302, 301)),
        (400, "x".repeat(600 * 1024)),
        (403, stranger.request(301, 302)),
        (404, FakeLog::new("example.com/other", 1, "a").request(0, 1)),
        (409, log.request(300, 302)),
        (422, fork.request(301, 302)),
        (422, fork.request(301, 301)),
    ] {
        let answer = post(at, body).await;
        assert_eq!(answer.status, want, "{answer:?}");
        if want == 409 {
            assert_eq!((answer.content_type(), &answer.body[..]), (Some("text/x.tlog.size"), &b"301\n"[..]));
        }
    }
    // Lines of strangers are neither verified nor handed on.
    let mut padded = log.request(301, 302);
    padded += &format!("{}\n", NoteSignature::parse("\u{2014} evil AAAAAAAA").unwrap());
    assert_eq!(post(at, padded).await.status, 200);
    assert!(!String::from_utf8_lossy(&at.get(&monitoring, 9999).await.unwrap().body).contains("evil"));

    // A second process on the directory.
    assert!(matches!(Witness::open(&home), Err(WitnessError::InUse(_))));
    witness.stop().await;
    let again = Witness::open(&home).unwrap();
    assert_eq!(again.watched()[0].size, Some(302));
    assert_eq!(again.add_checkpoint(log.request(0, 1).as_bytes(), 1).status, 409);
    drop(again);
    // A memory that was changed is an error, not a blank memory.
    let file = home.join("seen").join(log.name());
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\n302\n", "\n301\n")).unwrap();
    assert!(matches!(Witness::open(&home), Err(WitnessError::Memory { .. })));
    std::fs::write(&file, "").unwrap();
    assert!(matches!(Witness::open(&home), Err(WitnessError::Memory { .. })));
    std::fs::remove_file(&file).unwrap();
    std::fs::set_permissions(home.join("witness.key"), PermissionsExt::from_mode(0o640)).unwrap();
    let Err(WitnessError::Key { why, .. }) = Witness::open(&home) else { panic!() };
    assert!(!why.contains("PRIVATE"), "{why}");
}

#[test]
fn settings_that_would_watch_nothing_or_twice_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("w");
    let own = Witness::create(&home, "w.example/1").unwrap();
    assert!(matches!(Witness::create(&home, "w.example/1"), Err(WitnessError::Exists(_))));
    assert!(matches!(Witness::create(&dir.path().join("v"), "a b"), Err(WitnessError::Name(_))));
    let key = FakeLog::new("example.com/log", 1, "a").verifier();
    for (text, fine) in [
        (String::new(), true),
        (format!("[[log]]\nkey = \"{key}\"\n"), true),
        (format!("[[log]]\nkey = \"{key}\"\norigin = \"other\"\n"), true),
        (format!("[[log]]\nkey = \"{key}\"\n").repeat(2), false),
        (format!("[[log]]\nkey = \"{own}\"\n"), false),
        ("[[log]]\nkey = \"x\"\n".to_owned(), false),
        ("[[lgo]]\n".to_owned(), false),
    ] {
        std::fs::write(home.join("witness.toml"), &text).unwrap();
        assert_eq!(Witness::open(&home).is_ok(), fine, "{text}");
    }
}

/// What the child does until it is killed: serves, and says where.
#[tokio::test]
async fn child() {
    let Some(home) = std::env::var_os(CHILD) else { return };
    let serving = Serving::start(home.as_ref()).await;
    println!("\nat {}", serving.address);
    std::future::pending::<()>().await;
}

/// Two histories of one log ask for every size at once, and the witness is
/// killed wherever it happens to be. All that it ever cosigned is one
/// history.
#[tokio::test]
async fn killed_at_any_moment_it_cosigns_one_history() {
    let kills: u64 = std::env::var("FIRMSEAL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("w");
    Witness::create(&home, "w.example/1").unwrap();
    let logs = [FakeLog::new("example.com/log", 1, "a"), FakeLog::new("example.com/log", 1, "b")];
    add_log(&home, &logs[0]);
    let mut cosigned: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads", "1"])
            .env(CHILD, &home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let at = lines.find_map(|line| line.unwrap().strip_prefix("at ").map(str::to_owned)).unwrap();
        let at = Endpoint::new(&format!("http://{at}"), None, Duration::from_secs(10)).unwrap();
        // Each history asks from what it is told was seen last, growing by
        // one, until the witness is gone.
        let asking = |which: usize| {
            let (at, log) = (at.clone(), &logs[which]);
            async move {
                let (mut size, mut got) = (0u64, Vec::new());
                loop {
                    let Ok(answer) =
                        at.post("add-checkpoint", Bytes::from(log.request(size, size + 1)), 9999).await
                    else {
                        return got;
                    };
                    let kind = answer.content_type();
                    match Answer::read(answer.status, kind, &answer.body).unwrap() {
                        Answer::Cosigned(_) => {
                            size += 1;
                            got.push((size, log.note(size)));
                        }
                        Answer::Conflict(seen) => size = seen,
                        Answer::Refused(_) => tokio::task::yield_now().await,
                    }
                }
            }
        };
        // Killed after a number of answers of its own making: the clock of
        // the kill is another task's progress, not a sleep.
        let killing = async {
            let probe = format!("{}/checkpoint", logs[0].name());
            for _ in 0..1 + round * 7 % 23 {
                let _ = at.get(&probe, 9999).await;
            }
            child.kill().unwrap();
            child.wait().unwrap();
        };
        let (a, b, ()) = tokio::join!(asking(0), asking(1), killing);
        for (size, note) in a.into_iter().chain(b) {
            let old = cosigned.insert(size, note.clone());
            assert!(old.is_none_or(|old| old == note), "two trees of {size} entries were cosigned");
        }
    }
    let count = cosigned.len();
    assert!(count > 3, "only {count} cosignatures");
    let ours = |log: &FakeLog| cosigned.iter().all(|(size, note)| *note == log.note(*size));
    assert!(ours(&logs[0]) || ours(&logs[1]), "both histories were cosigned");
    eprintln!("{count} sizes cosigned over {kills} kills, one history");
}

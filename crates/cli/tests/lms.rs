//! LMS keys with the true program: a root that one signs, a delegation by
//! another, and logs that are not what they were.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests say what broke by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

struct Room(tempfile::TempDir);

impl Room {
    fn new() -> Room {
        let room = Room(tempfile::tempdir().unwrap());
        room.write("pw", "correct horse\n");
        fs::set_permissions(room.path("pw"), fs::Permissions::from_mode(0o600)).unwrap();
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Runs a line; a `"..."` in it is one argument.
    fn run(&self, line: &str) -> (Option<i32>, String, String) {
        let mut words = Vec::new();
        for (number, part) in line.split('"').enumerate() {
            match number % 2 {
                1 => words.push(part.to_owned()),
                _ => words.extend(part.split_whitespace().map(str::to_owned)),
            }
        }
        let output = Command::new(env!("CARGO_BIN_EXE_firmseal"))
            .args(words)
            .current_dir(self.0.path())
            .env_remove("FIRMSEAL_PROFILE")
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn out(&self, line: &str) -> String {
        let (code, out, err) = self.run(line);
        assert_eq!(code, Some(0), "{line}: {err}");
        out
    }

    fn fails(&self, line: &str, code: i32) -> String {
        let (ended, _, err) = self.run(line);
        assert_eq!(ended, Some(code), "{line}: {err}");
        err
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.out(&format!("--json {line}"))).unwrap()
    }

    /// How often a key can still sign.
    fn left(&self, key: &str, counts: &str) -> u64 {
        let shown = self.json(&format!("keys show file:{key} --secret file:pw {counts}"));
        shown["signatures_left"].as_u64().unwrap()
    }

    fn sign_line(&self, ceremony: &str, to: &str) -> String {
        let words = self.json(&format!("ceremony status {ceremony}"))["words"].as_str().unwrap().to_owned();
        format!(
            "ceremony sign {ceremony}/request.toml --key file:root.pem --secret file:pw --log custodian \
             --yes-words \"{words}\" -o {to}"
        )
    }

    fn root(&self) -> String {
        "environment = \"test\"\n[[role]]\nrole = \"root\"\nthreshold = 1\n\
         holder = [{ name = \"alice\", keys = [\"root.pub\"] }]\n[[role]]\nrole = \"release\"\nthreshold = 1\n\
         holder = [{ name = \"builder\", keys = [\"release.pub\"] }]\n"
            .to_owned()
    }

    /// A root that an LMS key of the log in `custodian` has signed, with
    /// one of the log in `place` for releases.
    fn first(&self) {
        self.out("init place");
        self.out(
            "keys generate file:root.pem --secret file:pw --public root.pub --algorithm lms \
             --lms-set sha256-h5-w4 --log custodian --unwatched",
        );
        self.out(
            "keys generate file:release.pem --secret file:pw --public release.pub --algorithm lms \
             --lms-set sha256-192-h5-w4 --place place --unwatched",
        );
        self.write("root.toml", &self.root());
        self.out("ceremony start one --root root.toml");
        self.out(&self.sign_line("one", "one.toml"));
        self.out("ceremony add one one.toml");
        self.out("ceremony finish one -o one.cbor");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn a_root_and_a_delegation_by_lms_keys_are_believed() {
    let room = Room::new();
    room.first();
    assert_eq!(room.left("root.pem", "--log custodian"), 31);
    fs::copy(room.path("one.cbor"), room.path("place/trust/root.cbor")).unwrap();
    room.out("keys generate file:ci.pem --secret file:pw --public ci.pub");
    room.out(
        "delegate --place place --key file:release.pem --secret file:pw --to ci.pub --product gateway \
         --versions 1.0.0..1.9.0 --epoch-max 3 --index 1 --for 8h -o ci.delegation",
    );
    assert_eq!(room.left("release.pem", "--place place"), 31);
    room.write(
        "gateway.toml",
        "id = \"gateway\"\nenvironment = \"test\"\nvendor = \"example.com\"\nclass = \"gateway rev 1\"\n\
         format = \"raw\"\ncomponents = [{ name = \"main\", capacity = \"16MiB\" }]\n",
    );
    room.write("firmware.bin", "firmware");
    room.out(
        "sign-offline --place place --product-file gateway.toml --version 1.0.0 --epoch 1 \
         --component main=firmware.bin --key file:ci.pem --secret file:pw --delegation ci.delegation \
         -o gateway.bundle",
    );
    assert!(room.out("verify --root one.cbor gateway.bundle").contains("valid: gateway 1.0.0"));
    assert_eq!(room.left("release.pem", "--place place"), 31, "the delegated key has signed");
}

#[test]
fn a_key_says_no_where_nobody_counts() {
    let room = Room::new();
    room.first();
    let generate = "keys generate file:x.pem --secret file:pw --algorithm lms --lms-set sha256-h5-w4";
    assert!(room.fails(generate, 2).contains("counts its signatures in a log"));
    // Without witnesses it has to be said that there are none.
    let alone = room.fails(&format!("{generate} --place place"), 3);
    assert!(alone.contains("--unwatched"), "{alone}");
    assert!(!room.path("x.pem").exists());
    room.fails(&format!("{generate} --lms-set sha256-h20-w8 --log custodian --unwatched"), 2);
    // Another log, and the same one begun anew.
    let elsewhere = room.sign_line("one", "two.toml").replace("--log custodian", "--log elsewhere");
    assert!(room.fails(&elsewhere, 3).contains("was not made for this log"));
    assert!(room.fails("keys show file:root.pem --secret file:pw --log elsewhere", 4).contains("not made"));
    fs::remove_file(room.path("custodian/intents.log")).unwrap();
    fs::remove_dir_all(room.path("custodian/intents.tiles")).unwrap();
    assert!(room.fails(&room.sign_line("one", "two.toml"), 3).contains("was not made for this log"));
    assert!(!room.path("two.toml").exists());
}

/// A machine without witnesses cannot know that its log was restored; the
/// root document that its key has signed meanwhile knows.
#[test]
fn a_custodians_log_that_was_restored_is_found_out_by_what_was_signed() {
    let room = Room::new();
    room.first();
    let (log, backup) = (room.path("custodian"), room.path("backup"));
    copy(&log, &backup);
    room.out("keys generate file:next.pem --secret file:pw --public next.pub");
    let change = "[[role]]\nrole = \"release\"\nthreshold = 1\nholder = [{ name = \"next\", keys = [\"next.pub\"] }]\n";
    room.write("change.toml", change);
    room.out("ceremony start two --rotate one.cbor --change change.toml");
    room.out(&room.sign_line("two", "two.toml"));
    room.out("ceremony add two two.toml");
    room.out("ceremony finish two -o two.cbor");
    assert_eq!(room.left("root.pem", "--log custodian"), 30);
    // The third begins from the second, which the restored log knows
    // nothing of.
    fs::remove_dir_all(&log).unwrap();
    copy(&backup, &log);
    assert_eq!(room.left("root.pem", "--log custodian"), 31);
    room.write("change.toml", &change.replace("\"next\"", "\"third\""));
    room.out("ceremony start three --rotate two.cbor --change change.toml");
    let refused = room.fails(&room.sign_line("three", "three.toml"), 3);
    assert!(refused.contains("has signed with leaf 1") && refused.contains("restored"), "{refused}");
    assert_eq!(room.left("root.pem", "--log custodian"), 31, "no leaf was taken");
    assert!(!room.path("three.toml").exists());
}

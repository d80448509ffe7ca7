//! `firmseal export tuf` at a desk: every use of a key is in the log before
//! it happens, and a repository may be empty.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::collections::BTreeMap;
use std::process::{Command, Output};

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::{Intent, PublicKey, Purpose};
use firmseal_store_local::IntentLog;
use firmseal_tuf::{Document, Key, Role};
use serde_json::Value;

const SETTINGS: &str = "secret = \"file:passphrase\"\n\
    sign = [\"file:root.pem\", \"file:targets.pem\", \"file:snapshot.pem\", \"file:timestamp.pem\"]\n\
    root.keys = [\"root.pub\"]\ntargets.keys = [\"targets.pub\"]\n\
    snapshot.keys = [\"snapshot.pub\"]\ntimestamp.keys = [\"timestamp.pub\"]\n";

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().unwrap());
        desk.good("init place --host 127.0.0.1");
        std::fs::create_dir(desk.0.path().join("tuf")).unwrap();
        std::fs::copy(desk.0.path().join("place/keys/passphrase"), desk.0.path().join("tuf/passphrase"))
            .unwrap();
        for (name, algorithm) in
            [("root", "p256"), ("targets", "p256"), ("snapshot", "ed25519"), ("timestamp", "ed25519")]
        {
            desk.good(&format!(
                "keys generate file:tuf/{name}.pem --algorithm {algorithm} --secret file:tuf/passphrase \
                 --public tuf/{name}.pub"
            ));
        }
        desk.write("tuf/tuf.toml", SETTINGS);
        desk
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_firmseal"))
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .expect("the program runs")
    }

    fn good(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What was logged for TUF.
    fn intents(&self) -> Vec<Intent> {
        let log = IntentLog::open(&self.0.path().join("place/store/intents.log")).unwrap();
        let entries =
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(log.read(0, 1000));
        let intents = entries.unwrap().into_iter().filter_map(|entry| Intent::decode(&entry.leaf));
        intents.filter(|intent| intent.purpose == Purpose::Tuf).collect()
    }
}

const EXPORT: &str = "export tuf repo --settings tuf/tuf.toml --place place";

#[test]
fn every_signature_has_an_entry_of_its_own() {
    let desk = Desk::new();
    let said: Value = serde_json::from_str(&desk.good(&format!("{EXPORT} --json"))).unwrap();
    assert_eq!(said["targets"], 0, "a repository may be empty");
    desk.good(EXPORT);

    let read = |path: &str| std::fs::read(desk.0.path().join(path)).unwrap();
    let key = |name: &str| {
        let pem = String::from_utf8(read(&format!("tuf/{name}.pub"))).unwrap();
        Key::new(PublicKey::from_pem(&pem).unwrap()).unwrap()
    };
    let intents = desk.intents();
    assert_eq!(intents.len(), 5, "four documents, and one more timestamp");
    let by_subject: BTreeMap<_, _> = intents.iter().map(|intent| (intent.subject.0, intent)).collect();
    for role in Role::ALL {
        let file = role.file(1);
        let document = Document::decode(role, &file, &read(&format!("repo/metadata/{file}"))).unwrap();
        let subject = RustCrypto.digest(&document.canonical());
        let intent = by_subject.get(&subject.0).unwrap_or_else(|| panic!("{file} was not logged"));
        assert_eq!(intent.keys, [key(role.name()).public().id()]);
    }
}

#[test]
fn without_a_log_there_is_no_signature() {
    let desk = Desk::new();
    // A directory stands where the log should.
    let place = desk.0.path().join("place/store/intents.log");
    // `init` has logged its root already.
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir_all(&place).unwrap();
    let output = desk.run(EXPORT);
    assert_eq!(output.status.code(), Some(8), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!desk.0.path().join("repo/metadata").exists());
}

#[test]
fn settings_are_refused_by_line_and_without_repeating_them() {
    let desk = Desk::new();
    desk.write("tuf/tuf.toml", &SETTINGS.replace("file:root.pem", "pkcs11:token=a?pin-value=271828"));
    let output = desk.run(EXPORT);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("tuf/tuf.toml: line 2") && !stderr.contains("271828"), "{stderr}");
}

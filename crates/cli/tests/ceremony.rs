//! Ceremonies with the true program: custodians with key files and a token,
//! a stick between them, and what a thief may do to it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use firmseal_core::Root;
use firmseal_core::crypto::RustCrypto;
use serde_json::Value;

struct Room(tempfile::TempDir);

impl Room {
    /// People with key files, all with one passphrase.
    fn with(people: &[&str]) -> Room {
        let room = Room(tempfile::tempdir().unwrap());
        room.write("pw", "secret\n");
        fs::set_permissions(room.path("pw"), fs::Permissions::from_mode(0o600)).unwrap();
        for name in people {
            room.out(&format!("keys generate file:{name}.pem --secret file:pw --public {name}.pub"));
        }
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, line: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_firmseal"))
            .args(line)
            .current_dir(self.0.path())
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .env_remove("FIRMSEAL_PROFILE")
            .stdin(Stdio::null())
            .output()
            .expect("the program runs")
    }

    fn out(&self, line: &str) -> String {
        let output = self.run(&line.split_whitespace().collect::<Vec<_>>());
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.out(&format!("--json {line}"))).unwrap()
    }

    fn fails(&self, line: &str, code: i32) -> String {
        let output = self.run(&line.split_whitespace().collect::<Vec<_>>());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {text}");
        text
    }

    /// A token with room for a key, and the key's URI.
    fn token(&self, label: &str) -> String {
        let module = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
            "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
            "/usr/lib64/pkcs11/libsofthsm2.so",
            "/usr/local/lib/softhsm/libsofthsm2.so",
        ];
        let module = module.iter().find(|path| Path::new(path).exists()).expect("run `cargo xtask setup`");
        fs::create_dir(self.path("tokens")).unwrap();
        let tokens = self.path("tokens");
        self.write("softhsm2.conf", &format!("directories.tokendir = {}\n", tokens.display()));
        self.write("pin", "123456");
        fs::set_permissions(self.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
        let made = Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .args(["--init-token", "--free", "--label", label, "--so-pin", "87654321", "--pin", "123456"])
            .output()
            .expect("run `cargo xtask setup`");
        assert!(made.status.success());
        let pin = self.path("pin");
        format!("pkcs11:token={label};object=root?module-path={module}&pin-source=file:{}", pin.display())
    }

    fn words(&self, ceremony: &str) -> String {
        self.json(&format!("ceremony status {ceremony}"))["words"].as_str().unwrap().to_owned()
    }

    fn sign_as(&self, request: &str, words: &str, key: &str, log: &str, to: &str) -> Output {
        let line = ["ceremony", "sign", request, "--key", key, "--secret", "file:pw", "--log", log];
        self.run(&[&line[..], &["--yes-words", words, "-o", to]].concat())
    }

    /// A custodian signs honestly; the file is NAME-CEREMONY.toml.
    fn sign(&self, ceremony: &str, name: &str) -> String {
        let to = format!("{name}-{ceremony}.toml");
        let request = format!("{ceremony}/request.toml");
        let (key, log) = (format!("file:{name}.pem"), format!("log-{name}"));
        let output = self.sign_as(&request, &self.words(ceremony), &key, &log, &to);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        to
    }

    fn root(&self, name: &str, environment: &str, root: &[(&str, &str)], release: &str) {
        let holder = |(name, key): &(&str, &str)| format!("  {{ name = \"{name}\", keys = [\"{key}\"] }},\n");
        let holders: String = root.iter().map(holder).collect();
        self.write(
            name,
            &format!(
                "environment = \"{environment}\"\n[[role]]\nrole = \"root\"\nthreshold = 2\nholder = [\n{holders}]\n\
                 [[role]]\nrole = \"release\"\nthreshold = 1\nholder = [{{ name = \"builder\", keys = [\"{release}\"] }}]\n"
            ),
        );
    }

    /// A finished first root of alice, bob and carol.
    fn first(&self) -> Vec<u8> {
        let people = [("alice", "alice.pub"), ("bob", "bob.pub"), ("carol", "carol.pub")];
        self.root("root.toml", "test", &people, "builder.pub");
        self.out("ceremony start one --root root.toml");
        for name in ["carol", "alice"] {
            let file = self.sign("one", name);
            self.out(&format!("ceremony add one {file}"));
        }
        self.out("ceremony finish one -o one.cbor");
        fs::read(self.path("one.cbor")).unwrap()
    }
}

const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "builder"];

#[test]
fn two_files_and_a_token_sign_in_every_order() {
    let room = Room::with(&["alice", "bob", "builder"]);
    let carol = room.token("carol");
    room.out(&format!("keys generate {carol} --algorithm p256 --public carol.pub"));
    let people = [("alice", "alice.pub"), ("bob", "bob.pub"), ("carol", "carol.pub")];
    room.root("root.toml", "test", &people, "builder.pub");
    room.out("ceremony start one --root root.toml");
    let words = room.words("one");
    let mut files = vec![room.sign("one", "alice"), room.sign("one", "bob")];
    let output = room.sign_as("one/request.toml", &words, &carol, "log-carol", "carol.toml");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    files.push("carol.toml".to_owned());
    for (index, [a, b]) in [[0, 1], [1, 0], [0, 2], [2, 0], [1, 2], [2, 1]].into_iter().enumerate() {
        let copy = format!("copy-{index}");
        let copied = Command::new("cp").arg("-a").args([room.path("one"), room.path(&copy)]).status();
        assert!(copied.unwrap().success());
        room.fails(&format!("ceremony finish {copy} -o early.cbor"), 3);
        let waiting = room.json(&format!("ceremony add {copy} {}", files[a]));
        assert_eq!((&waiting["complete"], &waiting["authorities"][0]["met"]), (&false.into(), &false.into()));
        room.fails(&format!("ceremony finish {copy} -o early.cbor"), 3);
        assert!(!room.path("early.cbor").exists());
        let done = room.json(&format!("ceremony add {copy} {}", files[b]));
        assert_eq!(done["complete"], true);
        room.out(&format!("ceremony finish {copy} -o {copy}.cbor"));
        let document = fs::read(room.path(&format!("{copy}.cbor"))).unwrap();
        Root::decode(&document).unwrap().verify(&RustCrypto).unwrap();
        room.out(&format!("ceremony verify-record {copy}/record.md"));
    }
}

#[test]
fn the_stick_is_not_believed() {
    let room = Room::with(&[&PEOPLE[..], &["mallory"]].concat());
    let people = [("alice", "alice.pub"), ("bob", "bob.pub"), ("carol", "carol.pub")];
    room.root("root.toml", "test", &people, "builder.pub");
    room.out("ceremony start one --root root.toml");
    let words = room.words("one");
    // A thief puts a request of their own onto the stick.
    let theirs = [("alice", "alice.pub"), ("mallory", "mallory.pub"), ("carol", "carol.pub")];
    room.root("theirs.toml", "test", &theirs, "builder.pub");
    room.out("ceremony start theirs --root theirs.toml");
    assert_ne!(room.words("theirs"), words);
    let fooled = room.sign_as("theirs/request.toml", &words, "file:alice.pem", "log-alice", "x.toml");
    assert_eq!(fooled.status.code(), Some(3), "{fooled:?}");
    assert!(String::from_utf8_lossy(&fooled.stderr).contains("sign nothing"));
    assert!(!room.path("x.toml").exists() && !room.path("log-alice").exists(), "no key was used");
    // A custodian who does not look signs other bytes: they do not count.
    let careless = room.sign("theirs", "alice");
    assert!(room.fails(&format!("ceremony add one {careless}"), 3).contains("made over other bytes"));
    // Nor when the signature claims to be for this request.
    let digest = room.json("ceremony show one/request.toml")["request"].as_str().unwrap().to_owned();
    let other = room.json("ceremony show theirs/request.toml")["request"].as_str().unwrap().to_owned();
    room.write("lie.toml", &room.read(&careless).replace(&other, &digest));
    assert!(room.fails("ceremony add one lie.toml", 3).contains("does not verify"));
    // A stranger, and a holder twice.
    let output = room.sign_as("one/request.toml", &words, "file:mallory.pem", "log-m", "m.toml");
    assert_eq!(output.status.code(), Some(3));
    assert!(!room.path("log-m").exists());
    let bob = room.sign("one", "bob");
    room.out(&format!("ceremony add one {bob}"));
    room.out(&format!("ceremony add one {bob}"));
    let again = "bob-again.toml";
    let output = room.sign_as("one/request.toml", &words, "file:bob.pem", "log-bob", again);
    assert!(output.status.success());
    assert!(room.fails(&format!("ceremony add one {again}"), 6).contains("has signed already"));
    // A machine signs one document of a number, unless told otherwise.
    let text = room.read("root.toml").replace("threshold = 2", "threshold = 3");
    let lineage = room.json("ceremony show one/request.toml")["lineage"].as_str().unwrap().to_owned();
    room.write("other.toml", &format!("lineage = \"{lineage}\"\n{text}"));
    room.out("ceremony start other --root other.toml");
    let second =
        room.sign_as("other/request.toml", &room.words("other"), "file:bob.pem", "log-bob", "o.toml");
    assert_eq!(second.status.code(), Some(6), "{second:?}");
    // The entry that travels with a signature must be about it.
    let alien = room.sign("one", "carol");
    let leaf = |name: &str| room.read(name).lines().find(|line| line.starts_with("leaf")).unwrap().to_owned();
    room.write("alien.toml", &room.read(&alien).replace(&leaf(&alien), &leaf(&bob)));
    assert!(room.fails("ceremony add one alien.toml", 3).contains("log entry"));
    room.out(&format!("ceremony add one {alien}"));
    room.out("ceremony finish one -o one.cbor");
}

#[test]
fn roots_rotate_and_old_ones_do_not_come_back() {
    let room = Room::with(&[&PEOPLE[..], &["dave", "erin", "next"]].concat());
    let one = room.first();
    room.write(
        "change.toml",
        "[[role]]\nrole = \"root\"\nthreshold = 1\nholder = [\n  { name = \"dave\", keys = [\"dave.pub\"] },\n  \
         { name = \"erin\", keys = [\"erin.pub\"] },\n]\n\
         [[role]]\nrole = \"release\"\nthreshold = 1\nholder = [{ name = \"builder\", keys = [\"next.pub\"] }]\n",
    );
    room.out("ceremony start two --rotate one.cbor --change change.toml");
    let shown = room.out("ceremony show two/request.toml");
    for said in ["THRESHOLD LOWERED: root from 2 to 1", "HOLDER REMOVED: alice", "+ release: key"] {
        assert!(shown.contains(said), "{shown}");
    }
    let files: Vec<String> = ["dave", "bob", "alice"].iter().map(|name| room.sign("two", name)).collect();
    room.out(&format!("ceremony add two {} {}", files[0], files[1]));
    assert!(room.fails("ceremony finish two -o two.cbor", 3).contains("waiting for alice, carol"));
    room.out(&format!("ceremony add two {}", files[2]));
    room.out("ceremony finish two -o two.cbor");
    let two = fs::read(room.path("two.cbor")).unwrap();
    Root::decode(&one).unwrap().successor(&two, &RustCrypto).unwrap();
    // The old root replayed: alice's machine has signed version 2 before.
    room.write("evil.toml", "minimum-epoch = 9\n");
    room.out("ceremony start replay --rotate one.cbor --change evil.toml");
    let words = room.words("replay");
    let output = room.sign_as("replay/request.toml", &words, "file:alice.pem", "log-alice", "r.toml");
    assert_eq!(output.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another root 2"));
    // A whole new file goes on from a printed one.
    room.write("whole.toml", &room.out("ceremony spec two.cbor"));
    room.out("ceremony start three --rotate two.cbor --root whole.toml");
    let shown = room.json("ceremony show three/request.toml");
    assert_eq!((&shown["number"], &shown["changes"]), (&3.into(), &Value::Array(Vec::new())));
    let dave = room.sign("three", "dave");
    room.out(&format!("ceremony add three {dave}"));
    room.out("ceremony finish three -o three.cbor");
}

#[test]
fn a_finished_root_makes_a_place_and_its_record_goes_into_the_log() {
    let room = Room::with(&PEOPLE);
    room.first();
    room.fails("init place --root one.cbor --release-key file:alice.pem --secret file:pw", 3);
    room.out("init place --root one.cbor --release-key file:builder.pem --secret file:pw");
    assert_eq!(
        fs::read(room.path("place/trust/root.cbor")).unwrap(),
        fs::read(room.path("one.cbor")).unwrap()
    );
    let finished = room.json("ceremony finish one -o one.cbor --log place");
    assert_eq!(finished["log_index"], 0);
    let digest = finished["record_digest"].as_str().unwrap();
    room.out(&format!("ceremony verify-record one/record.md --digest {digest}"));
    let record = room.read("one/record.md");
    room.write("one/record.md", &record.replace("who: alice", "who: bob"));
    assert!(room.fails("ceremony verify-record one/record.md", 3).contains("was changed"));
    room.fails("ceremony status one", 3);
    // Who computes every digest anew is found by the one in the binder.
    room.write("one/record.md", &record[..record.find("\n## 4.").unwrap()]);
    room.out("ceremony verify-record one/record.md");
    assert!(
        room.fails(&format!("ceremony verify-record one/record.md --digest {digest}"), 3)
            .contains("written anew")
    );
}

#[test]
fn rsa_keys_sign_a_root_and_a_delegation() {
    let room = Room::with(&["ci"]);
    let carol = room.token("carol");
    room.out(&format!("keys generate {carol} --algorithm rsa4096 --public carol.pub"));
    for name in ["alice", "builder"] {
        room.out(&format!(
            "keys generate file:{name}.pem --algorithm rsa4096 --secret file:pw --public {name}.pub"
        ));
    }
    room.root("root.toml", "test", &[("alice", "alice.pub"), ("carol", "carol.pub")], "builder.pub");
    room.out("ceremony start one --root root.toml");
    let alice = room.sign("one", "alice");
    let output = room.sign_as("one/request.toml", &room.words("one"), &carol, "log-carol", "carol.toml");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    room.out(&format!("ceremony add one carol.toml {alice}"));
    room.out("ceremony finish one -o one.cbor");
    let document = fs::read(room.path("one.cbor")).unwrap();
    Root::decode(&document).unwrap().verify(&RustCrypto).unwrap();

    // The role's key certifies, a short one signs the releases.
    room.out("init place --root one.cbor --release-key file:builder.pem --secret file:pw");
    room.out(
        "delegate --place place --key file:builder.pem --secret file:pw --product gateway --to ci.pub \
         --versions 1.0.0..1.9.9 --epoch-max 1 --index 1 --for 8h -o ci.delegation",
    );
    let product = "id = \"gateway\"\nenvironment = \"test\"\nvendor = \"example.com\"\nclass = \"a\"\n\
                   format = \"raw\"\ncomponents = [{ name = \"main\", capacity = \"1MiB\" }]\n";
    room.write("gateway.toml", product);
    room.write("firmware.bin", "some firmware");
    room.out(
        "sign-offline --place place --product-file gateway.toml --component main=firmware.bin --epoch 1 \
         --version 1.0.0 --key file:ci.pem --secret file:pw --delegation ci.delegation -o one.bundle",
    );
    room.out("verify --root one.cbor one.bundle");
}

#[test]
fn both_kinds_of_keys_from_the_ceremony_to_a_release() {
    let room = Room::with(&["alice", "bob", "builder"]);
    for name in ["alice", "bob", "builder"] {
        room.out(&format!(
            "keys generate file:{name}-pq.pem --algorithm ml-dsa-65 --secret file:pw --public {name}-pq.pub"
        ));
    }
    let written = |alice: &str| {
        format!(
            "environment = \"test\"\n[[role]]\nrole = \"root\"\nthreshold = 1\nboth-kinds = true\nholder = [\n\
             {{ name = \"alice\", keys = [{alice}] }},\n{{ name = \"bob\", keys = [\"bob.pub\", \"bob-pq.pub\"] }}]\n\
             [[role]]\nrole = \"release\"\nthreshold = 1\nboth-kinds = true\n\
             holder = [{{ name = \"builder\", keys = [\"builder.pub\", \"builder-pq.pub\"] }}]\n"
        )
    };
    room.write("root.toml", &written("\"alice.pub\""));
    let wrong = room.fails("ceremony start one --root root.toml", 2);
    assert!(wrong.contains("line 7") && wrong.contains("each holder has a classical and"), "{wrong}");
    room.write("root.toml", &written("\"alice.pub\", \"alice-pq.pub\""));
    room.out("ceremony start one --root root.toml");
    let shown = room.out("ceremony show one/request.toml");
    assert!(shown.contains("1 of 2 holders, each with both kinds of keys"), "{shown}");
    for name in ["alice", "bob"] {
        let file = room.sign("one", name);
        let waiting = room.out(&format!("ceremony add one {file}"));
        assert!(
            waiting.contains("0 of 1") && waiting.contains("alice (with the other kind of key)"),
            "{waiting}"
        );
    }
    room.fails("ceremony finish one -o one.cbor", 3);
    let to = "alice-pq-one.toml";
    let output = room.sign_as("one/request.toml", &room.words("one"), "file:alice-pq.pem", "log-alice", to);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    room.out(&format!("ceremony add one {to}"));
    room.out("ceremony finish one -o one.cbor");
    assert!(room.out("root show one.cbor").contains("1 of 1 holders, each with both kinds of keys"));
    assert_eq!(room.json("root show one.cbor")["roles"][1]["both_kinds"], true);
    let again = room.out("ceremony spec one.cbor");
    assert!(again.contains("both-kinds = true"), "{again}");

    let product = "id = \"gateway\"\nenvironment = \"test\"\nvendor = \"example.com\"\nclass = \"a\"\n\
                   format = \"raw\"\ncomponents = [{ name = \"main\", capacity = \"1MiB\" }]\n";
    room.write("gateway.toml", product);
    room.write("firmware.bin", "some firmware");
    let sign =
        "sign-offline --place place --product-file gateway.toml --component main=firmware.bin --epoch 1";
    room.out(
        "init place --root one.cbor --secret file:pw --release-key file:builder.pem \
         --release-key file:builder-pq.pem",
    );
    for key in ["builder", "builder-pq"] {
        let alone = format!("{sign} --version 1.0.0 --key file:{key}.pem --secret file:pw -o x");
        let why = room.fails(&alone, 3);
        assert!(why.contains("both of only 0") && why.contains("nothing was signed"), "{why}");
    }
    let signed = room.json(&format!("{sign} --version 1.0.0 -o one.bundle"));
    assert_eq!(signed["release"]["log_index"], 0, "what was refused was not even announced");
    room.out("verify --root one.cbor one.bundle");
}

#[test]
fn production_takes_no_published_and_no_file_keys() {
    let room = Room::with(&PEOPLE);
    // RFC 8032 §7.1, test 1: everybody has the private half.
    room.write(
        "rfc.pub",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
         -----END PUBLIC KEY-----\n",
    );
    let people = [("alice", "alice.pub"), ("bob", "rfc.pub")];
    room.root("root.toml", "production", &people, "builder.pub");
    assert!(room.fails("ceremony start one --root root.toml", 3).contains("RFC 8032 section 7.1, test 1"));
    room.root("root.toml", "production", &[("alice", "alice.pub"), ("bob", "bob.pub")], "builder.pub");
    room.out("ceremony start one --root root.toml");
    let shown = room.out("ceremony show one/request.toml");
    assert!(shown.contains("log proof, approvals"), "silence demands both: {shown}");
    let output =
        room.sign_as("one/request.toml", &room.words("one"), "file:alice.pem", "log-alice", "alice.toml");
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("production keys live in tokens"));
    // A test root gets no demands that it did not ask for.
    let people = [("alice", "alice.pub"), ("bob", "bob.pub")];
    room.root("test.toml", "test", &people, "builder.pub");
    room.out("ceremony start test --root test.toml");
    assert!(room.out("ceremony show test/request.toml").contains("signatures only"));
    // Mistakes are named with their line.
    for (from, to, line) in [
        ("threshold = 2", "threshold = 3", 3),
        ("\"root\"", "\"rot\"", 3),
        ("alice.pub", "nobody.pub", 6),
        ("alice.pub", "alice.pem", 6),
        ("role = \"root\"", "rule = \"root\"", 3),
    ] {
        room.write("bad.toml", &room.read("test.toml").replace(from, to));
        let said = room.fails("ceremony start bad --root bad.toml", 2);
        assert!(said.contains(&format!("bad.toml: line {line}")), "{to}: {said}");
    }
}

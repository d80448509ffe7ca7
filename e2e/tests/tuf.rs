//! TUF repositories, judged by the reference client: PyPI's `tuf`, which
//! refreshes, downloads, follows roots, and refuses what it must.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_e2e::{Server, Shell};
use serde_json::Value;

/// A key of each kind that TUF clients verify with.
const KEYS: &[(&str, &str)] = &[
    ("root-1", "ed25519"),
    ("root-2", "p256"),
    ("root-3", "rsa3072"),
    ("targets", "p256"),
    ("snapshot", "rsa3072"),
    ("timestamp", "ed25519"),
];

const SETTINGS: &str = r#"
secret = "file:passphrase"
sign = ["file:snapshot.pem", "file:timestamp.pem"]
root = { keys = ["root-1.pub", "root-2.pub", "root-3.pub"], threshold = 2, valid = "365d" }
targets = { keys = ["targets.pub"], valid = "90d" }
snapshot = { keys = ["snapshot.pub"], valid = "7d" }
timestamp = { keys = ["timestamp.pub"], valid = "1d" }
"#;

/// The keys that are not opened by the settings.
const OFFLINE: &[&str] = &["root-1", "root-2", "targets"];

/// A desk with the keys of a repository.
struct Desk {
    t: Shell,
}

impl Desk {
    fn new() -> Desk {
        let desk = Desk { t: Shell::new() };
        desk.t.write("tuf/passphrase", "a passphrase of the repository's\n");
        desk.t.ok("chmod 600 tuf/passphrase");
        KEYS.iter().for_each(|(name, algorithm)| desk.key(name, algorithm));
        desk.settings(SETTINGS);
        desk
    }

    /// With a place of its own, and no server.
    fn with_place() -> Desk {
        let desk = Desk::new();
        desk.t.ok("firmseal init place");
        let product = "id = \"gateway\"\nenvironment = \"test\"\nvendor = \"example.com\"\n\
                       class = \"gateway\"\nformat = \"raw\"\n\
                       components = [{ name = \"main\", capacity = \"1MiB\" }]\n";
        desk.t.write("gateway.toml", product);
        desk
    }

    fn key(&self, name: &str, algorithm: &str) {
        self.t.ok(&format!(
            "firmseal keys generate file:tuf/{name}.pem --algorithm {algorithm} --secret file:tuf/passphrase \
             --public tuf/{name}.pub"
        ));
    }

    fn settings(&self, text: &str) {
        self.t.write("tuf/tuf.toml", text);
    }

    /// Signs a release in the place, offline.
    fn release(&self, version: &str, channel: &str) {
        let firmware = self.t.write("firmware.bin", firmware(version));
        self.t.ok(&format!(
            "firmseal sign --place place --product-file gateway.toml --version {version} --channel {channel} \
             --epoch 1 --component main={} -o {version}.bundle",
            firmware.display()
        ));
    }

    fn line(&self, repository: &str, more: &str, keys: &[&str]) -> String {
        let keys: String = keys.iter().map(|key| format!(" --key file:tuf/{key}.pem")).collect();
        format!("firmseal export tuf {repository} --settings tuf/tuf.toml {more}{keys}")
    }

    /// Exports the place; what was done.
    fn export(&self, repository: &str, keys: &[&str]) -> Value {
        self.t.json(&self.line(repository, "--place place", keys))
    }

    /// What a client with this memory says to a repository. One without a
    /// memory begins with our first root.
    fn client(&self, repository: &str, memory: &str, more: &str) -> Value {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tuf_client.py");
        let line = format!("python {script} {repository} {memory} repo/metadata/1.root.json {more}");
        serde_json::from_str(&self.t.ok(&line).stdout).unwrap()
    }

    fn copy(&self, from: &str, to: &str) {
        self.t.ok(&format!("rm -rf {to}"));
        self.t.ok(&format!("cp -a {from} {to}"));
    }

    /// Changes a file's text.
    fn edit(&self, path: &str, from: &str, to: &str) {
        let text = String::from_utf8(self.t.read(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from}:\n{text}");
        self.t.write(path, text.replacen(from, to, 1));
    }

    /// The file of a target in a repository.
    fn target(&self, repository: &str, version: &str) -> String {
        let directory = format!("{repository}/targets/gateway/stable/{version}");
        let listed = std::fs::read_dir(self.t.path(&directory)).unwrap();
        let mut names = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        format!("{directory}/{}", names.find(|name| name.ends_with("main.bin")).unwrap())
    }
}

fn firmware(version: &str) -> Vec<u8> {
    version.bytes().cycle().take(9_000).collect()
}

/// Root, targets, snapshot and timestamp of a client or an export.
fn versions(said: &Value) -> [u64; 4] {
    ["root", "targets", "snapshot", "timestamp"].map(|role| {
        let own = &said["versions"][role];
        let version = own.as_u64().or_else(|| said["roles"][role]["version"].as_u64());
        version.unwrap_or_else(|| panic!("no {role} in {said}"))
    })
}

#[test]
fn a_client_has_what_a_server_offers_and_no_more() {
    let desk = Desk::new();
    let t = &desk.t;
    let mut server = Server::new(t);
    let product = "--vendor example.com --class gateway --component main=1MiB";
    t.ok(&format!("firmseal product create gateway {product}"));
    let release = |version: &str, channel: &str| {
        t.write("firmware.bin", firmware(version));
        let created = t.json(&format!(
            "firmseal release create --product gateway --channel {channel} --version {version} --epoch 3 \
             --component main=firmware.bin"
        ));
        created["id"].as_str().unwrap().to_owned()
    };
    release("1.0.0", "stable");
    let second = release("1.1.0", "stable");
    release("2.0.0-rc.1", "beta");
    desk.settings(&format!("channels = [\"stable\"]{SETTINGS}"));
    let export =
        |more: &[&str]| t.json(&desk.line("repo", "--log tuf-log --anchor place/trust/root.cbor", more));
    assert_eq!(versions(&export(OFFLINE)), [1, 1, 1, 1]);

    let both = "gateway/stable/newest.json gateway/stable/1.1.0/main.bin gateway/stable/1.1.0/release.suit \
                gateway/beta/2.0.0-rc.1/main.bin";
    let said = desk.client("repo", "seen", both);
    assert_eq!(versions(&said), [1, 1, 1, 1]);
    assert_eq!(said["names"].as_array().unwrap().len(), 5, "{said}");
    let newest = &said["targets"]["gateway/stable/newest.json"]["custom"];
    assert_eq!((&newest["version"], &newest["sequence"]), (&"1.1.0".into(), &2.into()));
    let payload = &said["targets"]["gateway/stable/1.1.0/main.bin"]["custom"];
    assert_eq!((&payload["epoch"], &payload["component"]), (&3.into(), &"main".into()));
    assert_eq!(said["targets"]["gateway/beta/2.0.0-rc.1/main.bin"], Value::Null, "another channel's");

    // What came over TUF is judged by Firmseal like anything else.
    let downloads = "seen/targets/gateway%2Fstable%2F1.1.0%2F";
    t.ok(&format!(
        "firmseal verify --root place/trust/root.cbor {downloads}release.suit --payload {downloads}main.bin"
    ))
    .says("every block checked");
    assert_eq!(t.read(&format!("{downloads}main.bin")), firmware("1.1.0"));

    // Nothing has changed: the timestamp says so, with its own key alone.
    let again = export(&[]);
    assert_eq!(
        (versions(&again), &again["written"]),
        ([1, 1, 1, 2], &serde_json::json!(["metadata/timestamp.json"]))
    );
    t.ok(&format!("firmseal release withdraw {second}"));
    t.run(&desk.line("repo", "--log tuf-log --anchor place/trust/root.cbor", &[]))
        .fails(3, "targets has to be signed");
    assert_eq!(versions(&export(&["targets"])), [1, 2, 2, 3]);
    let said = desk.client("repo", "seen", both);
    assert_eq!(versions(&said), [1, 2, 2, 3]);
    assert_eq!(said["targets"]["gateway/stable/1.1.0/main.bin"], Value::Null, "withdrawn");
    assert_eq!(said["targets"]["gateway/stable/newest.json"]["custom"]["version"], "1.0.0");

    // The place itself says the same, once its server is down.
    t.run(&desk.line("repo", "--place place", &[])).fails(8, "place");
    server.stop();
    assert_eq!(versions(&desk.export("repo", &[])), [1, 2, 2, 4]);
}

#[test]
fn a_client_follows_every_key_at_every_moment() {
    let desk = Desk::with_place();
    desk.release("1.0.0", "stable");
    desk.export("repo", OFFLINE);
    desk.client("repo", "seen", "");
    for (name, algorithm) in [("root-4", "p256"), ("targets-2", "rsa3072"), ("timestamp-2", "p256")] {
        desk.key(name, algorithm);
    }
    desk.release("1.1.0", "stable");
    let rotated = SETTINGS
        .replace("\"root-1.pub\", ", "\"root-4.pub\", ")
        .replace("\"targets.pub\"", "\"targets-2.pub\"")
        .replace("\"timestamp.pub\"", "\"timestamp-2.pub\"");
    desk.settings(&rotated);
    desk.copy("repo", "before");
    let new = ["root-4", "targets-2", "timestamp-2"];
    // The new keys alone change nothing: the old root's holders are asked.
    let line = desk.line("repo", "--place place", &[&new[..], &["root-3"]].concat());
    desk.t.run(&line).fails(3, "root 2, by the keys of root 1, has to be signed by 2 of its keys").hints();
    let done = desk.export("repo", &[&new[..], OFFLINE].concat());
    assert_eq!(versions(&done), [2, 2, 2, 2]);

    // File by file, as a web server sees it: whoever looks in between, with
    // and without a memory, finds a repository.
    desk.copy("repo/targets", "before/targets");
    let written: Vec<&str> =
        done["written"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
    assert_eq!(written.last(), Some(&"metadata/2.root.json"), "{written:?}");
    for file in &written {
        desk.t.write(&format!("before/{file}"), desk.t.read(&format!("repo/{file}")));
        for memory in ["seen", "none"] {
            desk.copy("seen", "early");
            let said = desk.client("before", if memory == "seen" { "early" } else { "fresh" }, "");
            assert!(said["refused"].is_null(), "after {file}, {memory}: {said}");
            desk.t.ok("rm -rf early fresh");
        }
    }
    for memory in ["seen", "fresh"] {
        let said = desk.client("repo", memory, "gateway/stable/1.1.0/main.bin");
        assert_eq!(versions(&said), [2, 2, 2, 2], "{memory}");
    }
    // From here on the old keys are of no use, and nobody needs them.
    desk.settings(&rotated.replace("timestamp.pem", "timestamp-2.pem"));
    assert_eq!(versions(&desk.export("repo", &[])), [2, 2, 2, 3]);
    assert_eq!(versions(&desk.client("repo", "seen", "")), [2, 2, 2, 3]);
}

#[test]
fn what_a_client_must_refuse_it_refuses() {
    let desk = Desk::with_place();
    let t = &desk.t;
    desk.release("1.0.0", "stable");
    desk.export("repo", OFFLINE);
    desk.copy("repo", "old");
    desk.copy("place", "old-place");
    // One client has seen the first release, one both.
    desk.client("repo", "was", "");
    desk.release("1.1.0", "stable");
    assert_eq!(versions(&desk.export("repo", &["targets"])), [1, 2, 2, 2]);
    desk.client("repo", "seen", "");

    // What a thief of the timestamp key, or of that and the snapshot key,
    // signs around what has been.
    desk.copy("old", "old-snapshot");
    desk.copy("old", "old-targets");
    for valid in ["7d", "7d", "7d"] {
        desk.settings(&SETTINGS.replace("valid = \"7d\"", &format!("valid = \"{valid}\"")));
        t.ok(&desk.line("old-snapshot", "--place old-place", &[]));
    }
    for valid in ["1000d", "9000d", "90000d"] {
        desk.settings(&SETTINGS.replace("valid = \"7d\"", &format!("valid = \"{valid}\"")));
        t.ok(&desk.line("old-targets", "--place old-place", &[]));
    }
    desk.settings(SETTINGS);
    // Somebody else's repository, with keys of their own.
    for name in ["r", "t", "s", "i"] {
        desk.key(name, "ed25519");
    }
    let thief = "secret = \"file:passphrase\"\nsign = [\"file:r.pem\", \"file:t.pem\", \"file:s.pem\", \"file:i.pem\"]\n\
                 root.keys = [\"r.pub\"]\ntargets.keys = [\"t.pub\"]\nsnapshot.keys = [\"s.pub\"]\ntimestamp.keys = [\"i.pub\"]\n";
    desk.settings(thief);
    assert_eq!(versions(&desk.export("thief", &[])), [1, 1, 1, 1]);
    desk.settings(SETTINGS);

    let file = |name: &str| format!("bad/metadata/{name}");
    type Attack<'a> = (&'a str, &'a str, &'a str, &'a dyn Fn());
    let attacks: &[Attack<'_>] = &[
        ("rollback of the timestamp", "seen", "BadVersionNumberError", &|| {
            t.write(&file("timestamp.json"), t.read("old/metadata/timestamp.json"));
        }),
        ("rollback of the snapshot", "seen", "BadVersionNumberError", &|| desk.copy("old-snapshot", "bad")),
        ("a tampered timestamp", "was", "UnsignedMetadataError", &|| {
            desk.edit(&file("timestamp.json"), "\"version\": 2\n  }", "\"version\": 3\n  }");
        }),
        ("a tampered snapshot", "was", "LengthOrHashMismatchError", &|| {
            desk.edit(&file("2.snapshot.json"), "\"version\": 2\n  }", "\"version\": 3\n  }");
        }),
        ("tampered targets", "was", "LengthOrHashMismatchError", &|| {
            desk.edit(&file("2.targets.json"), "1.1.0", "1.1.1")
        }),
        ("a snapshot of another moment", "was", "LengthOrHashMismatchError", &|| {
            t.write(&file("2.snapshot.json"), t.read("old-targets/metadata/2.snapshot.json"));
        }),
        ("targets of another moment", "was", "LengthOrHashMismatchError", &|| {
            t.write(&file("2.targets.json"), t.read("old/metadata/1.targets.json"));
        }),
        ("a stranger's root", "was", "UnsignedMetadataError", &|| {
            t.write(&file("2.root.json"), t.read("thief/metadata/1.root.json"));
        }),
        ("our own root again", "was", "BadVersionNumberError", &|| {
            t.write(&file("2.root.json"), t.read("repo/metadata/1.root.json"));
        }),
        ("a stranger's repository", "was", "UnsignedMetadataError", &|| {
            desk.copy("thief", "bad");
        }),
        ("withheld targets", "was", "DownloadHTTPError", &|| {
            t.ok("rm bad/metadata/2.targets.json");
        }),
        ("a tampered target", "seen", "LengthOrHashMismatchError", &|| {
            let path = desk.target("bad", "1.1.0");
            let mut bytes = t.read(&path);
            bytes[4_000] ^= 1;
            t.write(&path, bytes);
        }),
        ("an endless target", "seen", "DownloadLengthMismatchError", &|| {
            let path = desk.target("bad", "1.1.0");
            t.write(&path, [t.read(&path), vec![0; 1 << 20]].concat());
        }),
        ("another release's target", "seen", "LengthOrHashMismatchError", &|| {
            let path = desk.target("bad", "1.1.0");
            t.write(&path, t.read(&desk.target("bad", "1.0.0")));
        }),
    ];
    for (what, memory, class, attack) in attacks {
        desk.copy("repo", "bad");
        desk.copy(memory, "memory");
        attack();
        let said = desk.client("bad", "memory", "gateway/stable/1.1.0/main.bin");
        assert_eq!(said["refused"], *class, "{what}: {said}");
        // It has kept nothing of it.
        let said = desk.client("repo", "memory", "gateway/stable/1.1.0/main.bin");
        assert_eq!(versions(&said), [1, 2, 2, 2], "{what}");
    }

    // A thief of two keys is believed as far as those go, and no file goes
    // back. Their numbers stay with the client until the keys are replaced
    // (TUF 1.0.34 §1.5.2, fast-forward).
    let said = desk.client("old-targets", "seen", "");
    assert_eq!(said["refused"], "BadVersionNumberError", "rollback of the targets: {said}");
    assert_eq!(desk.client("repo", "seen", "")["refused"], "BadVersionNumberError");
    desk.settings(&SETTINGS.replace("snapshot.p", "s.p").replace("timestamp.p", "i.p"));
    assert_eq!(versions(&desk.export("repo", OFFLINE)), [2, 2, 3, 3]);
    assert_eq!(versions(&desk.client("repo", "seen", "")), [2, 2, 3, 3]);

    // Each role runs out by itself: what is frozen is old some day.
    for (role, days) in [("timestamp", 1), ("snapshot", 7), ("targets", 90), ("root", 365)] {
        // All the others are good for ten years.
        let others = ["timestamp", "snapshot", "targets", "root"].into_iter().filter(|other| *other != role);
        let long = |text: String, other| text.replacen(&period(other), "valid = \"3650d\"", 1);
        desk.settings(&others.fold(SETTINGS.to_owned(), long));
        t.ok("rm -rf timed");
        t.ok(&desk.line("timed", "--place place", OFFLINE));
        t.ok("cp timed/metadata/1.root.json repo/metadata/1.root.json");
        for (later, class) in [(days - 1, Value::Null), (days + 1, "ExpiredMetadataError".into())] {
            t.ok("rm -rf memory");
            let said = desk.client("timed", "memory", &format!("--days {later}"));
            assert_eq!(said["refused"], class, "{role} after {later} days: {said}");
        }
    }
}

#[test]
fn an_export_believes_neither_the_registry_nor_the_directory() {
    let desk = Desk::with_place();
    let t = &desk.t;
    desk.release("1.0.0", "stable");
    desk.release("1.1.0", "stable");
    desk.export("repo", OFFLINE);
    let refused = |more: &str, keys: &[&str], code: i32, naming: &str| {
        t.run(&desk.line("repo", &format!("--place place {more}"), keys)).fails(code, naming);
    };
    let before = t.ok("find repo -type f -exec sha256sum {} +").stdout;

    // Whoever owns the database says what it likes; core is asked.
    desk.copy("place", "honest");
    for change in ["version = '9.9.9'", "sequence = 40", "epoch = 7", "channel = 'beta'"] {
        t.write("change.py", lie(change));
        t.ok("python change.py");
        desk.copy("repo", "lied");
        let said = desk.export("lied", OFFLINE);
        assert_eq!(
            (said["releases"].as_u64(), said["left_out"].as_array().unwrap().len()),
            (Some(1), 1),
            "{said}"
        );
        desk.copy("honest", "place");
    }
    // Other bytes than were signed are found when they are read.
    t.write("change.py", lie("components = (SELECT components FROM releases WHERE version = '1.0.0')"));
    t.ok("python change.py");
    t.run(&desk.line("lied", "--place place", OFFLINE)).fails(3, "is not what its release says").hints();
    desk.copy("honest", "place");

    // Nor does it build upon what somebody wrote next to it.
    desk.copy("repo", "good");
    let highest = format!("\"version\": {}", i64::MAX - 1);
    desk.edit("repo/metadata/timestamp.json", "\"version\": 1\n  }", &format!("{highest}\n  }}"));
    refused("", OFFLINE, 3, "metadata/timestamp.json is not signed");
    desk.copy("good", "repo");
    desk.edit("repo/metadata/1.targets.json", "1.1.0", "1.1.1");
    refused("", OFFLINE, 3, "metadata/1.targets.json is not the file");
    // Unless the owner says how to go on; clients do, too.
    t.ok(&desk.line("repo", "--place place --renumber-from 20", OFFLINE));
    assert_eq!(versions(&desk.client("repo", "seen", "gateway/stable/1.1.0/main.bin")), [1, 20, 20, 20]);
    desk.copy("good", "repo");

    // A target that was damaged is found when somebody looks, and mended.
    let target = desk.target("repo", "1.1.0");
    let whole = t.read(&target);
    t.write(&target, vec![0; whole.len()]);
    t.ok(&desk.line("repo", "--place place --check", &[]));
    assert_eq!(t.read(&target), whole);
    desk.copy("good", "repo");

    // Keys have one role, and this place's have theirs already.
    t.ok("firmseal keys show file:place/keys/release.pem --secret file:place/keys/passphrase");
    let public =
        t.ok("firmseal keys show file:place/keys/release.pem --secret file:place/keys/passphrase").stdout;
    let pem = &public[public.find("-----BEGIN").unwrap()..];
    t.write("tuf/release.pub", pem);
    for (settings, code, naming) in [
        (SETTINGS.replace("targets.pub", "release.pub"), 3, "stands in root document 1 too"),
        (SETTINGS.replace("targets.pub", "snapshot.pub"), 2, "a key has one role"),
        (SETTINGS.replace("threshold = 2", "threshold = 4"), 2, "a threshold of 4 with 3 keys"),
        (SETTINGS.replace("threshold = 2", "threshold = 0"), 2, "a threshold of 0 with 3 keys"),
        (SETTINGS.replace("targets = {", "target = {"), 2, "target"),
    ] {
        desk.settings(&settings);
        refused("", OFFLINE, code, naming);
    }
    desk.settings(SETTINGS);
    let lock = std::fs::File::open(t.path("repo/.firmseal/lock")).unwrap();
    lock.lock().unwrap();
    refused("", OFFLINE, 6, "another export is at work");
    drop(lock);
    assert_eq!(t.ok("find repo -type f -exec sha256sum {} +").stdout, before, "nothing of it has changed");
}

/// A program that writes into the place's database what never happened.
fn lie(change: &str) -> String {
    format!(
        "import sqlite3\n\
         base = sqlite3.connect('place/store/store.db')\n\
         names = base.execute(\"SELECT name FROM sqlite_master WHERE type = 'trigger'\").fetchall()\n\
         [base.execute('DROP TRIGGER ' + name) for (name,) in names]\n\
         base.execute(\"UPDATE releases SET {change} WHERE version = '1.1.0'\")\n\
         base.commit()\n"
    )
}

/// How long a role's metadata is good in the settings.
fn period(role: &str) -> String {
    let days = [("timestamp", 1), ("snapshot", 7), ("targets", 90), ("root", 365)];
    let days = days.into_iter().find(|(name, _)| *name == role).unwrap().1;
    format!("valid = \"{days}d\"")
}

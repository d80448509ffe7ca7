//! TUF repositories, judged by the reference client: PyPI's `tuf`, which
//! refreshes, downloads, follows roots, and refuses what it must.
#![allow(clippy::unwrap_used, clippy::panic)]

mod desk;

use firmseal_e2e::Server;
use serde_json::Value;

use desk::{Desk, OFFLINE, SETTINGS, firmware, lie, period, versions};

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

    let both = "gateway_stable_newest.json gateway_stable_1.1.0_main.bin gateway_stable_1.1.0_release.suit \
                gateway_beta_2.0.0-rc.1_main.bin";
    let said = desk.client("repo", "seen", both);
    assert_eq!(versions(&said), [1, 1, 1, 1]);
    assert_eq!(said["names"].as_array().unwrap().len(), 5, "{said}");
    let newest = &said["targets"]["gateway_stable_newest.json"]["custom"];
    assert_eq!((&newest["version"], &newest["sequence"]), (&"1.1.0".into(), &2.into()));
    let payload = &said["targets"]["gateway_stable_1.1.0_main.bin"]["custom"];
    assert_eq!((&payload["epoch"], &payload["component"]), (&3.into(), &"main".into()));
    assert_eq!(said["targets"]["gateway_beta_2.0.0-rc.1_main.bin"], Value::Null, "another channel's");

    // What came over TUF is judged by Firmseal like anything else.
    let downloads = "seen/targets/gateway_stable_1.1.0_";
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
    assert_eq!(said["targets"]["gateway_stable_1.1.0_main.bin"], Value::Null, "withdrawn");
    assert_eq!(said["targets"]["gateway_stable_newest.json"]["custom"]["version"], "1.0.0");

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
        let said = desk.client("repo", memory, "gateway_stable_1.1.0_main.bin");
        assert_eq!(versions(&said), [2, 2, 2, 2], "{memory}");
    }
    // From here on the old keys are of no use, and nobody needs them.
    desk.settings(&rotated.replace("timestamp.pem", "timestamp-2.pem"));
    assert_eq!(versions(&desk.export("repo", &[])), [2, 2, 2, 3]);
    assert_eq!(versions(&desk.client("repo", "seen", "")), [2, 2, 2, 3]);
}

#[test]
fn a_root_is_signed_by_people_in_turns() {
    let desk = Desk::with_place();
    let t = &desk.t;
    let draft = |name: &str| t.ok(&desk.line("repo", &format!("--place place --root-draft {name}"), &[]));
    // Each has a log of their own, and sends a copy back.
    let sign = |draft: &str, before: &str, key: &str| {
        format!(
            "firmseal export tuf-root {draft} {before} --key file:tuf/{key}.pem --secret file:tuf/passphrase \
             --log log-{key} -o {key}-{draft}"
        )
    };
    let copies = |draft: &str, keys: &[&str]| {
        keys.iter().fold("--place place".to_owned(), |line, key| line + &format!(" --root {key}-{draft}"))
    };
    draft("1.json");
    t.ok("firmseal export tuf-root 1.json").says("2 of");
    for key in ["root-1", "root-3"] {
        t.ok(&sign("1.json", "", key));
    }
    t.run(&sign("1.json", "", "targets")).fails(3, "is no root key");
    t.run(&desk.line("repo", &copies("1.json", &["root-1"]), &["targets"]))
        .fails(3, "2 of its keys, and 1 are");
    t.ok(&desk.line("repo", &copies("1.json", &["root-1", "root-3"]), &["targets"]));
    assert_eq!(versions(&desk.client("repo", "seen", "")), [1, 1, 1, 1]);

    // The next one has another holder, and needs two of the old root's too.
    desk.key("root-4", "p256");
    desk.settings(&SETTINGS.replace("\"root-3.pub\"", "\"root-4.pub\""));
    draft("2.json");
    let before = "--before repo/metadata/1.root.json";
    t.run("firmseal export tuf-root 2.json").fails(2, "follows another one").hints();
    t.ok(&format!("firmseal export tuf-root 2.json {before}")).says("(new)");
    for key in ["root-3", "root-4"] {
        t.ok(&sign("2.json", before, key));
    }
    let some = copies("2.json", &["root-3", "root-4"]);
    t.run(&desk.line("repo", &some, &[])).fails(3, "missing");
    // What somebody weakened on its way is not what the others signed, nor
    // what the settings say.
    desk.edit("root-4-2.json", "\"threshold\": 2", "\"threshold\": 1");
    t.run(&desk.line("repo", &some, &["root-1"])).fails(3, "the copies do not say the same");
    let alone = copies("2.json", &["root-4"]);
    t.run(&desk.line("repo", &alone, &["root-1", "root-2"])).fails(3, "differ from the settings");
    desk.edit("root-4-2.json", "\"threshold\": 1", "\"threshold\": 2");
    // A key that is at hand adds to what came back.
    assert_eq!(versions(&t.json(&desk.line("repo", &some, &["root-1"]))), [2, 1, 1, 2]);
    for memory in ["seen", "fresh"] {
        assert_eq!(versions(&desk.client("repo", memory, "")), [2, 1, 1, 2]);
    }
    t.run(&desk.line("repo", &some, &["root-1"])).fails(3, "differ from the settings");
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
    for valid in ["1000d", "4000d", "15000d"] {
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
        let said = desk.client("bad", "memory", "gateway_stable_1.1.0_main.bin");
        assert_eq!(said["refused"], *class, "{what}: {said}");
        // It has kept nothing of it.
        let said = desk.client("repo", "memory", "gateway_stable_1.1.0_main.bin");
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
    assert_eq!(versions(&desk.client("repo", "seen", "gateway_stable_1.1.0_main.bin")), [1, 20, 20, 20]);
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
        (SETTINGS.replace("valid = \"90d\"", "valid = \"36501d\""), 2, "more than 36500 days"),
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

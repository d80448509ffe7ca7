//! Places: a server that finds nonsense, a key that it may not read or a
//! damaged store, says so and does not start.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use firmseal_e2e::files::nonsense;
use firmseal_e2e::firmware::OPENSBI;
use firmseal_e2e::{Ran, Server, Shell};

use crate::{Verdicts, last_lines, serve};

#[test]
fn a_place_full_of_nonsense_does_not_start() {
    let t = Shell::new();
    firmseal_e2e::server::init(&t, "place");
    let mut verdicts = Verdicts::default();
    for (file, named) in [
        ("server.toml", "server.toml"),
        ("signing.toml", "signing.toml"),
        ("trust/root.cbor", "root.cbor"),
        ("tls/server.pem", "server.pem"),
        ("tls/server.key", "server.key"),
        ("tls/device-ca.pem", "device-ca.pem"),
        ("tls/device-ca.key", "device-ca.key"),
        ("keys/release.pem", "release.pem"),
        // Whether a passphrase fits only the key can say.
        ("keys/passphrase", ""),
    ] {
        let path = t.path("place").join(file);
        let good = std::fs::read(&path).unwrap();
        let kinds = ["empty", "random", "not-utf-8", "deep-toml"];
        for (name, bytes) in nonsense().into_iter().filter(|(name, _)| kinds.contains(name)) {
            std::fs::write(&path, &bytes).unwrap();
            let ran = serve(&t, "place");
            let line = format!("{} # {file} is {name}", ran.line);
            verdicts.check(&Ran { line, ..ran }, &[2, 3, 8], named);
        }
        std::fs::write(&path, good).unwrap();
    }
    verdicts.end();
}

#[test]
fn an_unreadable_key_is_named_and_not_forgotten() {
    let t = Shell::new();
    t.ok("firmseal init place");
    let root = rustix::process::geteuid().is_root();
    let key = t.path("place/keys/release.pem");
    let as_user = |line: &str| match root {
        // Nobody, who owns the place and not this one file.
        true => t.run(&format!("setpriv --reuid 65534 --regid 65534 --clear-groups {}", absolute(line))),
        false => t.run(line),
    };
    if root {
        own(&t.path(""));
        chown(&key, Some(0), Some(0)).unwrap();
    }
    std::fs::set_permissions(&key, PermissionsExt::from_mode(if root { 0o600 } else { 0 })).unwrap();
    let mut verdicts = Verdicts::default();
    let serve = as_user("firmseal serve place");
    verdicts.check(&Ran { stderr: last_lines(&serve.stderr), ..serve }, &[8], "release.pem");
    verdicts.check(
        &as_user("firmseal keys show file:place/keys/release.pem --secret file:place/keys/passphrase"),
        &[8],
        "release.pem",
    );
    verdicts.check(
        &as_user("firmseal init place/store/blobs/../../tls/server.pem/place"),
        &[8],
        "server.pem",
    );
    verdicts.end();
}

/// The program by its path: setpriv looks it up in another environment.
fn absolute(line: &str) -> String {
    line.replacen("firmseal", &firmseal_e2e::binaries::firmseal().display().to_string(), 1)
}

fn own(path: &Path) {
    chown(path, Some(65534), Some(65534)).unwrap();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            own(&entry.unwrap().path());
        }
    }
}

#[test]
fn a_damaged_store_is_noticed_and_a_restored_one_works() {
    let t = Shell::new();
    let mut server = Server::new(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.write("firmware.bin", OPENSBI.bytes());
    let order =
        "firmseal release create --product gateway --version 1.0.0 --epoch 1 --component main=firmware.bin";
    let release = t.json(order);
    server.stop();
    t.ok("cp -r place/store backup");
    let mut verdicts = Verdicts::default();
    let files: Vec<_> = std::fs::read_dir(t.path("place/store"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && std::fs::metadata(path).unwrap().len() > 0)
        // What stands in the lock file is a word for people, no state.
        .filter(|path| !path.ends_with("lock"))
        .collect();
    assert!(files.len() >= 2, "{files:?}");
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let good = std::fs::read(&path).unwrap();
        for (damage, bytes) in
            [("noise", vec![0x5a; good.len()]), ("half of it", good[..good.len() / 2].to_vec())]
        {
            std::fs::write(&path, bytes).unwrap();
            let ran = serve(&t, "place");
            let line = format!("{} # {name}: {damage}", ran.line);
            verdicts.check(&Ran { line, ..ran }, &[8], "store");
            t.ok("rm -r place/store");
            t.ok("cp -r backup place/store");
        }
    }
    server.start();
    assert_eq!(t.json(order)["id"], release["id"]);
    verdicts.end();
}

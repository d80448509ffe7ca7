//! Commands: every file they read full of nonsense, and everything they name
//! missing, taken or locked.

use std::os::unix::fs::PermissionsExt;

use firmseal_e2e::files::nonsense;
use firmseal_e2e::firmware::OPENSBI;
use firmseal_e2e::{Server, Shell};

use crate::{Verdicts, serve};

#[test]
fn files_full_of_nonsense_are_refused_by_every_command_that_reads_one() {
    let t = Shell::new();
    t.ok("firmseal init place");
    let mut verdicts = Verdicts::default();
    t.write("firmware.bin", OPENSBI.bytes());
    t.write(
        "gateway.toml",
        "id = \"gateway\"\nenvironment = \"test\"\nvendor = \"00000000-0000-4000-8000-000000000001\"\n\
         class = \"00000000-0000-4000-8000-000000000002\"\nformat = \"raw\"\n\
         components = [{ name = \"main\", capacity = 1048576 }]\n",
    );
    let sign = "firmseal sign-offline --place place --version 1.0.0 --epoch 1 --component main=firmware.bin";
    t.ok(&format!("{sign} --product-file gateway.toml -o good.bundle"));
    for (name, bytes) in nonsense() {
        t.write(name, &bytes);
        let mut fails = |line: &str, codes: &[i32]| {
            verdicts.check(&t.run(line), codes, name);
        };
        fails(&format!("firmseal verify --root place/trust/root.cbor {name}"), &[3]);
        fails(&format!("firmseal verify --root {name} good.bundle"), &[3]);
        fails(&format!("firmseal release import --product gateway {name}"), &[3]);
        fails(&format!("{sign} --product-file {name} -o {name}.bundle"), &[2, 8]);
        fails(&format!("firmseal product create --from {name}"), &[2, 8]);
        fails(&format!("firmseal tls show {name}"), &[2, 3, 8]);
        fails(&format!("firmseal keys show file:{name} --secret file:place/keys/passphrase"), &[2, 3, 5, 8]);
        fails(&format!("firmseal --profile {name} product list"), &[2, 8]);
        // Anything may be firmware: this one has to be read, not understood.
        let inspected = t.run(&format!("firmseal inspect {name}"));
        if inspected.code != Some(0) {
            verdicts.check(&inspected, &[3], name);
        }
    }
    verdicts.end();
}

#[test]
fn what_is_missing_taken_or_locked_is_named() {
    let t = Shell::new();
    let mut server = Server::new(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.write("firmware.bin", OPENSBI.bytes());
    let wrong = t.write("wrong", "no such passphrase\n");
    std::fs::set_permissions(wrong, PermissionsExt::from_mode(0o600)).unwrap();
    let open = t.write("open", "no such passphrase\n");
    std::fs::set_permissions(open, PermissionsExt::from_mode(0o644)).unwrap();
    let mut verdicts = Verdicts::default();
    for (line, code, naming) in [
        ("firmseal serve nowhere", 4, "nowhere"),
        ("firmseal init place", 6, "place"),
        ("firmseal init missing/place", 8, "missing"),
        // The store is the running server's.
        (
            "firmseal sign-offline --place place --product gateway --version 1.0.0 --epoch 1 --component main=firmware.bin -o x.bundle",
            8,
            "place/store",
        ),
        ("firmseal verify --root place/trust/root.cbor missing.bundle", 8, "missing.bundle"),
        ("firmseal artifact upload missing.bin", 8, "missing.bin"),
        ("firmseal --profile missing.toml product list", 8, "missing.toml"),
        ("firmseal keys show file:missing.pem --secret file:wrong", 8, "missing.pem"),
        ("firmseal keys show file:place/keys/release.pem --secret file:missing", 8, "missing"),
        (
            "firmseal keys show file:place/keys/release.pem --secret file:wrong",
            8,
            "release.pem: wrong passphrase",
        ),
        ("firmseal keys show file:place/keys/release.pem --secret file:open", 8, "chmod 600 open"),
        ("firmseal keys show file:place/keys/release.pem --secret env:NOT_SET", 8, "NOT_SET"),
        ("firmseal product show toaster", 4, "toaster"),
        (
            "firmseal product create gateway --vendor example.com --class other --component main=1MiB",
            6,
            "gateway",
        ),
        ("firmseal product create gateway --vendor example.com", 2, "--class"),
        (
            "firmseal product create g --vendor example.com --class g --component main=99999999999999999999GiB",
            2,
            "99999999999999999999GiB",
        ),
        ("firmseal release show rel-nonsense", 2, "rel-nonsense"),
        ("firmseal release show rel-01890000-0000-7000-8000-000000000000", 4, "rel-01890000"),
        (
            "firmseal release create --product toaster --version 1.0.0 --epoch 1 --component main=firmware.bin",
            4,
            "toaster",
        ),
        (
            "firmseal release create --product gateway --version one --epoch 1 --component main=firmware.bin",
            2,
            "one",
        ),
        (
            "firmseal release create --product gateway --version 1.0.0 --epoch -1 --component main=firmware.bin",
            2,
            "-1",
        ),
        (
            "firmseal release create --product gateway --version 1.0.0 --epoch 1 --component other=firmware.bin",
            3,
            "other",
        ),
        ("firmseal frobnicate", 2, "frobnicate"),
        ("firmseal tls show missing.pem", 8, "missing.pem"),
    ] {
        verdicts.check(&t.run(line), &[code], naming);
    }
    // A directory where a file should be.
    std::fs::create_dir(t.path("directory")).unwrap();
    for line in [
        "firmseal verify --root directory directory",
        "firmseal inspect directory",
        "firmseal tls show directory",
    ] {
        verdicts.check(&t.run(line), &[8], "directory");
    }
    // Somebody else listens: another place with the same ports.
    t.ok("cp -r place twin");
    verdicts.check(&serve(&t, "twin"), &[8], "in use by another program; stop it, or choose another port");
    // A wrong token, and a server that is not there.
    t.write("place/operator.token", "fsop_wrong\n");
    verdicts.check(&t.run("firmseal product list"), &[5], "");
    server.stop();
    verdicts.check(&t.run("firmseal product list"), &[7], "localhost");
    t.write("place/keys/passphrase", "no such passphrase\n");
    verdicts.check(&serve(&t, "place"), &[8], "release.pem: wrong passphrase");
    verdicts.end();
}

//! Escrow with the true program: split, lose, bring back, and what goes
//! wrong on the way.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Identities with their recipients, made for these tests by a program that
/// follows BIP 173.
const CUSTODIANS: [(&str, &str); 3] = [
    (
        "AGE-SECRET-KEY-1UCSL9GWFHSFGJC40ZHPRKGVZ7A3H89CLYRE47Z648FF95W6VHJJQ3EJKDP\n",
        "age18cdrplvqywxr6ecztghm8qym83wp3xcpm0s7mp3sdv5hmjwpmseqcpu28x",
    ),
    (
        "AGE-SECRET-KEY-18748QGTX8WUHKMDS6LZVSU3UTP6R6TPAK0EUXCW7G9H5EM79LAUQL9MJ56\n",
        "age13lx2m8fjmprwlh5nt8scq35gua8x9lacrjurag9lxhy09waukf6qrzc3e5",
    ),
    (
        "AGE-SECRET-KEY-1ERFE59NQHWXAWHS05LP5U4KHM6YU8772MKA4AT8SM42EE9EY6PPQRY30MA\n",
        "age1duktwk2rgg4h5an3jf0ssmhs7zydv5qj9zqjryhtv0f4dzlc65sstpn7uw",
    ),
];

struct Safe(tempfile::TempDir);

impl Safe {
    fn new() -> Safe {
        let safe = Safe(tempfile::tempdir().unwrap());
        safe.private("pw", "secret\n");
        for (index, (identity, _)) in CUSTODIANS.iter().enumerate() {
            safe.private(&format!("id-{}", index + 1), identity);
        }
        safe.out("keys generate file:key.pem --secret file:pw");
        safe
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn private(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_firmseal"))
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .stdin(Stdio::null())
            .output()
            .expect("the program runs")
    }

    fn out(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {text}");
        text
    }

    fn escrow(&self, to: &str) {
        let all: String = CUSTODIANS.iter().map(|(_, to)| format!(" --recipient {to}")).collect();
        self.out(&format!("keys escrow file:key.pem --threshold 2 --secret file:pw -o {to}{all}"));
    }
}

const RECOVER: &str = "ceremony recover --secret file:pw -o back.pem";

#[test]
fn a_lost_key_comes_back() {
    let safe = Safe::new();
    safe.escrow("escrow");
    let public = safe.out("keys show file:key.pem --secret file:pw");
    for share in 1..=3 {
        let mode =
            fs::metadata(safe.path(&format!("escrow/share-{share}.age"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    fs::remove_file(safe.path("key.pem")).unwrap();
    safe.out(&format!(
        "{RECOVER} --share escrow/share-3.age --share escrow/share-1.age --identity id-1 --identity id-3"
    ));
    let back = safe.out("keys show file:back.pem --secret file:pw");
    assert_eq!(public.lines().skip(1).collect::<Vec<_>>(), back.lines().skip(1).collect::<Vec<_>>());
    assert_eq!(fs::metadata(safe.path("back.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    for record in ["escrow/record.md", "back.pem.record.md"] {
        safe.out(&format!("ceremony verify-record {record}"));
    }
}

#[test]
fn what_is_wrong_is_named() {
    let safe = Safe::new();
    safe.escrow("one");
    safe.escrow("two");
    let few = safe.fails(&format!("{RECOVER} --share one/share-1.age --identity id-1"), 3);
    assert!(few.contains("2 shares bring the key back, here are 1"), "{few}");
    let both = "--identity id-1 --identity id-2";
    let mixed = safe.fails(&format!("{RECOVER} --share one/share-1.age --share two/share-2.age {both}"), 3);
    assert!(mixed.contains("two/share-2.age") && mixed.contains("another splitting"), "{mixed}");
    let twice = safe.fails(&format!("{RECOVER} --share one/share-1.age --share one/share-1.age {both}"), 3);
    assert!(twice.contains("brought before"), "{twice}");
    let closed = safe.fails(&format!("{RECOVER} --share one/share-1.age --share one/share-3.age {both}"), 3);
    assert!(closed.contains("one/share-3.age: none of the identities opens it"), "{closed}");
    let mut bytes = fs::read(safe.path("one/share-2.age")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(safe.path("bad.age"), bytes).unwrap();
    let bad = safe.fails(&format!("{RECOVER} --share one/share-1.age --share bad.age {both}"), 3);
    assert!(bad.contains("bad.age") && bad.contains("damaged"), "{bad}");
    assert!(!safe.path("back.pem").exists());
    fs::set_permissions(safe.path("id-1"), fs::Permissions::from_mode(0o644)).unwrap();
    safe.fails(&format!("{RECOVER} --share one/share-1.age --identity id-1"), 8);
    let (identity, to) = CUSTODIANS[0];
    let secret = identity.trim();
    let typed = safe.fails(
        &format!("keys escrow file:key.pem --threshold 2 --recipient {secret} --recipient {to} -o x"),
        2,
    );
    assert!(!typed.contains(secret), "an identity by mistake is not repeated: {typed}");
    let again = format!("keys escrow file:key.pem --threshold 2 --recipient {to} --recipient {to} -o x");
    safe.fails(&again, 2);
}

/// Two tokens, and how a URI into them ends.
fn tokens(safe: &Safe) -> String {
    let module = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    let module = module.iter().find(|path| Path::new(path).exists()).expect("run `cargo xtask setup`");
    fs::create_dir(safe.path("tokens")).unwrap();
    let tokens = safe.path("tokens");
    fs::write(safe.path("softhsm2.conf"), format!("directories.tokendir = {}\n", tokens.display())).unwrap();
    safe.private("pin", "123456");
    for label in ["hsm", "spare"] {
        let made = Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", safe.path("softhsm2.conf"))
            .args(["--init-token", "--free", "--label", label, "--so-pin", "87654321", "--pin", "123456"])
            .output()
            .expect("run `cargo xtask setup`");
        assert!(made.status.success());
    }
    format!("module-path={module}&pin-source=file:{}", safe.path("pin").display())
}

#[test]
fn a_tokens_key_comes_back_in_another_token() {
    let safe = Safe::new();
    let end = tokens(&safe);
    let (hsm, spare) =
        (format!("pkcs11:token=hsm;object=root?{end}"), format!("pkcs11:token=spare;object=root?{end}"));
    let all: String = CUSTODIANS.iter().map(|(_, to)| format!(" --recipient {to}")).collect();
    safe.out(&format!("keys generate {hsm} --algorithm rsa4096 --escrowable --public root.pub"));
    safe.fails("keys generate file:other.pem --escrowable --secret file:pw", 2);
    safe.out(&format!("keys escrow {hsm} --threshold 2 -o escrow{all}"));
    // It was escrowable once.
    let listed = safe.out(&format!("keys list pkcs11:token=hsm?{end}"));
    assert!(listed.contains("it was extractable once"), "{listed}");
    let again = safe.fails(&format!("keys escrow {hsm} --threshold 2 -o again{all}"), 3);
    assert!(again.contains("so it cannot be escrowed") && again.contains("--escrowable"), "{again}");
    assert!(!safe.path("again").exists());

    let shares = "--share escrow/share-3.age --share escrow/share-1.age --identity id-1 --identity id-3";
    let file = safe.fails(&format!("ceremony recover {shares} --secret file:pw -o back.pem"), 3);
    assert!(file.contains("a key that lived in a token") && file.contains("--to"), "{file}");
    let few = "--share escrow/share-3.age --identity id-3";
    let few = safe.fails(&format!("ceremony recover {few} --to {spare} -o back.pub"), 3);
    assert!(few.contains("2 shares bring the key back, here are 1"), "{few}");
    assert!(!safe.path("back.pub").exists());
    safe.out(&format!("ceremony recover {shares} --to {spare} --log custodian -o back.pub"));
    let read = |name: &str| fs::read_to_string(safe.path(name)).unwrap();
    assert_eq!(read("back.pub"), read("root.pub"));
    let record = read("back.pub.record.md");
    assert!(record.contains("token=spare") && record.contains("signed as entry 0"), "{record}");
    assert!(!record.contains("pin"), "{record}");
    for record in ["escrow/record.md", "back.pub.record.md"] {
        safe.out(&format!("ceremony verify-record {record}"));
    }
    let shown = safe.out(&format!("keys show {spare}"));
    assert_eq!(
        shown.lines().nth(1),
        safe.out(&format!("keys show {hsm}")).lines().nth(1),
        "the same id in both: {shown}"
    );
    // What came back is there already, and stays.
    safe.fails(&format!("ceremony recover {shares} --to {spare} -o twice.pub"), 6);

    // A key that was made to stay, and one that the token cannot wrap.
    let stays = format!("pkcs11:token=hsm;object=stays?{end}");
    safe.out(&format!("keys generate {stays} --algorithm p256"));
    let why = safe.fails(&format!("keys escrow {stays} --threshold 2 -o x{all}"), 3);
    assert!(why.contains("not even wrapped"), "{why}");
    let curve = format!("pkcs11:token=hsm;object=curve?{end}");
    safe.out(&format!("keys generate {curve} --algorithm ed25519 --escrowable"));
    let why = safe.fails(&format!("keys escrow {curve} --threshold 2 -o x{all}"), 3);
    assert!(why.contains("cannot wrap this key") && why.contains("cannot be escrowed"), "{why}");
    assert!(!safe.path("x").exists());
}

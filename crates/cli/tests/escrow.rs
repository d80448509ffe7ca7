//! Escrow with the true program: split, lose, bring back, and what goes
//! wrong on the way.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
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
    let token = format!("keys escrow pkcs11:token=a;object=b --threshold 2 --recipient {to} -o x");
    assert!(safe.fails(&token, 3).contains("never leaves"));
}

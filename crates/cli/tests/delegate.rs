//! A build's key: certified, used within its delegation, and refused outside
//! of it, as people at two machines would do it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::process::{Command, Output};

struct Desk(tempfile::TempDir);

impl Desk {
    /// A place, a product, some firmware and two keys of builds.
    fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().unwrap());
        desk.good("init place --host 127.0.0.1");
        let product = "id = \"gateway\"\nenvironment = \"test\"\nvendor = \"example.com\"\n\
                       class = \"gateway rev 1\"\nformat = \"raw\"\n\
                       components = [{ name = \"main\", capacity = \"1MiB\" }]\n";
        for (name, content) in [("gateway.toml", product), ("firmware.bin", "some firmware")] {
            std::fs::write(desk.0.path().join(name), content).unwrap();
        }
        for name in ["ci", "job"] {
            desk.good(&format!(
                "keys generate file:{name}.pem --secret file:place/keys/passphrase --public {name}.pub"
            ));
        }
        desk
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

    fn bad(&self, line: &str, code: i32, why: &str) {
        let output = self.run(line);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}: {stderr}");
        assert!(stderr.contains(why), "{line}: {stderr}");
    }
}

const DELEGATE: &str = "delegate --place place --secret file:place/keys/passphrase --product gateway";
const SIGN: &str =
    "sign-offline --place place --product-file gateway.toml --component main=firmware.bin --epoch 1";

fn by(key: &str) -> String {
    format!("--key file:{key}.pem --secret file:place/keys/passphrase")
}

#[test]
fn a_build_signs_what_it_was_certified_for() {
    let desk = Desk::new();
    desk.good(&format!(
        "{DELEGATE} --key file:place/keys/release.pem --to ci.pub --versions 1.0.0..1.9.9 --epoch-max 1 \
         --index 3 --for 8h -o ci.delegation"
    ));
    let shown = desk.good("inspect ci.delegation");
    assert!(shown.starts_with("delegation 3 to key ") && shown.contains("lowest: \"1.0.0\""), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&desk.good("--json inspect ci.delegation")).expect("JSON");
    assert_eq!((&json["kind"], &json["index"]), (&"delegation".into(), &3.into()));

    let ci = by("ci");
    desk.good(&format!("{SIGN} --version 1.2.0 {ci} --delegation ci.delegation -o one.bundle"));
    desk.good("verify --root place/trust/root.cbor one.bundle");
    desk.bad(&format!("{SIGN} --version 2.0.0 {ci} --delegation ci.delegation -o x"), 3, "refusal 210");
    desk.bad(&format!("{SIGN} --version 1.2.1 {ci} -o x"), 3, "refusal 202");
    desk.bad(&format!("{SIGN} --version 1.2.1 -o x"), 3, "refusal 403");
    desk.bad(&format!("{SIGN} --version 1.2.1 {ci} --delegation gateway.toml -o x"), 2, "not a delegation");

    // A job's key, for one version; it cannot be given more than the build's.
    let under = format!("{DELEGATE} --under ci.delegation {ci} --to job.pub --epoch-max 1 -o job.delegation")
        .replacen(" --secret file:place/keys/passphrase", "", 1);
    desk.bad(&format!("{under} --versions 1.2.0..2.0.0 --for 10m"), 3, "refusal 210");
    desk.bad(&format!("{under} --versions 1.2.1..1.2.1 --for 10h"), 3, "refusal 211");
    desk.good(&format!("{under} --versions 1.2.1..1.2.1 --for 10m"));
    let job = by("job");
    desk.good(&format!("{SIGN} --version 1.2.1 {job} --delegation job.delegation -o two.bundle"));
    desk.bad(&format!("{SIGN} --version 1.2.2 {job} --delegation job.delegation -o x"), 3, "refusal 210");
    desk.bad(&format!("{SIGN} --version 1.2.3 {job} --delegation ci.delegation -o x"), 3, "refusal 202");
}

#[test]
fn only_a_key_of_the_role_certifies_and_never_its_own() {
    let desk = Desk::new();
    let rest = "--versions 1.0.0..1.9.9 --epoch-max 1 --index 1 --for 8h -o x";
    desk.bad(&format!("{DELEGATE} --key file:ci.pem --to job.pub {rest}"), 3, "refusal 202");
    let release = "--key file:place/keys/release.pem";
    desk.bad(&format!("{DELEGATE} {release} --to place/keys/release.pem {rest}"), 2, "this is a private key");
    let shown = desk.good("keys show file:place/keys/release.pem --secret file:place/keys/passphrase");
    let own = format!("-----{}", shown.split_once("-----").unwrap().1);
    std::fs::write(desk.0.path().join("own.pub"), own).unwrap();
    desk.bad(&format!("{DELEGATE} {release} --to own.pub {rest}"), 3, "refusal 206");
    let over = rest.replace("--for 8h", "--until 2020-01-01T00:00:00Z");
    desk.bad(&format!("{DELEGATE} {release} --to ci.pub {over}"), 2, "is over");
    let turned = rest.replace("1.0.0..1.9.9", "1.9.9..1.0.0");
    desk.bad(&format!("{DELEGATE} {release} --to ci.pub {turned}"), 2, "comes first");
    assert!(!desk.0.path().join("x").exists());
}

#[test]
fn a_place_signs_under_the_delegation_in_its_settings() {
    let desk = Desk::new();
    desk.good(&format!(
        "{DELEGATE} --key file:place/keys/release.pem --to ci.pub --versions 1.0.0..1.9.9 --epoch-max 1 \
         --index 1 --for 8h -o place/ci.delegation"
    ));
    std::fs::rename(desk.0.path().join("ci.pem"), desk.0.path().join("place/keys/ci.pem")).unwrap();
    let path = desk.0.path().join("place/signing.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    let settings = settings
        .replace("release = [\"file:keys/release.pem\"]", "release = [\"file:keys/ci.pem\"]")
        + "delegation = [\"ci.delegation\"]\n";
    std::fs::write(&path, settings).unwrap();
    desk.good(&format!("{SIGN} --version 1.2.0 -o one.bundle"));
    desk.good("verify --root place/trust/root.cbor one.bundle");
    let shown = desk.good("inspect one.bundle");
    assert!(shown.contains("delegation index: 1"), "{shown}");
}

//! Keys in Vault with the true program, against the fake.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::process::{Command, Output, Stdio};

use firmseal_testkit::vault::{Mode, Vault};

fn run(directory: &std::path::Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_firmseal"))
        .args(words)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

#[test]
fn a_key_is_made_shown_and_rotated_by_its_uri() {
    let (vault, dir) = (Vault::start(), tempfile::tempdir().unwrap());
    let uri = |version| vault.uri(dir.path(), "release", version);
    let ok = |words: &[&str]| {
        let output = run(dir.path(), words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let fails = |words: &[&str], code| {
        let output = run(dir.path(), words);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
        assert!(!text.contains(&vault.token()), "{text}");
        text
    };
    let first = ok(&["keys", "generate", &uri(1), "--algorithm", "p256"]);
    assert!(first.contains("algorithm  p256"), "{first}");
    assert_eq!(ok(&["keys", "show", &uri(1)]), first);
    assert!(
        fails(&["keys", "generate", &uri(1), "--algorithm", "p256"], 6).contains("already holds version 1")
    );
    let second = ok(&["keys", "generate", &uri(2), "--algorithm", "p256"]);
    assert_ne!(first, second);
    assert!(fails(&["keys", "show", &uri(3)], 4).contains("versions 1 to 2"));
    fails(&["keys", "generate", &uri(3), "--algorithm", "p256", "--escrowable"], 2);
    // Where the URI does not say, the token comes from --secret.
    let bare = uri(1).split("&token-source").next().unwrap().to_owned();
    let source = format!("file:{}", vault.token_file(dir.path()).display());
    assert_eq!(ok(&["keys", "show", &bare, "--secret", &source, "--json"]).matches("\"id\"").count(), 1);
    // The URI of any key there lists them all.
    let listed: serde_json::Value =
        serde_json::from_str(&ok(&["keys", "list", &bare, "--secret", &source, "--json"])).unwrap();
    let keys: Vec<_> = listed.as_array().unwrap().iter().map(|key| &key["kept"]).collect();
    assert_eq!(keys, ["never leaves vault", "never leaves vault"], "{listed}");
    assert!(listed[1]["key"].as_str().unwrap().contains("/release?version=2&"), "{listed}");
    assert!(!listed.to_string().contains("vault-token"), "{listed}");
    assert!(fails(&["keys", "list", "file:/k.pem"], 2).contains("keys show"));
    assert!(fails(&["keys", "list", "keyhost:room/boot"], 2).contains("keyhost.toml"));

    vault.set(Mode::Sealed);
    assert!(fails(&["keys", "list", &uri(1)], 7).contains("Vault is sealed"));
    assert!(fails(&["keys", "show", &uri(1)], 7).contains("Vault is sealed"));
    vault.set(Mode::Well);
    vault.set_token("another");
    let old = uri(1);
    std::fs::write(vault.token_file(dir.path()), "hvs.expired").unwrap();
    assert!(fails(&["keys", "show", &old], 5).contains("permission denied"));
}

#[test]
fn a_production_place_signs_with_keys_in_vault() {
    let (vault, dir) = (Vault::start(), tempfile::tempdir().unwrap());
    let uri = |name| vault.uri(dir.path(), name, 1);
    for name in ["root", "release", "image"] {
        let made = run(dir.path(), &["keys", "generate", &uri(name), "--algorithm", "p256"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let (root, release, image) = (uri("root"), uri("release"), uri("image"));
    let words = ["init", "place", "--environment", "production", "--root-key", &root];
    let made =
        run(dir.path(), &[&words[..], &["--release-key", &release, "--artifact-key", &image]].concat());
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let settings = std::fs::read_to_string(dir.path().join("place/signing.toml")).unwrap();
    assert!(settings.contains(&release) && !settings.contains(&vault.token()), "{settings}");
    assert_eq!(vault.counts().1, 1, "the root document was signed in vault");
}

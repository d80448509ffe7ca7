//! Policies, and address maps beside them, as somebody who writes them uses
//! them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Exit code, stdout and stderr.
fn firmseal(arguments: &[&str]) -> (i32, String, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_firmseal")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (run.status.code().unwrap(), text(run.stdout), text(run.stderr))
}

fn production() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/policies/production");
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_policy_is_read_and_asked() {
    let (code, out, err) = firmseal(&["policy", "check", &production()]);
    assert_eq!(code, 0, "{err}");
    let line = out.lines().find(|line| line.starts_with("two-on-stable")).unwrap();
    assert!(line.contains("2 approvals") && line.contains("two people agree"), "{line}");
    let (code, out, err) = firmseal(&["policy", "test", &production()]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("ok    debug build\n") && !out.contains("FAIL"), "{out}");
    assert!(!err.contains("no example tries"), "{err}");
    let (code, out, _) = firmseal(&["policy", "schema"]);
    assert_eq!((code, out.contains("entity Caller in [Role, Team]")), (0, true));
}

#[test]
fn what_is_wrong_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let (code, _, err) = firmseal(&["policy", "check", path]);
    assert_eq!((code, err.contains("no file here ends in `.cedar`")), (4, true), "{err}");

    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let open = "@id(\"open\") @reason(\"all of it\")\npermit (principal, action, resource)";
    write("a.cedar", &format!("{open}\nwhen {{ context.chanel == \"beta\" }};\n"));
    let (code, _, err) = firmseal(&["policy", "check", path]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("\na.cedar:3: rule `open`: attribute `chanel`"), "{err}");
    assert!(err.contains("did you mean `channel`?"), "{err}");

    write("a.cedar", &format!("{open}\nwhen {{ context.channel == \"beta\" }};\n"));
    let (code, _, err) = firmseal(&["policy", "test", path]);
    assert_eq!((code, err.contains("no examples are beside the policy")), (4, true), "{err}");
    write(
        "a.test.toml",
        "[[case]]\nname = \"beta\"\nexpect = \"permit\"\n[[case]]\nname = \"stable\"\nexpect = \"permit\"\n\
         question = { channel = \"stable\" }\n",
    );
    let (code, out, err) = firmseal(&["policy", "test", path]);
    assert_eq!(code, 3, "{err}");
    assert_eq!(out, "ok    beta\nFAIL  stable\n      - permit\n      + refuse by no-permit\n");
    assert!(err.contains("1 of 2 answers are not those that were meant"), "{err}");

    write("b.test.toml", "[[case]]\nname = \"x\"\nexpect = \"permit\"\nquestion = { chanel = \"stable\" }\n");
    let (code, _, err) = firmseal(&["policy", "test", path]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("b.test.toml: case `x`: `chanel` is no part of a question"), "{err}");
}

#[test]
fn an_address_map_that_is_silent_refuses_files_without_addresses_and_stays_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (code, _, err) = firmseal(&["init", &at("place"), "--host", "127.0.0.1"]);
    assert_eq!(code, 0, "{err}");
    fs::write(at("firmware.bin"), "some firmware").unwrap();
    let main = format!("main={}", at("firmware.bin"));
    let sign = |name: &str, word: &str| {
        let product = format!(
            "id = \"{name}\"\nenvironment = \"test\"\nvendor = \"example.com\"\nclass = \"a\"\nformat = \"raw\"\n\
             [[components]]\nname = \"main\"\ncapacity = \"1MiB\"\n\
             addresses.allowed = [{{ name = \"slot\", start = 0x1000, size = \"1MiB\" }}]\n{word}\n"
        );
        fs::write(at("product.toml"), product).unwrap();
        let (place, product) = (at("place"), at("product.toml"));
        let order = ["sign-offline", "--place", &place, "--product-file", &product, "--component", &main];
        let names = ["--epoch", "1", "--version", "1.0.0", "-o", &at(name)];
        let (code, _, err) = firmseal(&[order.as_slice(), &names].concat());
        (code, err)
    };
    // The second time the product is there already.
    for _ in 0..2 {
        let (code, err) = sign("silent", "");
        assert_eq!(code, 3, "{err}");
        assert!(err.contains("names no address") && err.contains("allow_unplaced = true"), "{err}");
    }
    let word = "addresses.allow_unplaced = true";
    let (code, err) = sign("silent", word);
    assert_eq!((code, err.contains("with other properties")), (6, true), "{err}");
    let (code, err) = sign("told", word);
    assert_eq!(code, 0, "{err}");
}

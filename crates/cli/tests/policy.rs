//! `firmseal policy`, as somebody who writes one uses it.
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

//! Help: every page has an example and no flag twice, and every list prints
//! JSON.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::collections::BTreeMap;
use std::process::{Command, Output};

fn firmseal(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_firmseal"))
        .args(arguments)
        .env_remove("FIRMSEAL_PROFILE")
        .output()
        .expect("the program runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Every command's path and the text of its help, the program's own first.
fn pages() -> BTreeMap<Vec<String>, String> {
    let mut pages = BTreeMap::new();
    let mut todo = vec![Vec::<String>::new()];
    while let Some(path) = todo.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let output = firmseal(&arguments);
        assert!(output.status.success(), "{arguments:?}");
        let text = stdout(&output);
        for name in commands(&text) {
            todo.push(path.iter().cloned().chain([name]).collect());
        }
        pages.insert(path, text);
    }
    pages
}

/// Names under `Commands:`.
fn commands(page: &str) -> Vec<String> {
    page.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Flags under `Options:`, each as it is written: `-o`, `--output`.
fn flags(page: &str) -> Vec<String> {
    page.lines()
        .skip_while(|line| *line != "Options:")
        .skip(1)
        // What follows them begins at the margin: examples.
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .filter(|line| line.trim_start().starts_with('-'))
        // Flags stand before the two spaces that end their column.
        .filter_map(|line| line.trim_start().split("  ").next().map(str::to_owned))
        .flat_map(|line| {
            let words: Vec<String> = line
                .split([' ', ',', '='])
                .filter(|word| word.starts_with('-') && word.len() > 1)
                .map(|word| word.trim_end_matches("...").to_owned())
                .collect();
            words
        })
        .collect()
}

#[test]
fn every_page_has_an_example_of_its_own_command() {
    for (path, page) in pages() {
        let example = page.lines().skip_while(|line| *line != "Examples:" && *line != "Example:");
        let command = std::iter::once("firmseal").chain(path.iter().map(String::as_str));
        let command = command.collect::<Vec<_>>().join(" ");
        let shows = example.clone().any(|line| line.contains(&command));
        assert!(shows, "`{command} --help` has no example of it:\n{page}");
    }
}

#[test]
fn no_flag_is_there_twice() {
    for (path, page) in pages() {
        let mut seen = flags(&page);
        assert!(seen.iter().any(|flag| flag == "--json"), "{path:?} has no --json");
        seen.sort();
        let count = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), count, "{path:?} has a flag twice:\n{page}");
    }
}

#[test]
fn no_flag_takes_a_secret() {
    // What stands on a command line is read by every process of the machine.
    for (path, page) in pages() {
        for flag in flags(&page) {
            let secret = ["--pin", "--password", "--token"].contains(&flag.as_str());
            assert!(!secret, "{path:?} {flag}");
        }
    }
}

#[test]
fn the_program_names_its_exit_codes() {
    let page = &pages()[&Vec::new()];
    for code in 0..=9 {
        assert!(page.contains(&format!("\n  {code}  ")), "exit code {code} is not explained");
    }
}

#[test]
fn wrong_command_lines_end_with_2_and_say_how() {
    for arguments in [
        &["nonsense"][..],
        &["product", "create"],
        &[
            "product",
            "create",
            "Gateway",
            "--vendor",
            "example.com",
            "--class",
            "x",
            "--component",
            "main=1MiB",
        ],
        &["product", "create", "gw", "--vendor", "example.com", "--class", "x", "--component", "main=1M"],
        &["product", "create", "gw", "--from", "x.toml"],
        &["release", "show", "not-an-id"],
        &[
            "release",
            "create",
            "--product",
            "gw",
            "--version",
            "one",
            "--epoch",
            "1",
            "--component",
            "main=x",
        ],
        &["rollout", "watch", "rol-0197c0de-0000-7000-8000-000000000001", "--timeout", "10"],
        &["device", "token", "create", "--product", "gw", "--label", "berlin"],
        &["token", "create", "ci"],
        &["tls", "import", "-o", "x"],
        &["tls", "show", "x", "--passphrase", "hunter2"],
        &["keys", "list", "pkcs11:token=hsm?pin-value=hunter2"],
        &["keys", "show", "hunter2:"],
        &["keys", "show", "file:k", "--secret", "hunter2"],
        &["init", "x", "--release-key", "pkcs11:token=hsm?pin-value=hunter2"],
        &["completions", "tcsh"],
    ] {
        let output = firmseal(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.starts_with("error: ") && !text.contains("panicked"), "{arguments:?}: {text}");
        assert!(!text.contains("hunter2"), "what may be a secret is not repeated: {text}");
        if arguments.contains(&"--passphrase") {
            assert!(text.contains("env:NAME"), "{text}");
        }
    }
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&firmseal(&["completions", shell]));
        for word in ["rollout", "self-signed", "--idempotency-key"] {
            // fish writes long flags without their hyphens.
            assert!(script.contains(word.trim_start_matches('-')), "{shell} does not know {word}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("firmseal.bash");
    std::fs::write(&path, firmseal(&["completions", "bash"]).stdout).unwrap();
    let bash = Command::new("bash")
        .arg("-c")
        .arg("source \"$1\" && COMP_WORDS=(firmseal rol) COMP_CWORD=1 && _firmseal firmseal rol firmseal && echo \"${COMPREPLY[@]}\"")
        .arg("bash")
        .arg(&path)
        .output()
        .expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&bash.stdout).trim(), "rollout", "{bash:?}");
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("man1");
    let output = firmseal(&["man", "--output", target.to_str().unwrap(), "--json"]);
    assert!(output.status.success(), "{output:?}");
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for path in pages().into_keys() {
        let name =
            std::iter::once("firmseal".to_owned()).chain(path.iter().cloned()).collect::<Vec<_>>().join("-");
        let page =
            std::fs::read_to_string(target.join(format!("{name}.1"))).unwrap_or_else(|_| panic!("{name}.1"));
        assert!(page.contains(".SH SYNOPSIS") && page.contains("Example"), "{name}.1");
        assert!(listed["pages"].as_array().unwrap().iter().any(|page| *page == format!("{name}.1")));
        let words: Vec<&str> = std::iter::once("man").chain(path.iter().map(String::as_str)).collect();
        assert_eq!(stdout(&firmseal(&words)), page, "{name}");
    }
    assert_eq!(firmseal(&["man", "nonsense"]).status.code(), Some(4));
}

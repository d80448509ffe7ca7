//! The units that are shipped for systemd: how much they shut off, as systemd
//! itself judges it, and that the server runs within what they leave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::process::Command;

use firmseal_e2e::{Child, Shell, binaries, server, until};

const UNITS: [&str; 2] = ["firmseal.service", "firmseal-keyhost.service"];
/// Highest exposure, of 10, times ten as systemd-analyze(1) has it. What is
/// left is the network, of which a server lives.
const EXPOSURE: u32 = 15;

fn unit(name: &str) -> std::path::PathBuf {
    binaries::workspace().join("deploy/systemd").join(name)
}

fn analyze(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new("systemd-analyze").args(arguments).arg("--no-pager").output();
    let output = output.expect("systemd is not installed: run `cargo xtask setup`");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn systemd_finds_little_that_is_exposed() {
    for name in UNITS {
        let path = unit(name);
        let threshold = format!("--threshold={EXPOSURE}");
        let (fine, out, err) = analyze(&["security", "--offline=true", &threshold, path.to_str().unwrap()]);
        assert!(fine, "{name}:\n{out}\n{err}");
        // A setting that it does not know would be one that does nothing.
        assert_eq!(err, "", "{name}");
    }
}

/// The values of a setting, which a unit has once.
fn setting(name: &str, setting: &str) -> Vec<String> {
    let text = std::fs::read_to_string(unit(name)).unwrap();
    let values: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix(setting)?.strip_prefix('=')).collect();
    let [value] = values.as_slice() else { panic!("{name} has {setting} {} times", values.len()) };
    value.split_whitespace().map(str::to_owned).collect()
}

/// A start after a PIN that was refused offers it once more, and ten wrong ones
/// lock many an HSM. What passes by itself, an HSM that is away or a disk that
/// is full, ends no service for good.
#[test]
fn systemd_starts_again_where_that_may_help_and_nowhere_else() {
    let codes = std::fs::read_to_string(binaries::workspace().join("docs/exit-codes.md")).unwrap();
    let codes = codes.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(codes.contains("again after every end but 0, 2, 3, 5 and 6"), "{codes}");
    for name in UNITS {
        assert_eq!(setting(name, "Restart"), ["on-failure"], "{name}");
        assert_eq!(setting(name, "StartLimitIntervalSec"), ["0"], "{name}");
        assert_eq!(setting(name, "RestartPreventExitStatus"), ["2", "3", "5", "6"], "{name}");
    }
}

/// The system calls behind the words of a filter.
fn resolved(words: &str) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for word in words.split_whitespace() {
        if !word.starts_with('@') {
            calls.insert(word.to_owned());
            continue;
        }
        let (known, out, err) = analyze(&["syscall-filter", word]);
        assert!(known, "{word}: {err}");
        let members = out.lines().skip(1).map(str::trim).filter(|line| !line.starts_with('#'));
        calls.extend(resolved(&members.collect::<Vec<_>>().join(" ")));
    }
    calls
}

/// What a unit permits: lists add up, and `~` takes away (systemd.exec(5),
/// `SystemCallFilter=`).
fn permitted(name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(unit(name)).unwrap();
    let mut calls = resolved("@default");
    for words in text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        match words.strip_prefix('~') {
            Some(words) => calls = &calls - &resolved(words),
            None => calls.extend(resolved(words)),
        }
    }
    calls
}

#[test]
fn a_server_asks_the_kernel_for_nothing_that_its_unit_forbids() {
    let t = Shell::new();
    let port = server::init(&t, "place");
    let line = format!("strace -f -c -o counts {} serve place --log json", binaries::firmseal().display());
    let mut traced = Child::start(&mut t.command(&line));
    until("the server to listen", || {
        if let Some(status) = traced.ended() {
            panic!("the server did not start ({status}): {}", traced.stderr.text());
        }
        (traced.stderr.text().matches("\"listening\"").count() >= 3).then_some(())
    });
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.write("firmware.bin", vec![7; 100_000]);
    t.ok("firmseal release create --product gateway --version 1.0.0 --epoch 0 --component main=firmware.bin");
    t.ok("firmseal sign firmware.bin --product gateway --version 1.0.0 --epoch 0 --signature own.sig");
    t.ok(&format!(
        "curl --silent --cacert place/tls/server.pem https://localhost:{}/v1/log/checkpoint",
        port + 2
    ));
    // strace ends with what it traces, and writes its table then.
    let tracer = traced.id();
    let children = std::fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).unwrap();
    t.ok(&format!("kill -TERM {}", children.trim()));
    assert!(traced.wait().success(), "{}", traced.stderr.text());

    let table = String::from_utf8(t.read("counts")).unwrap();
    let named = |line: &str| line.split_whitespace().last().map(str::to_owned);
    let rows = table.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    let asked: BTreeSet<String> = rows.filter_map(named).filter(|name| name != "total").collect();
    assert!(asked.contains("landlock_restrict_self") && asked.contains("accept4"), "{asked:?}");
    let mut forbidden: BTreeSet<_> = &asked - &permitted("firmseal.service");
    // SQLite gives new files to the database's owner where it is root, as the
    // user of the unit is not.
    if rustix::process::geteuid().is_root() {
        forbidden.remove("fchown");
    }
    assert_eq!(forbidden, BTreeSet::new());
}

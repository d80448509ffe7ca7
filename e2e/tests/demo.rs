//! The demo: ends well, shows every refusal, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use firmseal_e2e::firmware::U_BOOT;
use firmseal_e2e::{Child, Ran, Shell};

/// Processes of a group that are left.
fn left_of(group: u32) -> Vec<String> {
    let stat = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("stat")).ok();
    let in_group = |stat: &String| {
        // proc(5): after the name come state, parent and group.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace().nth(2) == Some(&group.to_string())
    };
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| stat(entry.unwrap())).filter(in_group).collect()
}

fn demo(t: &Shell, line: &str) -> Ran {
    std::fs::create_dir_all(t.path("tmp")).unwrap();
    let mut child = Child::start(t.command(line).env("TMPDIR", t.path("tmp")));
    let status = child.wait();
    assert_eq!(left_of(child.id()), Vec::<String>::new());
    let ran = Ran {
        line: line.to_owned(),
        code: status.code(),
        stdout: child.stdout.text(),
        stderr: child.stderr.text(),
    };
    print!("$ {line}\n{}\n{}", ran.stdout, ran.stderr);
    assert!(!ran.stderr.contains("panicked at"));
    ran
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

/// The acts stand in this order, and the last one is the way on.
fn tells_all_of_it(ran: &Ran, devices: usize) {
    let mut rest = ran.stdout.as_str();
    for part in
        ["trust", "server", "build", "sign", "enrol", "roll out", "update", "attack", "summary", "go on"]
    {
        let heading = format!("\n{part}");
        let at = rest.find(&heading).unwrap_or_else(|| panic!("{part} is missing:\n{}", ran.stdout));
        rest = &rest[at + heading.len()..];
    }
    let confirmed = |version: &str| {
        let line =
            |line: &&str| line.contains("device-") && line.contains(version) && line.contains("confirmed");
        ran.stdout.lines().filter(line).count()
    };
    assert_eq!((confirmed("1.0.0"), confirmed("1.1.0")), (devices, devices));
    assert!(ran.stdout.contains(&format!("{devices} confirmed")));
    for refusal in [
        "one bit of the payload flipped: refused 600",
        "one bit of the manifest flipped: refused 200",
        "one bit of the signature flipped: refused 201",
        "an older release, properly signed: refused 400",
        "signed by somebody else: refused 202",
        "cut off in the middle: refused",
        "and the untouched bundle: installed 1.2.0",
        "active slot and boot record untouched by all of them",
    ] {
        assert!(ran.stdout.contains(refusal), "{refusal:?} is missing:\n{}", ran.stdout);
    }
}

#[test]
fn the_demo_shows_the_whole_chain_and_leaves_nothing_behind() {
    let t = Shell::new();
    let ran = demo(&t, "firmseal demo").exits(0);
    tells_all_of_it(&ran, 3);
    assert!(is_empty(&t.path("tmp")), "something was left in the temporary directory");
}

#[test]
fn with_real_firmware_in_a_named_directory_everything_stays() {
    let t = Shell::new();
    let line = format!("firmseal demo {} --devices 10 --directory kept", U_BOOT.path().display());
    tells_all_of_it(&demo(&t, &line).exits(0), 10);
    assert!(is_empty(&t.path("tmp")));
    // What it says about how to go on is true.
    t.ok("firmseal verify --root kept/place/trust/root.cbor kept/attack/good.bundle");
    t.ok("firmseal inspect kept/attack/good.bundle").says("gateway");
    t.run("firmseal verify --root kept/place/trust/root.cbor kept/attack/signed-by-somebody-else.bundle")
        .fails(3, "refusal 202");
    demo(&t, &line).fails(8, "kept").hints();
}

#[test]
fn a_demo_that_cannot_begin_says_why_and_leaves_nothing_behind() {
    let t = Shell::new();
    t.write("empty.bin", b"");
    demo(&t, "firmseal demo empty.bin").fails_after_a_word(3, "empty.bin");
    demo(&t, "firmseal demo nowhere.bin").fails_after_a_word(8, "nowhere.bin");
    demo(&t, "firmseal demo --devices 0").fails_after_a_word(2, "--devices");
    assert!(is_empty(&t.path("tmp")));
}

trait Late {
    fn fails_after_a_word(self, code: i32, naming: &str) -> Ran;
}

impl Late for Ran {
    /// A failure of a command that tells a story on stdout.
    fn fails_after_a_word(self, code: i32, naming: &str) -> Ran {
        let ran = self.exits(code);
        assert!(ran.stderr.contains("error") && ran.stderr.contains(naming), "{}", ran.stderr);
        ran
    }
}

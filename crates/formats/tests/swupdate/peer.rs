//! Packages made by hand, and swupdate as their judge.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::OpenSsl;

pub(crate) const IMAGE: &[u8] = b"what becomes the root file system";
pub(crate) const SCRIPT: &[u8] = b"print('installed')\n";

/// An archive of cpio, in the format with this magic.
pub(crate) fn archive(magic: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in files.iter().copied().chain([("TRAILER!!!", &[][..])]) {
        let sum = content.iter().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        let sum = if magic == "070702" { sum } else { 0 };
        let mode = if name == "TRAILER!!!" { 0 } else { 0o100_644 };
        let name_size = name.len() as u32 + 1;
        out.extend(magic.as_bytes());
        for field in [7, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name_size, sum] {
            out.extend(format!("{field:08x}").as_bytes());
        }
        out.extend(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(content);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A description of an image and a script, for a device that has neither bank
/// nor board.
pub(crate) fn libconfig(version: &str) -> String {
    format!(
        "software = {{\n  version = \"{version}\";\n  description = \"one\";\n  hardware-compatibility: [ \"1.0\", \"1.1\" ];\n  \
         images: ( {{ filename = \"rootfs.img\"; type = \"raw\"; device = \"/dev/null\"; sha256 = \"{}\"; }} );\n  \
         scripts: ( {{ filename = \"after.sh\"; type = \"shellscript\"; sha256 = \"{}\"; }} );\n}}\n",
        sha256(IMAGE),
        sha256(SCRIPT)
    )
}

pub(crate) fn json(version: &str) -> String {
    format!(
        "{{ \"software\": {{ \"version\": \"{version}\", \"hardware-compatibility\": [ \"1.0\" ],\n  \"images\": \
         [ {{ \"filename\": \"rootfs.img\", \"type\": \"raw\", \"device\": \"/dev/null\", \"sha256\": \"{}\" }} ],\n  \
         \"scripts\": [ {{ \"filename\": \"after.sh\", \"type\": \"shellscript\", \"sha256\": \"{}\" }} ] }} }}\n",
        sha256(IMAGE),
        sha256(SCRIPT)
    )
}

/// A package without a signature.
pub(crate) fn package(magic: &str, description: &str) -> Vec<u8> {
    archive(magic, &[("sw-description", description.as_bytes()), ("rootfs.img", IMAGE), ("after.sh", SCRIPT)])
}

/// What it logs of a package that it would install.
pub(crate) const TAKEN: &str = "SWUPDATE successful ! SWUPDATE successful !";
/// What it logs at the end of one that it would not.
const REFUSED: &str = "SWUpdate *failed* !";

/// Debian's swupdate, which knows CMS and takes certificates of authorities.
pub(crate) struct Device<'a> {
    openssl: &'a OpenSsl,
    runs: AtomicUsize,
}

impl Device<'_> {
    pub(crate) fn new(openssl: &OpenSsl) -> Device<'_> {
        Device { openssl, runs: AtomicUsize::new(0) }
    }

    /// Whether it would install a package: `swupdate -c`, by what it logs. Its
    /// exit code is 1 now and then for a good one.
    pub(crate) fn takes(&self, package: &[u8], authority: &str, options: &str) -> bool {
        self.log(package, authority, options).contains(TAKEN)
    }

    /// What it logs, with its verdict. On a busy machine it ends now and then
    /// before it has looked at anything, or its main thread takes it for done
    /// before it has begun and clears away what the other one is just unpacking,
    /// so that files are gone or cut: of neither it says at the end that it
    /// failed, and it is asked again.
    pub(crate) fn log(&self, package: &[u8], authority: &str, options: &str) -> String {
        let mut log = String::new();
        for _ in 0..20 {
            log = self.run(package, authority, options);
            if [TAKEN, REFUSED].iter().any(|words| log.contains(words)) {
                return log;
            }
        }
        panic!("no verdict in 20 runs: {log}");
    }

    fn run(&self, package: &[u8], authority: &str, options: &str) -> String {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let temporary: PathBuf = self.openssl.dir.path().join(format!("run-{run}"));
        fs::create_dir(&temporary).unwrap();
        let file = temporary.join("package.swu");
        fs::write(&file, package).unwrap();
        // One at a time on a machine: it binds a socket by a name of its own.
        let out = Command::new("flock")
            .arg(std::env::temp_dir().join("firmseal-swupdate.lock"))
            .args(["swupdate", "-c", "-l", "5", "-k", &format!("{authority}.crt"), "-i"])
            .arg(&file)
            .args(options.split_whitespace())
            .env("TMPDIR", &temporary)
            .current_dir(self.openssl.dir.path())
            .output()
            .expect("flock is installed");
        let log = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert!(log.contains("SWUpdate v"), "{log}: run `cargo xtask setup`");
        fs::remove_dir_all(&temporary).unwrap();
        log
    }
}

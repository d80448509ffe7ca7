//! Debian packages: the table, and how they get installed.

use std::path::Path;
use std::process::Command;

use super::Wanted;
use crate::error::Error;
use crate::{process, workspace};

struct Package {
    name: &'static str,
    /// What it is for; also the documentation of the table.
    why: &'static str,
    wanted: Wanted,
}

const fn tests(name: &'static str, why: &'static str) -> Package {
    Package { name, why, wanted: Wanted::Tests }
}

const fn benches(name: &'static str, why: &'static str) -> Package {
    Package { name, why, wanted: Wanted::Benches }
}

const PACKAGES: &[Package] = &[
    tests("arm-trusted-firmware-tools", "cert_create, which makes certificates for TF-A"),
    tests("bison", "builds fit_check_sign"),
    tests("ca-certificates", "trust anchors for downloads"),
    tests("cpio", "packs and unpacks SWUpdate packages"),
    tests("cryptsetup-bin", "veritysetup, the judge of block trees"),
    tests("openssh-client", "ssh-keygen, the judge of SSH signatures"),
    tests("dpkg-dev", "unpacks the source of fit_check_sign"),
    tests("device-tree-compiler", "reads and writes device trees"),
    tests("flex", "builds fit_check_sign"),
    tests("firmware-microbit-micropython", "a Cortex-M firmware in Intel HEX"),
    tests("fwupd", "fwupdtool, which builds cabinets and says what it trusts"),
    tests("fwupd-amd64-signed", "a PE file that Debian signed"),
    tests("fsverity", "computes what the kernel does of a file"),
    tests("g++", "builds libFuzzer"),
    tests("gcab", "packs and unpacks cabinets"),
    tests("golang-go", "builds the judge of the log"),
    tests("golang-golang-x-mod-dev", "the judge of the log: the reference of notes and tiles"),
    tests("jcat", "jcat-tool, the judge of signatures for fwupd"),
    tests("openssl", "the judge of keys, certificates and TLS"),
    tests("kmod", "modinfo, which reads kernel modules"),
    tests("libclamav12", "what clamscan links"),
    tests("libclang1", "reads the headers of the token that knows ML-DSA"),
    tests("libengine-pkcs11-openssl", "takes our PKCS#11 module into OpenSSL"),
    tests("libgnutls28-dev", "what fit_check_sign links"),
    tests("libssl-dev", "what fit_check_sign links"),
    tests("libtss2-dev", "what keys-tpm links"),
    tests("lz4", "unpacks Debian's kernel"),
    tests("mender-artifact", "makes, signs and judges Mender artifacts"),
    tests("opensbi", "real firmware for the sessions"),
    tests("osslsigncode", "signs through our PKCS#11 module"),
    tests("ovmf", "real firmware for the sessions"),
    tests("python3-venv", "the Python environment of other people's implementations"),
    tests("qemu-system-arm", "runs the verifier on a Cortex-M3"),
    tests("qemu-system-x86", "boots what is signed for UEFI"),
    tests("rauc", "the judge of bundles; signs through our PKCS#11 module; peer of the agent's install"),
    tests("sbsigntool", "signs through our PKCS#11 module"),
    tests("shim-helpers-amd64-signed", "PE files that Debian signed"),
    tests("shim-unsigned", "holds the certificate that Debian signs with"),
    tests("skopeo", "writes and reads container images"),
    tests("softhsm2", "the PKCS#11 token"),
    tests("squashfs-tools", "RAUC bundles are squashfs images"),
    tests("pkg-config", "finds tpm2-tss"),
    tests("strace", "names the file operations at which tests cut the power"),
    tests("swtpm", "the TPM"),
    tests("swugenerator", "makes SWUpdate packages"),
    tests("systemd", "systemd-analyze, the judge of our units"),
    tests("systemd-boot-efi", "a PE file to sign"),
    tests(
        "u-boot-tools",
        "mkimage makes FIT images, and signs through our PKCS#11 module; mkeficapsule is the peer of capsules",
    ),
    tests("u-boot-qemu", "real firmware for the sessions, and boots signed FIT images"),
    tests("uuid-dev", "what fit_check_sign links"),
    benches("dbus-daemon", "rauc's service answers on it"),
    benches("nginx-light", "serves a file of the size of a poll's answer"),
    benches("swupdate", "peer of the agent's install"),
    benches("wrk", "asks over TLS as fast as it can"),
];

/// The oldest QEMU whose instruction counts are right.
const QEMU: u32 = 8;

/// Whether a package is one of QEMU's, which share another and are of one
/// version.
fn is_qemu(name: &str) -> bool {
    name.starts_with("qemu-system-")
}

/// Installs the packages that are missing.
pub(crate) fn ensure(wanted: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let names: Vec<&Package> = PACKAGES
        .iter()
        .filter(|package| wanted == Wanted::Benches || package.wanted == Wanted::Tests)
        .collect();
    if process::find("dpkg-query").is_none() {
        let list: Vec<String> =
            names.iter().map(|package| format!("  {} ({})", package.name, package.why)).collect();
        return Err(Error::wrong(format!(
            "this is not Debian, so these are for you to install, by the names they have here:\n{}",
            list.join("\n")
        )));
    }
    let missing: Vec<&str> = names
        .iter()
        .map(|package| package.name)
        .filter(|name| match installed(name) {
            None => true,
            Some(version) => is_qemu(name) && major(&version) < QEMU,
        })
        .collect();
    install(&missing, say)
}

/// Installs packages by name; does nothing for an empty list.
pub(crate) fn install(names: &[&str], say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let suite = backports_suite();
    let (newer, plain): (Vec<&str>, Vec<&str>) =
        names.iter().partition(|name| is_qemu(name) && suite.is_some());
    let Some(root) = Root::find() else {
        return Err(Error::wrong(format!(
            "not root and no usable sudo, so these packages are missing: {}\nhint: {}",
            names.join(" "),
            by_hand(&plain, &newer, suite.as_deref()),
        )));
    };
    say(&format!("installing {}", names.join(" ")));
    if let (Some(suite), false) = (&suite, newer.is_empty()) {
        add_backports(suite, &root, say)?;
    }
    root.run(&["apt-get", "update", "-qq"])?;
    // --no-remove: a developer's machine keeps what it has; a conflict is an
    // error for a person to decide.
    let base = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "--no-remove"];
    if !plain.is_empty() {
        root.run(&[&base[..], &plain].concat())?;
    }
    if let (Some(suite), false) = (&suite, newer.is_empty()) {
        root.run(&[&base[..], &["-t", suite], &newer].concat())?;
    }
    Ok(())
}

/// The installed version of a package.
pub(crate) fn installed(name: &str) -> Option<String> {
    let line = process::read(Command::new("dpkg-query").args([
        "-W",
        "-f",
        "${db:Status-Abbrev} ${Version}\n",
        name,
    ]))
    .ok()?;
    line.lines().find_map(|line| line.strip_prefix("ii")).map(|version| version.trim().to_owned())
}

/// The upstream major version of a Debian version (`1:10.0.2+ds-2` is 10).
fn major(version: &str) -> u32 {
    let upstream = version.split_once(':').map_or(version, |(_, upstream)| upstream);
    let digits: String = upstream.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// The suite to take QEMU from: Debian 12 has 7.2, newer releases are fine.
pub(crate) fn backports_suite() -> Option<String> {
    let release = workspace::read(Path::new("/etc/os-release")).ok()?;
    release
        .lines()
        .any(|line| line.trim() == "VERSION_CODENAME=bookworm")
        .then(|| "bookworm-backports".to_owned())
}

/// Adds the backports suite, from the mirror that this machine already uses
/// for Debian's main suite.
fn add_backports(suite: &str, root: &Root, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let format = "$(CODENAME) $(COMPONENT) $(REPO_URI)";
    let targets = process::read(Command::new("apt-get").args(["indextargets", "--format", format]))?;
    if targets.lines().any(|line| line.split(' ').next() == Some(suite)) {
        return Ok(());
    }
    let base = suite.strip_suffix("-backports").unwrap_or(suite);
    let mirror = main_mirror(&targets, base).ok_or_else(|| {
        Error::wrong(format!(
            "no apt source for {base} main, so no mirror for {suite}\nhint: add a source for {suite}"
        ))
    })?;
    let path = format!("/etc/apt/sources.list.d/{suite}.sources");
    say(&format!("adding {path}"));
    let entry = format!("Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\n");
    let entry = match Path::new(KEYRING).is_file() {
        true => format!("{entry}Signed-By: {KEYRING}\n"),
        false => entry,
    };
    let staged = workspace::target().join("setup").join(format!("{suite}.sources"));
    workspace::write(&staged, entry)?;
    root.run(&["install", "-m", "0644", &staged.to_string_lossy(), &path])
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The mirror that serves `main` of a suite, from lines of
/// `apt-get indextargets` in the form "codename component uri".
fn main_mirror<'a>(targets: &'a str, suite: &str) -> Option<&'a str> {
    targets.lines().find_map(|line| {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some(name), Some("main"), Some(uri)) if name == suite => Some(uri),
            _ => None,
        }
    })
}

/// The name of this machine's release.
pub(crate) fn release() -> Option<String> {
    let release = workspace::read(Path::new("/etc/os-release")).ok()?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(name.trim_matches('"').to_owned())
}

/// The mirror of this machine's own release, for a chroot of the same.
pub(crate) fn mirror(suite: &str) -> Option<String> {
    let format = "$(CODENAME) $(COMPONENT) $(REPO_URI)";
    let targets = process::read(Command::new("apt-get").args(["indextargets", "--format", format])).ok()?;
    main_mirror(&targets, suite).map(str::to_owned)
}

fn by_hand(plain: &[&str], newer: &[&str], suite: Option<&str>) -> String {
    let mut commands = vec!["sudo apt-get update".to_owned()];
    if !plain.is_empty() {
        commands.push(format!("sudo apt-get install --no-install-recommends {}", plain.join(" ")));
    }
    let Some(suite) = suite.filter(|_| !newer.is_empty()) else { return commands.join(" && ") };
    commands.push(format!("sudo apt-get install --no-install-recommends -t {suite} {}", newer.join(" ")));
    format!("{}\nhint: the last one needs the suite {suite} in apt's sources", commands.join(" && "))
}

/// A way to act as root.
pub(crate) struct Root {
    prefix: &'static [&'static str],
}

impl Root {
    /// As we are, or through sudo; sudo may ask for a password only where
    /// somebody is there to type it.
    pub(crate) fn find() -> Option<Root> {
        use std::io::IsTerminal;

        if process::read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0") {
            return Some(Root { prefix: &[] });
        }
        process::find("sudo")?;
        if process::works(Command::new("sudo").args(["-n", "true"])) {
            return Some(Root { prefix: &["sudo", "-n"] });
        }
        std::io::stdin().is_terminal().then_some(Root { prefix: &["sudo"] })
    }

    fn run(&self, words: &[&str]) -> Result<(), Error> {
        // `env` after sudo, which drops variables that it does not know.
        let environment = ["env", "DEBIAN_FRONTEND=noninteractive", "APT_LISTCHANGES_FRONTEND=none"];
        let all = [self.prefix, &environment, words].concat();
        let (program, rest) = all.split_first().ok_or_else(|| Error::wrong("an empty command"))?;
        let log = process::read(Command::new(program).args(rest))?;
        let path = workspace::target().join("setup/apt.log");
        workspace::write(&path, log)
    }
}

#[cfg(test)]
mod tests {
    use super::{main_mirror, major};

    #[test]
    fn major_skips_epoch_and_suffix() {
        assert_eq!(major("1:7.2+dfsg-7+deb12u18"), 7);
        assert_eq!(major("1:10.0.2+ds-2~bpo12+1"), 10);
        assert_eq!(major("garbled"), 0);
    }

    #[test]
    fn the_mirror_is_that_of_main() {
        let targets = "bookworm-security main http://s.example/\nbookworm contrib http://c.example/\nbookworm main http://m.example/debian/\n";
        assert_eq!(main_mirror(targets, "bookworm"), Some("http://m.example/debian/"));
        assert_eq!(main_mirror(targets, "trixie"), None);
    }
}

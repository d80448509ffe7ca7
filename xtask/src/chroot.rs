//! `cargo xtask chroot-test`: does it work for somebody who has nothing yet?
//!
//! A fresh Debian with only Rust, gcc and git, a clone of the last commit, and
//! the commands of the README. How this machine reaches its package sources
//! (mirror, proxy, trust anchors) is carried over, because that is the
//! network's business; nothing else is. Credentials are not looked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::error::Error;
use crate::setup::apt;
use crate::{process, workspace};

/// The commands that the README gives.
const README: [&str; 2] = ["cargo run --release -- demo", "cargo xtask test"];

/// What a newcomer is told to have; certificates are for downloading.
const PACKAGES: &str = "ca-certificates,gcc,git,libc6-dev";

/// Where things are inside.
const PATH: &str = "/opt/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `cargo xtask chroot-test [--keep] [COMMAND...]`.
pub(crate) fn main(arguments: &[String]) -> Result<(), Error> {
    let keep = arguments.iter().any(|argument| argument == "--keep");
    let mut commands: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|word| *word != "--keep").collect();
    if commands.is_empty() {
        commands = README.to_vec();
    }
    if process::read(Command::new("id").arg("-u"))?.trim() != "0" {
        return Err(Error::wrong("chroot-test makes a chroot, which takes root\nhint: run it as root"));
    }
    let chroot = Chroot::make()?;
    let mut failed = Vec::new();
    for command in commands {
        println!("== {command}");
        let started = Instant::now();
        let worked = chroot.run(command).is_ok();
        println!("   {} {:.1} s", if worked { "ok" } else { "FAILED" }, started.elapsed().as_secs_f64());
        if !worked {
            failed.push(command);
        }
    }
    if keep {
        println!("kept: {}", chroot.root.display());
    } else {
        remove(&chroot.root)?;
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::wrong(format!("failed in the fresh system: {}", failed.join("; ")))),
    }
}

struct Chroot {
    root: PathBuf,
}

impl Chroot {
    /// Makes a fresh one; the plain Debian is kept as an archive for next time.
    fn make() -> Result<Chroot, Error> {
        let directory = workspace::target().join("chroot");
        let root = directory.join("root");
        remove(&root)?;
        fs::create_dir_all(&root).map_err(Error::file(&root))?;
        let suite = apt::release().ok_or_else(|| Error::wrong("/etc/os-release names no release"))?;
        let archive = directory.join(format!("{suite}.tar"));
        if !archive.is_file() {
            debootstrap(&suite, &root, &archive)?;
        }
        // Nobody will miss this system after a power cut: skip dpkg's fsyncs.
        workspace::write(&root.join("etc/dpkg/dpkg.cfg.d/unsafe-io"), "force-unsafe-io\n")?;
        process::read(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&root))?;
        let chroot = Chroot { root };
        chroot.network(&suite)?;
        chroot.rust()?;
        chroot.clone_repository()?;
        Ok(chroot)
    }

    /// Runs a shell command in the clone.
    fn run(&self, command: &str) -> Result<(), Error> {
        // Own namespaces: the mounts are gone, and whatever the command left
        // running is dead, as soon as this ends, however it ends.
        let script = "mount -t proc proc \"$1/proc\" && mount -t tmpfs -o size=2g tmpfs \"$1/dev/shm\" \
                      && mount -t devpts -o newinstance,ptmxmode=0666 devpts \"$1/dev/pts\" \
                      && exec chroot \"$1\" /bin/sh -c \"cd /srv/firmseal && $2\"";
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", script, "sh"])
            .arg(&self.root)
            .arg(command)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| concerns_network(&name.to_string_lossy())))
            .envs([("PATH", PATH), ("HOME", "/srv"), ("LANG", "C.UTF-8"), ("CI", "true")])
            .envs([("CARGO_HOME", "/opt/cargo"), ("RUSTUP_HOME", "/opt/rustup")]);
        process::run(&mut unshare)
    }

    /// Sources, trust anchors and names, as on this machine.
    fn network(&self, suite: &str) -> Result<(), Error> {
        let mut sources = String::new();
        let updates = format!("{suite}-updates");
        let security = format!("{suite}-security");
        for name in [suite, &updates, &security] {
            if let Some(mirror) = apt::mirror(name) {
                sources.push_str(&format!("deb {mirror} {name} main\n"));
            }
        }
        workspace::write(&self.root.join("etc/apt/sources.list"), sources)?;
        // How apt fetches (proxies, trust), and none of the hooks that this
        // machine may run around it.
        let settings = process::read(Command::new("apt-config").arg("dump"))?;
        let fetching: Vec<&str> = settings.lines().filter(|line| line.starts_with("Acquire::")).collect();
        workspace::write(&self.root.join("etc/apt/apt.conf.d/99machine"), fetching.join("\n"))?;
        for file in ["/etc/ssl/certs/ca-certificates.crt", "/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf"]
        {
            if let Ok(bytes) = fs::read(file) {
                workspace::write(&self.inside(file), bytes)?;
            }
        }
        Ok(())
    }

    /// The toolchain that is active here, as rustup would have installed it.
    fn rust(&self) -> Result<(), Error> {
        let home = PathBuf::from(process::read(Command::new("rustup").args(["show", "home"]))?.trim());
        let sysroot =
            PathBuf::from(process::read(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
        let Some(name) = sysroot.file_name() else {
            return Err(Error::wrong(format!("{}: not a toolchain of rustup", sysroot.display())));
        };
        let toolchains = self.inside("/opt/rustup/toolchains");
        fs::create_dir_all(&toolchains).map_err(Error::file(&toolchains))?;
        copy(&sysroot, &toolchains.join(name))?;
        copy(&home.join("settings.toml"), &self.inside("/opt/rustup/settings.toml"))?;
        let bin = self.inside("/opt/cargo/bin");
        fs::create_dir_all(&bin).map_err(Error::file(&bin))?;
        let rustup = process::find("rustup").ok_or_else(|| Error::wrong("rustup is not in the path"))?;
        let rustup = fs::canonicalize(&rustup).map_err(Error::file(&rustup))?;
        copy(&rustup, &bin.join("rustup"))?;
        for proxy in ["cargo", "cargo-clippy", "cargo-fmt", "rustc", "rustdoc", "rustfmt"] {
            let link = bin.join(proxy);
            std::os::unix::fs::symlink("rustup", &link).map_err(Error::file(&link))?;
        }
        // The machine's own configuration of cargo, if it has one; the file
        // with credentials is another one and stays where it is.
        let cargo_home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
        if let Some(bytes) = cargo_home.and_then(|home| fs::read(home.join("config.toml")).ok()) {
            workspace::write(&self.inside("/opt/cargo/config.toml"), bytes)?;
        }
        Ok(())
    }

    fn clone_repository(&self) -> Result<(), Error> {
        let changed = process::read(
            Command::new("git").args(["status", "--porcelain"]).current_dir(workspace::root()),
        )?;
        if !changed.is_empty() {
            println!("note: the working tree differs from the last commit, which is what is tested");
        }
        process::read(
            Command::new("git")
                .args(["clone", "--quiet", "--no-local"])
                .arg(workspace::root())
                .arg(self.inside("/srv/firmseal")),
        )?;
        // A newcomer's rustup has no target for bare metal yet.
        self.run("rustup target remove thumbv7m-none-eabi 2>/dev/null || true")
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

fn debootstrap(suite: &str, root: &Path, archive: &Path) -> Result<(), Error> {
    if process::find("debootstrap").is_none() {
        apt::install(&["debootstrap"], &mut |line| println!("{line}"))?;
    }
    let mirror = apt::mirror(suite).ok_or_else(|| Error::wrong(format!("apt knows no mirror of {suite}")))?;
    println!("making a plain Debian {suite}");
    process::read(
        Command::new("debootstrap")
            .args(["--variant=minbase", &format!("--include={PACKAGES}"), suite])
            .arg(root)
            .arg(mirror),
    )?;
    // Written aside and renamed: an archive that is there is whole.
    let unfinished = archive.with_extension("unfinished");
    process::read(Command::new("tar").arg("-cf").arg(&unfinished).arg("-C").arg(root).arg("."))?;
    fs::rename(&unfinished, archive).map_err(Error::file(archive))?;
    remove(root)?;
    fs::create_dir_all(root).map_err(Error::file(root))
}

/// Whether a variable says how to reach package sources. Names that sound
/// like a secret are left out, whatever they are for.
fn concerns_network(name: &str) -> bool {
    let upper = name.to_uppercase();
    let secret = ["TOKEN", "SECRET", "PASSWORD", "KEY"].iter().any(|word| upper.contains(word));
    let wanted = upper.ends_with("_PROXY")
        || upper.starts_with("PIP_")
        || upper.starts_with("CARGO_NET_")
        || upper.starts_with("CARGO_HTTP_")
        || ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"]
            .contains(&upper.as_str())
        || ["RUSTUP_DIST_SERVER", "RUSTUP_UPDATE_ROOT"].contains(&upper.as_str());
    wanted && !secret
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    process::read(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to)).map(drop)
}

/// Removes a tree, and nothing that happens to be mounted below it.
fn remove(root: &Path) -> Result<(), Error> {
    process::read(Command::new("rm").args(["-rf", "--one-file-system"]).arg(root)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::concerns_network;

    #[test]
    fn only_the_network_is_carried_over() {
        for name in ["https_proxy", "NO_PROXY", "PIP_CERT", "SSL_CERT_FILE", "CARGO_HTTP_CAINFO"] {
            assert!(concerns_network(name), "{name}");
        }
        for name in ["HOME", "CARGO_REGISTRY_TOKEN", "PIP_PASSWORD", "SSH_AUTH_SOCK", "AWS_SECRET_ACCESS_KEY"]
        {
            assert!(!concerns_network(name), "{name}");
        }
    }
}

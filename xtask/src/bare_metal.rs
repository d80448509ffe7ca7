//! A compiler for bare metal, from rustup or from Debian.
//!
//! rustup is what everybody uses. Where its downloads are refused, Debian's
//! own compiler builds the core library once from Debian's source of it; that
//! takes under a minute and is kept below the target directory, by a hash of
//! the compiler's version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::setup::{Wanted, apt};
use crate::{process, workspace};

/// The target of the reference board: Cortex-M3.
pub(crate) const TARGET: &str = "thumbv7m-none-eabi";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LINKER: &str = "/usr/bin/ld.lld-22";
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];

/// Set to `debian` to leave rustup aside, which is how that way is tried on a
/// machine where rustup works.
const CHOICE: &str = "FIRMSEAL_BARE_METAL";

enum Toolchain {
    Rustup,
    Debian { sysroot: PathBuf },
}

/// Makes sure that there is a compiler for [`TARGET`].
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    if present().is_some() {
        return Ok(());
    }
    let refused = if only_debian() {
        "left aside".to_owned()
    } else {
        say(&format!("adding the target {TARGET}"));
        match process::read(Command::new("rustup").args(["target", "add", TARGET])) {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        }
    };
    debian(say).map_err(|error| {
        Error::wrong(format!(
            "no compiler for {TARGET}; rustup: {refused}; Debian's: {error}\nhint: rustup target add {TARGET}"
        ))
    })
}

/// A cargo that builds for [`TARGET`]; the caller adds the subcommand.
pub(crate) fn cargo() -> Result<Command, Error> {
    match present() {
        Some(Toolchain::Rustup) => Ok(workspace::cargo()),
        Some(Toolchain::Debian { sysroot }) => {
            let mut cargo = debian_cargo();
            let upper = TARGET.to_uppercase().replace('-', "_");
            cargo.env(format!("CARGO_TARGET_{upper}_LINKER"), DEBIAN_LINKER);
            let flags = format!("--sysroot={}", sysroot.display());
            cargo.env(format!("CARGO_TARGET_{upper}_RUSTFLAGS"), flags);
            Ok(cargo)
        }
        None => Err(Error::wrong(format!("no compiler for {TARGET} is installed\nhint: cargo xtask setup"))),
    }
}

fn only_debian() -> bool {
    std::env::var_os(CHOICE).is_some_and(|choice| choice == "debian")
}

fn present() -> Option<Toolchain> {
    let rustup = process::read(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))
        .is_ok_and(|directory| Path::new(directory.trim()).is_dir());
    if rustup && !only_debian() {
        return Some(Toolchain::Rustup);
    }
    let sysroot = sysroot().ok()?;
    let complete = sysroot.join("complete").is_file() && Path::new(DEBIAN_LINKER).exists();
    complete.then_some(Toolchain::Debian { sysroot })
}

fn debian(say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let missing: Vec<&str> =
        DEBIAN_PACKAGES.into_iter().filter(|name| apt::installed(name).is_none()).collect();
    apt::install(&missing, say)?;
    say(&format!("building the core library for {TARGET}"));
    let sysroot = sysroot()?;
    let library = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    // An empty crate: what counts is what building it builds on the way.
    let package = sysroot.join("empty");
    workspace::write(
        &package.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n",
    )?;
    workspace::write(&package.join("src/lib.rs"), "#![no_std]\n")?;
    let mut cargo = debian_cargo();
    cargo
        // The compiler and the source are of one version, so the unstable
        // option does here what it does for the compiler's own build.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Cembed-bitcode=yes -Cstrip=debuginfo")
        .args(["build", "--quiet", "--release", "-Zbuild-std=core,alloc", "--target", TARGET])
        .arg("--target-dir")
        .arg(package.join("target"))
        .current_dir(&package);
    process::read(&mut cargo)?;
    fs::create_dir_all(&library).map_err(Error::file(&library))?;
    let built = package.join("target").join(TARGET).join("release/deps");
    for entry in fs::read_dir(&built).map_err(Error::file(&built))? {
        let path = entry.map_err(Error::file(&built))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let wanted = ["libcore-", "liballoc-", "libcompiler_builtins-"];
        if name.ends_with(".rlib") && wanted.iter().any(|start| name.starts_with(start)) {
            let to = library.join(&name);
            fs::copy(&path, &to).map_err(Error::file(&to))?;
        }
    }
    fs::remove_dir_all(&package).map_err(Error::file(&package))?;
    workspace::write(&sysroot.join("complete"), "")
}

fn debian_cargo() -> Command {
    let mut cargo = Command::new(DEBIAN_CARGO);
    cargo.env("RUSTC", DEBIAN_RUSTC).current_dir(workspace::root());
    // rustup's cargo tells its children which toolchain is chosen.
    for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH"] {
        cargo.env_remove(name);
    }
    cargo
}

/// Where the libraries for Debian's compiler are, or will be.
fn sysroot() -> Result<PathBuf, Error> {
    let version = process::read(Command::new(DEBIAN_RUSTC).arg("-vV"))?;
    // FNV-1a: only to tell compilers apart.
    let hash = version.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Ok(workspace::target().join("bare-metal").join(format!("{hash:016x}")))
}

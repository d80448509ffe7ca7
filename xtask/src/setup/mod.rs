//! Set-up: what the tests need beyond Rust, gcc and git.
//!
//! Parts, each of which looks before it acts: Debian packages, a Python
//! environment with other people's implementations, packages for Node, promtool,
//! a registry and ClamAV, swupdate, an OpenSSL of today, U-Boot's verifier, avbtool and
//! libavb, Debian's kernel, real files to inspect, and a bare-metal target for rustc. What cannot
//! be installed is named with the command that would install it; the steps that do
//! not need it run all the same.

pub(crate) mod apt;
mod avb;
mod kernel;
mod lists;
mod npm;
mod openssl;
pub(crate) mod python;
mod real;
mod swupdate;
mod uboot;
mod unpacked;

use crate::bare_metal;
use crate::error::Error;

/// Which tools are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// What `cargo xtask test` uses.
    Tests,
    /// The benchmarks' peers as well.
    Benches,
}

/// `cargo xtask setup [bench]`.
pub(crate) fn main(arguments: &[String]) -> Result<(), Error> {
    let wanted = match arguments {
        [] => Wanted::Tests,
        [word] if word == "bench" => Wanted::Benches,
        _ => return Err(Error::wrong("usage: cargo xtask setup [bench]")),
    };
    let missing = ensure(wanted, |line| println!("{line}"));
    if missing.is_empty() {
        println!("everything that is needed is here");
        return Ok(());
    }
    for problem in &missing {
        eprintln!("{problem}\n");
    }
    Err(Error::wrong(format!("{} of the needed tools are missing, see above", missing.len())))
}

/// One part of the set-up; it says what it installs while it does.
type Part = fn(Wanted, &mut dyn FnMut(&str)) -> Result<(), Error>;

/// Installs what is missing and returns what is still missing afterwards, as
/// text for people with the command that helps.
pub(crate) fn ensure(wanted: Wanted, mut say: impl FnMut(&str)) -> Vec<String> {
    let parts: [Part; 12] = [
        apt::ensure,
        rust_components,
        python::ensure,
        npm::ensure,
        unpacked::ensure,
        swupdate::ensure,
        openssl::ensure,
        uboot::ensure,
        avb::ensure,
        kernel::ensure,
        real::ensure,
        bare_metal::ensure,
    ];
    parts.iter().filter_map(|part| part(wanted, &mut say).err()).map(|error| error.to_string()).collect()
}

/// rustfmt and clippy: rustup's minimal profile leaves them out.
fn rust_components(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    use crate::process;
    use std::process::Command;

    for (program, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        if process::works(Command::new(program).arg("--version")) {
            continue;
        }
        say(&format!("installing {component}"));
        process::read(Command::new("rustup").args(["component", "add", component])).map_err(|error| {
            Error::wrong(format!("{component} is missing: {error}\nhint: rustup component add {component}"))
        })?;
    }
    Ok(())
}

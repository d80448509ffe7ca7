//! An OpenSSL that knows ML-DSA, and Ed25519 in CMS: 3.5 or later. Debian 12 has
//! 3.0, so the next release's is unpacked, beside the libraries that it runs
//! with; the system keeps its own.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::lists::Lists;
use super::{Wanted, python};
use crate::error::Error;
use crate::{process, workspace};

/// The release that has one.
const SUITE: &str = "trixie";
const PACKAGES: [&str; 5] = ["openssl", "libssl3t64", "libc6", "zlib1g", "libzstd1"];

/// Starts it with its own libraries, and with the loader that they are for.
const START: &str = r#"#!/bin/sh
own=$(dirname "$(readlink -f "$0")")/../share/openssl
set -- --library-path "$own/lib" "$own/bin/openssl" "$@"
exec "$own/lib/ld-linux-x86-64.so.2" "$@"
"#;

/// Where tests find it: beside other people's implementations.
fn tool() -> PathBuf {
    python::directory().join("bin/openssl35")
}

/// Unpacks it where the system's is older.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    if knows(PathBuf::from("openssl")) || knows(tool()) {
        return Ok(());
    }
    say("unpacking OpenSSL 3.5");
    unpack().map_err(|error| {
        let tool = tool();
        Error::wrong(format!(
            "OpenSSL 3.5 is missing: {error}\nhint: put one into your path, or as {} beside the other tools",
            tool.display()
        ))
    })
}

fn knows(program: PathBuf) -> bool {
    process::read(Command::new(program).args(["list", "-signature-algorithms"]))
        .is_ok_and(|known| known.contains("ML-DSA-65"))
}

fn unpack() -> Result<(), Error> {
    let lists = Lists::later(SUITE, "openssl", "amd64")?;
    lists.apt(&[&["download", "-qq"], &PACKAGES[..]].concat())?;
    lists.shell("for package in *.deb; do dpkg-deb -x $package .; done")?;
    let share = python::directory().join("share/openssl");
    for library in
        ["ld-linux-x86-64.so.2", "libc.so.6", "libssl.so.3", "libcrypto.so.3", "libz.so.1", "libzstd.so.1"]
    {
        lists.copy(&format!("usr/lib/x86_64-linux-gnu/{library}"), &share.join("lib").join(library))?;
    }
    lists.keep("usr/bin/openssl", &share.join("bin/openssl"))?;
    workspace::write(&tool(), START)?;
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(tool(), executable).map_err(Error::file(&tool()))
}

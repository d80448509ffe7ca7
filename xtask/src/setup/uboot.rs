//! fit_check_sign, the judge of FIT images, which Debian's u-boot-tools leave
//! out: built from Debian's source of U-Boot, and once more for ECDSA. And a
//! FIT to sign: U-Boot for an arm64 board, taken out of its package without
//! that architecture.

use std::path::PathBuf;

use super::lists::Lists;
use super::{Wanted, python};
use crate::error::Error;

/// The key of an ECDSA signature as U-Boot itself has it: code for the judge of
/// those.
const KEY: &str = include_str!("uboot_key.c");

/// Where tests find it: beside other people's implementations.
fn tool() -> PathBuf {
    python::directory().join("bin/fit_check_sign")
}

/// The judge of ECDSA signatures.
fn ecdsa() -> PathBuf {
    python::directory().join("bin/fit_check_sign_ecdsa")
}

/// The FIT.
fn board() -> PathBuf {
    python::directory().join("share/u-boot/rock64.itb")
}

/// Makes what is not there.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let hint = |what: &str, error: Error| {
        Error::wrong(format!(
            "{what} is missing: {error}\nhint: `make tools-only_defconfig tools-only` in U-Boot's source makes \
             fit_check_sign, Debian's package u-boot-rockchip for arm64 has rock64-rk3328/u-boot.itb"
        ))
    };
    if !tool().is_file() || !ecdsa().is_file() {
        say("building fit_check_sign");
        build().map_err(|error| hint("fit_check_sign", error))?;
    }
    if !board().is_file() {
        say("unpacking a FIT");
        unpack().map_err(|error| hint("a FIT for a board", error))?;
    }
    Ok(())
}

fn build() -> Result<(), Error> {
    let lists = Lists::read("u-boot-source", "deb-src", "amd64")?;
    // With Debian's patches: one of them decides what a signature covers.
    lists.apt(&["source", "-qq", "u-boot"])?;
    lists.shell("mv u-boot-*/ source && cd source && make tools-only_defconfig && make -j2 tools-only")?;
    lists.copy("source/tools/fit_check_sign", &tool())?;
    // Debian's looks for the owner's private key in a file; U-Boot has the public
    // one in its devicetree. What is hashed, and which signature counts, stays
    // U-Boot's own.
    lists.write("source/lib/ecdsa/required_key.c", KEY)?;
    lists.shell(
        "cd source && sed -i -e '/^int ecdsa_verify(/i #include \"required_key.c\"\\n' \
         -e '/^int ecdsa_verify(/,/^}/s/prepare_ctx(/required_key(/' lib/ecdsa/ecdsa-libcrypto.c \
         && grep -q 'ret = required_key(' lib/ecdsa/ecdsa-libcrypto.c && make tools-only",
    )?;
    lists.keep("source/tools/fit_check_sign", &ecdsa())
}

fn unpack() -> Result<(), Error> {
    let lists = Lists::read("u-boot-board", "deb", "arm64")?;
    lists.apt(&["download", "-qq", "u-boot-rockchip"])?;
    lists.shell("dpkg-deb -x u-boot-rockchip_*.deb .")?;
    lists.keep("usr/lib/u-boot/rock64-rk3328/u-boot.itb", &board())
}

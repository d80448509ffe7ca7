//! Where the memory is, told to the linker here, so that the crate builds
//! without flags from outside.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=memory.x");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    std::fs::copy("memory.x", out.join("memory.x"))?;
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    // Sections that begin on a page boundary are for machines with pages.
    println!("cargo:rustc-link-arg-bins=--nmagic");
    Ok(())
}

//! The step `ml-dsa`: keys in a token that knows ML-DSA.
//!
//! kryoptic is a PKCS#11 module by other people. It brings an OpenSSL of its
//! own, and takes minutes to build: a long run has the time.

use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::{process, workspace};

/// Where everything of it lies.
fn directory() -> PathBuf {
    workspace::target().join("ml-dsa")
}

/// What builds the module.
pub(crate) fn build() -> Result<Command, Error> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet", "--locked", "--manifest-path"]);
    cargo.arg(workspace::root().join("crates/keys-pkcs11/token/Cargo.toml"));
    cargo.arg("--target-dir").arg(directory());
    // Its headers are read by libclang; what a compiler brings itself, such
    // as stddef.h, by the one that is there.
    let headers = process::read(Command::new("cc").arg("-print-file-name=include"))?;
    cargo.env("BINDGEN_EXTRA_CLANG_ARGS", format!("-I{}", headers.trim()));
    Ok(cargo)
}

/// What runs the tests, with a token that nobody has used.
pub(crate) fn test() -> Result<Command, Error> {
    let token = directory().join("token");
    if token.exists() {
        std::fs::remove_dir_all(&token).map_err(Error::file(&token))?;
    }
    let (settings, objects) = (token.join("kryoptic.toml"), token.join("token.sql"));
    let text = format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n", objects.display());
    workspace::write(&settings, text)?;
    let mut cargo = workspace::cargo();
    cargo.args([
        "test",
        "--quiet",
        "--package",
        "firmseal-keys-pkcs11",
        "--test",
        "ml_dsa",
        "--",
        "--ignored",
    ]);
    cargo.env("KRYOPTIC_CONF", settings);
    cargo.env("FIRMSEAL_ML_DSA_MODULE", directory().join("debug/libfirmseal_ml_dsa_token.so"));
    Ok(cargo)
}

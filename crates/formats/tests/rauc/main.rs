//! RAUC bundles: rauc itself is the judge of ours, and we read rauc's.
//!
//! `rauc info` believes the CMS alone; `rauc extract` looks at the payload.
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod build;
mod encryption;
mod mutations;
mod peer;
mod refusals;

use std::path::Path;
use std::process::Command;

use common::{OpenSsl, Random, TestKey};
use firmseal_formats::{FormatError, Parameters, Wanted, find, lay_out};

/// The version in the manifests.
const VERSION: &str = "1.2.3";

/// rauc, in a directory with the test keys, a certificate for each and the
/// content of a bundle.
struct Rauc {
    openssl: OpenSsl,
}

impl Rauc {
    fn new(keys: &[&str]) -> Rauc {
        let this = Rauc { openssl: OpenSsl::new(keys) };
        let mut random = Random(1);
        let root: Vec<u8> = (0..700_000).map(|_| random.next() as u8).collect();
        std::fs::create_dir(this.path("content")).unwrap();
        this.openssl.write("content/root.img", &root);
        this.openssl.write("content/hook.sh", b"#!/bin/sh\nexit 0\n");
        this
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.openssl.dir.path().join(name)
    }

    fn certificate(&self, key: &str) -> String {
        self.openssl.text(&format!("{key}.crt"))
    }

    fn run(&self, program: &str, line: &str) -> bool {
        self.told(program, line).is_ok()
    }

    /// The same, with what it says where it fails.
    fn told(&self, program: &str, line: &str) -> Result<(), String> {
        let dir: &Path = self.openssl.dir.path();
        let mut command = Command::new(program);
        command.args(line.split_whitespace()).current_dir(dir).env("TMPDIR", dir);
        let out =
            command.output().unwrap_or_else(|error| panic!("{program}: {error}; run `cargo xtask setup`"));
        out.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&out.stderr).into_owned())
    }

    fn ok(&self, program: &str, line: &str) {
        self.told(program, line).unwrap_or_else(|error| panic!("{program} {line}: {error}"));
    }

    /// A bundle that `rauc bundle` makes and signs.
    fn bundle(&self, format: &str, key: &str) -> Vec<u8> {
        let manifest = format!(
            "[update]\ncompatible=Test Board\nversion={VERSION}\ndescription=a test\n\n[bundle]\nformat={format}\n\n\
             [hooks]\nfilename=hook.sh\nhooks=install-check\n\n[image.rootfs]\nfilename=root.img\nhooks=post-install\n"
        );
        self.openssl.write("content/manifest.raucm", manifest.as_bytes());
        let _ = std::fs::remove_file(self.path("made.raucb"));
        self.ok("rauc", &format!("--cert={key}.crt --key={key}.pem bundle content made.raucb"));
        self.openssl.read("made.raucb")
    }

    /// Whether rauc takes a bundle with everything in it, from this authority.
    fn extracts(&self, bundle: &[u8], authority: &str) -> bool {
        self.extracted(bundle, authority).is_ok()
    }

    fn extracted(&self, bundle: &[u8], authority: &str) -> Result<(), String> {
        self.openssl.write("judged.raucb", bundle);
        let _ = std::fs::remove_dir_all(self.path("out"));
        self.told("rauc", &format!("--keyring={authority}.crt extract judged.raucb out"))
    }

    /// The manifest in a bundle's CMS.
    fn manifest_of(&self, bundle: &[u8]) -> String {
        self.openssl.write("in.cms", &bundle[cms_at(bundle)..bundle.len() - 8]);
        self.openssl.ok("cms -verify -noverify -binary -inform DER -in in.cms -out in.manifest");
        self.openssl.text("in.manifest")
    }

    /// A payload with this manifest, signed by OpenSSL.
    fn signed(&self, payload: &[u8], manifest: &[u8], more: &str) -> Vec<u8> {
        self.openssl.write("by.hand", manifest);
        self.openssl.ok(&format!(
            "cms -sign -binary -nodetach -in by.hand -signer p256.crt -inkey p256.pem -outform DER -out by.cms {more}"
        ));
        let cms = self.openssl.read("by.cms");
        [payload, &cms, &(cms.len() as u64).to_be_bytes()].concat()
    }

    /// Whether rauc takes its CMS.
    fn informs(&self, bundle: &[u8], authority: &str) -> bool {
        self.openssl.write("judged.raucb", bundle);
        self.run("rauc", &format!("--keyring={authority}.crt info judged.raucb"))
    }
}

/// SHA-256 as manifests have it.
fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the CMS of a bundle begins.
fn cms_at(bundle: &[u8]) -> usize {
    let end = bundle.len() - 8;
    end - u64::from_be_bytes(bundle[end..].try_into().unwrap()) as usize
}

/// Where the tree of a bundle begins.
fn tree_at(bundle: &[u8]) -> usize {
    firmseal_formats::inspect(&bundle.to_vec()).unwrap().image_size as usize
}

/// Prepares, signs, writes and reads back.
fn sign(
    source: &[u8],
    key: &TestKey,
    version: &str,
    parameters: &[(&str, &str)],
) -> Result<Vec<u8>, FormatError> {
    let parameters: Parameters = parameters.iter().copied().collect();
    let version = semver::Version::parse(version).unwrap();
    let wanted = Wanted { version, epoch: 0, key: &key.public, parameters: &parameters };
    let (format, source) = (find("rauc")?, source.to_vec());
    let laid_out = lay_out(format, &source, &wanted)?;
    assert_eq!(laid_out.tbs, lay_out(format, &source, &wanted)?.tbs, "the same wish gives the same bytes");
    let signature = key.sign(&laid_out.tbs);
    let plan = firmseal_formats::attach(format, &laid_out.unsigned.unwrap(), &source, &signature)?;
    let mut out = Vec::new();
    plan.write_to(&source, &mut out)?;
    Ok(out)
}

//! libavb and avbtool, from where set-up puts them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use firmseal_formats::{FormatError, Parameters, Wanted, attach, find, lay_out};

use crate::common::{OpenSsl, TestKey};

fn place() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv");
    std::env::var_os("FIRMSEAL_VENV").map(PathBuf::from).unwrap_or(target).join("share/avb")
}

fn python(openssl: &OpenSsl, words: &[&str]) -> Output {
    let out = Command::new("python3").args(words).current_dir(openssl.dir.path()).output();
    out.unwrap_or_else(|error| panic!("python3: {error}"))
}

/// avbtool, which has to succeed.
pub(crate) fn avbtool(openssl: &OpenSsl, line: &str) -> String {
    let tool = place().join("avbtool.py");
    let words: Vec<&str> = [tool.to_str().unwrap()].into_iter().chain(line.split_whitespace()).collect();
    let out = python(openssl, &words);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "avbtool {line}: {errors}; run `cargo xtask setup`");
    String::from_utf8(out.stdout).unwrap()
}

/// Keys, and beside them what the fixtures speak of.
pub(crate) fn keys() -> OpenSsl {
    let openssl = OpenSsl::new(&["rsa2048", "rsa4096", "other-rsa2048"]);
    for key in ["rsa2048", "rsa4096", "other-rsa2048"] {
        avbtool(&openssl, &format!("extract_public_key --key {key}.pem --output {key}.avbpubkey"));
    }
    openssl.write("vendor.avbpubkey", &openssl.read("other-rsa2048.avbpubkey"));
    openssl
}

/// Whether libavb, on a device with this rollback index, starts what is in images
/// of partitions, and avbtool verifies them.
pub(crate) fn verify_all(openssl: &OpenSsl, key: &str, stored: u64, images: &[Vec<u8>]) -> Vec<bool> {
    for (index, image) in images.iter().enumerate() {
        openssl.write(&format!("{index}.img"), image);
    }
    let (place, script) = (place(), include_str!("judge.py"));
    let (pem, blob) = (format!("{key}.pub.pem"), format!("{key}.avbpubkey"));
    let numbers = [stored.to_string(), images.len().to_string()];
    let out =
        python(openssl, &["-c", script, place.to_str().unwrap(), &pem, &blob, &numbers[0], &numbers[1]]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let verdicts: Vec<bool> = openssl.text("verdicts").chars().map(|verdict| verdict == '1').collect();
    assert_eq!(verdicts.len(), images.len());
    verdicts
}

/// Signs for an epoch.
pub(crate) fn make(
    source: &[u8],
    key: &TestKey,
    epoch: u64,
    parameters: &[(&str, &str)],
) -> Result<Vec<u8>, FormatError> {
    let (source, parameters) = (source.to_vec(), parameters.iter().copied().collect::<Parameters>());
    let version = semver::Version::new(1, 2, 3);
    let wanted = Wanted { version, epoch, key: &key.public, parameters: &parameters };
    let format = find("avb")?;
    let laid_out = lay_out(format, &source, &wanted)?;
    assert_eq!(laid_out.tbs, lay_out(format, &source, &wanted)?.tbs, "the same wish gives the same bytes");
    let plan = attach(format, &laid_out.unsigned.unwrap(), &source, &key.sign(&laid_out.tbs))?;
    let mut out = Vec::new();
    plan.write_to(&source, &mut out)?;
    Ok(out)
}

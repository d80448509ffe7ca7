//! cert_create and OpenSSL.

use std::process::Command;

use base64ct::{Base64, Encoding};
use firmseal_formats::{FormatError, Parameters, Wanted, attach, find, inspect, lay_out};
use firmseal_manifest::{Signature, Tbs};

use crate::common::{OpenSsl, TestKey};

/// OpenSSL, with the keys of the fixtures.
pub(crate) fn keys() -> OpenSsl {
    OpenSsl::new(&["p256", "rsa2048"])
}

/// cert_create, which has to succeed.
pub(crate) fn cert_create(openssl: &OpenSsl, line: &str) {
    let out =
        Command::new("cert_create").args(line.split_whitespace()).current_dir(openssl.dir.path()).output();
    let out = out.unwrap_or_else(|error| panic!("cert_create: {error}; run `cargo xtask setup`"));
    assert!(out.status.success(), "cert_create {line}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Whether OpenSSL verifies a certificate by the key in it.
pub(crate) fn taken(openssl: &OpenSsl, file: &[u8]) -> bool {
    taken_by(openssl, file, file)
}

/// Whether it verifies one with another as the only one that is trusted. It
/// knows no TBBR, and a boot stage no time.
pub(crate) fn taken_by(openssl: &OpenSsl, anchor: &[u8], file: &[u8]) -> bool {
    openssl.write("anchor", pem(anchor).as_bytes());
    openssl.write("judged", pem(file).as_bytes());
    let line = "verify -no_check_time -ignore_critical -partial_chain -check_ss_sig -CAfile anchor judged";
    openssl.run(line).status.success()
}

fn pem(file: &[u8]) -> String {
    let digits = Base64::encode_string(file);
    let lines: Vec<&str> =
        digits.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn with(
    source: &[u8],
    key: &TestKey,
    epoch: u64,
    sign: impl FnOnce(&Tbs) -> Signature,
) -> Result<Vec<u8>, FormatError> {
    let (source, parameters) = (source.to_vec(), Parameters::default());
    let version = semver::Version::new(1, 2, 3);
    let wanted = Wanted { version, epoch, key: &key.public, parameters: &parameters };
    let format = find("tfa")?;
    let laid_out = lay_out(format, &source, &wanted)?;
    assert_eq!(laid_out.tbs, lay_out(format, &source, &wanted)?.tbs, "the same wish gives the same bytes");
    let plan = attach(format, &laid_out.unsigned.unwrap(), &source, &sign(&laid_out.tbs))?;
    let mut out = Vec::new();
    plan.write_to(&source, &mut out)?;
    Ok(out)
}

/// Signs for an epoch.
pub(crate) fn make(source: &[u8], key: &TestKey, epoch: u64) -> Result<Vec<u8>, FormatError> {
    with(source, key, epoch, |tbs| key.sign(tbs))
}

/// Prepares for the key that has signed, and attaches the signature that is
/// there.
pub(crate) fn attach_own(source: &[u8], key: &TestKey, epoch: u64) -> Vec<u8> {
    let own = inspect(&source.to_vec()).unwrap().signatures.remove(0).signature;
    with(source, key, epoch, |_| own).unwrap()
}

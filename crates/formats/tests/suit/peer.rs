//! The judge: cbor2, pycose and cryptography, in the Python environment of the
//! set-up; and what it makes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{OpenSsl, TestKey};
use firmseal_core::digest::Digest;
use firmseal_formats::{FormatError, Parameters, Source, Wanted, attach, find, lay_out};
use firmseal_manifest::{PublicKey, Signature, Tbs};

/// Keys that the judge's envelopes are signed with.
const KEYS: [&str; 4] = ["p256", "p384", "ed25519", "rsa3072"];

fn python(arguments: &[&str]) -> Command {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let venv = std::env::var_os("FIRMSEAL_VENV").map_or_else(|| own.join("../../target/venv"), PathBuf::from);
    let mut command = Command::new(venv.join("bin/python"));
    command.arg(own.join("judges/suit.py")).args(arguments);
    command
}

/// Envelopes of the judge's making.
pub(crate) struct Made {
    openssl: OpenSsl,
}

impl Made {
    pub(crate) fn new() -> Made {
        let openssl = OpenSsl::new(&KEYS);
        let place = openssl.dir.path();
        let out = place.join("out");
        let status = python(&["make", place.to_str().unwrap(), out.to_str().unwrap()]).status();
        assert!(status.expect("run `cargo xtask setup`").success());
        Made { openssl }
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        self.openssl.read(&format!("out/{name}.bin"))
    }

    /// What the judge says of envelopes, each under a key.
    pub(crate) fn verdicts(&self, cases: &[(&PublicKey, &[u8])]) -> Vec<String> {
        let mut judge =
            python(&["judge"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the judge runs");
        let mut input = judge.stdin.take().unwrap();
        let mut lines = String::new();
        for (key, envelope) in cases {
            let path = self.openssl.write(&format!("{}.pub.pem", key.id()), key.to_pem().unwrap().as_bytes());
            lines += &format!("case {} {}\n", path.display(), hex(envelope));
        }
        let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
        let out = judge.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(out.status.success());
        let text = String::from_utf8(out.stdout).unwrap();
        text.lines().map(|line| line.trim_start_matches("case ").to_owned()).collect()
    }

    pub(crate) fn takes(&self, key: &PublicKey, envelope: &[u8]) -> bool {
        self.verdicts(&[(key, envelope)]) == ["good"]
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lays out, signs and attaches in this format, for the envelopes that the judge
/// makes with a payload: version 1.2.3, sequence number 7.
pub(crate) fn sign(
    source: &dyn Source,
    key: &TestKey,
    parameters: &[(&str, &str)],
) -> Result<Vec<u8>, FormatError> {
    sign_as(source, &key.public, |tbs| key.sign(tbs), ("1.2.3", 7), parameters)
}

/// The same for any key and order.
pub(crate) fn sign_as(
    source: &dyn Source,
    key: &PublicKey,
    sign: impl Fn(&Tbs) -> Signature,
    (version, epoch): (&str, u64),
    parameters: &[(&str, &str)],
) -> Result<Vec<u8>, FormatError> {
    let parameters: Parameters = parameters.iter().copied().collect();
    let wanted = Wanted { version: version.parse().unwrap(), epoch, key, parameters: &parameters };
    let format = find("suit")?;
    let laid_out = lay_out(format, source, &wanted)?;
    assert_eq!(laid_out.tbs, lay_out(format, source, &wanted)?.tbs, "the same wish gives the same bytes");
    let before: Digest = laid_out.inspection.digest();
    let plan = attach(format, &laid_out.unsigned.unwrap(), source, &sign(&laid_out.tbs))?;
    let mut out = Vec::new();
    plan.write_to(source, &mut out)?;
    assert_eq!(firmseal_formats::inspect(&out)?.digest(), before, "what was approved is what was signed");
    Ok(out)
}

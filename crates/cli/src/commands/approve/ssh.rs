//! SSH signatures, made by OpenSSH: it knows agents and security keys.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use base64ct::{Base64, Encoding};
use firmseal_core::sshsig;

use crate::error::{CliError, Kind, Result};

/// Has a key sign. The namespace keeps this signature apart from every other
/// that the key makes.
pub(super) fn sign(key: &Path, message: &[u8]) -> Result<Vec<u8>> {
    let namespace = String::from_utf8_lossy(sshsig::NAMESPACE).into_owned();
    let mut child = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-O", "hashalg=sha256", "-n", &namespace, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| CliError::from(error).about("ssh-keygen").hint("install OpenSSH 8.9 or later"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(message)?;
    }
    let done = child.wait_with_output()?;
    let refused = || CliError::new(Kind::Refused, "ssh-keygen did not sign; it says why above");
    if !done.status.success() {
        return Err(refused());
    }
    let armoured = String::from_utf8(done.stdout).map_err(|_| refused())?;
    let body: String = armoured.lines().filter(|line| !line.starts_with("-----")).collect();
    Base64::decode_vec(&body).map_err(|_| refused())
}

//! Who judges capsules: mkeficapsule makes them, edk2's tool library makes and
//! reads them, and OpenSSL verifies what the latter cuts out.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{OpenSsl, fixture};

pub(crate) const GUID: &str = "09d7cf52-0720-4710-91d1-08469b7fe9c8";

/// Makes capsules as edk2's GenerateCapsule does, and takes them apart: what is
/// signed, and the signature, into files of their own.
const SCRIPT: &str = r#"
import json, sys, uuid
from edk2toollib.uefi.uefi_capsule_header import UefiCapsuleHeaderClass
from edk2toollib.uefi.fmp_capsule_header import FmpCapsuleHeaderClass, FmpCapsuleImageHeaderClass
from edk2toollib.uefi.fmp_auth_header import FmpAuthHeaderClass
from edk2toollib.uefi.edk2.fmp_payload_header import FmpPayloadHeaderClass
def made(path, guid, index, instance, count, version, lowest, signature):
    inner = FmpPayloadHeaderClass()
    inner.FwVersion, inner.LowestSupportedVersion, inner.Payload = version, lowest, open(path, "rb").read()
    payload = inner.Encode()
    auth = FmpAuthHeaderClass()
    auth.MonotonicCount, auth.Payload = count, payload
    auth.AuthInfo.cert_data = open(signature, "rb").read() if signature else b""
    item = FmpCapsuleImageHeaderClass()
    item.UpdateImageTypeId, item.UpdateImageIndex, item.UpdateHardwareInstance = uuid.UUID(guid), index, instance
    item.Payload = auth.Encode() if signature else payload
    fmp = FmpCapsuleHeaderClass()
    fmp.AddFmpCapsuleImageHeader(item)
    capsule = UefiCapsuleHeaderClass()
    capsule.PersistAcrossReset, capsule.Payload = True, fmp.Encode()
    open(path + ".cap", "wb").write(capsule.Encode())
    open(path + ".tbs", "wb").write(payload + count.to_bytes(8, "little"))
def read(path):
    capsule = UefiCapsuleHeaderClass()
    capsule.Decode(open(path, "rb").read())
    fmp = capsule.FmpCapsuleHeader
    if (fmp.EmbeddedDriverCount, fmp.PayloadItemCount) != (0, 1): raise ValueError
    item = fmp.GetFmpCapsuleImageHeader(0)
    auth = item.FmpAuthHeader
    open(path + ".tbs", "wb").write(auth.Payload + auth.MonotonicCount.to_bytes(8, "little"))
    open(path + ".p7", "wb").write(auth.AuthInfo.cert_data)
    inner = auth.FmpPayloadHeader
    return [str(item.UpdateImageTypeId), item.UpdateImageIndex, item.UpdateHardwareInstance,
            auth.MonotonicCount, inner.FwVersion, inner.LowestSupportedVersion]
for line in sys.stdin:
    wish = json.loads(line)
    try:
        print(json.dumps(read(wish) if isinstance(wish, str) else made(*wish)))
    except Exception:
        print("false")
"#;

/// The library, in one process for many files.
pub(crate) fn edk2(openssl: &OpenSsl, wishes: &[serde_json::Value]) -> Vec<serde_json::Value> {
    let venv = std::env::var_os("FIRMSEAL_VENV")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
    let lines: String = wishes.iter().map(|wish| format!("{wish}\n")).collect();
    let list = openssl.write("wishes", lines.as_bytes());
    let out = Command::new(venv.join("bin/python"))
        .args(["-W", "ignore", "-c", SCRIPT])
        .stdin(std::fs::File::open(list).unwrap())
        .current_dir(openssl.dir.path())
        .output()
        .unwrap_or_else(|error| panic!("{error}; run `cargo xtask setup`"));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let answers: Vec<_> = out.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(answers.len(), wishes.len(), "run `cargo xtask setup`");
    answers.iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// What OpenSSL says of a signature over a payload and its count.
pub(crate) fn smime(openssl: &OpenSsl, signature: &[u8], signed: &[u8], key: &str) -> bool {
    openssl.write("verify.p7", signature);
    openssl.write("verify.tbs", signed);
    let line = format!(
        "smime -verify -inform DER -in verify.p7 -content verify.tbs -binary -CAfile {key}.crt -purpose any \
         -out /dev/null"
    );
    openssl.run(&line).status.success()
}

/// Runs mkeficapsule over the fixtures' payload.
pub(crate) fn mkeficapsule(openssl: &OpenSsl, words: &str) -> Vec<u8> {
    openssl.write("payload.bin", &payload());
    let out = Command::new("mkeficapsule")
        .args(words.split_whitespace())
        .arg("made.cap")
        .current_dir(openssl.dir.path())
        .output()
        .unwrap_or_else(|error| panic!("mkeficapsule: {error}; run `cargo xtask setup`"));
    assert!(out.status.success(), "mkeficapsule {words}: {}", String::from_utf8_lossy(&out.stderr));
    openssl.read("made.cap")
}

/// What the fixtures hold.
pub(crate) fn payload() -> Vec<u8> {
    fixture("firmware.bin")[64..].to_vec()
}

/// What is signed, and the signature, of a capsule with headers of this length:
/// 92 as mkeficapsule and we write them, 88 as edk2's tools do.
pub(crate) fn cut(capsule: &[u8], headers: usize) -> (Vec<u8>, Vec<u8>) {
    let len = u32::from_le_bytes(capsule[headers + 8..headers + 12].try_into().unwrap()) as usize;
    let payload = headers + 8 + len;
    let signed = [&capsule[payload..], &capsule[headers..headers + 8]].concat();
    (signed, capsule[headers + 32..payload].to_vec())
}
